//! What a service is told of where a request comes from.

use std::ops::Range;

use super::{ClientAddress, Forwarding, Origin, Style, walk};
use crate::http::fields::{FieldName, FieldValue, Known, KnownSet};
use crate::http::h1::encode::{Decimal, OwnFields};
use crate::http::h1::parse::RequestHead;

/// The names of all fields that may be written here.
pub const NAMES: [&[u8]; 6] =
    [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Real-IP", b"Forwarded"];

const ALL: KnownSet = KnownSet::of(&[
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::Forwarded,
]);

/// What there is to tell of one request.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Where it comes from.
    pub origin: &'a Origin,
    /// The other side of the connection.
    pub peer: &'a ClientAddress,
    /// Its head, as it was received.
    pub head: &'a RequestHead,
    /// The port that the client's connection came in at, if it has one.
    pub port: Option<u16>,
    /// Whether this connection is over TLS.
    pub https: bool,
}

/// Values that had to be put together, as places in a buffer.
#[derive(Clone, Debug, Default)]
pub struct Composed {
    list: Range<usize>,
    port: Range<usize>,
    forwarded: Range<usize>,
}

impl Forwarding {
    /// Which fields are not sent on: known ones, and whether all others that begin with `X-Forwarded-` are among them.
    #[must_use]
    pub fn dropped(&self, origin: &Origin) -> (KnownSet, bool) {
        match self.style {
            Style::None if origin.trusted => (KnownSet::EMPTY, false),
            _ => (ALL, !origin.trusted),
        }
    }

    fn writes_x_forwarded(&self) -> bool {
        matches!(self.style, Style::XForwarded | Style::Both)
    }

    /// Puts the values together that are not simply there; appends them to `buffer`.
    #[must_use]
    pub fn compose(&self, told: &Told<'_>, buffer: &mut Vec<u8>) -> Composed {
        let mut composed = Composed::default();
        if self.writes_x_forwarded() {
            if told.origin.trusted {
                composed.list = appended(buffer, |buffer| told.put_list(buffer));
            }
            if let Some(port) = told.port() {
                composed.port =
                    appended(buffer, |buffer| buffer.extend_from_slice(Decimal::new(port.into()).as_bytes()));
            }
        }
        if matches!(self.style, Style::Rfc7239 | Style::Both) {
            composed.forwarded = appended(buffer, |buffer| told.put_forwarded(buffer));
        }
        composed
    }

    /// Adds the fields to `fields`; `buffer` is where `composed` was put.
    pub fn tell<'a>(&self, told: &Told<'a>, composed: &Composed, buffer: &'a [u8], fields: &mut OwnFields<'a>) {
        const X_FORWARDED_FOR: FieldName<'static> = FieldName::literal("X-Forwarded-For");
        const X_FORWARDED_PROTO: FieldName<'static> = FieldName::literal("X-Forwarded-Proto");
        const X_FORWARDED_HOST: FieldName<'static> = FieldName::literal("X-Forwarded-Host");
        const X_FORWARDED_PORT: FieldName<'static> = FieldName::literal("X-Forwarded-Port");
        const X_REAL_IP: FieldName<'static> = FieldName::literal("X-Real-IP");
        const FORWARDED: FieldName<'static> = FieldName::literal("Forwarded");
        const HTTP: FieldValue<'static> = FieldValue::literal("http");
        const HTTPS: FieldValue<'static> = FieldValue::literal("https");
        if self.writes_x_forwarded() {
            match &buffer[composed.list.clone()] {
                [] => fields.push_value(X_FORWARDED_FOR, told.origin.client.value()),
                list => fields.push(X_FORWARDED_FOR, list),
            }
            fields.push_value(X_FORWARDED_PROTO, if told.origin.https { HTTPS } else { HTTP });
            if let Some(host) = told.host() {
                fields.push_value(X_FORWARDED_HOST, host);
            }
            if !composed.port.is_empty() {
                fields.push(X_FORWARDED_PORT, &buffer[composed.port.clone()]);
            }
            if told.origin.client.ip().is_some() {
                fields.push_value(X_REAL_IP, told.origin.client.value());
            }
        }
        if !composed.forwarded.is_empty() {
            fields.push(FORWARDED, &buffer[composed.forwarded.clone()]);
        }
    }
}

