//! The query of a target, as forms write it: `key=value` pairs between `&`, with `+` for a space
//! (WHATWG URL section 5.1).
//!
//! A key is compared as the characters that it stands for, so nobody passes by a rule by writing `%61` for `a`. Of a key
//! that comes more than once, the first counts.

/// The first value of `key` in `query`, as it was received; nothing if the key is not there.
#[must_use]
pub fn value<'q>(query: &'q [u8], key: &[u8]) -> Option<&'q [u8]> {
    let pairs = query.split(|&byte| byte == b'&').map(|pair| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        (&pair[..end], pair.get(end + 1..).unwrap_or_default())
    });
    let mut values = pairs.filter(|(encoded, _)| decoded(encoded).eq(key.iter().copied()));
    values.next().map(|(_, value)| value)
}

/// Whether a key or a value stands for other characters than it is written with.
#[must_use]
pub fn is_encoded(text: &[u8]) -> bool {
    memchr::memchr2(b'%', b'+', text).is_some()
}

/// A key or a value as it is meant. An escape that is none stands for itself; the parser lets none through.
pub fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(at)?;
        at += 1;
        match (byte, digit(text.get(at)), digit(text.get(at + 1))) {
            (b'+', ..) => Some(b' '),
            (b'%', Some(high), Some(low)) => {
                at += 2;
                Some((high << 4 | low) as u8)
            }
            _ => Some(byte),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_decoded_and_the_first_counts() {
        for (query, key, expected) in [
            ("a=1", "a", Some("1")),
            ("b=1&a=2&a=3", "a", Some("2")),
            ("%61=x%20y", "a", Some("x%20y")),
            ("a+b=1", "a b", Some("1")),
            ("a+b=1", "a+b", None),
            ("a%2Bb=1", "a+b", Some("1")),
            ("a=x=y", "a", Some("x=y")),
            ("a", "a", Some("")),
            ("&&a=", "a", Some("")),
            ("A=1", "a", None),
            ("aa=1", "a", None),
            ("", "a", None),
            ("=1", "", Some("1")),
        ] {
            let found = value(query.as_bytes(), key.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes), "{key} in {query}");
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        for (text, expected) in [("x+y", "x y"), ("%2541", "%41"), ("%4", "%4"), ("%zz", "%zz"), ("a%4aZ", "aJZ")] {
            assert_eq!(decoded(text.as_bytes()).collect::<Vec<_>>(), expected.as_bytes(), "{text}");
            assert!(is_encoded(text.as_bytes()));
        }
        assert!(!is_encoded(b"plain-text"));
    }

    /// Decodes with splits and the standard library's numbers, and no look at single bytes.
    fn naive(text: &str) -> Vec<u8> {
        let spaced = text.replace('+', " ");
        let mut parts = spaced.split('%');
        let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let number = part.get(..2).filter(|digits| !digits.contains(['+', ' ']));
            match number.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => {
                    out.push(byte);
                    out.extend_from_slice(&part.as_bytes()[2..]);
                }
                None => {
                    out.push(b'%');
                    out.extend_from_slice(part.as_bytes());
                }
            }
        }
        out
    }

    proptest::proptest! {
        #[test]
        fn what_is_decoded_is_what_a_naive_decoder_finds(text in "(%[0-9a-fA-F]{2}|[a%+2]){0,8}") {
            proptest::prop_assert_eq!(decoded(text.as_bytes()).collect::<Vec<_>>(), naive(&text));
        }
    }
}
