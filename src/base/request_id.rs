//! The id of a request: what ties together the lines of logs on both sides of the gateway.
//!
//! It is made here, or kept from somebody who is trusted to have made it. It is stored where it is used, without an
//! allocation, and it is of such characters that it can stand in a field, in JSON, in a URI and in a line of a log as
//! it is.

use std::fmt;

/// A request's id as text: 1 to [`RequestId::MAX`] bytes.
#[derive(Clone, Copy)]
pub struct RequestId {
    bytes: [u8; RequestId::MAX],
    length: u8,
}

impl Default for RequestId {
    fn default() -> Self {
        Self::made_of(&[b'0'; 36])
    }
}

impl RequestId {
    /// The most bytes that an id has.
    pub const MAX: usize = 128;

    /// A new id: a UUID of version 7 (RFC 9562), the time in milliseconds since 1970 and random bits.
    #[must_use]
    pub fn new(unix_millis: u64) -> Self {
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        let id = uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid();
        let mut text = [0; 36];
        id.hyphenated().encode_lower(&mut text);
        Self::made_of(&text)
    }

    /// The id that somebody else has made, if it is of 1 to [`RequestId::MAX`] letters, digits and any of `-._~+/=:@`.
    #[must_use]
    pub fn kept(text: &[u8]) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
        let fits = (1..=Self::MAX).contains(&text.len()) && text.iter().all(plain);
        fits.then(|| Self::made_of(text))
    }

    fn made_of(text: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text);
        // At most 128.
        Self { bytes, length: text.len() as u8 }
    }

    /// The id as bytes, all of them ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_7_and_differ() {
        let (first, second) = (RequestId::new(1 << 40), RequestId::new(1 << 40));
        assert_ne!(first.as_str(), second.as_str());
        for id in [first, second] {
            let text = id.as_str();
            assert_eq!(text.len(), 36);
            assert_eq!(text.as_bytes()[14], b'7');
            assert!(b"89ab".contains(&text.as_bytes()[19]));
        }
    }

    #[test]
    fn ids_of_others_are_kept_if_they_can_stand_anywhere() {
        let long = "a".repeat(128);
        for good in ["1", "0193515b-57a0-7cc3-98c4-dc0c0c07398f", "Root=1-67891233:abc", "a+b/c==", "x@y~z.w_v", &long]
        {
            assert_eq!(RequestId::kept(good.as_bytes()).map(|id| id.as_str().to_owned()).as_deref(), Some(good));
        }
        let too_long = "a".repeat(129);
        for bad in ["", "a b", "a\"b", "a\\b", "a;b", "a,b", "<a>", "\u{e4}", "a\r", "a\0", "{a}", "%41", &too_long] {
            assert!(RequestId::kept(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
