//! Request targets: characters, escapes and dot segments.

use super::Row;

/// Refused: nobody knows what the request is, and the connection ends.
const REFUSED: &[(&[u8], &str)] = &[
    (b"/\x00", "bad_target"),
    (b"/\x01", "bad_target"),
    (b"/\x7f", "bad_target"),
    (b"/a\tb", "bad_target"),
    (b"/a b", "bad_target"),
    (b"/a\rb", "bad_target"),
    (b"/a\x0cb", "bad_target"),
    (b"/\xc3\xa4", "bad_target"),
    (b"/?\xc3\xa4", "bad_target"),
    (b"/\xff", "bad_target"),
    (b"/a#b", "bad_target"),
    (b"/?a#b", "bad_target"),
    (b"/a\\b", "bad_target"),
    (b"/\\..\\b", "bad_target"),
    (b"/a\"b", "bad_target"),
    (b"/<a>", "bad_target"),
    (b"/a{b}", "bad_target"),
    (b"/a`b", "bad_target"),
    (b"/?<script>", "bad_target"),
    (b"/%", "bad_percent_encoding"),
    (b"/%4", "bad_percent_encoding"),
    (b"/%zz", "bad_percent_encoding"),
    (b"/%4z", "bad_percent_encoding"),
    (b"/%u0041", "bad_percent_encoding"),
    (b"/%+1", "bad_percent_encoding"),
    (b"/%%41", "bad_percent_encoding"),
    (b"/a%00b", "bad_percent_encoding"),
    (b"/?a=%00", "bad_percent_encoding"),
    (b"/?a=%", "bad_percent_encoding"),
    (b"/?%zz", "bad_percent_encoding"),
];

/// Refused for where they lead: the connection goes on.
const CLIMBING: &[&str] = &[
    "/..",
    "/../x",
    "/a/../../x",
    "/./..",
    "/%2e%2e/x",
    "/.%2E/x",
    "/%2e./x",
    "/a/%2e%2e/%2e%2e/x",
    "/..%2fx",
    "/a/..%2F..%2fx",
    "/a/%2e%2e%2fx",
    "/a%2f../..%2fx",
    "/..%5cx",
    "/a/%2e%2e%5C..",
    "/..;/x",
    "/a/..;b=c/x",
    "/%2e%2e;/x",
    "http://h/../x",
];

/// What was asked for, and what the backend was asked for.
const ACCEPTED: &[(&str, &str)] = &[
    ("/", "/"),
    ("//", "//"),
    ("//evil/x", "//evil/x"),
    ("/a//b", "/a//b"),
    ("/./x", "/x"),
    ("/a/../x", "/x"),
    ("/a/%2e%2e/x", "/x"),
    ("/a/.%2e/x", "/x"),
    ("/a/b/../../x/./y", "/x/y"),
    ("/a/.", "/a/"),
    ("/a/..", "/"),
    ("/...", "/..."),
    ("/.x", "/.x"),
    ("/a..b", "/a..b"),
    ("/%41%7e%2D", "/A~-"),
    ("/a%2fb", "/a%2Fb"),
    ("/a%2Fb", "/a%2Fb"),
    ("/%c3%a4", "/%C3%A4"),
    ("/%0d%0aX:%20y", "/%0D%0AX:%20y"),
    ("/%20HTTP/1.1%0d%0aHost:%20evil", "/%20HTTP/1.1%0D%0AHost:%20evil"),
    ("/%25%32%65", "/%252e"),
    ("/%252e%252e/x", "/%252e%252e/x"),
    ("/a;b=c", "/a;b=c"),
    ("/a|b^c", "/a|b^c"),
    ("/a!$&'()*+,:@=", "/a!$&'()*+,:@="),
    ("/?", "/?"),
    ("/x?a=../../etc&b=%2e%2E", "/x?a=../../etc&b=%2e%2E"),
    ("/x?{a}|`^", "/x?{a}|`^"),
    ("/x??y", "/x??y"),
    ("/x?http://evil/", "/x?http://evil/"),
    ("/http://evil/", "/http://evil/"),
];

pub(super) fn rows() -> Vec<Row> {
    let get = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
    let name = |target: &[u8]| format!("target {}", target.escape_ascii());
    let refused =
        REFUSED.iter().map(|(target, code)| Row::request(name(target), get(target), format!("<400 {code}>"), ""));
    let climbing = CLIMBING.iter().map(|target| {
        let target = target.as_bytes();
        Row::request(name(target), get(target), "<400 bad_path, kept><canary>", "{canary}")
    });
    let accepted = ACCEPTED.iter().map(|(target, reached)| {
        let reached = format!("GET {reached} HTTP/1.1\r\nHost: h\r\n{{for h}}\r\n\r\n{{canary}}");
        Row::request(name(target.as_bytes()), get(target.as_bytes()), "<ok><canary>", reached)
    });
    refused.chain(climbing).chain(accepted).collect()
}
