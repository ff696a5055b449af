//! Fuzzing of request heads, response heads, chunked bodies and PROXY headers on stable Rust.
//!
//! A seeded mutator works on the inputs of `tests/corpus` and on those of its own that were accepted, which is how
//! it gets deep without knowing the code's branches. What must hold of every input is in `oracle.rs`, shared with
//! the property tests: no panic, agreement with the naive reference, no difference by splitting, and one message
//! where one was sent on.
//!
//! ```text
//! cargo test --test fuzz                              bounded, a new seed each time
//! TIDEGATE_SOAK_SECONDS=600 cargo test --test fuzz    so long for each of the four
//! TIDEGATE_FUZZ_SEED=7 cargo test --test fuzz         the seed that a failure has named
//! ```

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tidegate::http;
use tidegate::net::proxy_protocol::{self, Endpoints, Progress};

#[path = "../src/http/h1/oracle.rs"]
mod oracle;
#[path = "../src/http/h1/reference.rs"]
mod reference;

use reference::Verdict;

/// Inputs for each target when no time is given.
const BOUNDED_RUNS: u64 = 40_000;
/// Inputs longer than this are cut: they make the run slow and find nothing new.
const MAX_INPUT: usize = 4096;
/// Accepted inputs that are kept to work on.
const POOL: usize = 1024;

/// Words that a parser may stumble over.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b": ",
    b",",
    b";",
    b"\x7f",
    b"\x80",
    b"%00",
    b"%2f",
    b"%",
    b"GET ",
    b"OPTIONS * ",
    b"HEAD ",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"HTTP/1.1 ",
    b"HTTP/1.0 200 OK\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: X-A, keep-alive\r\n",
    b"X-A: 1\r\n",
    b"TE: trailers\r\n",
    b"Trailer: X\r\n",
    b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Forwarded-For: a\r\n",
    b"x_forwarded_for: a\r\n",
    b"Content_Length: 5\r\n",
    b"Cookie: a\r\n",
    b"204 ",
    b"304 ",
    b"100 ",
    b"http://b:1",
    b"[::1]",
    b"0\r\n",
    b"0\r\n\r\n",
    b"1\r\na\r\n",
    b"5;a\r\nhello\r\n",
    b"ffffffffffffffff",
    b"0000000000000000",
    b"99999999999999999999",
    b"chunked",
    b", ",
    b"+",
    b"0x",
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN ",
    b"1.2.3.4 ",
    b"::1 ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x21\x21\0\x24",
    b"\x03\0\x04",
    b"\x04\0\x01a",
];

/// Damages `input` in a few places.
fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=input.len());
        let end = rng.usize(at..=input.len().min(at + 40));
        match rng.u8(..9) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            1 if at < input.len() => input[at] = rng.u8(..),
            2 => drop(input.splice(at..at, [rng.u8(..)])),
            3 => drop(input.drain(at..end)),
            4 | 5 => drop(input.splice(at..at, rng.choice(WORDS).into_iter().flat_map(|word| word.iter().copied()))),
            6 => {
                let from = rng.usize(..=other.len());
                drop(input.splice(at..end, other[from..].iter().copied()));
            }
            7 => duplicate_line(input, at),
            _ if rng.u8(..4) == 0 => input.truncate(at),
            _ => {}
        }
    }
    input.truncate(MAX_INPUT);
}

/// Repeats the line that `at` is in.
fn duplicate_line(input: &mut Vec<u8>, at: usize) {
    let start = input[..at].iter().rposition(|b| *b == b'\n').map_or(0, |lf| lf + 1);
    let end = input[at..].iter().position(|b| *b == b'\n').map_or(input.len(), |lf| at + lf + 1);
    let line = input[start..end].to_vec();
    drop(input.splice(end..end, line));
}

/// The seeds of a target, in an order that does not depend on the file system.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a readable file")).collect()
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text}")))
}

/// Feeds `check` with the corpus and with what the mutator makes of it.
fn fuzz(name: &str, check: fn(&[u8]), accepted: fn(&[u8]) -> bool) {
    let seed = number("TIDEGATE_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let until = number("TIDEGATE_SOAK_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let run = |input: &[u8]| {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(input)));
        assert!(outcome.is_ok(), "{name}, TIDEGATE_FUZZ_SEED={seed}, input b\"{}\"", input.escape_ascii());
    };
    let mut pool = corpus(name);
    let seeds = pool.len();
    pool.iter().for_each(|input| run(input));
    let mut rng = Rng::with_seed(seed);
    let mut runs = 0;
    while until.map_or(runs < BOUNDED_RUNS, |until| Instant::now() < until) {
        let mut input = rng.choice(&pool).expect("a corpus").clone();
        let other = rng.choice(&pool).expect("a corpus");
        mutate(&mut input, other, &mut rng);
        run(&input);
        if accepted(&input) {
            if pool.len() < POOL {
                pool.push(input);
            } else {
                // The corpus itself stays.
                let place = rng.usize(seeds..POOL);
                pool[place] = input;
            }
        }
        runs += 1;
    }
    assert!(pool.len() > seeds, "{name}, TIDEGATE_FUZZ_SEED={seed}: nothing was accepted in {runs} runs");
}

#[test]
fn request_heads() {
    fuzz("request", oracle::request, |input| matches!(reference::request(input), Verdict::Taken(_)));
}

#[test]
fn response_heads() {
    fuzz("response", oracle::response, |input| matches!(reference::response(input, false), Verdict::Taken(_)));
}

#[test]
fn chunked_bodies() {
    fuzz("chunked", oracle::chunked, |input| matches!(reference::chunked(input), Verdict::Taken(_)));
}

/// The answer is one however the input is cut, within bounds, and what is understood can be written and read again.
fn proxy_header(input: &[u8]) {
    let whole = proxy_protocol::parse(input);
    for cut in 0..input.len().min(300) {
        let part = proxy_protocol::parse(&input[..cut]);
        assert!(part == whole || part == Ok(Progress::Incomplete), "{part:?} and then {whole:?}");
    }
    let Ok(Progress::Complete { consumed, endpoints }) = whole else { return };
    assert!(consumed <= input.len() && consumed <= 16 + proxy_protocol::BLOCK_MAX);
    assert_eq!(proxy_protocol::parse(&input[..consumed]), whole, "what is behind a header is not looked at");
    if let Endpoints::Tcp { source, destination } = endpoints {
        assert_eq!(source.is_ipv4(), destination.is_ipv4());
        for version in [proxy_protocol::Version::V1, proxy_protocol::Version::V2] {
            let mut again = Vec::new();
            proxy_protocol::encode(version, &endpoints, &mut again);
            let consumed = again.len();
            assert_eq!(proxy_protocol::parse(&again), Ok(Progress::Complete { consumed, endpoints }));
        }
    }
}

#[test]
fn proxy_headers() {
    fuzz("proxy", proxy_header, |input| matches!(proxy_protocol::parse(input), Ok(Progress::Complete { .. })));
}
