//! Request heads.
//!
//! Beyond httparse, and beyond what the fields' rules and the target's say:
//! - One empty line before the request line is skipped (RFC 9112 section 2.2), and no more.
//! - A method is 1 to 32 upper-case letters and `-`, beginning with a letter. Unknown ones pass: whether a
//!   backend is asked is a matter of routes. CONNECT is refused.
//! - HTTP/1.1 needs exactly one Host, HTTP/1.0 at most one (section 3.2). The authority of an absolute-form
//!   takes its place (section 3.2.2).
//! - `100-continue` in HTTP/1.0 is not heard (RFC 9110 section 10.1.1).

use std::str;

use super::section::{Fields, Section};
use super::{HeadLimits, Progress, target};
use crate::http::error::HeadError;
use crate::http::fields::{FieldValue, Known};
use crate::http::message::{Framing, Method, Version};

/// The longest method that is accepted, in bytes.
const MAX_METHOD: usize = 32;

/// How almost every request line ends.
const LINE_END: &[u8] = b" HTTP/1.1";

/// The HTTP/2 connection preface up to its empty line looks like a request without fields.
const HTTP2_PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0";

/// The head of a request, and the storage it is in. [`clear`](Self::clear) it before the next one.
#[derive(Debug, Default)]
pub struct RequestHead {
    section: Section,
    method: Method,
    version: Version,
    method_end: u16,
    target_end: u16,
    /// The authority of an absolute-form, empty otherwise.
    authority: (u16, u16),
    path: (u16, u16),
    query: Option<(u16, u16)>,
}

impl RequestHead {
    /// Forgets the head and keeps its storage, up to 8 KiB of bytes.
    pub fn clear(&mut self) {
        self.section.clear();
    }

    /// Takes a head from the start of `input`. While it is incomplete, call again with the same input and more
    /// behind it; bytes that were looked at are not searched again. After an error the connection cannot go on.
    ///
    /// # Errors
    /// The first fault of the head; limits and line ends are checked while it is still incomplete.
    pub fn parse(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Progress, HeadError> {
        debug_assert!(self.section.bytes.is_empty(), "a head is cleared before the next one");
        let skip = match input {
            [b'\r', b'\n', ..] => 2,
            [b'\r'] => return Ok(Progress::Incomplete),
            [b'\r' | b'\n', ..] => return Err(HeadError::BadLineEnd),
            _ => 0,
        };
        let input = &input[skip..];
        match self.section.scan.find_end(input, limits, |line| check_start(line, limits))? {
            None => Ok(Progress::Incomplete),
            Some(end) => {
                self.read(&input[..end])?;
                Ok(Progress::Complete { consumed: skip + end })
            }
        }
    }

    /// Reads a complete head.
    fn read(&mut self, head: &[u8]) -> Result<(), HeadError> {
        let (line, fields) = self.section.scan.split(head);
        self.read_line(line)?;
        self.section.fill(head, fields, self.version)?;
        if self.version == Version::Http11 && self.section.facts.host.is_none() {
            return Err(HeadError::MissingHost);
        }
        Ok(())
    }

    /// Reads the request line, without its line end.
    fn read_line(&mut self, line: &[u8]) -> Result<(), HeadError> {
        if line == HTTP2_PREFACE_LINE {
            return Err(HeadError::Http2Preface);
        }
        let usual_end = line.len().checked_sub(LINE_END.len()).filter(|&end| line[end..] == *LINE_END);
        // Where a bare CR ends the line for others, it is at fault only if the line would be right otherwise.
        let bare = if usual_end.is_some() { None } else { memchr::memchr(b'\r', line) };
        let line = &line[..bare.unwrap_or(line.len())];
        let method_end = memchr::memchr(b' ', line).ok_or(HeadError::BadRequestLine)?;
        let target_end = usual_end.or_else(|| memchr::memrchr(b' ', line)).filter(|&end| end > method_end + 1);
        let target_end = target_end.ok_or(HeadError::BadRequestLine)?;
        self.version = version(&line[target_end + 1..])?;
        self.method = Method::classify(&line[..method_end]);
        if self.method == Method::Connect {
            return Err(HeadError::ConnectRefused);
        }
        let target = &line[method_end + 1..target_end];
        let parts = target::split(target, self.method)?;
        // A head of at most 65535 bytes: no offset is cut.
        let place = |offset: usize| (method_end + 1 + offset) as u16;
        let pair = |(start, end)| (place(start), place(end));
        self.method_end = method_end as u16;
        self.target_end = target_end as u16;
        self.authority = pair(parts.authority);
        self.path = pair(parts.path);
        self.query = parts.query.map(pair);
        if bare.is_some() { Err(HeadError::BadLineEnd) } else { Ok(()) }
    }

    /// The method's kind.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method's text.
    pub fn method_text(&self) -> &str {
        self.section.text(0, self.method_end)
    }

    /// The version of the request line.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The request target as it was received.
    pub fn target(&self) -> &str {
        self.section.text(self.method_end + 1, self.target_end)
    }

    /// The path as it was received: begins with `/`, or is `*`. An absolute-form without a path has `/`, and `*`
    /// for an OPTIONS without a query (RFC 9112 section 3.2.4).
    pub fn path(&self) -> &str {
        match self.section.text(self.path.0, self.path.1) {
            "" if self.method == Method::Options && self.query.is_none() => "*",
            "" => "/",
            path => path,
        }
    }

    /// The path as bytes; see [`path`](Self::path).
    pub fn path_bytes(&self) -> &[u8] {
        match self.section.part(self.path.0, self.path.1) {
            b"" => self.path().as_bytes(),
            path => path,
        }
    }

    /// The query as it was received, without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.map(|(start, end)| self.section.text(start, end))
    }

