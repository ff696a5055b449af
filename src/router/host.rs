//! The hosts that a route serves.
//!
//! ```toml
//! hosts = ["example.com", "*.example.com"]   # any of; without the key, any host, and requests without one
//! ```
//!
//! Names are compared without case, without a trailing dot and without the port. `*.example.com` takes every name
//! below `example.com`, at any depth, but not `example.com` itself; an exact name wins over a wildcard, and a longer
//! wildcard over a shorter one. An IPv6 address stands in brackets and is compared as an address, however it is spelt.

use std::io::Write;
use std::net::Ipv6Addr;

use super::tree::{Map, map};

/// The longest host that a request can have.
const HOST_MAX: usize = 255;

/// Where a host is brought to the form in which it is compared.
pub(super) type Buffer = [u8; HOST_MAX + 1];

/// A host of a route, in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    /// This name or address.
    Exact(String),
    /// All names below this one.
    Below(String),
}

/// Which site a host has.
#[derive(Debug)]
pub(super) struct Hosts {
    exact: Map,
    below: Map,
    /// Bytes of the longest name in `below`.
    longest: usize,
}

impl Default for Hosts {
    fn default() -> Self {
        Self { exact: map(), below: map(), longest: 0 }
    }
}

impl Hosts {
    /// The site of `host`, which is made where there is none.
    pub(super) fn site(&mut self, host: &Host, make: impl FnOnce() -> u32) -> u32 {
        let (map, name) = match host {
            Host::Exact(name) => (&mut self.exact, name),
            Host::Below(name) => {
                self.longest = self.longest.max(name.len());
                (&mut self.below, name)
            }
        };
        *map.entry(name.as_bytes().into()).or_insert_with(make)
    }

    /// All hosts with their sites: the exact ones, and those that stand for all below them.
    pub(super) fn names(&self) -> (&Map, &Map) {
        (&self.exact, &self.below)
    }

    /// Whether no route names a host.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    /// The sites of `host`, which is in the form of [`normalize`], the most specific first.
    pub(super) fn find(&self, host: &[u8]) -> impl Iterator<Item = u32> {
        let skipped = if self.below.is_empty() { host.len() } else { host.len().saturating_sub(self.longest + 1) };
        let dots = memchr::memchr_iter(b'.', &host[skipped..]).map(move |dot| skipped + dot);
        // Below a name is another label, which is not empty.
        let below = dots.filter(|&dot| dot > 0 && host[dot - 1] != b'.').filter_map(|dot| {
            let name = &host[dot + 1..];
            self.below.get(name)
        });
        self.exact.get(host).into_iter().chain(below).copied()
    }
}

/// The host of a request in the form in which it is compared. `authority` is one that the parser has let through.
pub(super) fn normalize<'b>(authority: &str, buffer: &'b mut Buffer) -> Option<&'b [u8]> {
    let bytes = authority.as_bytes();
    if bytes.first() == Some(&b'[') {
        let address: Ipv6Addr = authority[1..authority.find(']')?].parse().ok()?;
        let mut rest = &mut buffer[..];
        write!(rest, "[{address}]").ok()?;
        let left = rest.len();
        let length = buffer.len() - left;
        return Some(&buffer[..length]);
    }
    let name = &bytes[..memchr::memchr(b':', bytes).unwrap_or(bytes.len())];
    let name = name.strip_suffix(b".").unwrap_or(name);
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

/// Reads a host of a route.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(super) fn parse(text: &str) -> Result<Host, (String, String)> {
    let wrong = |problem: &str, help: String| Err((format!("`{text}` {problem}"), help));
    if text == "*" {
        return wrong("stands for every host", "leave `hosts` out for a route that serves every host".into());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or(rest);
        return wrong("is a URL, and a host is only a name", format!("write \"{host}\""));
    }
    if text.starts_with('[') {
        return address(text);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return wrong("is an IPv6 address without brackets", format!("write \"[{text}]\""));
    }
    if let Some((name, path)) = text.split_once('/') {
        return wrong("has a path", format!("write \"{name}\", and \"/{path}\" as the `path` of the route"));
    }
    if let Some((name, _)) = text.split_once(':') {
        let help =
            format!("write \"{name}\"; hosts are compared without their port, and `listeners` tells ports apart");
        return wrong("has a port", help);
    }
    if !text.is_ascii() {
        return wrong(
            "is not in ASCII, as requests have it",
            "write the name in its ASCII form, in which such labels begin with \"xn--\" (punycode)".into(),
        );
    }
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if lower == "*" {
        let help =
            "write one there, such as \"*.example.com\", or leave `hosts` out for a route that serves every host";
        return wrong("has no name behind its `*.`", help.into());
    }
    let (name, below) = match lower.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (lower.as_str(), false),
    };
    if name.contains('*') {
        let help = "a `*` can only be the whole first label, such as \"*.example.com\"";
        return wrong("has a `*` that is not its first label", help.into());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '~');
    if !name.split('.').all(|label| !label.is_empty() && label.chars().all(plain)) || lower.len() > HOST_MAX {
        return wrong("is not the name of a host", "write a name such as \"api.example.com\"".into());
    }
    Ok(if below { Host::Below(name.into()) } else { Host::Exact(lower) })
}

