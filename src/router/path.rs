//! The normal form of a path, in which it is matched and sent on.
//!
//! Two spellings of one path must not reach two routes, or a route that demands a key is walked around by spelling its
//! path another way. So before matching:
//!
//! - unreserved characters are decoded (`%7Euser` is `~user`), all other escapes stay and get upper-case digits
//!   (`%2f` is `%2F`, which is no segment border);
//! - dot segments are resolved, also those that were escaped (`/a/%2e%2E/b` is `/b`);
//! - empty segments stay, for they mean something to some backends (`/a//b`), unless `merge_slashes = true` in
//!   `[gateway]` says that slashes in a row are one. They are merged before dot segments are resolved.
//!
//! Escaped bytes that are no UTF-8 stay as they are, with upper-case digits (`%ff` is `%FF`): they are bytes of some
//! other encoding, and nothing that we compare is decoded. So an overlong escape of a dot or a slash (`%c0%ae`) is never
//! one. A backslash is refused as it is and stays where it is escaped (`%5C`). A NUL is refused both ways.
//!
//! Where RFC 3986 clamps a path that climbs above the root, we refuse it: nobody but an attacker sends one, and a
//! backend that resolves it once more than we do would leave its own root. For the same reason a dot segment is refused
//! that we would not resolve but some backends do: one beside an escaped slash or a backslash (`..%2Fadmin`, for
//! backends that decode first), and one with parameters (`..;x/admin`, for those that drop the parameters first).
//!
//! A path that is in normal form already, as nearly all are, is returned as it is, with nothing copied.

use std::fmt;

/// Why a path is refused, with a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with a slash.
    NotAbsolute,
    /// It climbs above the root.
    AboveRoot,
    /// A `%` without two hexadecimal digits after it.
    BadEscape,
    /// A backslash, which some backends take for a slash.
    Backslash,
    /// A NUL, as it is or escaped.
    Nul,
    /// `.` or `..` beside an escaped slash or backslash, or with parameters.
    DisguisedDots,
}

impl PathError {
    /// What is wrong, in a sentence for people.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::NotAbsolute => "The path does not begin with a slash.",
            Self::AboveRoot => "The path climbs above the root.",
            Self::BadEscape => "The path has a `%` without two hexadecimal digits after it.",
            Self::Backslash => "The path has a backslash in it.",
            Self::Nul => "The path has a NUL in it.",
            Self::DisguisedDots => "The path has a disguised dot segment.",
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for PathError {}

/// What slashes in a row are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slashes {
    /// Borders of empty segments.
    #[default]
    Kept,
    /// One slash: `merge_slashes = true`.
    Merged,
}

/// Brings `path` (without its query) into its normal form: `path` itself where it is in normal form already, else what
/// was written into `buffer`, whose earlier content is dropped and whose memory is used again. The result is never
/// longer than `path`.
///
/// # Errors
/// The path is one to refuse; see [`PathError`].
pub fn normalize<'a>(path: &'a [u8], slashes: Slashes, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], PathError> {
    if is_plain(path, slashes) {
        return Ok(path);
    }
    buffer.clear();
    buffer.reserve(path.len());
    if path.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    for segment in path[1..].split_inclusive(|&byte| byte == b'/') {
        let (segment, more) = match segment.strip_suffix(b"/") {
            Some(segment) => (segment, true),
            None => (segment, false),
        };
        if !segment.is_empty() || slashes == Slashes::Kept {
            append(segment, more, buffer)?;
        }
    }
    // A path that ends in a slash has one more segment, an empty one. A dot segment before it has left none.
    if path.ends_with(b"/") {
        buffer.push(b'/');
    }
    Ok(buffer)
}

/// Whether `path` is in normal form at a glance: without escapes, without what is refused, and without a dot at the
/// start of a segment; and, where they are merged, without slashes in a row.
#[must_use]
pub fn is_plain(path: &[u8], slashes: Slashes) -> bool {
    let mut after_slash = false;
    for &byte in path {
        match byte {
            b'%' | b'\\' | 0 => return false,
            b'.' if after_slash => return false,
            b'/' if after_slash && slashes == Slashes::Merged => return false,
            _ => after_slash = byte == b'/',
        }
    }
    path.first() == Some(&b'/')
}