    /// The query as bytes; see [`query`](Self::query).
    pub fn query_bytes(&self) -> Option<&[u8]> {
        self.query.map(|(start, end)| self.section.part(start, end))
    }

    /// The path and, behind a `?`, the query, as they were received; see [`path`](Self::path).
    pub fn uri_bytes(&self) -> &[u8] {
        match self.query {
            // What is between the two is the mark. A target without a path begins with it.
            Some((_, end)) => self.section.part(self.path.0, end),
            None => self.path_bytes(),
        }
    }

    /// The host as bytes, empty if there is none; see [`host`](Self::host).
    pub fn host_bytes(&self) -> &[u8] {
        match self.section.part(self.authority.0, self.authority.1) {
            b"" => self.host_field().unwrap_or_default(),
            authority => authority,
        }
    }

    /// The authority of an absolute-form target.
    pub fn authority(&self) -> Option<&str> {
        Some(self.section.text(self.authority.0, self.authority.1)).filter(|authority| !authority.is_empty())
    }

    /// The host that the request is for, perhaps with a port: the target's authority, or else the Host field.
    /// `None` only in HTTP/1.0.
    pub fn host(&self) -> Option<&str> {
        self.authority().or_else(|| self.host_field().and_then(|host| str::from_utf8(host).ok()))
    }

    /// The host as the value of a field; see [`host`](Self::host).
    pub fn host_value(&self) -> Option<FieldValue<'_>> {
        let host = match self.section.part(self.authority.0, self.authority.1) {
            b"" => self.host_field(),
            authority => Some(authority),
        };
        host.map(FieldValue::parsed)
    }

    /// The fields in the order in which they came.
    pub fn fields(&self) -> Fields<'_> {
        self.section.fields()
    }

    /// The value of the first field with this name.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        self.section.get(known)
    }

    /// How the end of the body is found (RFC 9112 section 6.3).
    pub fn framing(&self) -> Framing {
        match self.section.facts.content_length {
            _ if self.section.facts.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::None,
        }
    }

    /// Whether the client keeps the connection after this exchange (RFC 9112 section 9.3).
    pub fn keep_alive(&self) -> bool {
        let facts = &self.section.facts;
        !facts.close && (self.version == Version::Http11 || facts.keep_alive)
    }

    /// Whether the client waits for a 100 before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.section.facts.expect && self.version == Version::Http11
    }

    /// Whether the client takes trailers (`TE: trailers`, RFC 9110 section 10.1.4).
    pub fn accepts_trailers(&self) -> bool {
        self.section.facts.te_trailers && self.version == Version::Http11
    }

    /// What the client wants to upgrade to: Upgrade, if Connection has `upgrade` too (RFC 9110 section 7.8).
    pub fn upgrade(&self) -> Option<&[u8]> {
        let asked = self.section.facts.upgrade_option && self.version == Version::Http11;
        if asked { self.get(Known::Upgrade) } else { None }
    }

    /// The method's text as bytes.
    pub fn method_bytes(&self) -> &[u8] {
        self.section.part(0, self.method_end)
    }

    pub(in crate::http::h1) fn section(&self) -> &Section {
        &self.section
    }

    /// The value of the Host field, whatever the target says.
    pub(in crate::http::h1) fn host_field(&self) -> Option<&[u8]> {
        let span = self.section.spans.get(usize::from(self.section.facts.host?))?;
        self.section.bytes.get(span.value())
    }
}

/// Method and target of a head that was refused, as far as they are there and are what they should be, for who has to
/// find out whose request that was. Of an absolute target this is what is behind the authority, and nothing is taken of a
/// fragment, for secrets stand in both.
#[must_use]
pub fn refused_line(head: &[u8]) -> (&[u8], &[u8]) {
    let line = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut words = line.splitn(3, |&byte| byte == b' ');
    // A word is whole where another follows.
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Default::default() };
    if method.is_empty() || !fits_method(method) {
        return Default::default();
    }
    let is_whole = words.next().is_some() && target.iter().all(u8::is_ascii_graphic);
    let target = target.split(|&byte| byte == b'#').next().filter(|_| is_whole).unwrap_or_default();
    let target = match memchr::memmem::find(target, b"://") {
        Some(scheme) if !target.starts_with(b"/") => {
            let rest = &target[scheme + 3..];
            &rest[memchr::memchr(b'/', rest).unwrap_or(rest.len())..]
        }
        _ => target,
    };
    (method, if target.starts_with(b"/") || target == b"*" { target } else { &[] })
}

/// Whether this is a method, or the beginning of one.
fn fits_method(method: &[u8]) -> bool {
    let fit = method.iter().enumerate().all(|(i, b)| b.is_ascii_uppercase() || (*b == b'-' && i > 0));
    fit && method.len() <= MAX_METHOD
}

/// Refuses a request line as soon as it can be: `line` may still be incomplete.
fn check_start(line: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
    let start = &line[..line.len().min(MAX_METHOD + 1)];
    let method_end = start.iter().position(|&b| b == b' ');
    let method = &start[..method_end.unwrap_or(start.len())];
    if !fits_method(method) || method_end == Some(0) {
        return Err(HeadError::BadMethod);
    }
    if let Some(method_end) = method_end {
        let target = &line[method_end + 1..];
        if target.len() > limits.target && memchr::memchr(b' ', &target[..=limits.target]).is_none() {
            return Err(HeadError::TargetTooLong);
        }
    }
    Ok(())
}

fn version(text: &[u8]) -> Result<Version, HeadError> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(HeadError::UnsupportedVersion)
        }
        _ => Err(HeadError::BadVersion),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
