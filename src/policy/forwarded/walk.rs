//! From the nearest proxy to the client: X-Forwarded-For and Forwarded, from their right ends.
//!
//! The right end is what a proxy that is trusted has written; the left one may be anybody's. So what cannot be read ends
//! the walk where it stands, and nothing to the left of it is believed.

use super::address::{ClientAddress, Trusted};
use crate::http::fields::{Known, trim};
use crate::http::h1::parse::{RequestHead, is_authority};

/// Proxies that may stand behind each other; more are a loop or an attack.
const HOPS_MAX: usize = 64;

/// What a walk has found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walked {
    pub(super) client: ClientAddress,
    /// What the element of the client says of its scheme; only Forwarded can.
    pub(super) https: Option<bool>,
}

/// Finds the client of a request that the trusted `peer` has sent.
pub(super) fn client(peer: &ClientAddress, head: &RequestHead, trusted: &Trusted) -> Walked {
    let listed = head.get(Known::XForwardedFor).is_some();
    let known = if listed { Known::XForwardedFor } else { Known::Forwarded };
    let mut walked = Walked { client: *peer, https: None };
    for element in elements(head, known).take(HOPS_MAX) {
        let (address, https) = if listed {
            (ClientAddress::parse(element), None)
        } else {
            let element = Element::parse(element);
            (element.and_then(|element| element.client), element.and_then(|element| element.https))
        };
        let Some(address) = address else { break };
        walked = Walked { client: address, https };
        if !address.ip().is_some_and(|ip| trusted.contains(ip)) {
            break;
        }
    }
    walked
}

/// The elements of all lines of a list, from the last one; empty ones mean nothing (RFC 9110 section 5.6.1).
fn elements(head: &RequestHead, known: Known) -> impl Iterator<Item = &[u8]> {
    let lines = head.fields().rev().filter(move |field| field.known == known);
    lines.flat_map(|field| field.value.rsplit(|&byte| byte == b',')).map(trim).filter(|element| !element.is_empty())
}

/// What X-Forwarded-Proto says, if there is one and it can be understood.
pub(super) fn https(head: &RequestHead) -> Option<bool> {
    only(head, Known::XForwardedProto).and_then(scheme)
}

/// The host in X-Forwarded-Host, if there is one and it could be a Host.
pub(super) fn host(head: &RequestHead) -> Option<&str> {
    let host = only(head, Known::XForwardedHost).filter(|host| is_authority(host))?;
    std::str::from_utf8(host).ok()
}

/// The port in X-Forwarded-Port, if there is one and it is the number of a port.
pub(super) fn port(head: &RequestHead) -> Option<u16> {
    only(head, Known::XForwardedPort).and_then(number)
}

/// The port behind a host.
pub(super) fn port_of(host: &str) -> Option<u16> {
    host.rsplit_once(':').and_then(|(_, port)| number(port.as_bytes()))
}

/// A port number in plain digits.
fn number(text: &[u8]) -> Option<u16> {
    let plain = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok().filter(|port| *port > 0)
}

fn scheme(text: &[u8]) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case(b"https") => Some(true),
        _ if text.eq_ignore_ascii_case(b"http") => Some(false),
        _ => None,
    }
}

/// The value of a field that is there once.
fn only(head: &RequestHead, known: Known) -> Option<&[u8]> {
    let mut lines = head.fields().filter(|field| field.known == known);
    let first = lines.next()?;
    lines.next().is_none().then_some(first.value)
}

/// What an element of Forwarded says (RFC 7239 section 4).
#[derive(Clone, Copy, Debug, Default)]
struct Element {
    client: Option<ClientAddress>,
    https: Option<bool>,
}

impl Element {
    /// Reads an element; `None` if it cannot have been meant as one. It was found by looking for commas: one that is
    /// part of a larger quoted string has a quote too few, and is none.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut element = Self::default();
        for pair in text.split(|&byte| byte == b';').map(trim).filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
            match name {
                _ if name.eq_ignore_ascii_case(b"for") && element.client.is_none() => {
                    element.client = Some(ClientAddress::parse(value)?);
                }
                _ if name.eq_ignore_ascii_case(b"for") => return None,
                _ if name.eq_ignore_ascii_case(b"proto") => element.https = scheme(value),
                _ => {}
            }
        }
        Some(element)
    }
}

/// A value without its quotes; `None` if it has others, or escapes, which no address needs.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        bare => bare,
    };
    (!inner.iter().any(|byte| matches!(byte, b'"' | b'\\'))).then_some(inner)
}
