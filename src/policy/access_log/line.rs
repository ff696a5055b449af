//! What a line says, and how it is put together.

use std::net::SocketAddr;

use super::entry::{Entry, OF_RESPONSE, Spent};
use super::escape::{is_harmless, put_json, put_plain};
use super::field::{Field, KEY_MOST};
use super::format::{Format, Part};
use super::number::{Clock, put_ip, put_millis, put_number, put_socket};
use super::page::{Page, ROOM, SMALL, Small, copy_small, front};
use super::{AccessLog, Header};
use crate::http::message::Version;

/// Lines, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    text: Page,
    clock: Clock,
}

impl Lines {
    /// No lines, with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Lines {
        Lines { text: Page::with_capacity(bytes), clock: Clock::default() }
    }

    /// All of them, each with its end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.written()
    }

    /// Takes all of them away.
    pub fn clear(&mut self) {
        self.text.clear();
    }
}

impl AccessLog {
    /// Adds the line of `entry` to `lines`.
    pub fn put_line(&self, entry: &Entry<'_>, lines: &mut Lines) {
        let Lines { text: out, clock } = lines;
        let mut line = Line { log: self, entry, uri: entry.texts.path_and_query(), clock };
        match &self.format {
            Format::Json(fields) => line.put_object(fields, out),
            Format::Template(parts) => line.put_parts(parts, out),
        }
        out.put(b"\n");
    }
}

/// Where the value of a field goes: into a member of an object of JSON, or into a template.
struct Place<'o, const JSON: bool> {
    field: Field,
    out: &'o mut Page,
}

const _: () = assert!(KEY_MOST + SMALL < ROOM, "a room is for a key, a small value and a quote");

impl<const JSON: bool> Place<'_, JSON> {
    /// It is not known.
    #[inline(always)]
    fn nothing(self) {
        if !JSON {
            self.out.put(b"-");
        }
    }

    /// What `put` writes, which is small; `quoted` says that it is a text.
    #[inline(always)]
    fn small(self, quoted: bool, put: impl FnOnce(&mut Small) -> usize) {
        let room = self.out.room();
        let mut length = if JSON { self.field.put_key(quoted, front(room, 0)) } else { 0 };
        length += put(front(room, length));
        if JSON && quoted {
            room[length] = b'"';
            length += 1;
        }
        self.out.advance(length);
    }

    /// What `put` writes, as text.
    #[inline(always)]
    fn large(self, put: impl FnOnce(&mut Page)) {
        if JSON {
            let length = self.field.put_key(true, front(self.out.room(), 0));
            self.out.advance(length);
        }
        put(self.out);
        if JSON {
            self.out.put(b"\"");
        }
    }

    /// A number.
    #[inline(always)]
    fn number(self, number: impl Into<u64>) {
        self.small(false, |to| put_number(number.into(), to));
    }

    /// Nanoseconds, which become milliseconds.
    #[inline(always)]
    fn millis(self, nanos: u64) {
        self.small(false, |to| put_millis(nanos, to));
    }

    /// The same; nothing is not known.
    #[inline(always)]
    fn millis_if_any(self, nanos: u64) {
        match nanos {
            0 => self.nothing(),
            nanos => self.millis(nanos),
        }
    }

    /// An address.
    #[inline(always)]
    fn socket(self, address: &SocketAddr) {
        self.small(true, |to| put_socket(address, to));
    }

    /// A text that a stranger may have written; an empty one is not known.
    #[inline(always)]
    fn foreign(self, text: &[u8]) {
        if text.is_empty() { self.nothing() } else { self.known(text) }
    }

    /// A text that a stranger may have written, also an empty one.
    #[inline(always)]
    fn known(self, text: &[u8]) {
        if text.len() <= SMALL && is_harmless(text) {
            self.small(true, |to| copy_small(text, to));
        } else {
            self.large(|out| escape::<JSON>(text, out));
        }
    }

    /// A text of ours, in which nothing is to be escaped.
    #[inline(always)]
    fn own(self, text: &str) {
        match text.as_bytes() {
            [] => self.nothing(),
            text if text.len() <= SMALL => self.small(true, |to| copy_small(text, to)),
            text => self.large(|out| out.put(text)),
        }
    }
}

