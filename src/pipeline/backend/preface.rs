//! The header of the PROXY protocol that connections to a service begin with, where it asks for one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::proxy_protocol::{Endpoints, encode};
use crate::pipeline::exchange::Exchange;
use crate::upstream::settings::Settings;

/// What a new connection for the request in `x`, whose client has connected to `port`, begins with; empty for nothing.
///
/// The address that the client has connected to is told as the unspecified address of the client's family: the gateway
/// knows its port, and which of the machine's addresses it was matters to nobody behind it.
pub(super) fn preface(settings: &Settings, x: &Exchange, port: Option<u16>) -> Vec<u8> {
    let mut header = Vec::new();
    let Some(version) = settings.proxy_protocol else { return header };
    let client = &x.origin.client;
    let source = client.ip().map(|ip| SocketAddr::new(ip, client.port().unwrap_or(0)));
    let here = source.map(|source| match source.ip().to_canonical() {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port.unwrap_or(0)),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port.unwrap_or(0)),
    });
    encode(version, &Endpoints::of(source, here), &mut header);
    header
}