/// Reads an IPv6 address in brackets.
fn address(text: &str) -> Result<Host, (String, String)> {
    let (inside, port) = text[1..].split_once(']').unwrap_or((&text[1..], ""));
    match inside.parse::<Ipv6Addr>() {
        Ok(address) if text.contains(']') && port.is_empty() => Ok(Host::Exact(format!("[{address}]"))),
        Ok(address) => Err((
            format!("`{text}` is not an IPv6 address in brackets and nothing else"),
            format!("write \"[{address}]\"; hosts are compared without their port"),
        )),
        Err(_) => Err((format!("`{text}` is not an IPv6 address"), "write one such as \"[2001:db8::1]\"".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_requests() {
        for (authority, expected) in [
            ("example.com", "example.com"),
            ("Example.COM.", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.:80", "example.com"),
            ("a..", "a."),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0::0:1]:443", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
        ] {
            let mut buffer: Buffer = [0; 256];
            let host = normalize(authority, &mut buffer).unwrap();
            assert_eq!(host.escape_ascii().to_string(), expected, "{authority}");
        }
        assert_eq!(normalize(&"a".repeat(300), &mut [0; 256]), None);
    }

    #[test]
    fn hosts_of_routes() {
        let (exact, below) = (|name: &str| Ok(Host::Exact(name.into())), |name: &str| Ok(Host::Below(name.into())));
        for (text, expected) in [
            ("API.example.com", exact("api.example.com")),
            ("example.com.", exact("example.com")),
            ("localhost", exact("localhost")),
            ("10.0.0.1", exact("10.0.0.1")),
            ("*.Example.com", below("example.com")),
            ("*.com", below("com")),
            ("xn--caf-dma.example", exact("xn--caf-dma.example")),
            ("[2001:DB8:0::1]", exact("[2001:db8::1]")),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        for (text, expected) in [
            ("", "is not the name of a host"),
            (".", "is not the name of a host"),
            ("a..b", "is not the name of a host"),
            ("a b", "is not the name of a host"),
            ("*", "stands for every host"),
            ("a.*.com", "is not its first label"),
            ("*a.com", "is not its first label"),
            ("*.", "has no name behind"),
            ("example.com:80", "has a port"),
            ("https://example.com/x", "is a URL"),
            ("example.com/x", "has a path"),
            ("café.example", "is not in ASCII"),
            ("::1", "without brackets"),
            ("[::1]:80", "nothing else"),
            ("[::1", "nothing else"),
            ("[x]", "is not an IPv6 address"),
        ] {
            let (problem, _) = parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn exact_names_then_the_longest_wildcard() {
        let mut hosts = Hosts::default();
        assert!(hosts.is_empty());
        for (host, site) in [("*.com", 1), ("*.example.com", 2), ("a.example.com", 3), ("example.com", 4)] {
            assert_eq!(hosts.site(&parse(host).unwrap(), || site), site);
        }
        assert_eq!(hosts.site(&parse("*.COM").unwrap(), || 9), 1);
        for (host, expected) in [
            ("example.com", vec![4, 1]),
            ("a.example.com", vec![3, 2, 1]),
            ("x.y.example.com", vec![2, 1]),
            ("badexample.com", vec![1]),
            ("com", vec![]),
            (".com", vec![]),
            (".example.com", vec![1]),
            ("a..com", vec![]),
            ("org", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(hosts.find(host.as_bytes()).collect::<Vec<_>>(), expected, "{host}");
        }
    }
}
