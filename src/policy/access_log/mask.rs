//! Queries without the secrets in them.

use crate::http::query;

/// What stands where a secret was.
pub(super) const MASKED: &[u8] = b"***";

/// The keys whose values are secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask {
    /// In lower case.
    keys: Box<[Box<[u8]>]>,
}

impl Mask {
    /// The mask of these keys.
    pub(super) fn new<'a>(keys: impl Iterator<Item = &'a str>) -> Mask {
        Mask { keys: keys.map(|key| key.to_ascii_lowercase().into_bytes().into()).collect() }
    }

    /// Writes `query` to the end of `out`, with [`MASKED`] for the values of these keys.
    ///
    /// `;` parts pairs as `&` does, for some servers read it like that; `?` and `#` do so that no pair hides behind them.
    pub(super) fn put_query(&self, query: &[u8], out: &mut Vec<u8>) {
        let mut rest = query;
        loop {
            let end = rest.iter().position(|byte| b"&;?#".contains(byte)).unwrap_or(rest.len());
            let pair = &rest[..end];
            match memchr::memchr(b'=', pair) {
                Some(equals) if self.hides(&pair[..equals]) => {
                    out.extend_from_slice(&pair[..=equals]);
                    out.extend_from_slice(MASKED);
                }
                _ => out.extend_from_slice(pair),
            }
            let Some(separator) = rest.get(end) else { return };
            out.push(*separator);
            rest = &rest[end + 1..];
        }
    }

    /// Writes a value that may hold a URI with a query or a fragment.
    pub(super) fn put_uri(&self, value: &[u8], out: &mut Vec<u8>) {
        match memchr::memchr2(b'?', b'#', value) {
            None => out.extend_from_slice(value),
            Some(mark) => {
                out.extend_from_slice(&value[..=mark]);
                self.put_query(&value[mark + 1..], out);
            }
        }
    }

    /// Whether the key that is written like this is a secret's, or a part of it in brackets is.
    fn hides(&self, written: &[u8]) -> bool {
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

/// The longest key that is looked at, in bytes.
const LONGEST: usize = 256;
