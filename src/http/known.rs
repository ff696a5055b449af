//! The field names that a gateway has to know, and finding out which one a name is.
//!
//! Every field of every head is looked up here, so names are compared as numbers, a few to each length.

macro_rules! known {
    ($($variant:ident = $text:literal,)+) => {
        /// A field name that some part of the gateway has to recognise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
            /// Any other name.
            Other,
        }

        impl Known {
            /// Every known name with its usual spelling.
            pub const ALL: &[(Self, &str)] = &[$((Self::$variant, $text),)+];
        }
    };
}

known! {
    Host = "Host",
    Connection = "Connection",
    ContentLength = "Content-Length",
    TransferEncoding = "Transfer-Encoding",
    Te = "TE",
    Trailer = "Trailer",
    Upgrade = "Upgrade",
    KeepAlive = "Keep-Alive",
    ProxyConnection = "Proxy-Connection",
    Http2Settings = "HTTP2-Settings",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyAuthenticate = "Proxy-Authenticate",
    Expect = "Expect",
    XForwardedFor = "X-Forwarded-For",
    XForwardedProto = "X-Forwarded-Proto",
    XForwardedHost = "X-Forwarded-Host",
    XForwardedPort = "X-Forwarded-Port",
    XRealIp = "X-Real-IP",
    XRequestId = "X-Request-Id",
    Forwarded = "Forwarded",
    Via = "Via",
    Server = "Server",
    Date = "Date",
    Authorization = "Authorization",
    WwwAuthenticate = "WWW-Authenticate",
    Cookie = "Cookie",
    SetCookie = "Set-Cookie",
    Origin = "Origin",
    UserAgent = "User-Agent",
    Referer = "Referer",
    Accept = "Accept",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    AcceptRanges = "Accept-Ranges",
    ContentType = "Content-Type",
    ContentEncoding = "Content-Encoding",
    ContentRange = "Content-Range",
    Range = "Range",
    IfRange = "If-Range",
    IfMatch = "If-Match",
    IfNoneMatch = "If-None-Match",
    IfModifiedSince = "If-Modified-Since",
    IfUnmodifiedSince = "If-Unmodified-Since",
    Etag = "ETag",
    LastModified = "Last-Modified",
    Age = "Age",
    Expires = "Expires",
    CacheControl = "Cache-Control",
    Pragma = "Pragma",
    Vary = "Vary",
    Location = "Location",
    RetryAfter = "Retry-After",
    MaxForwards = "Max-Forwards",
    Traceparent = "Traceparent",
}

const _: () = assert!(Known::ALL.len() < 64, "a KnownSet has 64 bits");

impl Known {
    /// The known name that equals `name` without regard to case (RFC 9110 section 5.1).
    pub fn classify(name: &[u8]) -> Self {
        let candidates = BY_LENGTH.get(name.len()).map_or(0..0, |&[start, end]| start.into()..end.into());
        let words = Words::of(name);
        CANDIDATES[candidates].iter().find(|(text, _)| *text == words).map_or(Known::Other, |&(_, known)| known)
    }

    /// Whether the field is meant for the next hop alone and never sent on as it is (RFC 9110 section 7.6.1).
    /// Transfer-Encoding is among them: the framing sent on is written anew. The fields that authenticate to a
    /// proxy are, too (RFC 9110 section 11.7): what lies behind a gateway is no proxy.
    pub fn is_hop_by_hop(self) -> bool {
        KnownSet::HOP_BY_HOP.contains(self)
    }
}

/// A set of known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u64);

