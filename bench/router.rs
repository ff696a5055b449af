//! Benchmarks of the router: what finding a route costs among ten routes and among ten thousand.
//!
//! The budget is that ten thousand cost at most 5 % more instructions, and that compiling them takes under a second; with
//! a thousand services, and with reading the file, under two.
//! Instructions are counted with one pass over all requests of each table:
//!
//! ```text
//! cargo bench --no-run --bench router
//! valgrind --tool=callgrind --toggle-collect='*Router::find*' target/release/deps/router-* --test paths/10
//! ```

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::config::Config;
use tidegate::http::h1::parse::{HeadLimits, RequestHead};
use tidegate::router::{Captures, ListenerId, Lookup, Router};
use tidegate::snapshot::Snapshot;

/// How many routes a table has.
const SIZES: [usize; 2] = [10, 10_000];

/// How many requests are looked up in a pass, whatever the size.
const REQUESTS: usize = 1000;

/// A kind of table: its name, the keys of route number `i`, and the host and path of a request for it.
struct Kind {
    name: &'static str,
    keys: fn(usize) -> String,
    request: fn(usize) -> (String, String),
}

/// How many services the file has.
const SERVICES: usize = 1000;

const KINDS: [Kind; 4] = [
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
const EXPRESSIONS: Kind = Kind {
    name: "expressions",
    keys: |i| format!("path = \"~ ^/old/service-{i:05}/(?<id>[0-9]+)$\""),
    request: |i| ("api.example.com".into(), format!("/old/service-{i:05}/{i}")),
};

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

fn find_all(router: &Router, heads: &[RequestHead], captures: &mut Captures) {
    for head in heads {
        let lookup = Lookup { head, path: head.path().as_bytes(), listener: ListenerId(0), worker: 0 };
        black_box(router.find(&lookup, captures)).expect("each has a route");
    }
}

fn find(criterion: &mut Criterion) {
    for kind in &KINDS {
        let mut group = criterion.benchmark_group(format!("router/{}", kind.name));
        group.throughput(Throughput::Elements(REQUESTS as u64));
        for size in SIZES {
            let snapshot = snapshot(&text(kind, size));
            let heads = heads(kind, size);
            let mut captures = Captures::default();
            group.bench_function(size.to_string(), |bencher| {
                bencher.iter(|| find_all(&snapshot.router, &heads, &mut captures));
            });
        }
    }
}

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("router/compile");
    group.sample_size(10);
    for kind in KINDS.iter().chain([&EXPRESSIONS]) {
        let text = text(kind, SIZES[1]);
        let config = Config::parse("bench.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
        group.bench_function(kind.name, |bencher| {
            bencher.iter(|| Snapshot::compile(&config).map_err(|faults| faults.count()).map(|made| made.routes.len()));
        });
    }
}

/// A whole file: routes of all kinds to a thousand services, from its text to what runs.
fn file(criterion: &mut Criterion) {
    let mut text = String::from("[listeners.a]\naddress = \"127.0.0.1:1\"\n");
    for i in 0..SERVICES {
        let service = "targets = [\"127.0.0.1:2\", \"127.0.0.1:3\"]\nretries.attempts = 3\ntimeout = \"5s\"";
        write!(text, "[services.s{i}]\n{service}\n").expect("a string takes all");
    }
    for (i, kind) in (0..SIZES[1]).zip(KINDS.iter().chain([&EXPRESSIONS]).cycle()) {
        write!(text, "[routes.r{i}]\nservice = \"s{}\"\n{}\n", i % SERVICES, (kind.keys)(i))
            .expect("a string takes all");
    }
    let mut group = criterion.benchmark_group("router/file");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("10000 routes, 1000 services", |bencher| bencher.iter(|| snapshot(&text).routes.len()));
}

criterion_group!(router, find, compile, file);
criterion_main!(router);