/// What `put` appends to `buffer`, as a place in it.
fn appended(buffer: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = buffer.len();
    put(buffer);
    start..buffer.len()
}

impl<'a> Told<'a> {
    /// The host that the client has asked for.
    fn host(&self) -> Option<FieldValue<'a>> {
        let told = if self.origin.trusted { walk::host(self.head) } else { None };
        told.and_then(|host| FieldValue::new(host.as_bytes())).or_else(|| self.head.host_value())
    }

    /// The port that the client has asked: what a trusted proxy says, or what goes with what it says, or our own.
    fn port(&self) -> Option<u16> {
        if !self.origin.trusted {
            return self.port;
        }
        let scheme = walk::https(self.head).map(|https| if https { 443 } else { 80 });
        let beside = || walk::host(self.head).and_then(walk::port_of);
        walk::port(self.head).or_else(beside).or(scheme).or(self.port)
    }

    /// Whether the proxy has told of a client in another way than in lines of `known`.
    fn has_hidden_client(&self, known: Known) -> bool {
        self.head.get(known).is_none() && self.origin.client.ip() != self.peer.ip()
    }

    /// Appends the addresses from the client to the peer.
    fn put_list(&self, out: &mut Vec<u8>) {
        let mut list = List::new(out);
        if self.has_hidden_client(Known::XForwardedFor) {
            list.next().extend_from_slice(self.origin.client.as_bytes());
        }
        self.put_lines(Known::XForwardedFor, &mut list);
        list.next().extend_from_slice(self.peer.as_bytes());
    }

    /// Appends a value of Forwarded, our element last.
    fn put_forwarded(&self, out: &mut Vec<u8>) {
        let mut list = List::new(out);
        if self.origin.trusted {
            if self.has_hidden_client(Known::Forwarded) {
                put_hop(&self.origin.client, self.host(), self.origin.https, list.next());
            }
            self.put_lines(Known::Forwarded, &mut list);
        }
        put_hop(self.peer, self.head.host_value(), self.https, list.next());
    }

    /// Appends the lines of one name.
    fn put_lines(&self, known: Known, list: &mut List<'_>) {
        for line in self.head.fields().filter(|field| field.known == known && !field.value.is_empty()) {
            list.next().extend_from_slice(line.value);
        }
    }
}

/// A list that is being written behind something else.
struct List<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> List<'b> {
    fn new(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// Where the next element goes.
    fn next(&mut self) -> &mut Vec<u8> {
        if self.out.len() > self.start {
            self.out.extend_from_slice(b", ");
        }
        self.out
    }
}

/// Appends what one hop was told: `for="[2001:db8::1]";host="a.example:8080";proto=http`.
fn put_hop(client: &ClientAddress, host: Option<FieldValue<'_>>, https: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"for=");
    let address = client.as_bytes();
    match client.ip() {
        // RFC 7239 section 6: an address of IPv6 stands in brackets, and so in quotes.
        Some(ip) if ip.is_ipv6() => [&b"\"["[..], address, b"]\""].iter().for_each(|part| out.extend_from_slice(part)),
        _ => out.extend_from_slice(address),
    }
    if let Some(host) = host.map(FieldValue::as_bytes) {
        let quote: &[u8] = if host.contains(&b':') { b"\"" } else { b"" };
        [&b";host="[..], quote, host, quote].iter().for_each(|part| out.extend_from_slice(part));
    }
    out.extend_from_slice(if https { b";proto=https" } else { b";proto=http" });
}
