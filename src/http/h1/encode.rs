//! Heads as they are sent on: what was parsed, not what was received.
//!
//! Fields keep their case and order, and runs of unchanged lines are copied whole. Only a line that is exactly
//! `Name: value` is copied; any other is written anew, so that no leniency of ours reaches another parser.
//! Removed are hop-by-hop fields and what Connection names (RFC 9110 section 7.6.1). The framing is ours: a
//! received Content-Length stays in its place only if it says what we would say, in the same digits.
//!
//! Everything that is written here was either checked by the parser, or is of a type that cannot be made from
//! bytes that would end a line: [`FieldName`], [`FieldValue`], [`Target`]. So no
//! input becomes a second message.

use arrayvec::ArrayVec;

use super::parse::{RequestHead, ResponseHead, Section, is_writable};
use crate::http::edit::{Editing, Fate, Head};
use crate::http::fields::{FieldName, FieldSpan, FieldValue, Known, KnownSet, NewField, is_forwarding};
use crate::http::message::{Framing, Version};

/// The interim response that lets a client go on (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request target that may be written: a path with its query, or `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a>(&'a [u8]);

impl<'a> Target<'a> {
    /// The target, or `None` if the parser would refuse it.
    pub fn new(target: &'a [u8]) -> Option<Self> {
        is_writable(target).then_some(Self(target))
    }
}

/// How a request is sent on.
#[derive(Clone, Copy, Debug)]
pub struct RequestForward<'a> {
    /// The target to ask for.
    pub target: Target<'a>,
    /// The framing of the body that is sent, as a rule [`RequestHead::framing`]. It cannot be
    /// [`Framing::UntilClose`], which is taken for [`Framing::None`].
    pub framing: Framing,
    /// Replaces the request's own host.
    pub host: Option<FieldValue<'a>>,
    /// The host of a request that has none, as HTTP/1.0 allows.
    pub default_host: FieldValue<'a>,
    /// Whether the connection is to end after the response.
    pub close: bool,
    /// Further fields to leave out.
    pub drop: Dropped<'a>,
    /// Fields to add behind the others.
    pub append: &'a [NewField<'a>],
}

/// Fields that are left out beyond those that always are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped<'a> {
    /// These.
    pub known: KnownSet,
    /// All whose names begin with `X-Forwarded-`: there are more of them than anybody knows, and some backend believes
    /// each.
    pub forwarding: bool,
    /// One more, which is not among the known names.
    pub name: Option<FieldName<'a>>,
}

