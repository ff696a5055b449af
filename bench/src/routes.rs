//! The router: what finding a route costs among ten routes and among ten thousand.
//!
//! The budget is that ten thousand cost at most 5 % more instructions, and that compiling them takes under a second; with
//! a thousand services, and with reading the file, under two.

use std::fmt::Write;
use std::hint::black_box;

use tidegate::config::Config;
use tidegate::http::h1::parse::{HeadLimits, RequestHead};
use tidegate::router::{Captures, ListenerId, Lookup};
use tidegate::snapshot::Snapshot;

use crate::{Case, Work};

/// How many routes a table has.
const SIZES: [usize; 2] = [10, 10_000];

/// How many requests are looked up in turn, whatever the size.
const REQUESTS: usize = 1000;

/// A kind of table: its name, the keys of route number `i`, and the host and path of a request for it.
struct Kind {
    name: &'static str,
    keys: fn(usize) -> String,
    request: fn(usize) -> (String, String),
}

/// How many services the file has.
const SERVICES: usize = 1000;

static KINDS: [Kind; 4] = [
    Kind {
        name: "paths",
        keys: |i| format!("path = \"/api/service-{i:05}/users/*\""),
        request: |i| ("api.example.com".into(), format!("/api/service-{i:05}/users/{i:05}")),
    },
    Kind {
        name: "captures",
        keys: |i| format!("path = \"/api/service-{i:05}/users/{{id}}/orders/{{order}}\"\nmethods = [\"GET\"]"),
        request: |i| ("api.example.com".into(), format!("/api/service-{i:05}/users/{i:05}/orders/7")),
    },
    Kind {
        name: "hosts",
        keys: |i| format!("hosts = [\"tenant-{i:05}.example.com\", \"*.tenant-{i:05}.example.com\"]"),
        request: |i| (format!("{}tenant-{i:05}.example.com:8080", if i % 2 == 0 { "www." } else { "" }), "/a/b".into()),
    },
    Kind {
        name: "priorities",
        keys: |i| format!("path = \"/api/service-{i:05}/users/*\"\npriority = {i}"),
        request: |i| ("api.example.com".into(), format!("/api/service-{i:05}/users/{i:05}")),
    },
];

/// Expressions are compiled only: they are tried one after the other, see [`tidegate::router`].
static EXPRESSIONS: Kind = Kind {
    name: "expressions",
    keys: |i| format!("path = \"~ ^/old/service-{i:05}/(?<id>[0-9]+)$\""),
    request: |i| ("api.example.com".into(), format!("/old/service-{i:05}/{i}")),
};

pub(crate) fn cases() -> Vec<Case> {
    let find = |kind: &'static Kind| {
        SIZES.map(|size| Case::new(format!("route/{}/{size}", kind.name), REQUESTS as u64, move || find(kind, size)))
    };
    let compile = |kind: &'static Kind| Case::long(format!("route/compile/{}", kind.name), move || compile(kind));
    let mut cases: Vec<Case> = KINDS.iter().flat_map(find).collect();
    cases.extend(KINDS.iter().chain([&EXPRESSIONS]).map(compile));
    cases.push(Case::long("route/file", file));
    cases
}

fn text(kind: &Kind, size: usize) -> String {
    let mut text = String::from(
        "[gateway]\nworkers = 1\n[listeners.a]\naddress = \"127.0.0.1:1\"\n[services.s]\ntargets = [\"127.0.0.1:2\"]\n",
    );
    for i in 0..size {
        write!(text, "[routes.r{i}]\nservice = \"s\"\n{}\n", (kind.keys)(i)).expect("a string takes all");
    }
    text
}

fn snapshot(text: &str) -> Snapshot {
    let config = Config::parse("bench.toml", text).unwrap_or_else(|faults| panic!("{faults}"));
    Snapshot::compile(&config).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Requests for routes from all over the table, as heads.
fn heads(kind: &Kind, size: usize) -> Vec<RequestHead> {
    let head = |i: usize| {
        let (host, path) = (kind.request)(i * 7919 % size);
        let mut head = RequestHead::default();
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
        head.parse(text.as_bytes(), &HeadLimits::default()).expect("a head");
        head
    };
    (0..REQUESTS).map(head).collect()
}

/// Each iteration finds the route of one request.
fn find(kind: &'static Kind, size: usize) -> Work {
    let (snapshot, heads) = (snapshot(&text(kind, size)), heads(kind, size));
    let (mut captures, mut at) = (Captures::default(), 0);
    Box::new(move |times| {
        for _ in 0..times {
            let head = &heads[at];
            at = (at + 1) % heads.len();
            let lookup = Lookup { head, path: head.path().as_bytes(), listener: ListenerId(0), worker: 0 };
            black_box(snapshot.router.find(&lookup, &mut captures)).expect("each has a route");
        }
    })
}

/// Each iteration compiles the routes of a whole configuration.
fn compile(kind: &Kind) -> Work {
    let config = Config::parse("bench.toml", &text(kind, SIZES[1])).unwrap_or_else(|faults| panic!("{faults}"));
    Box::new(move |times| {
        for _ in 0..times {
            let made = Snapshot::compile(&config).map_err(|faults| faults.count());
            assert_eq!(made.map(|made| made.routes.len()), Ok(SIZES[1]));
        }
    })
}

/// Each iteration makes of a file what runs: routes of all kinds to a thousand services.
fn file() -> Work {
    let mut text = String::from("[listeners.a]\naddress = \"127.0.0.1:1\"\n");
    for i in 0..SERVICES {
        let service = "targets = [\"127.0.0.1:2\", \"127.0.0.1:3\"]\nretries.attempts = 3\ntimeout = \"5s\"";
        write!(text, "[services.s{i}]\n{service}\n").expect("a string takes all");
    }
    for (i, kind) in (0..SIZES[1]).zip(KINDS.iter().chain([&EXPRESSIONS]).cycle()) {
        write!(text, "[routes.r{i}]\nservice = \"s{}\"\n{}\n", i % SERVICES, (kind.keys)(i))
            .expect("a string takes all");
    }
    Box::new(move |times| {
        for _ in 0..times {
            assert_eq!(black_box(snapshot(&text)).routes.len(), SIZES[1]);
        }
    })
}
