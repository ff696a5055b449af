//! What a line says of one request, and the compact form in which it waits to be written.
//!
//! A worker has no time for text: it copies what it knows as it is, behind a head of fixed size, and the writer's
//! thread makes a line of it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// How long who took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The gateway itself.
    pub gateway: u64,
    /// Waiting for a connection.
    pub queue: u64,
    /// Making one.
    pub connect: u64,
    /// The backend, to the head of its response.
    pub first_byte: u64,
    /// The backend, to the end of its response.
    pub backend: u64,
    /// All in all.
    pub total: u64,
}

/// What is known of one request. Texts are as they were received; those that are empty are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
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
    /// The second digit of the version of HTTP/1; `None` where there was no request line.
    pub minor_version: Option<u8>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The other side of the connection.
    pub peer: Option<SocketAddr>,
    /// The target, if it is an address.
    pub target: Option<SocketAddr>,
    /// The target, if it is something else.
    pub target_text: &'a [u8],
    /// How it ended.
    pub outcome: &'a [u8],
    /// Why it was refused or cut.
    pub code: &'a [u8],
    /// The request's id.
    pub id: &'a [u8],
    /// The value of `traceparent`.
    pub traceparent: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The host.
    pub host: &'a [u8],
    /// The path.
    pub path: &'a [u8],
    /// The query.
    pub query: Option<&'a [u8]>,
    /// The name of the route.
    pub route: &'a [u8],
    /// The name of the service.
    pub service: &'a [u8],
    /// Fields of both heads, as [`Recorder::with_headers`](super::Recorder::with_headers) has put them together.
    pub headers: &'a [u8],
}

/// Numbers of eight bytes.
const NUMBERS: usize = 9;
/// Addresses: 16 bytes and a port.
const ADDRESSES: usize = 3;
/// Texts.
const TEXTS: usize = 12;

const NUMBERS_AT: usize = 0;
const ADDRESSES_AT: usize = NUMBERS_AT + NUMBERS * 8;
const LENGTHS_AT: usize = ADDRESSES_AT + ADDRESSES * 18;
const ATTEMPTS_AT: usize = LENGTHS_AT + TEXTS * 2;
const STATUS_AT: usize = ATTEMPTS_AT + 4;
const FLAGS_AT: usize = STATUS_AT + 2;
/// Bytes before the texts.
const FIXED: usize = FLAGS_AT + 2;

/// Flags: which addresses there are, whether there is a query; the version is in the next byte.
const HAS_CLIENT: u8 = 1;
const HAS_PEER: u8 = 2;
const HAS_TARGET: u8 = 4;
const HAS_QUERY: u8 = 8;

/// The longest path and query together, in bytes; what is longer is cut.
pub(super) const TARGET_MAX: usize = 4096;
/// The longest of the other texts.
pub(super) const TEXT_MAX: usize = 1024;
/// The longest of all header fields together.
pub(super) const HEADERS_MAX: usize = 16 * 1024;
/// The longest entry.
pub(super) const ENTRY_MAX: usize = FIXED + TARGET_MAX + TEXTS * TEXT_MAX + HEADERS_MAX;

impl<'a> Entry<'a> {
    /// Bytes that [`Entry::put`] writes at most.
    pub(super) fn length(&self) -> usize {
        self.texts().iter().map(|text| text.len()).sum::<usize>() + FIXED
    }

    /// The texts, those that are too long cut.
    fn texts(&self) -> [&'a [u8]; TEXTS] {
        let cut = |text: &'a [u8]| text.get(..TEXT_MAX).unwrap_or(text);
        let path = self.path.get(..TARGET_MAX).unwrap_or(self.path);
        let query = self.query.unwrap_or_default();
        let query = query.get(..TARGET_MAX - path.len()).unwrap_or(query);
        [
            cut(self.target_text),
            self.outcome,
            self.code,
            self.id,
            cut(self.traceparent),
            self.method,
            cut(self.host),
            path,
            query,
            self.route,
            self.service,
            self.headers.get(..HEADERS_MAX).unwrap_or(self.headers),
        ]
    }