impl Dropped<'_> {
    fn drops_other(&self, name: &[u8]) -> bool {
        self.forwarding && is_forwarding(name)
            || self.name.is_some_and(|dropped| dropped.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Appends the head of the request that is sent on to `out`, changed by `edits` after everything else. The backend is
/// always spoken to in HTTP/1.1.
pub fn encode_request(head: &RequestHead, forward: &RequestForward<'_>, edits: Option<Editing<'_>>, out: &mut Vec<u8>) {
    let section = head.section();
    for part in [head.method_bytes(), b" ", forward.target.0, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    let mut dropped = forward.drop;
    let drop = &mut dropped.known;
    *drop = drop.with(KnownSet::HOP_BY_HOP);
    if let Some(host) = changed_host(head, forward) {
        *drop = drop.with(KnownSet::of(&[Known::Host]));
        put_field(b"Host", host, out);
    }
    if head.version() == Version::Http10 {
        // It was not heard, so it must not be repeated in HTTP/1.1.
        *drop = drop.with(KnownSet::of(&[Known::Expect]));
    }
    let framing = if forward.framing == Framing::UntilClose { Framing::None } else { forward.framing };
    debug_assert_eq!(framing, forward.framing, "a request does not end with its connection");
    let mut fields = Outgoing { section, dropped, own: forward.append, edits, missing: 0 };
    fields.copy(framing, framing, out);
    if forward.close {
        put_field(b"Connection", b"close", out);
    } else if head.accepts_trailers() {
        // RFC 9110 section 10.1.4: TE is for the next hop, which has to be told so.
        put_field(b"Connection", b"TE", out);
    }
    if head.accepts_trailers() {
        put_field(b"TE", b"trailers", out);
    }
    fields.add(out);
    out.extend_from_slice(b"\r\n");
}

/// The host to write if it is not the one that stands in the Host field.
fn changed_host<'a>(head: &'a RequestHead, forward: &RequestForward<'a>) -> Option<&'a [u8]> {
    let received = head.host_field();
    let wanted = match (forward.host, head.authority()) {
        (Some(host), _) => host.as_bytes(),
        (None, Some(authority)) => authority.as_bytes(),
        (None, None) => received.unwrap_or(forward.default_host.as_bytes()),
    };
    if received == Some(wanted) { None } else { Some(wanted) }
}

/// The most fields that the gateway adds to one head.
const OWN_MAX: usize = 12;

/// The fields that the gateway adds to one head, without an allocation.
#[derive(Clone, Debug, Default)]
pub struct OwnFields<'a>(ArrayVec<NewField<'a>, OWN_MAX>);

impl<'a> OwnFields<'a> {
    /// Adds a field. A value with control characters is not added: nobody meant it.
    pub fn push(&mut self, name: FieldName<'a>, value: &'a [u8]) {
        let value = FieldValue::new(value);
        debug_assert!(value.is_some(), "a value of ours cannot end its line");
        if let Some(value) = value {
            self.push_value(name, value);
        }
    }

    /// Adds a field.
    pub fn push_value(&mut self, name: FieldName<'a>, value: FieldValue<'a>) {
        let added = self.0.try_push((name, value));
        debug_assert!(added.is_ok(), "there are fewer fields than that");
    }

    /// The fields in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[NewField<'a>] {
        &self.0
    }
}

/// How a response is sent on.
#[derive(Clone, Copy, Debug)]
pub struct ResponseForward<'a> {
    /// The framing of the body that is sent: [`ResponseHead::framing`] and then
    /// [`Framing::for_client`]. With [`Framing::UntilClose`], `keep_alive` must be false.
    pub framing: Framing,
    /// The version of the client's request.
    pub client: Version,
    /// Whether the client's connection stays open.
    pub keep_alive: bool,
    /// Further fields to leave out.
    pub drop: Dropped<'a>,
    /// Fields to add behind the others.
    pub append: &'a [NewField<'a>],
}

/// Appends the head of the response that is sent on to `out`, changed by `edits` after everything else. Where no body
/// comes, the answer to a HEAD and a 304 keep the Content-Length that they had.
pub fn encode_response(
    head: &ResponseHead,
    forward: &ResponseForward<'_>,
    edits: Option<Editing<'_>>,
    out: &mut Vec<u8>,
) {
    let keep_alive = forward.keep_alive && forward.framing != Framing::UntilClose;
    debug_assert_eq!(keep_alive, forward.keep_alive, "a body until close ends with its connection");
    put_status(head.status(), head.reason(), out);
    let announced = match (forward.framing, head.content_length()) {
        (Framing::None, Some(length)) => Framing::Length(length),
        (framing, _) => framing,
    };
    let dropped = Dropped { known: KnownSet::HOP_BY_HOP.with(forward.drop.known), ..forward.drop };
    let mut fields = Outgoing { section: head.section(), dropped, own: forward.append, edits, missing: 0 };
    fields.copy(forward.framing, announced, out);
    put_connection(forward.client, keep_alive, out);
    fields.add(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim response (1xx, but not 101) to `out` as it is sent on. Returns false and appends nothing for
/// a client of HTTP/1.0, which knows none (RFC 9110 section 15.2).
pub fn encode_interim(head: &ResponseHead, client: Version, out: &mut Vec<u8>) -> bool {
    debug_assert!(head.is_interim(), "a final response is sent on by encode_response");
    if client == Version::Http10 {
        return false;
    }
    put_status(head.status(), head.reason(), out);
    let dropped = Dropped { known: KnownSet::HOP_BY_HOP, ..Dropped::default() };
    Outgoing { section: head.section(), dropped, own: &[], edits: None, missing: 0 }.copy(
        Framing::None,
        Framing::None,
        out,
    );
    out.extend_from_slice(b"\r\n");
    true
}

/// A response that is made here and sent whole.
#[derive(Clone, Copy, Debug)]
pub struct LocalResponse<'a> {
    /// The status, 200 to 599.
    pub status: u16,
    /// The fields, without framing and connection.
    pub fields: &'a [NewField<'a>],
    /// The body.
    pub body: &'a [u8],
    /// Whether it answers a HEAD: the length is announced and the body left out.
    pub to_head: bool,
    /// The version of the client's request; 1.1 if there was no telling.
    pub client: Version,
    /// Whether the client's connection stays open.
    pub keep_alive: bool,
}

