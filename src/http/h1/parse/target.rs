//! The request target (RFC 9112 section 3.2) and the authority in it or in Host.
//!
//! Which characters may stand raw in a target is decided by what clients really send. Browsers and libraries
//! that follow the WHATWG URL standard leave `| ^` raw in paths and `` | ^ ` { } `` in queries, and these have no
//! second meaning anywhere, so they pass there though RFC 3986 wants them encoded. `# \ " < >`, control
//! characters, spaces and bytes above 127 are refused everywhere: readers disagree about them, and no client
//! that can be trusted sends them. Every `%` must begin a valid encoding, and never of NUL.

use std::net::Ipv6Addr;
use std::str;

use crate::http::error::HeadError;
use crate::http::message::Method;

/// Where the parts of a target stand in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetParts {
    /// The authority of an absolute-form, empty otherwise.
    pub(super) authority: (usize, usize),
    /// The path, perhaps empty in an absolute-form.
    pub(super) path: (usize, usize),
    /// The query without its `?`.
    pub(super) query: Option<(usize, usize)>,
}

const PATH: u8 = 1;
const QUERY: u8 = 2;

static TARGET_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0x21;
    while b < 0x7f {
        table[b] = match b as u8 {
            b'#' | b'\\' | b'"' | b'<' | b'>' => 0,
            b'`' | b'{' | b'}' => QUERY,
            // A percent sign is looked at apart, a question mark ends the path.
            b'%' | b'?' => 0,
            _ => PATH | QUERY,
        };
        b += 1;
    }
    table[b'?' as usize] = QUERY;
    table
};

/// Takes a target apart, for a request with this method.
pub(super) fn split(target: &[u8], method: Method) -> Result<TargetParts, HeadError> {
    if target.first() == Some(&b'/') {
        return split_path(target, 0);
    }
    if target == b"*" {
        // RFC 9112 section 3.2.4: only for a server-wide OPTIONS.
        let parts = TargetParts { path: (0, 1), ..TargetParts::default() };
        return if method == Method::Options { Ok(parts) } else { Err(HeadError::BadTargetForm) };
    }
    let Some(start) = after_scheme(target) else {
        // Not a form of its own, but perhaps with characters that are wrong in every form.
        split_path(target, 0)?;
        return Err(HeadError::BadTargetForm);
    };
    let end = target[start..].iter().position(|b| matches!(b, b'/' | b'?')).map_or(target.len(), |i| start + i);
    let rest = split_path(target, end)?;
    if !is_authority(&target[start..end]) {
        return Err(HeadError::BadAuthority);
    }
    Ok(TargetParts { authority: (start, end), ..rest })
}

/// Where the authority begins in an absolute-form of a scheme that we serve.
fn after_scheme(target: &[u8]) -> Option<usize> {
    let begins = |scheme: &[u8]| target.len() >= scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme);
    [&b"http://"[..], b"https://"].into_iter().find(|scheme| begins(scheme)).map(<[u8]>::len)
}

/// Splits path and query, which begin at `start`, and checks their bytes.
fn split_path(target: &[u8], start: usize) -> Result<TargetParts, HeadError> {
    let mut allowed = PATH;
    let mut question = None;
    let mut i = start;
    while i < target.len() {
        let byte = target[i];
        if TARGET_BYTES[usize::from(byte)] & allowed != 0 {
            i += 1;
        } else if byte == b'%' {
            check_percent(target.get(i + 1..i + 3))?;
            i += 3;
        } else if byte == b'?' {
            question = Some(i);
            allowed = QUERY;
            i += 1;
        } else {
            return Err(HeadError::BadTarget);
        }
    }
    Ok(TargetParts {
        authority: (start, start),
        path: (start, question.unwrap_or(target.len())),
        query: question.map(|at| (at + 1, target.len())),
    })
}

/// Accepts two hexadecimal digits that are not both zero.
fn check_percent(digits: Option<&[u8]>) -> Result<(), HeadError> {
    match digits {
        Some(digits) if digits != b"00" && digits.iter().all(u8::is_ascii_hexdigit) => Ok(()),
        _ => Err(HeadError::BadPercent),
    }
}

/// Whether `target` may be written into a request line: a path with its query, or `*`.
pub(in crate::http::h1) fn is_writable(target: &[u8]) -> bool {
    target == b"*" || (target.first() == Some(&b'/') && split_path(target, 0).is_ok())
}

