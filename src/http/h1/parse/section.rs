//! The fields of a head: the same rules for requests and responses.
//!
//! Beyond httparse:
//! - Names of letters, digits, `-` and `_` only. Other token characters are legal (RFC 9110 section 5.6.2) and
//!   in practice only an attempt to have two readers see two names. A `_` that imitates a protected name is
//!   refused, for CGI, WSGI and others read it as `-`.
//! - One Content-Length, digits only, no list even of equal values (RFC 9112 section 6.3 would allow folding
//!   them). Leading zeros are legal and harmless, for the number is written anew. At most 2^63 - 1, which every
//!   reader can hold.
//! - One Transfer-Encoding, exactly `chunked`, never with Content-Length, never in HTTP/1.0.
//! - Connection must be a list of tokens (RFC 9110 section 7.6.1), at most 32. It cannot name Host,
//!   Content-Length or Transfer-Encoding: refused. Naming any other well-known end-to-end field (Authorization,
//!   Cookie, X-Forwarded-For, Cache-Control and so on) has no effect: section 7.6.1 forbids it, and it would
//!   let a client strip what the gateway or the next backend relies on. All other names are honoured.

use std::str;

use arrayvec::ArrayVec;

use super::scan::Scan;
use super::{HeadLimits, target};
use crate::http::error::HeadError;
use crate::http::fields::{
    Field, FieldSpan, Known, KnownSet, NameShape, imitates_protected, is_forwarding, is_token, name_shape, trim,
};
use crate::http::message::Version;

/// More connection options than this are an attack, for each is compared with each field.
const MAX_CONNECTION_OPTIONS: usize = 32;

/// Storage beyond this is given back between messages, so that one large head does not stay for ever.
const KEPT_BYTES: usize = 8 * 1024;

/// The bytes of a head, its fields, and what they say. Recycled from message to message.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(super) bytes: Vec<u8>,
    pub(super) spans: Vec<FieldSpan>,
    pub(super) facts: Facts,
    pub(super) scan: Scan,
}

/// What the fields say about framing and connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) content_length: Option<u64>,
    /// The digits of Content-Length are as we would write them.
    pub(super) plain_length: bool,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade_option: bool,
    pub(super) te_trailers: bool,
    pub(super) expect: bool,
    pub(super) host: Option<u16>,
}

impl Section {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.spans.clear();
        self.facts = Facts::default();
        self.scan = Scan::default();
    }

    /// Takes over the fields in `lines`, which are all of `head` that is behind its start line, and `head` itself.
    pub(super) fn fill(&mut self, head: &[u8], lines: &[u8], version: Version) -> Result<(), HeadError> {
        let mut headers = ArrayVec::<_, { HeadLimits::MAX_FIELDS }>::new();
        for _ in 0..self.scan.fields() {
            headers.push(httparse::EMPTY_HEADER);
        }
        let headers = match httparse::parse_headers(lines, &mut headers) {
            Ok(httparse::Status::Complete((length, headers))) if length == lines.len() => headers,
            Ok(_) => return Err(HeadError::BadFieldLine),
            Err(error) => return Err(from_httparse(error)),
        };
        let mut connections = 0;
        for header in headers {
            let span = span(head, header)?;
            self.learn(span.known, header.value)?;
            connections += u32::from(span.known == Known::Connection);
            self.spans.push(span);
        }
        if self.facts.chunked && self.facts.content_length.is_some() {
            return Err(HeadError::LengthAndChunked);
        }
        if self.facts.chunked && version == Version::Http10 {
            return Err(HeadError::ChunkedInHttp10);
        }
        self.bytes.extend_from_slice(head);
        if connections > 0 { self.read_connection() } else { Ok(()) }
    }

    /// Remembers what one field says.
    fn learn(&mut self, known: Known, value: &[u8]) -> Result<(), HeadError> {
        let facts = &mut self.facts;
        match known {
            Known::Host => {
                if facts.host.is_some() {
                    return Err(HeadError::DuplicateHost);
                }
                if !target::is_authority(value) {
                    return Err(HeadError::BadHost);
                }
                facts.host = u16::try_from(self.spans.len()).ok();
            }
            Known::ContentLength => {
                if facts.content_length.is_some() {
                    return Err(HeadError::DuplicateContentLength);
                }
                facts.content_length = Some(content_length(value)?);
                facts.plain_length = value.len() == 1 || value[0] != b'0';
            }
            Known::TransferEncoding => {
                if facts.chunked {
                    return Err(HeadError::DuplicateTransferEncoding);
                }
                check_transfer_encoding(value)?;
                facts.chunked = true;
            }
            Known::Te => {
                facts.te_trailers |= value.split(|&b| b == b',').any(|t| trim(t).eq_ignore_ascii_case(b"trailers"));
            }
            Known::Expect => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HeadError::BadExpect);
                }
                facts.expect = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the connection options and marks the fields that they name.
    fn read_connection(&mut self) -> Result<(), HeadError> {
        let Self { bytes, spans, facts, .. } = self;
        let mut count = 0;
        for i in 0..spans.len() {
            if spans[i].known != Known::Connection {
                continue;
            }
            let value = &bytes[spans[i].value()];
            // What is said most often.
            if count < MAX_CONNECTION_OPTIONS && value.eq_ignore_ascii_case(b"keep-alive") {
                (count, facts.keep_alive) = (count + 1, true);
                continue;
            }
            for option in value.split(|&b| b == b',').map(trim) {
                // Empty list elements are legal (RFC 9110 section 5.6.1) and count.
                count += 1;
                if count > MAX_CONNECTION_OPTIONS || !(option.is_empty() || is_token(option)) {
                    return Err(HeadError::BadConnection);
                }
                match option {
                    o if o.eq_ignore_ascii_case(b"close") => facts.close = true,
                    o if o.eq_ignore_ascii_case(b"keep-alive") => facts.keep_alive = true,
                    o => {
                        facts.upgrade_option |= o.eq_ignore_ascii_case(b"upgrade");
                        nominate(bytes, spans, o)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The fields in the order in which they came.
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields { section: self, spans: self.spans.iter() }
    }

    fn field(&self, span: &FieldSpan) -> Field<'_> {
        Field {
            name: &self.bytes[span.name()],
            value: &self.bytes[span.value()],
            known: span.known,
            hop_by_hop: span.nominated || span.known.is_hop_by_hop(),
        }
    }

    /// The value of the first field with this name.
    pub(super) fn get(&self, known: Known) -> Option<&[u8]> {
        self.spans.iter().find(|span| span.known == known).map(|span| &self.bytes[span.value()])
    }

    /// A part of the head that is known to be ASCII.
    pub(super) fn text(&self, start: u16, end: u16) -> &str {
        str::from_utf8(self.part(start, end)).unwrap_or_default()
    }

    /// A part of the head.
    pub(super) fn part(&self, start: u16, end: u16) -> &[u8] {
        &self.bytes[start.into()..end.into()]
    }

    pub(in crate::http::h1) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(in crate::http::h1) fn spans(&self) -> &[FieldSpan] {
        &self.spans
    }

    /// Whether the Content-Length field says `length` just as we would write it.
    pub(in crate::http::h1) fn says_length(&self, length: u64) -> bool {
        self.facts.plain_length && self.facts.content_length == Some(length)
    }
}

/// The fields of a head, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    section: &'a Section,
    spans: std::slice::Iter<'a, FieldSpan>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.spans.next().map(|span| self.section.field(span))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl DoubleEndedIterator for Fields<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.spans.next_back().map(|span| self.section.field(span))
    }
}