/// Adds one segment to `buffer`, which holds those before it, each with its slash in front. A dot segment that is the
/// last one (not `more`) leaves a slash at the end.
fn append(segment: &[u8], more: bool, buffer: &mut Vec<u8>) -> Result<(), PathError> {
    let start = buffer.len();
    buffer.push(b'/');
    decode(segment, buffer)?;
    match &buffer[start + 1..] {
        b"." => buffer.truncate(start),
        b".." if start == 0 => return Err(PathError::AboveRoot),
        b".." => {
            let parent = buffer[..start].iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            buffer.truncate(parent);
        }
        decoded if hides_dots(decoded) => return Err(PathError::DisguisedDots),
        _ => return Ok(()),
    }
    if !more {
        buffer.push(b'/');
    }
    Ok(())
}

/// Decodes the unreserved characters of a segment, and gives all other escapes upper-case digits.
fn decode(segment: &[u8], buffer: &mut Vec<u8>) -> Result<(), PathError> {
    let mut rest = segment;
    loop {
        rest = match *rest {
            [] => return Ok(()),
            [b'\\', ..] => return Err(PathError::Backslash),
            [0, ..] => return Err(PathError::Nul),
            [b'%', high, low, ref rest @ ..] => {
                match hex(high)? << 4 | hex(low)? {
                    0 => return Err(PathError::Nul),
                    byte if is_unreserved(byte) => buffer.push(byte),
                    _ => buffer.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
                }
                rest
            }
            [b'%', ..] => return Err(PathError::BadEscape),
            [byte, ref rest @ ..] => {
                buffer.push(byte);
                rest
            }
        };
    }
}