/// Writes what a stranger has written.
fn escape<const JSON: bool>(text: &[u8], out: &mut Page) {
    if JSON { put_json(text, out) } else { put_plain(text, out) }
}

/// A line that is being written.
struct Line<'a> {
    log: &'a AccessLog,
    entry: &'a Entry<'a>,
    /// The path and the query.
    uri: (&'a [u8], Option<&'a [u8]>),
    clock: &'a mut Clock,
}

impl<'a> Line<'a> {
    fn put_parts(&mut self, parts: &[Part], out: &mut Page) {
        for part in parts {
            match part {
                Part::Literal(text) => out.put(text),
                Part::Field(field) => self.put_field(Place::<false> { field: *field, out }),
                Part::Header(place) if self.has_header(*place) => self.put_header::<false>(*place, out),
                Part::Header(_) => out.put(b"-"),
            }
        }
    }

    fn put_object(&mut self, fields: &[Field], out: &mut Page) {
        let start = out.written().len();
        for field in fields {
            self.put_field(Place::<true> { field: *field, out });
        }
        if !self.entry.texts.headers.is_empty() {
            let log = self.log;
            self.put_headers(b",\"request_headers\":", &log.request_headers, 0, out);
            self.put_headers(b",\"response_headers\":", &log.response_headers, OF_RESPONSE, out);
        }
        match out.written_mut().get_mut(start) {
            // Each key begins with a comma.
            Some(comma) => *comma = b'{',
            None => out.put(b"{"),
        }
        out.put(b"}");
    }

    /// Writes the header fields of one side as a member called `key`, if there are any.
    fn put_headers(&self, key: &[u8], headers: &[Header], side: u8, out: &mut Page) {
        let start = out.written().len();
        for (header, place) in headers.iter().zip(0_u8..) {
            if self.has_header(place | side) {
                if out.written().len() == start {
                    out.put(key);
                    out.put(b"{");
                } else {
                    out.put(b",");
                }
                // A name is a token, and has nothing to escape.
                out.put(b"\"");
                out.put(header.name.as_bytes());
                out.put(b"\":\"");
                self.put_header::<true>(place | side, out);
                out.put(b"\"");
            }
        }
        if out.written().len() > start {
            out.put(b"}");
        }
    }

    fn has_header(&self, place: u8) -> bool {
        self.entry.texts.header_fields().any(|(other, _)| other == place)
    }

    /// Writes the values of the header at `place`, joined, without the secrets in them. What a piece ends with and the
    /// next begins with is never one character, so each can be escaped alone.
    fn put_header<const JSON: bool>(&self, place: u8, out: &mut Page) {
        let mut separator: &[u8] = b"";
        for (_, value) in self.entry.texts.header_fields().filter(|(other, _)| *other == place) {
            out.put(std::mem::replace(&mut separator, b", "));
            self.log.mask.put_uri(value, |piece| escape::<JSON>(piece, out));
        }
    }