    /// Writes it to the end of `out`. Nothing is allocated where there is room for [`Entry::length`].
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let texts = self.texts();
        let mut fixed = [0; FIXED];
        let Spent { gateway, queue, connect, first_byte, backend, total } = self.spent;
        let numbers = [self.unix_micros, gateway, queue, connect, first_byte, backend, total, self.received, self.sent];
        for (place, number) in fixed[NUMBERS_AT..ADDRESSES_AT].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let client = self.client.map(|ip| SocketAddr::new(ip, 0));
        let mut flags = if self.query.is_some() { HAS_QUERY } else { 0 };
        let addresses = [(client, HAS_CLIENT), (self.peer, HAS_PEER), (self.target, HAS_TARGET)];
        for (place, (address, flag)) in fixed[ADDRESSES_AT..LENGTHS_AT].chunks_exact_mut(18).zip(addresses) {
            if let Some(address) = address {
                flags |= flag;
                let ip = match address.ip() {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                place[..16].copy_from_slice(&ip.octets());
                place[16..].copy_from_slice(&address.port().to_le_bytes());
            }
        }
        for (place, text) in fixed[LENGTHS_AT..ATTEMPTS_AT].chunks_exact_mut(2).zip(texts) {
            // None is longer than 16 KiB.
            place.copy_from_slice(&(text.len() as u16).to_le_bytes());
        }
        fixed[ATTEMPTS_AT..STATUS_AT].copy_from_slice(&self.attempts.to_le_bytes());
        fixed[STATUS_AT..FLAGS_AT].copy_from_slice(&self.status.to_le_bytes());
        fixed[FLAGS_AT] = flags;
        fixed[FLAGS_AT + 1] = self.minor_version.unwrap_or(u8::MAX);
        out.extend_from_slice(&fixed);
        for text in texts {
            out.extend_from_slice(text);
        }
    }

    /// The entry that `bytes` begin with, and what is behind it; nothing if it is not whole.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
        let (fixed, mut rest) = bytes.split_first_chunk::<FIXED>()?;
        let number =
            |index: usize| fixed[NUMBERS_AT + index * 8..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let flags = fixed[FLAGS_AT];
        let address = |index: usize, flag: u8| {
            let bytes: &[u8; 18] = fixed[ADDRESSES_AT + index * 18..].first_chunk()?;
            let (ip, port) = bytes.split_first_chunk::<16>()?;
            let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
            (flags & flag != 0).then(|| SocketAddr::new(ip, u16::from_le_bytes([port[0], port[1]])))
        };
        let mut texts = [&[][..]; TEXTS];
        for (text, length) in texts.iter_mut().zip(fixed[LENGTHS_AT..ATTEMPTS_AT].chunks_exact(2)) {
            (*text, rest) = rest.split_at_checked(u16::from_le_bytes([length[0], length[1]]).into())?;
        }
        let [target_text, outcome, code, id, traceparent, method, host, path, query, route, service, headers] = texts;
        let attempts = fixed[ATTEMPTS_AT..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let spent = Spent {
            gateway: number(1),
            queue: number(2),
            connect: number(3),
            first_byte: number(4),
            backend: number(5),
            total: number(6),
        };
        let entry = Entry {
            unix_micros: number(0),
            spent,
            received: number(7),
            sent: number(8),
            attempts,
            status: u16::from_le_bytes([fixed[STATUS_AT], fixed[STATUS_AT + 1]]),
            minor_version: Some(fixed[FLAGS_AT + 1]).filter(|version| *version != u8::MAX),
            client: address(0, HAS_CLIENT).map(|address| address.ip()),
            peer: address(1, HAS_PEER),
            target: address(2, HAS_TARGET),
            target_text,
            outcome,
            code,
            id,
            traceparent,
            method,
            host,
            path,
            query: (flags & HAS_QUERY != 0).then_some(query),
            route,
            service,
            headers,
        };
        Some((entry, rest))
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
