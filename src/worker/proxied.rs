//! What a proxy of TCP says of a connection before its first request: the receiving side of
//! [`crate::net::proxy_protocol`].
//!
//! On a listener with `proxy_protocol = true` every connection begins with a header, and only a trusted proxy may send
//! one: whoever else could would choose his own address. A connection without one, or with a wrong one, is closed
//! without an answer, for nobody knows to whom it would go; it is counted and logged.

use std::net::IpAddr;
use std::pin::pin;

use super::serve::fill_unless_leaving;
use crate::base::time::Instant;
use crate::net::proxy_protocol::{Endpoints, Progress, ProxyError, parse};
use crate::pipeline::Client;
use crate::policy::forwarded::ClientAddress;
use crate::shard::Shard;

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It does not come from a trusted proxy.
    Untrusted,
    /// The header did not arrive in time.
    Late,
    /// It ended in the middle of the header.
    Short,
    /// It ended before a byte, as when somebody looks whether we listen, or with a reset. That is no fault.
    Silent,
    /// The header is malformed, or something else.
    Malformed(ProxyError),
}

impl Refused {
    /// A stable name in snake case, and what is wrong; nothing where nothing is.
    pub(super) fn describe(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Refused::Untrusted => (
                "proxy_untrusted",
                "A connection to a listener with `proxy_protocol` came from none of the `trusted_proxies`.",
            ),
            Refused::Late => ("proxy_timeout", "The PROXY protocol header did not arrive in time."),
            Refused::Short => ("proxy_short", "A connection ended in the middle of its PROXY protocol header."),
            Refused::Silent => return None,
            Refused::Malformed(error) => (error.code(), error.detail()),
        })
    }
}

/// Receives the header of a connection that has just been accepted, until `deadline`; from then on, the client is who
/// it says, and nobody knows who where it does not say. A connection of the proxy's own is the proxy's.
pub(super) async fn receive(
    shard: &Shard,
    client: &mut Client,
    trusted: impl Fn(IpAddr) -> bool,
    deadline: Instant,
) -> Result<(), Refused> {
    match client.address.ip() {
        Some(ip) if trusted(ip) => {}
        Some(_) => return Err(Refused::Untrusted),
        // A connection that was reset before it was accepted has no address any more; checks end like that.
        None => return Err(Refused::Silent),
    }
    let endpoints = loop {
        match parse(client.reader.bytes()).map_err(Refused::Malformed)? {
            Progress::Complete { consumed, endpoints } => {
                client.reader.consume(consumed);
                break endpoints;
            }
            Progress::Incomplete => {}
        }
        let Client { stream, reader, door, .. } = &mut *client;
        let filled = fill_unless_leaving(shard, stream, reader, door, true);
        let filled = shard.handle.timeout(deadline, pin!(filled)).await;
        match filled {
            Ok(Ok(true)) => {}
            Err(_) if client.reader.is_empty() => return Err(Refused::Silent),
            Err(_) => return Err(Refused::Late),
            Ok(_) if client.reader.is_empty() => return Err(Refused::Silent),
            Ok(_) => return Err(Refused::Short),
        }
    };
    match endpoints {
        Endpoints::Local => {}
        // Whoever it is, he is not the proxy, and what he says of himself is not to be believed as if he were.
        Endpoints::Unknown | Endpoints::Unix => client.address = ClientAddress::default(),
        Endpoints::Tcp { source, destination } => {
            client.address = ClientAddress::of_peer(Some(source));
            client.port = Some(destination.port());
        }
    }
    Ok(())
}