/// Appends a whole response to `out`, its fields changed by `edits`. A 204 and a 304 have neither body nor length.
pub fn encode_local(response: &LocalResponse<'_>, edits: Option<Editing<'_>>, out: &mut Vec<u8>) {
    let bodiless = matches!(response.status, 204 | 304);
    put_status(response.status, reason(response.status).as_bytes(), out);
    if !bodiless {
        put_length(response.body.len() as u64, out);
    }
    put_connection(response.client, response.keep_alive, out);
    match edits {
        None => put_new(response.fields, out),
        Some(mut edits) => {
            let head = Head { bytes: &[], spans: &[], own: response.fields };
            if let Some(plan) = edits.plan() {
                edits.put_planned(plan, head.own, plan.missing(&head, |_| true), out);
            } else {
                edits.apply(&head, |_| true);
                edits.put_others(&head, out);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless && !response.to_head {
        out.extend_from_slice(response.body);
    }
}

/// The fields of a head that is sent on.
struct Outgoing<'a> {
    section: &'a Section,
    dropped: Dropped<'a>,
    own: &'a [NewField<'a>],
    edits: Option<Editing<'a>>,
    /// Which conditional lines of the plan are to be added.
    missing: u64,
}

impl Outgoing<'_> {
    /// Copies what may be sent on and writes the framing: `sent` is how the body goes out, `announced` what the head
    /// says of it.
    fn copy(&mut self, sent: Framing, announced: Framing, out: &mut Vec<u8>) {
        let section = self.section;
        let length = if let Framing::Length(length) = announced { Some(length) } else { None };
        let in_place = length.is_some_and(|length| section.says_length(length));
        let mut dropped = self.dropped;
        if !in_place {
            dropped.known = dropped.known.with(KnownSet::of(&[Known::ContentLength]));
        }
        if sent != Framing::Chunked {
            // It announces trailers, which only chunks can carry.
            dropped.known = dropped.known.with(KnownSet::of(&[Known::Trailer]));
        }
        let others = dropped.forwarding || dropped.name.is_some();
        let wanted = |span: &FieldSpan| {
            let stays = !span.nominated && !dropped.known.contains(span.known);
            stays && !(others && span.known == Known::Other && dropped.drops_other(&section.bytes()[span.name()]))
        };
        match &mut self.edits {
            None => copy_lines(section, |_, span| if wanted(span) { Fate::Keep } else { Fate::Drop }, out),
            Some(edits) if let Some(plan) = edits.plan() => {
                let head = Head { bytes: section.bytes(), spans: section.spans(), own: self.own };
                self.missing = plan.missing(&head, wanted);
                let mut planned = dropped;
                planned.known = dropped.known.with(plan.known);
                let others = others || plan.has_others();
                let fate = |_, span: &FieldSpan| {
                    let drops_other = |name| dropped.drops_other(name) || plan.drops_other(name);
                    let stays = !span.nominated && !planned.known.contains(span.known);
                    let other = others && span.known == Known::Other && drops_other(&section.bytes()[span.name()]);
                    if stays && !other { Fate::Keep } else { Fate::Drop }
                };
                copy_lines(section, fate, out);
            }
            Some(edits) => {
                edits.apply(&Head { bytes: section.bytes(), spans: section.spans(), own: self.own }, wanted);
                let mut fates = edits.fates();
                copy_lines(section, |place, span| if wanted(span) { fates(place) } else { Fate::Drop }, out);
            }
        }
        match length {
            Some(length) if !in_place || dropped.known.contains(Known::ContentLength) => put_length(length, out),
            _ if announced == Framing::Chunked => put_field(b"Transfer-Encoding", b"chunked", out),
            _ => {}
        }
    }

    /// Appends what was not received.
    fn add(&self, out: &mut Vec<u8>) {
        let section = self.section;
        match &self.edits {
            None => put_new(self.own, out),
            Some(edits) if let Some(plan) = edits.plan() => edits.put_planned(plan, self.own, self.missing, out),
            Some(edits) => {
                edits.put_others(&Head { bytes: section.bytes(), spans: section.spans(), own: self.own }, out);
            }
        }
    }
}