impl KnownSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// What [`Known::is_hop_by_hop`] says, as a set.
    pub const HOP_BY_HOP: Self = Self::of(&[
        Known::Connection,
        Known::TransferEncoding,
        Known::Te,
        Known::Upgrade,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Http2Settings,
        Known::ProxyAuthorization,
        Known::ProxyAuthenticate,
    ]);

    /// The set of these names. [`Known::Other`] cannot be a member.
    pub const fn of(names: &[Known]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < names.len() {
            assert!(!matches!(names[i], Known::Other), "Other is not one name");
            bits |= 1 << names[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// The names that are in either set.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `name` is a member.
    pub const fn contains(self, name: Known) -> bool {
        !matches!(name, Known::Other) && self.0 >> name as u8 & 1 == 1
    }
}

/// A name in lower case, as numbers that are compared at once: its first eight bytes, its last eight, and for those
/// that are longer the eight behind the first.
///
/// Names of one length are equal if and only if these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words([u64; 3]);

/// The longest name that is known, in bytes. Three words hold no more than 24.
const LONGEST: usize = 19;

impl Words {
    #[inline]
    const fn of(name: &[u8]) -> Self {
        if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            let middle = match name.split_at(8).1.first_chunk::<8>() {
                Some(middle) => u64::from_le_bytes(*middle),
                None => 0,
            };
            return Self([lower(u64::from_le_bytes(*first)), lower(middle), lower(u64::from_le_bytes(*last))]);
        }
        if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            let (first, last) = (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64);
            return Self([lower(first | last << 32), 0, 0]);
        }
        let mut word = 0;
        let mut i = 0;
        while i < name.len() {
            word = word << 8 | name[i] as u64;
            i += 1;
        }
        Self([lower(word), 0, 0])
    }
}

/// The bytes of `word` with the letters in lower case.
const fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & (0x7f * EACH);
    // The top bit of each byte tells whether it is at least `A`, or more than `Z`; no byte carries into the next.
    let (from_a, past_z) = (low + (0x80 - b'A' as u64) * EACH, low + (0x7f - b'Z' as u64) * EACH);
    let capital = (from_a ^ past_z) & !word & (0x80 * EACH);
    word | capital >> 2
}

/// The known names, the shorter ones first.
static CANDIDATES: [(Words, Known); Known::ALL.len()] = {
    let mut sorted = [(Words([0; 3]), Known::Other); Known::ALL.len()];
    let (mut length, mut count) = (0, 0);
    while length <= LONGEST {
        let mut i = 0;
        while i < Known::ALL.len() {
            let (known, text) = Known::ALL[i];
            if text.len() == length {
                sorted[count] = (Words::of(text.as_bytes()), known);
                count += 1;
            }
            i += 1;
        }
        length += 1;
    }
    assert!(count == Known::ALL.len(), "a name is longer than LONGEST");
    sorted
};

/// Where in [`CANDIDATES`] the names of a length begin and end.
static BY_LENGTH: [[u8; 2]; LONGEST + 1] = {
    let mut ranges = [[0; 2]; LONGEST + 1];
    let (mut length, mut count) = (0, 0);
    while length <= LONGEST {
        ranges[length][0] = count;
        let mut i = 0;
        while i < Known::ALL.len() {
            if Known::ALL[i].1.len() == length {
                count += 1;
            }
            i += 1;
        }
        ranges[length][1] = count;
        length += 1;
    }
    ranges
};

const _: () = assert!(LONGEST <= 24, "three words hold no more");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Names that are known, with a byte or two of them changed, and some that are not.
    fn names() -> impl Strategy<Value = Vec<u8>> {
        let known = proptest::sample::select(Known::ALL.iter().map(|(_, text)| *text).collect::<Vec<_>>());
        let changed = (known, any::<u64>(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
        let changed = changed.prop_map(|(text, capitals, at, byte, change)| {
            let mut name = text.as_bytes().to_vec();
            for (i, byte) in name.iter_mut().enumerate() {
                if capitals >> (i % 64) & 1 == 1 {
                    *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
                }
            }
            let at = at.index(name.len());
            if change {
                // Also bytes that differ in one bit, such as CR from `-`.
                name[at] = if byte < 128 { name[at] ^ (1 << (byte % 8)) } else { byte };
            }
            name
        });
        prop_oneof![4 => changed, 1 => prop::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #[test]
        fn a_name_is_known_if_and_only_if_it_equals_one_without_regard_to_case(name in names()) {
            let equal = Known::ALL.iter().find(|(_, text)| text.as_bytes().eq_ignore_ascii_case(&name));
            prop_assert_eq!(Known::classify(&name), equal.map_or(Known::Other, |(known, _)| *known));
        }

        #[test]
        fn a_word_is_folded_as_its_bytes_are(bytes: [u8; 8]) {
            let folded = bytes.map(|byte| byte.to_ascii_lowercase());
            prop_assert_eq!(lower(u64::from_le_bytes(bytes)), u64::from_le_bytes(folded));
        }
    }
}