impl ExactSizeIterator for Fields<'_> {}

/// What httparse's errors mean where only fields are left to be read.
fn from_httparse(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::BadFieldName,
        httparse::Error::HeaderValue => HeadError::BadFieldValue,
        httparse::Error::NewLine => HeadError::BadLineEnd,
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => HeadError::BadFieldLine,
    }
}

/// Where `header` stands in `head`.
fn span(head: &[u8], header: &httparse::Header<'_>) -> Result<FieldSpan, HeadError> {
    let name = header.name.as_bytes();
    let known = Known::classify(name);
    // Names that are known have a plain shape, all of them.
    if known == Known::Other {
        check_shape(name)?;
    }
    let name_start = name.as_ptr().addr() - head.as_ptr().addr();
    let name_end = name_start + name.len();
    // Of an empty value httparse says nothing about its place: it is put behind the colon.
    let value_start =
        if header.value.is_empty() { name_end + 1 } else { header.value.as_ptr().addr() - head.as_ptr().addr() };
    let value_end = value_start + header.value.len();
    let narrow = |offset: usize| u16::try_from(offset).map_err(|_| HeadError::HeadTooLarge);
    Ok(FieldSpan {
        name_start: narrow(name_start)?,
        name_end: narrow(name_end)?,
        value_start: narrow(value_start)?,
        value_end: narrow(value_end)?,
        known,
        canonical: value_start == name_end + 2
            && head.get(name_end + 1) == Some(&b' ')
            && head.get(value_end..value_end + 2) == Some(b"\r\n"),
        nominated: false,
    })
}

/// Refuses a name that readers may take for different ones.
fn check_shape(name: &[u8]) -> Result<(), HeadError> {
    match name_shape(name) {
        NameShape::Plain => Ok(()),
        NameShape::Underscore if !imitates_protected(name) => Ok(()),
        NameShape::Underscore => Err(HeadError::AmbiguousFieldName),
        NameShape::Odd => Err(HeadError::OddFieldName),
        NameShape::Malformed => Err(HeadError::BadFieldName),
    }
}

/// The number in a Content-Length field.
fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    // 19 digits cannot overflow 64 bits.
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::BadContentLength);
    }
    let number = value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    if i64::try_from(number).is_ok() { Ok(number) } else { Err(HeadError::BadContentLength) }
}

/// Accepts `chunked` alone. A list of other codings that ends with it is a request for what we do not implement
/// (501, RFC 9112 section 6.1); one that does not end with it, or has it twice, has no certain end (400,
/// section 6.3).
fn check_transfer_encoding(value: &[u8]) -> Result<(), HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.rsplit(|&b| b == b',').map(trim);
    let last = codings.next().unwrap_or_default();
    let fit = last.eq_ignore_ascii_case(b"chunked") && codings.all(|c| is_token(c) && !c.eq_ignore_ascii_case(last));
    Err(if fit { HeadError::UnsupportedTransferCoding } else { HeadError::BadTransferEncoding })
}

/// Marks the fields called `option`, which Connection names.
fn nominate(bytes: &[u8], spans: &mut [FieldSpan], option: &[u8]) -> Result<(), HeadError> {
    const REFUSED: KnownSet = KnownSet::of(&[Known::Host, Known::ContentLength, Known::TransferEncoding]);
    let known = Known::classify(option);
    if REFUSED.contains(known) {
        return Err(HeadError::BadConnection);
    }
    let honoured = known == Known::Other || known == Known::Trailer || known.is_hop_by_hop();
    if honoured && !option.is_empty() && !is_forwarding(option) {
        for span in spans.iter_mut().filter(|span| bytes[span.name()].eq_ignore_ascii_case(option)) {
            span.nominated = true;
        }
    }
    Ok(())
}
