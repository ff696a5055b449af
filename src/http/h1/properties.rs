//! Property tests: heads and bodies that are right, or nearly so, go to the oracle.
//!
//! Inputs are put together from pieces that are known to matter, and then perhaps damaged in a byte or two.
//! proptest prints the seed and the smallest input of a failure.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::oracle;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "OPTIONS", "PURGE", "M-SEARCH", "CONNECT", "get", "G T", "", "PRI"];
const TARGETS: &[&str] = &[
    "/",
    "/a/b?c=d",
    "/%41%2f?%20",
    "*",
    "http://h",
    "https://h:1/p?q",
    "HTTP://[::1]/",
    "http://h?q",
    "h:80",
    "/%zz",
    "/%00",
    "/a#b",
    "/a b",
    "/{a}",
    "/?{a}|",
    "//x",
    "",
    "http://u@h/",
    "/\u{e4}",
    "/|^",
];
const VERSIONS: &[&str] =
    &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "];
const STATUSES: &[&str] = &[
    "200 OK",
    "200",
    "200 ",
    "204 No Content",
    "304 ",
    "100 Continue",
    "103 Early Hints",
    "101 Switching Protocols",
    "099 x",
    "600 x",
    "20 x",
    "2000",
    "200\tOK",
    "500 \u{e4}",
    "404 Not  Found",
];
const NAMES: &[&str] = &[
    "Host",
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "TE",
    "Trailer",
    "Upgrade",
    "Keep-Alive",
    "Expect",
    "X-A",
    "x-b",
    "X_c",
    "Content_Length",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "Cookie",
    "Set-Cookie",
    "X.Y",
    "",
    "Proxy-Connection",
    "Proxy-Authorization",
    "X-Request-Id",
    "Cache-Control",
];
const VALUES: &[&str] = &[
    "a",
    "h:80",
    "chunked",
    "Chunked",
    "gzip, chunked",
    "5",
    "0",
    "05",
    "+5",
    "5, 5",
    "99999999999999999999",
    "close",
    "keep-alive",
    "x-a, close",
    "X-B,upgrade",
    "host",
    "cookie, x-forwarded-for",
    "100-continue",
    "trailers",
    "",
    "\u{e4}",
    "a,b",
    "identity",
    "websocket",
];
const SEPARATORS: &[&str] = &[": ", ": ", ": ", ":", ":\t ", " : ", ":  "];
const ENDS: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", " \r\n", "\n", "\r", "\r\n ", "\r\r\n", "\r\n\r\n"];
const USUAL_ENDS: &[&str] = &["\r\n"];
const SIZES: &[&str] = &[
    "1",
    "2",
    "a",
    "A",
    "5",
    "05",
    "0",
    "",
    "+1",
    "-1",
    "0x1",
    " 1",
    "1 ",
    "00000000000000001",
    "ffffffffffffffff",
    "g",
];
const EXTENSIONS: &[&str] = &["", "", "", ";", ";a", ";a=b", ";a=\"b;c\"", " ;a", ";\u{e4}", ";\n", ";\0", ";\r"];

fn text(table: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(table).prop_map(str::to_owned)
}

/// The first entry of a table most of the time.
fn mostly_first(table: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(table[0].to_owned()), 1 => text(table)]
}

fn field(ends: &'static [&'static str]) -> impl Strategy<Value = String> {
    let likely =
        select(&["Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close, X-A", "X-A: 1", "Host: h"][..])
            .prop_map(str::to_owned);
    let any = (text(NAMES), mostly_first(SEPARATORS), text(VALUES)).prop_map(|(n, s, v)| format!("{n}{s}{v}"));
    (prop_oneof![1 => likely, 2 => any], mostly_first(ends)).prop_map(|(line, end)| line + &end)
}

fn fields() -> impl Strategy<Value = String> {
    let most = prop::collection::vec(field(USUAL_ENDS), 0..5);
    prop_oneof![3 => most, 1 => prop::collection::vec(field(ENDS), 0..5)].prop_map(|lines| lines.concat())
}

/// Damage: a byte is replaced, inserted or removed, or the rest is cut or repeated.
fn damaged(input: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(&b"\r\n \t:,;\0#%_-/\\\x7f\x80"[..]), any::<u8>()];
    let edit = (any::<Index>(), byte, 0..5u8);
    (input, prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(edit, 1..3)]).prop_map(|(input, edits)| {
        let mut input = input.into_bytes();
        for (place, byte, kind) in edits {
            let at = place.index(input.len() + 1);
            match kind {
                0 => input.insert(at, byte),
                1 if at < input.len() => input[at] = byte,
                2 if at < input.len() => drop(input.remove(at)),
                3 => input.truncate(at),
                _ => input.extend_from_within(at..),
            }
        }
        input
    })
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let line = (mostly_first(METHODS), mostly_first(TARGETS), mostly_first(VERSIONS), mostly_first(ENDS));
    let host = prop_oneof![5 => Just("Host: h\r\n"), 1 => Just("")];
    let lead = prop_oneof![5 => Just(""), 1 => Just("\r\n"), 1 => Just("\r")];
    damaged((lead, line, host, fields(), prop_oneof![Just(""), Just("GET /next HTTP/1.1\r\n")]).prop_map(
        |(lead, (method, target, version, end), host, fields, rest)| {
            format!("{lead}{method} {target} {version}{end}{host}{fields}\r\n{rest}")
        },
    ))
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    damaged(
        (mostly_first(VERSIONS), text(STATUSES), mostly_first(ENDS), fields())
            .prop_map(|(version, status, end, fields)| format!("{version} {status}{end}{fields}\r\nbody")),
    )
}

fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let well_formed =
        ("[a-z]{1,20}", text(&["", ";a", ";a=b"])).prop_map(|(d, e)| format!("{:x}{e}\r\n{d}\r\n", d.len()));
    let odd = (text(SIZES), text(EXTENSIONS), mostly_first(ENDS), "[a-z]{0,5}", mostly_first(ENDS))
        .prop_map(|(size, extension, end, data, after)| format!("{size}{extension}{end}{data}{after}"));
    let chunks = prop::collection::vec(prop_oneof![6 => well_formed, 1 => odd], 0..6);
    let last = prop_oneof![4 => Just("0\r\n"), 1 => Just("000\r\n"), 1 => Just("0;a\r\n"), 1 => Just("")];
    damaged(
        (chunks, last, fields())
            .prop_map(|(chunks, last, trailers)| format!("{}{last}{trailers}\r\nGET / HTTP/1.1\r\n", chunks.concat())),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests(input in request()) {
        oracle::request(&input);
    }

    #[test]
    fn responses(input in response()) {
        oracle::response(&input);
    }

    #[test]
    fn chunked_bodies(input in chunked()) {
        oracle::chunked(&input);
    }
}

/// The generators would prove nothing if nearly all they make were refused.
#[test]
fn a_good_part_of_the_inputs_is_taken() {
    use super::reference::{self, Verdict};
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    fn share<T>(strategy: impl Strategy<Value = Vec<u8>>, verdict: impl Fn(&[u8]) -> Verdict<T>) -> usize {
        let mut runner = TestRunner::deterministic();
        let inputs = (0..1000).map(|_| strategy.new_tree(&mut runner).expect("no filter").current());
        inputs.filter(|input| matches!(verdict(input), Verdict::Taken(_))).count()
    }
    let shares = [
        share(request(), reference::request),
        share(response(), |input| reference::response(input, false)),
        share(chunked(), reference::chunked),
    ];
    assert!(shares.iter().all(|share| (100..900).contains(share)), "{shares:?} of 1000");
}
