//! Addresses as they are compared and as they are written, without an allocation.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::base::address::AddressText;
use crate::http::fields::FieldValue;

/// Where a client is: its address, its port if it is known, and its address as text.
/// By default nobody knows who.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientAddress {
    ip: Option<IpAddr>,
    port: Option<u16>,
    text: AddressText,
}

impl ClientAddress {
    /// The other side of a connection; `None` where that has no address, as on a unix socket.
    #[must_use]
    pub fn of_peer(peer: Option<SocketAddr>) -> Self {
        peer.map_or_else(Self::default, |peer| Self::new(peer.ip(), Some(peer.port())))
    }

    /// This address. One of IPv4 that is written as one of IPv6 is one of IPv4.
    #[must_use]
    pub fn new(ip: IpAddr, port: Option<u16>) -> Self {
        let ip = ip.to_canonical();
        Self { ip: Some(ip), port, text: AddressText::of(ip) }
    }

    /// The address; `None` where there is none.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port, if it is known.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address with its port, if both are known.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip?, self.port?))
    }

    /// The address as text; `unknown` where there is none.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The same as the value of a field.
    #[must_use]
    pub fn value(&self) -> FieldValue<'_> {
        (&self.text).into()
    }

    /// The address as text; `unknown` where there is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The address that `text` is, as proxies write it: perhaps with a port, and an address of IPv6 perhaps in brackets.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if let Ok(ip) = text.parse() {
            return Some(Self::new(ip, None));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse().ok().map(|ip: Ipv6Addr| Self::new(ip.into(), None));
        }
        text.parse().ok().map(|address: SocketAddr| Self::new(address.ip(), Some(address.port())))
    }
}

/// The networks that are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Network and mask.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Trusted {
    /// The set of these networks.
    pub fn new(networks: impl Iterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push((network.network().to_bits(), network.netmask().to_bits())),
                IpNet::V6(network) => {
                    // What is compared is canonical: an address of IPv4, however it came.
                    match (network.network().to_ipv4_mapped(), network.prefix_len().checked_sub(96)) {
                        (Some(mapped), Some(prefix)) => {
                            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                            v4.push((mapped.to_bits(), mask));
                        }
                        _ => v6.push((network.network().to_bits(), network.netmask().to_bits())),
                    }
                }
            }
        }
        Self { v4: v4.into(), v6: v6.into() }
    }

    /// Whether `ip` is in any of them.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.iter().any(|(network, mask)| ip.to_bits() & mask == *network),
            IpAddr::V6(ip) => self.v6.iter().any(|(network, mask)| ip.to_bits() & mask == *network),
        }
    }
}
