//! Where a request comes from, whom to believe about it, and what the service is told.
//!
//! ```toml
//! [gateway]
//! trusted_proxies = ["10.0.0.0/8", "::1"]   # who may say whom a request comes from
//! forwarded = "x-forwarded"                 # or "rfc7239", "both", "none"
//! ```
//!
//! Anybody can write `X-Forwarded-For` into a request. So it is believed of the proxies in `trusted_proxies` alone; what
//! others say in X-Forwarded fields, X-Real-IP and Forwarded is dropped before ours are added.
//!
//! The client of a trusted proxy's request is found by walking X-Forwarded-For from its right end, where the nearest
//! proxy has written: past the trusted ones, to the first address that is not, or to the last one that can be read.
//! Without an X-Forwarded-For, Forwarded (RFC 7239) is walked in the same way. That address is the client's everywhere:
//! in templates, in hashes, in logs. A proxy that writes one of the two fields must drop the other from what it receives.
//!
//! | field | from a client | from a trusted proxy |
//! |---|---|---|
//! | X-Forwarded-For | its address | what was there, and the proxy's address |
//! | X-Forwarded-Proto, -Host, -Port | of this connection | what was there, if it is valid |
//! | X-Real-IP | its address | the address that was found |
//! | Forwarded | one element | what was there, and one element |
//! | other X-Forwarded fields | dropped | kept |
//!
//! With "rfc7239" only Forwarded is written, and with "both" all of them. With "none" nothing is written: what trusted
//! proxies say is sent on as it came, and what others say is dropped all the same.

mod address;
mod told;
mod walk;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_spanned::Spanned;

use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, text};
use crate::http::h1::parse::RequestHead;
pub use address::{ClientAddress, Trusted};
pub use told::{Composed, NAMES, Told};

/// What the user wrote in `[gateway]` about this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedConfig {
    /// `trusted_proxies`: who may say whom a request comes from.
    pub trusted_proxies: Vec<Spanned<Network>>,
    /// `forwarded`: which fields the services are told in.
    pub style: Style,
}

impl ForwardedConfig {
    /// Reads the keys in `[gateway]`.
    pub fn read(section: &mut Section<'_, '_>) -> Self {
        let mut config = Self::default();
        section.read_list(
            "trusted_proxies",
            "a list of networks, such as [\"10.0.0.0/8\"]",
            &mut config.trusted_proxies,
        );
        section.read("forwarded", &mut config.style);
        for network in config.trusted_proxies.iter().filter(|network| network.get_ref().0.prefix_len() == 0) {
            let message =
                format!("`{}` trusts everybody: any client can say which address it has", network.get_ref().0);
            let warning = Diagnostic::new(network.span(), message, "all addresses are in here");
            section.warn(warning.help("name the networks of your own proxies, such as \"10.0.0.0/8\""));
        }
        config
    }
}

/// A network of addresses, such as `10.0.0.0/8`; an address alone is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

/// Which fields the services are told in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// `"x-forwarded"`
    #[default]
    XForwarded,
    /// `"rfc7239"`
    Rfc7239,
    /// `"both"`
    Both,
    /// `"none"`
    None,
}

impl FromValue for Network {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a network such as \"10.0.0.0/8\", or an address")?;
        if let Ok(address) = text.parse() {
            return Ok(Self(IpNet::from(std::net::IpAddr::to_canonical(&address))));
        }
        let Ok(network) = text.parse::<IpNet>() else { return Err(not_a_network(text)) };
        if network.trunc() == network {
            return Ok(Self(network));
        }
        let problem = format!("`{text}` has bits behind its prefix of {} bits", network.prefix_len());
        let (whole, one) = (network.trunc(), network.addr());
        Err(Wrong::content(problem, format!("write \"{whole}\" for the network, or \"{one}\" for the one address")))
    }
}

/// What is wrong with a text that is neither an address nor a network.
fn not_a_network(text: &str) -> Wrong {
    match text.split_once('/').map(|(address, prefix)| (address.parse::<std::net::IpAddr>(), prefix)) {
        Some((Ok(address), prefix)) => {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let problem = format!("`{prefix}` is not a length of a prefix of `{address}`");
            Wrong::content(problem, format!("write a whole number from 0 to {most}"))
        }
        _ => Wrong::content(
            format!("`{text}` is neither an address nor a network"),
            "write one such as \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"",
        ),
    }
}

impl FromValue for Style {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let expected = "\"x-forwarded\", \"rfc7239\", \"both\" or \"none\"";
        match text(value, expected)? {
            "x-forwarded" => Ok(Self::XForwarded),
            "rfc7239" => Ok(Self::Rfc7239),
            "both" => Ok(Self::Both),
            "none" => Ok(Self::None),
            other => Err(Wrong::content(format!("there is no `{other}`"), format!("write {expected}"))),
        }
    }
}

/// Whom to believe, and what services are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    trusted: Trusted,
    style: Style,
}

/// Where a request comes from, as far as it is believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// The client's address.
    pub client: ClientAddress,
    /// Whether the other side of the connection is a trusted proxy.
    pub trusted: bool,
    /// Whether the client speaks to the outermost of us over TLS.
    pub https: bool,
}

impl Origin {
    /// The scheme that the client sees.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

impl Forwarding {
    /// What runs of what was written.
    #[must_use]
    pub fn compile(config: &ForwardedConfig) -> Self {
        let networks = config.trusted_proxies.iter().map(|network| network.get_ref().0);
        Self { trusted: Trusted::new(networks), style: config.style }
    }

    /// Whether this is a trusted proxy.
    #[must_use]
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.contains(ip)
    }

    /// Finds out where a request comes from that `peer` has sent, over TLS or not.
    #[must_use]
    pub fn origin(&self, peer: &ClientAddress, head: &RequestHead, https: bool) -> Origin {
        if !peer.ip().is_some_and(|ip| self.trusted.contains(ip)) {
            return Origin { client: *peer, trusted: false, https };
        }
        let walked = walk::client(peer, head, &self.trusted);
        Origin { client: walked.client, trusted: true, https: walk::https(head).or(walked.https).unwrap_or(https) }
    }
}

#[cfg(test)]
mod tests;
