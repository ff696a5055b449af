//! What a line says of one request, in the form in which it waits to be written.
//!
//! A worker has no time for text: it copies what it knows as it is, and the writer's thread makes a line of it.

use std::net::{IpAddr, SocketAddr};

use crate::http::message::Version;

/// How long who took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The gateway itself.
    pub gateway: u64,
    /// Waiting for a connection.
    pub queue: u64,
    /// Making one.
    pub connect: u64,
    /// Between attempts.
    pub pause: u64,
    /// Sending the request.
    pub upload: u64,
    /// The backend, to the head of its response.
    pub first_byte: u64,
    /// The backend, to the end of its response.
    pub backend: u64,
    /// All in all.
    pub total: u64,
}

/// What is known of one request, but for the texts that came with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When its head was complete: microseconds since 1970 (UTC).
    pub unix_micros: u64,
    /// How long who took.
    pub spent: Spent,
    /// Bytes of the request.
    pub received: u64,
    /// Bytes of the response.
    pub sent: u64,
    /// How often it was sent.
    pub attempts: u32,
    /// The response's status; 0 for none.
    pub status: u16,
    /// The version in which it came; `None` where there was no request line.
    pub version: Option<Version>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The other side of the connection.
    pub peer: Option<SocketAddr>,
    /// The target, if it is an address.
    pub target: Option<SocketAddr>,
    /// The place of its route among the routes.
    pub route: Option<u32>,
    /// The place of its service among the services.
    pub service: Option<u32>,
    /// How it ended.
    pub outcome: &'static str,
    /// Why it was refused or cut; empty if it was neither.
    pub code: &'static str,
}

/// The texts that came with a request, as they were received. Those that are empty are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts<'a> {
    /// The request's id.
    pub id: &'a [u8],
    /// The value of `traceparent`.
    pub traceparent: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The host.
    pub host: &'a [u8],
    /// The path, and behind it the query with its `?`.
    pub uri: &'a [u8],
    /// The target, if it is no address.
    pub target: &'a [u8],
    /// Fields of both heads, as [`Recorder::with_headers`](super::Recorder::with_headers) has put them together.
    pub headers: &'a [u8],
}

/// How many texts there are.
const TEXTS: usize = 7;

/// The longest path and query together, in bytes; what is longer is cut.
pub(super) const URI_MAX: usize = 4096;
/// The longest of the other texts.
pub(super) const TEXT_MAX: usize = 1024;
/// The longest of all header fields together.
pub(super) const HEADERS_MAX: usize = 8 * 1024;
/// The longest texts of one entry.
pub(super) const TEXTS_MAX: usize = URI_MAX + (TEXTS - 2) * TEXT_MAX + HEADERS_MAX;

/// A request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What is known of it.
    pub facts: &'a Facts,
    /// What came with it.
    pub texts: Texts<'a>,
}

/// Entries one behind the other, with their texts in one place.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: Vec<(Facts, [u16; TEXTS])>,
    texts: Vec<u8>,
}

impl Entries {
    /// No entries, with room for so many, and so many bytes of texts.
    pub(super) fn with_capacity(entries: usize, texts: usize) -> Entries {
        Entries { entries: Vec::with_capacity(entries), texts: Vec::with_capacity(texts) }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.texts.clear();
    }

    /// Whether there is room for one more, however long it is. Nothing is allocated then.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < self.entries.capacity() && self.texts.capacity() - self.texts.len() >= TEXTS_MAX
    }

    /// Adds an entry, with those texts cut that are too long.
    pub(super) fn push(&mut self, facts: &Facts, texts: &Texts<'_>) {
        let Texts { id, traceparent, method, host, uri, target, headers } = *texts;
        let mut lengths = [0; TEXTS];
        let all = [id, traceparent, method, host, target, uri, headers];
        let most = [TEXT_MAX, TEXT_MAX, TEXT_MAX, TEXT_MAX, TEXT_MAX, URI_MAX, HEADERS_MAX];
        for ((text, most), length) in all.into_iter().zip(most).zip(&mut lengths) {
            // Most requests have neither a trace, nor a target without an address, nor fields to be logged.
            if !text.is_empty() {
                let text = text.get(..most).unwrap_or(text);
                self.texts.extend_from_slice(text);
                // At most 8 KiB.
                *length = text.len() as u16;
            }
        }
        self.entries.push((*facts, lengths));
    }

    /// All of them, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.texts[..];
        self.entries.iter().map(move |(facts, lengths)| {
            let mut texts = [&[][..]; TEXTS];
            for (text, length) in texts.iter_mut().zip(lengths) {
                (*text, rest) = rest.split_at(usize::from(*length));
            }
            let [id, traceparent, method, host, target, uri, headers] = texts;
            Entry { facts, texts: Texts { id, traceparent, method, host, uri, target, headers } }
        })
    }
}

impl<'a> Texts<'a> {
    /// The path, and the query if there is one.
    pub(super) fn path_and_query(&self) -> (&'a [u8], Option<&'a [u8]>) {
        match memchr::memchr(b'?', self.uri) {
            Some(mark) => (&self.uri[..mark], Some(&self.uri[mark + 1..])),
            None => (self.uri, None),
        }
    }

    /// The header fields: the place among those of requests or of responses, and the value.
    pub(super) fn header_fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            let (head, behind) = rest.split_first_chunk::<3>()?;
            let (value, behind) = behind.split_at_checked(u16::from_le_bytes([head[1], head[2]]).into())?;
            rest = behind;
            Some((head[0], value))
        })
    }
}

/// The bit of a header's place that says that it is one of the response.
pub const OF_RESPONSE: u8 = 0x80;

/// Writes a header field to the end of `out`, if there is room: the one at `place` among those of the request or the
/// response. A value that is too long is cut.
pub(super) fn put_header(place: u8, value: &[u8], out: &mut Vec<u8>) {
    let value = value.get(..TEXT_MAX).unwrap_or(value);
    if out.len() + 3 + value.len() <= HEADERS_MAX {
        out.push(place);
        // At most 1024.
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(value);
    }
}
