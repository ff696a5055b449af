//! Queries without the secrets in them.

use std::borrow::Cow;

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

    /// `query` with [`MASKED`] for the values of these keys.
    ///
    /// `;` parts pairs as `&` does, for some servers read it like that; `?` and `#` do so that no pair hides behind them.
    pub(super) fn masked_query<'q>(&self, query: &'q [u8]) -> Cow<'q, [u8]> {
        // What is masked so far, and from where on there is nothing of it in there yet.
        let (mut masked, mut kept): (Vec<u8>, usize) = (Vec::new(), 0);
        let mut start = 0;
        for end in separators(query) {
            let pair = &query[start..end];
            if let Some(equals) = memchr::memchr(b'=', pair)
                && self.hides(&pair[..equals])
            {
                masked.extend_from_slice(&query[kept..=start + equals]);
                masked.extend_from_slice(MASKED);
                kept = end;
            }
            start = end + 1;
        }
        if kept == 0 {
            return Cow::Borrowed(query);
        }
        masked.extend_from_slice(&query[kept..]);
        Cow::Owned(masked)
    }

    /// Writes a value that may hold a URI with a query or a fragment.
    pub(super) fn put_uri(&self, value: &[u8], out: &mut Vec<u8>) {
        match memchr::memchr2(b'?', b'#', value) {
            None => out.extend_from_slice(value),
            Some(mark) => {
                out.extend_from_slice(&value[..=mark]);
                out.extend_from_slice(&self.masked_query(&value[mark + 1..]));
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

/// Where pairs of a query end.
fn separators(query: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let inside = query.iter().enumerate().filter(|(_, byte)| matches!(byte, b'&' | b';' | b'?' | b'#'));
    inside.map(|(at, _)| at).chain([query.len()])
}

/// The longest key that is looked at, in bytes.
const LONGEST: usize = 256;