/// Whether a decoded segment that is no dot segment would be one, or hold one, to a backend that decodes slashes and
/// backslashes or drops parameters before it resolves.
fn hides_dots(segment: &[u8]) -> bool {
    let mut start = 0;
    for end in 0..=segment.len() {
        let border = match &segment[end..] {
            [] => 0,
            [b'%', b'2', b'F', ..] | [b'%', b'5', b'C', ..] => 3,
            _ => continue,
        };
        let part = &segment[start..end];
        let name = part.split(|&byte| byte == b';').next().unwrap_or(part);
        if name == b"." || name == b".." {
            return true;
        }
        start = end + border;
    }
    false
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::BadEscape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &str) -> Result<String, PathError> {
        let mut buffer = b"left over".to_vec();
        let result = normalize(path.as_bytes(), Slashes::Kept, &mut buffer)?;
        Ok(String::from_utf8(result.to_vec()).unwrap())
    }

    fn merged(path: &str) -> Result<String, PathError> {
        let mut buffer = b"left over".to_vec();
        let result = normalize(path.as_bytes(), Slashes::Merged, &mut buffer)?;
        Ok(String::from_utf8(result.to_vec()).unwrap())
    }

    #[test]
    fn normal_forms() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b.c/d..e", "/a/b.c/d..e"),
            ("/a//b/", "/a//b/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/../../c", "/c"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/%2e/a", "/a"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/.%2e", "/"),
            ("/%7Euser/%41%2d%5f", "/~user/A-_"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            // No UTF-8: a byte of Latin-1, a cut sequence, an overlong dot and slash, half of a surrogate pair.
            ("/caf%e9", "/caf%E9"),
            ("/%c3", "/%C3"),
            ("/%c0%ae%c0%ae/%c0%af", "/%C0%AE%C0%AE/%C0%AF"),
            ("/%ed%a0%80", "/%ED%A0%80"),
            ("/%252e%252e/a", "/%252e%252e/a"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/a..%2Fb", "/a..%2Fb"),
        ] {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn slashes_in_a_row_are_one_where_that_is_asked_for() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/b/", "/a/b/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/a/..//b", "/b"),
            ("/a//.", "/a/"),
            ("/a/.//", "/a/"),
            ("//..a", "/..a"),
            ("/a%2F%2f/b", "/a%2F%2F/b"),
            ("/%41//b", "/A/b"),
        ] {
            assert_eq!(merged(path).as_deref(), Ok(expected), "{path}");
        }
        for path in ["//..", "/a//../.."] {
            assert_eq!(merged(path), Err(PathError::AboveRoot), "{path}");
        }
    }

    #[test]
    fn refused() {
        for (path, expected) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/%2e%2e/etc/passwd", PathError::AboveRoot),
            ("/a/../../a", PathError::AboveRoot),
            ("/%", PathError::BadEscape),
            ("/%2", PathError::BadEscape),
            ("/%2/", PathError::BadEscape),
            ("/%zz", PathError::BadEscape),
            ("/%%32e", PathError::BadEscape),
            ("/%+1", PathError::BadEscape),
            ("/a\\b", PathError::Backslash),
            ("/a\0", PathError::Nul),
            ("/a%00", PathError::Nul),
            ("/a/..%2Fadmin", PathError::DisguisedDots),
            ("/a%2f..%2fadmin", PathError::DisguisedDots),
            ("/a%5c..", PathError::DisguisedDots),
            ("/a/..;/admin", PathError::DisguisedDots),
            ("/a/%2e%2e;x=1/admin", PathError::DisguisedDots),
            ("/.;/admin", PathError::DisguisedDots),
            ("/a/.%2Fb", PathError::DisguisedDots),
        ] {
            assert_eq!(normal(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        let mut buffer = Vec::new();
        let path = b"/api/users/7";
        assert!(std::ptr::eq(normalize(path, Slashes::Merged, &mut buffer).unwrap(), path.as_slice()));
        assert_eq!(buffer.capacity(), 0);
    }

    /// The same in the plainest words: decode the whole path, then resolve a list of segments.
    fn naive(path: &str) -> Result<String, PathError> {
        let mut decoded = String::new();
        let mut rest = path.to_string();
        while !rest.is_empty() {
            let next: String = rest.drain(..1).collect();
            if next != "%" {
                decoded += &next;
                continue;
            }
            let digits = rest.get(..2).ok_or(PathError::BadEscape)?.to_ascii_uppercase();
            if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(PathError::BadEscape);
            }
            let byte = u8::from_str_radix(&digits, 16).unwrap();
            rest.drain(..2);
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => decoded.push(byte as char),
                _ => decoded += &format!("%{digits}"),
            }
        }
        let mut resolved: Vec<&str> = Vec::new();
        let mut slash = false;
        for segment in decoded[1..].split('/') {
            slash = segment == "." || segment == "..";
            match segment {
                "." => {}
                ".." => drop(resolved.pop().ok_or(PathError::AboveRoot)?),
                _ => resolved.push(segment),
            }
        }
        if slash {
            resolved.push("");
        }
        let all = format!("/{}", resolved.join("/"));
        let harmless = |part: &str| !matches!(part.split(';').next(), Some("." | ".."));
        let parts = all.replace("%2F", "/").replace("%5C", "/");
        if parts.split('/').all(harmless) { Ok(all) } else { Err(PathError::DisguisedDots) }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_reference(path in "/(\\.|%2[eE]|/|a|;|%2[fF]|%5c|%41|%25|%4|~){0,12}") {
            // Which of two faults is named may differ: one reads from the left, the other in passes.
            match (normal(&path), naive(&path)) {
                (Err(_), Err(_)) => {}
                // A disguised dot segment that a later `..` removes again is refused all the same.
                (Err(PathError::DisguisedDots), Ok(_)) => prop_assert!(path.contains("..") || path.contains('%')),
                (is, expected) => prop_assert_eq!(is, expected),
            }
        }

        #[test]
        fn what_is_normal_stays_and_has_no_dot_segments(path in "/(\\.|%2[eE]|/|[ -~]|%[0-9a-fA-F]{2}){0,16}") {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
                prop_assert!(once.starts_with('/') && once.len() <= path.len());
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."), "{}", once);
            }
        }

        #[test]
        fn merging_first_or_last_is_the_same(path in "/(\\.|%2[eE]|/|a|%2[fF]|~){0,12}") {
            let once = path.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/");
            let slash = if path.len() > 1 && path.ends_with('/') && !once.is_empty() { "/" } else { "" };
            prop_assert_eq!(merged(&path), normal(&format!("/{once}{slash}")));
        }

        #[test]
        fn any_bytes_are_a_path_or_an_error(path in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = Vec::new();
            let _ = normalize(&path, Slashes::Kept, &mut buffer);
        }
    }
}