/// Whether `text` is a host with an optional port: a name of letters, digits, `-`, `.`, `_` and `~` of at most
/// 255 bytes, an IPv4 address, or an IPv6 address in brackets. RFC 3986 also allows percent-encoding and
/// sub-delimiters in a name; no name that resolves has them, and readers disagree about them. User information,
/// lists and an empty port are refused, as is an empty host (RFC 9110 section 4.2.1).
pub fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.first() {
        Some(b'[') => {
            let Some(close) = text.iter().position(|&b| b == b']') else { return false };
            if !is_ipv6(&text[1..close]) {
                return false;
            }
            (&text[..=close], &text[close + 1..])
        }
        _ => text.split_at(text.iter().position(|&byte| !IN_NAMES[usize::from(byte)]).unwrap_or(text.len())),
    };
    !host.is_empty() && host.len() <= 255 && (port.is_empty() || is_port(port))
}

fn is_ipv6(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Which bytes names of hosts have.
const IN_NAMES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let text = byte as u8;
        bytes[byte] = text.is_ascii_alphanumeric() || matches!(text, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    bytes
};

/// Whether `text` is a colon and a port number.
fn is_port(text: &[u8]) -> bool {
    let digits = &text[1..];
    let fit = text[0] == b':' && (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fit && digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_targets() {
        type Case = (&'static str, Method, Result<(&'static str, &'static str, Option<&'static str>), HeadError>);
        let table: &[Case] = &[
            ("/", Method::Get, Ok(("", "/", None))),
            ("/a/b?c=d?e", Method::Get, Ok(("", "/a/b", Some("c=d?e")))),
            ("/?", Method::Get, Ok(("", "/", Some("")))),
            ("//evil/x", Method::Get, Ok(("", "//evil/x", None))),
            ("/%41%7e", Method::Get, Ok(("", "/%41%7e", None))),
            ("/a|b^c", Method::Get, Ok(("", "/a|b^c", None))),
            ("/?f={a}|`^", Method::Get, Ok(("", "/", Some("f={a}|`^")))),
            ("*", Method::Options, Ok(("", "*", None))),
            ("*", Method::Get, Err(HeadError::BadTargetForm)),
            ("http://h", Method::Get, Ok(("h", "", None))),
            ("HTTPS://h:443/p?q", Method::Get, Ok(("h:443", "/p", Some("q")))),
            ("http://h?q", Method::Get, Ok(("h", "", Some("q")))),
            ("http://[::1]:80/", Method::Get, Ok(("[::1]:80", "/", None))),
            ("http:///p", Method::Get, Err(HeadError::BadAuthority)),
            ("http://u@h/", Method::Get, Err(HeadError::BadAuthority)),
            ("http://h:99999/", Method::Get, Err(HeadError::BadAuthority)),
            ("http://h%2f/", Method::Get, Err(HeadError::BadAuthority)),
            ("ftp://h/", Method::Get, Err(HeadError::BadTargetForm)),
            ("h:80", Method::Get, Err(HeadError::BadTargetForm)),
            ("a/b", Method::Get, Err(HeadError::BadTargetForm)),
            ("?q", Method::Get, Err(HeadError::BadTargetForm)),
            ("**", Method::Options, Err(HeadError::BadTargetForm)),
            ("/a#b", Method::Get, Err(HeadError::BadTarget)),
            ("/a\\b", Method::Get, Err(HeadError::BadTarget)),
            ("/a{b", Method::Get, Err(HeadError::BadTarget)),
            ("/?a\"b", Method::Get, Err(HeadError::BadTarget)),
            ("/?a<b", Method::Get, Err(HeadError::BadTarget)),
            ("/\u{e4}", Method::Get, Err(HeadError::BadTarget)),
            ("/a\tb", Method::Get, Err(HeadError::BadTarget)),
            ("/a\u{7f}", Method::Get, Err(HeadError::BadTarget)),
            ("/%", Method::Get, Err(HeadError::BadPercent)),
            ("/%4", Method::Get, Err(HeadError::BadPercent)),
            ("/%zz", Method::Get, Err(HeadError::BadPercent)),
            ("/%00", Method::Get, Err(HeadError::BadPercent)),
            ("/?%zz", Method::Get, Err(HeadError::BadPercent)),
        ];
        for (target, method, expected) in table {
            let text = |(start, end): (usize, usize)| &target[start..end];
            let parts = split(target.as_bytes(), *method).map(|p| (text(p.authority), text(p.path), p.query.map(text)));
            assert_eq!(parts, *expected, "{target}");
        }
    }

    #[test]
    fn authorities() {
        for good in ["a", "a.b-c_d~e", "A.example:80", "1.2.3.4:65535", "[::1]", "[2001:db8::1]:8080", "a."] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:000080",
            "a b",
            "a,b",
            "u@h",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "[",
            "[]",
            "[::1",
            "[::1]x",
            "[::g]",
            "[fe80::1%25eth0]",
            "::1",
            "a:80:80",
            "a%41",
            "\u{e4}",
            "a\t",
            &long,
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
