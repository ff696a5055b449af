//! Queries without the secrets in them.

use std::ops::Range;

use crate::http::query;

/// What stands where a secret was.
pub(super) const MASKED: &[u8] = b"***";

/// The keys whose values are secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask {
    /// In lower case.
    keys: Box<[Box<[u8]>]>,
    /// The lengths of the keys, and their first bytes: most keys of queries have none of these.
    lengths: Bits,
    first: Bits,
}

/// Numbers, each as its lowest six bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bits(u64);

impl Bits {
    fn of(numbers: impl Iterator<Item = usize>) -> Bits {
        Bits(numbers.fold(0, |bits, number| bits | 1 << (number % 64)))
    }

    fn may_have(self, number: usize) -> bool {
        self.0 >> (number % 64) & 1 == 1
    }
}

impl Mask {
    /// The mask of these keys.
    pub(super) fn new<'a>(keys: impl Iterator<Item = &'a str>) -> Mask {
        let keys: Box<[Box<[u8]>]> = keys.map(|key| key.to_ascii_lowercase().into_bytes().into()).collect();
        let lengths = Bits::of(keys.iter().map(|key| key.len()));
        let first = Bits::of(keys.iter().filter_map(|key| key.first()).map(|&byte| byte.into()));
        Mask { keys, lengths, first }
    }

    /// Whether there is nothing to be masked in `query`.
    #[inline]
    pub(super) fn is_clear(&self, query: &[u8]) -> bool {
        self.next_secret(query, 0).is_none()
    }

    /// Gives `put` the pieces of `query`, with [`MASKED`] for the values of these keys.
    pub(super) fn put_query<'q>(&self, query: &'q [u8], mut put: impl FnMut(&'q [u8])) {
        let mut kept = 0;
        while let Some(secret) = self.next_secret(query, kept) {
            put(&query[kept..secret.start]);
            put(MASKED);
            kept = secret.end;
        }
        put(&query[kept..]);
    }

    /// The first value of one of these keys at `at` or behind, where a pair begins or ends.
    ///
    /// `;` parts pairs as `&` does, for some servers read it like that; `?` and `#` do so that no pair hides behind them.
    #[inline]
    fn next_secret(&self, query: &[u8], mut at: usize) -> Option<Range<usize>> {
        while at < query.len() {
            let (start, mut kinds) = (at, 0);
            while let Some(&byte) = query.get(at)
                && KINDS[usize::from(byte)] & (SEPARATOR | EQUALS) == 0
            {
                kinds |= KINDS[usize::from(byte)];
                at += 1;
            }
            let equals = at;
            while let Some(&byte) = query.get(at)
                && KINDS[usize::from(byte)] & SEPARATOR == 0
            {
                at += 1;
            }
            if equals < at && self.hides(&query[start..equals], kinds & DECODED != 0) {
                return Some(equals + 1..at);
            }
            at += 1;
        }
        None
    }

    /// Gives `put` the pieces of a value that may hold a URI with a query or a fragment.
    pub(super) fn put_uri<'q>(&self, value: &'q [u8], mut put: impl FnMut(&'q [u8])) {
        match memchr::memchr2(b'?', b'#', value) {
            None => put(value),
            Some(mark) => {
                put(&value[..=mark]);
                self.put_query(&value[mark + 1..], put);
            }
        }
    }

    /// Whether the key that is written like this is a secret's, or a part of it in brackets is. `decoded` says that it
    /// has such parts, or stands for another.
    #[inline]
    fn hides(&self, written: &[u8], decoded: bool) -> bool {
        let first = |byte: &u8| self.first.may_have(byte.to_ascii_lowercase().into());
        let may_be = || self.lengths.may_have(written.len()) && written.first().is_none_or(first);
        (decoded || written.len() > LONGEST || may_be()) && self.is_secret(written)
    }

    #[cold]
    fn is_secret(&self, written: &[u8]) -> bool {
        let mut decoded = [0; LONGEST];
        let mut length = 0;
        for byte in query::decoded(written) {
            // What is so long is not one of ours, but an element of it may be: better masked than told.
            let Some(place) = decoded.get_mut(length) else { return !self.keys.is_empty() };
            *place = byte.to_ascii_lowercase();
            length += 1;
        }
        let mut parts = decoded[..length].split(|byte| matches!(byte, b'[' | b']'));
        parts.any(|part| self.keys.iter().any(|key| **key == *part))
    }
}

/// A byte that parts pairs.
const SEPARATOR: u8 = 1;
/// What is between key and value.
const EQUALS: u8 = 2;
/// A byte because of which a key is not just what is written.
const DECODED: u8 = 4;

/// What each byte is in a query.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'&' | b';' | b'?' | b'#' => SEPARATOR,
            b'=' => EQUALS,
            b'%' | b'+' | b'[' | b']' => DECODED,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

/// The longest key that is looked at, in bytes.
const LONGEST: usize = 256;
