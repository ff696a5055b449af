//! The PROXY protocol: what a proxy of TCP says of the connection that it passes on, before its first byte.
//!
//! ```toml
//! [gateway]
//! trusted_proxies = ["10.0.0.0/8"]
//!
//! [listeners.public]
//! address = "0.0.0.0:8080"
//! proxy_protocol = true            # every connection begins with a header, of version 1 or 2, from a trusted proxy
//!
//! [services.app]
//! targets = ["10.0.0.9:3000"]
//! proxy_protocol = "v2"            # or "v1": every connection that is made to a target begins with a header
//! ```
//!
//! The specification is HAProxy's (`proxy-protocol.txt`, revision 2020/03/05). Version 1 is a line of text of at most 107
//! bytes, version 2 a binary block; nothing but the first bytes tells them apart. This is the codec alone, without I/O:
//! [`parse`] takes a header off the bytes received so far, [`encode`] writes one. It is strict, for whoever can make a
//! header be read in two ways can choose an address:
//! - Version 1 has single spaces, numbers without leading zeros, addresses of the family that it names, and CR LF.
//! - Version 2 has the addresses of its family, and behind them whole TLVs up to the end of the block. A checksum that is
//!   there must be right. A block of more than [`BLOCK_MAX`] bytes is refused.
//! - What comes for a connection of the proxy's own (LOCAL), or of a family without addresses, is skipped as it is.

mod error;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use toml::de::DeValue;

use crate::base::decode::{FromValue, Value, Wrong};
pub use error::ProxyError;
pub use v1::LINE_MAX;
pub use v2::BLOCK_MAX;

/// What a header says of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// It is the proxy's own, to see whether we live: nobody's connection is passed on.
    Local,
    /// The proxy does not know, or has no way to say it.
    Unknown,
    /// Somebody on the proxy's own machine, through a Unix socket.
    Unix,
    /// TCP, and both addresses of one family.
    Tcp {
        /// Who has connected to the proxy.
        source: SocketAddr,
        /// What it has connected to.
        destination: SocketAddr,
    },
}

impl Endpoints {
    /// The endpoints of a TCP connection, of which an address may not be known any more. A socket of IPv6 that has
    /// accepted an IPv4 client has mapped addresses, which are told as what they are.
    #[must_use]
    pub fn of(source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (Some(source), Some(destination)) = (source.map(canonical), destination.map(canonical)) else {
            return Self::Unknown;
        };
        let mapped = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(ip) => SocketAddr::new(ip.into(), address.port()),
        };
        if source.is_ipv4() == destination.is_ipv4() {
            return Self::Tcp { source, destination };
        }
        Self::Tcp { source: mapped(source), destination: mapped(destination) }
    }

    /// Who the client is, where that is said; otherwise the proxy itself is.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { source, .. } => Some(*source),
            Self::Local | Self::Unknown | Self::Unix => None,
        }
    }
}

/// How far the header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What is there is right, and more is needed.
    Incomplete,
    /// It is there.
    Complete {
        /// How many bytes it has; behind them the connection begins.
        consumed: usize,
        /// What it says.
        endpoints: Endpoints,
    },
}

/// Takes a header from the start of `input`. While it is incomplete, call again with the same input and more behind it:
/// at most [`LINE_MAX`] or 16 and [`BLOCK_MAX`] bytes are needed.
///
/// # Errors
/// The first fault, which may be known before the header is complete. The connection cannot be used then.
pub fn parse(input: &[u8]) -> Result<Progress, ProxyError> {
    let begins = |start: &[u8]| {
        let length = start.len().min(input.len());
        input[..length] == start[..length]
    };
    match (begins(v1::START), begins(v2::START)) {
        _ if input.is_empty() => Ok(Progress::Incomplete),
        (true, _) => v1::parse(input),
        (_, true) => v2::parse(input),
        (false, false) => Err(ProxyError::NoHeader),
    }
}

/// A version of the protocol, to be spoken towards a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `"v1"`: a line of text. It can say nothing of [`Endpoints::Local`], which is [`Endpoints::Unknown`] to it.
    V1,
    /// `"v2"`: binary.
    V2,
}

impl FromValue for Version {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let expected = "\"v1\" or \"v2\"";
        match value.get_ref() {
            DeValue::String(text) if text == "v1" => Ok(Self::V1),
            DeValue::String(text) if text == "v2" => Ok(Self::V2),
            DeValue::String(text) => Err(Wrong::content(
                format!("there is no version `{text}` of the PROXY protocol"),
                format!("write {expected}"),
            )),
            _ => Err(Wrong::Type(expected.into())),
        }
    }
}

/// Appends a header to `out`. [`Endpoints::Unix`] is written as [`Endpoints::Unknown`], for its path is nobody's concern.
///
/// [`Endpoints::Tcp`] must be as [`Endpoints::of`] makes it; with one address of each family it is unknown as well.
pub fn encode(version: Version, endpoints: &Endpoints, out: &mut Vec<u8>) {
    match version {
        Version::V1 => v1::encode(endpoints, out),
        Version::V2 => v2::encode(endpoints, out),
    }
}

#[cfg(test)]
mod tests;