    #[inline(always)]
    fn put_field<const JSON: bool>(&mut self, to: Place<'_, JSON>) {
        let Entry { facts, texts } = self.entry;
        let (path, query) = self.uri;
        let Spent { gateway, queue, connect, pause, upload, first_byte, backend, total } = facts.spent;
        // What was never sent to a service has no times of one.
        let sent = facts.service.is_some();
        match to.field {
            Field::Time => to.small(true, |to| self.clock.put(facts.unix_micros, to)),
            Field::RequestId => to.foreign(texts.id),
            Field::TraceId => to.foreign(trace_id(texts.traceparent).unwrap_or_default()),
            Field::Client => match facts.client {
                Some(client) => to.small(true, |to| put_ip(client, to)),
                None => to.nothing(),
            },
            Field::Peer => match &facts.peer {
                Some(peer) => to.socket(peer),
                None => to.nothing(),
            },
            Field::Method => to.foreign(texts.method),
            Field::Host => to.foreign(texts.host),
            Field::Path => to.foreign(path),
            Field::Query => match query {
                Some(query) if self.log.mask.is_clear(query) => to.known(query),
                Some(query) => to.large(|out| self.put_query::<JSON>(query, out)),
                None => to.nothing(),
            },
            Field::Uri => match query {
                Some(query) if !path.is_empty() && self.log.mask.is_clear(query) => to.known(texts.uri),
                Some(query) => to.large(|out| {
                    escape::<JSON>(path, out);
                    if !path.is_empty() {
                        out.put(b"?");
                    }
                    self.put_query::<JSON>(query, out);
                }),
                None => to.foreign(path),
            },
            Field::Protocol => match facts.version {
                Some(Version::Http10) => to.own("HTTP/1.0"),
                Some(Version::Http11) => to.own("HTTP/1.1"),
                None => to.nothing(),
            },
            Field::Status if facts.status == 0 => to.nothing(),
            Field::Status => to.number(facts.status),
            Field::BytesReceived => to.number(facts.received),
            Field::BytesSent => to.number(facts.sent),
            Field::Route => to.own(facts.route.and_then(|route| self.log.routes.name(route)).unwrap_or_default()),
            Field::Service => {
                to.own(facts.service.and_then(|service| self.log.services.name(service)).unwrap_or_default())
            }
            Field::Target => match &facts.target {
                Some(target) => to.socket(target),
                None => to.foreign(texts.target),
            },
            Field::Outcome => to.own(facts.outcome),
            Field::Code => to.own(facts.code),
            Field::Gateway => to.millis(gateway),
            Field::Total => to.millis(total),
            field if !sent && field.is_of_service() => to.nothing(),
            Field::Pause => to.millis_if_any(pause),
            Field::Upload => to.millis_if_any(upload),
            Field::Attempts => to.number(facts.attempts),
            Field::Queue => to.millis(queue),
            Field::Connect => to.millis(connect),
            Field::FirstByte => to.millis(first_byte),
            Field::Backend => to.millis(backend),
        }
    }

    /// Writes a query without the secrets in it.
    fn put_query<const JSON: bool>(&self, query: &[u8], out: &mut Page) {
        self.log.mask.put_query(query, |piece| escape::<JSON>(piece, out));
    }
}

/// The trace that a `traceparent` belongs to: 32 hexadecimal digits, not all zero (W3C Trace Context section 3.2).
fn trace_id(traceparent: &[u8]) -> Option<&[u8]> {
    let (version, rest) = traceparent.split_first_chunk::<2>()?;
    let (trace, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<32>()?;
    let (parent, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
    let good = rest.first() == Some(&b'-') && are_hex(version) && version != b"ff" && are_hex(trace) && are_hex(parent);
    (good && trace != &[b'0'; 32]).then_some(trace)
}

/// Whether these are hexadecimal digits in lower case.
fn are_hex<const N: usize>(text: &[u8; N]) -> bool {
    // To the end, also past one that is not: so many bytes are looked at at once.
    text.iter().fold(true, |hex, byte| hex & matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_those_of_the_standard() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(good.as_bytes()), Some(trace.as_bytes()));
        assert_eq!(trace_id(format!("{good}-more").as_bytes()), Some(trace.as_bytes()), "of a later version");
        for bad in [
            String::new(),
            good.replace("00-4", "ff-4"),
            good.replace("4bf", "4BF"),
            good.replace(trace, &"0".repeat(32)),
            good.replace("-01", ""),
            good.replace("00f067aa0ba902b7", "00f067aa0ba902b"),
            good.replace(trace, "4bf9"),
            format!("00-{trace}"),
        ] {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
    }
}