/// Copies the lines that are kept, runs of canonical ones at once.
fn copy_lines<'n>(section: &Section, mut fate: impl FnMut(usize, &FieldSpan) -> Fate<'n>, out: &mut Vec<u8>) {
    let bytes = section.bytes();
    let mut run = 0..0;
    for (place, span) in section.spans().iter().enumerate() {
        let name = match fate(place, span) {
            Fate::Drop => continue,
            Fate::Keep if span.canonical => {
                let line = span.name().start..span.value().end + 2;
                if run.end == line.start {
                    run.end = line.end;
                } else {
                    out.extend_from_slice(&bytes[run]);
                    run = line;
                }
                continue;
            }
            Fate::Keep => &bytes[span.name()],
            Fate::Rename(name) => name,
        };
        out.extend_from_slice(&bytes[run]);
        put_field(name, &bytes[span.value()], out);
        run = 0..0;
    }
    out.extend_from_slice(&bytes[run]);
}

/// Says whether the connection stays open, where the version alone does not (RFC 9112 section 9.3).
fn put_connection(client: Version, keep_alive: bool, out: &mut Vec<u8>) {
    match (client, keep_alive) {
        (_, false) => put_field(b"Connection", b"close", out),
        (Version::Http10, true) => put_field(b"Connection", b"keep-alive", out),
        (Version::Http11, true) => {}
    }
}

pub(in crate::http) fn put_new(fields: &[NewField<'_>], out: &mut Vec<u8>) {
    for (name, value) in fields {
        put_field(name.as_bytes(), value.as_bytes(), out);
    }
}

pub(in crate::http) fn put_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!name.iter().chain(value).any(|b| matches!(b, b'\r' | b'\n' | 0)), "a field cannot end its line");
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn put_length(length: u64, out: &mut Vec<u8>) {
    put_field(b"Content-Length", Decimal::new(length).as_bytes(), out);
}

/// Writes `HTTP/1.1 200 OK`, whatever the backend's version (RFC 9110 section 6.2).
fn put_status(status: u16, reason: &[u8], out: &mut Vec<u8>) {
    debug_assert!((100..1000).contains(&status), "a status has three digits");
    let [hundreds, tens, ones] = [status / 100, status / 10, status].map(|digits| b'0' + (digits % 10) as u8);
    out.extend_from_slice(&[b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', hundreds, tens, ones, b' ']);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal digits, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    bytes: [u8; 20],
    start: usize,
}

impl Decimal {
    /// The digits of `number`.
    #[must_use]
    pub fn new(mut number: u64) -> Self {
        let mut bytes = [b'0'; 20];
        let mut start = bytes.len() - 1;
        bytes[start] = b'0' + (number % 10) as u8;
        while number > 9 {
            number /= 10;
            start -= 1;
            bytes[start] = b'0' + (number % 10) as u8;
        }
        Self { bytes, start }
    }

    /// The digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// The usual reason phrase of a status, or an empty one (RFC 9110 section 15).
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
