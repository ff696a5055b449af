//! Benchmarks of the pure cores: what a request costs in user space, apart from the kernel.
//!
//! The budget for parsing and rewriting a typical head is half a microsecond.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::http::body::{BodyDecoder, BodyEncoder};
use tidegate::http::fields::{FieldName, FieldValue, Known, KnownSet, NewField};
use tidegate::http::h1::encode::{Dropped, RequestForward, ResponseForward, Target, encode_request, encode_response};
use tidegate::http::h1::parse::{HeadLimits, RequestHead, ResponseContext, ResponseHead};
use tidegate::http::message::{Framing, Version};
use tidegate::policy::access_log::{
    AccessLog, AccessLogConfig, Entry, Facts, Field as LogField, FormatConfig, Lines, PartConfig, Spent, Texts,
};

/// What wrk sends.
const WRK: &str = "GET /users/42 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What curl sends.
const CURL: &str =
    "GET /users/42?fields=name HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";

/// What a browser sends: 20 fields.
const BROWSER: &str = "GET /api/users/42?fields=name,email&page=2 HTTP/1.1\r\n\
    Host: api.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://app.example.com/people/all\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=all\r\n\
    If-None-Match: W/\"5f3-18c7b2a\"\r\n\
    DNT: 1\r\n\
    Priority: u=0, i\r\n\r\n";

/// What nginx answers.
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 128\r\nConnection: keep-alive\r\n\
    ETag: \"65f0c1d2-80\"\r\nAccept-Ranges: bytes\r\n\r\n";

const DROP: KnownSet = KnownSet::of(&[
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XRealIp,
    Known::XRequestId,
]);

const APPEND: &[NewField<'static>] = &[
    (FieldName::literal("X-Forwarded-For"), FieldValue::literal("127.0.0.1")),
    (FieldName::literal("X-Forwarded-Proto"), FieldValue::literal("http")),
    (FieldName::literal("X-Forwarded-Host"), FieldValue::literal("127.0.0.1:8080")),
    (FieldName::literal("X-Request-Id"), FieldValue::literal("0193515b-57a0-7cc3-98c4-dc0c0c07398f")),
];

fn requests(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    let mut out = Vec::with_capacity(4096);
    for (name, input) in [("wrk", WRK), ("curl", CURL), ("browser", BROWSER)] {
        let mut group = criterion.benchmark_group(format!("h1/request/{name}"));
        group.bench_function("httparse", |bencher| {
            bencher.iter(|| {
                let mut fields = [const { std::mem::MaybeUninit::uninit() }; 64];
                let mut request = httparse::Request::new(&mut []);
                let status = request.parse_with_uninit_headers(black_box(input.as_bytes()), &mut fields);
                black_box((status, request.headers.len()))
            });
        });
        group.bench_function("parse", |bencher| {
            bencher.iter(|| {
                head.clear();
                black_box(head.parse(black_box(input.as_bytes()), &limits))
            });
        });
        group.bench_function("forward", |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_request(&head, &forward(&head), None, &mut out);
                black_box(out.len())
            });
        });
        group.bench_function("parse_and_forward", |bencher| {
            bencher.iter(|| {
                head.clear();
                out.clear();
                let progress = head.parse(black_box(input.as_bytes()), &limits);
                encode_request(&head, &forward(&head), None, &mut out);
                black_box((progress, out.len()))
            });
        });
    }
}

fn forward(head: &RequestHead) -> RequestForward<'_> {
    RequestForward {
        target: Target::new(head.target().as_bytes()).expect("origin-form"),
        framing: head.framing(),
        host: None,
        default_host: FieldValue::literal("backend"),
        close: false,
        drop: Dropped { known: DROP, forwarding: true, name: None },
        append: APPEND,
    }
}

fn responses(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    let mut head = ResponseHead::default();
    let mut out = Vec::with_capacity(4096);
    criterion.bench_function("h1/response/parse_and_forward", |bencher| {
        bencher.iter(|| {
            head.clear();
            out.clear();
            let progress = head.parse(black_box(RESPONSE.as_bytes()), &limits, &ResponseContext::default());
            let forward = ResponseForward {
                framing: head.framing().for_client(Version::Http11),
                client: Version::Http11,
                keep_alive: true,
                drop: Dropped::default(),
                append: &APPEND[3..],
            };
            encode_response(&head, &forward, None, &mut out);
            black_box((progress, out.len()))
        });
    });
}

fn bodies(criterion: &mut Criterion) {
    for size in [16, 1024, 16 * 1024] {
        let mut body = Vec::new();
        let mut encoder = BodyEncoder::new(Framing::Chunked);
        for _ in 0..16 {
            let wrap = encoder.wrap(size).expect("chunks have no announced length");
            body.extend_from_slice(wrap.before.as_bytes());
            body.resize(body.len() + size, b'x');
            body.extend_from_slice(wrap.after);
        }
        let mut decoder = BodyDecoder::default();
        encoder.finish(decoder.trailers(), &mut body).expect("chunks have no announced length");
        let mut group = criterion.benchmark_group("h1/chunked");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("decode_16x{size}"), |bencher| {
            bencher.iter(|| {
                decoder.reset(Framing::Chunked);
                let mut at = 0;
                while !decoder.is_done() {
                    at += decoder.decode(black_box(&body[at..])).expect("a well-formed body").consumed;
                }
                black_box(at)
            });
        });
    }
}

/// What the writer of the access log makes of a request: a line of JSON with all usual fields, and one of a template.
fn lines(criterion: &mut Criterion) {
    let address = SocketAddr::from(([203, 0, 113, 7], 54321));
    let spent = Spent {
        gateway: 41_234,
        queue: 1_234,
        connect: 0,
        pause: 0,
        upload: 0,
        first_byte: 1_230_000,
        backend: 1_240_000,
        total: 1_323_456,
    };
    let facts = Facts {
        unix_micros: 1_700_000_000_123_456,
        spent,
        received: 423,
        sent: 1367,
        attempts: 1,
        status: 200,
        version: Some(Version::Http11),
        client: Some(address.ip()),
        peer: Some(address),
        target: Some(SocketAddr::from(([10, 0, 0, 12], 3001))),
        route: Some(0),
        service: Some(0),
        outcome: "replied",
        code: "",
    };
    let texts = Texts {
        id: b"0193515b-57a0-7cc3-98c4-dc0c0c07398f",
        method: b"GET",
        host: b"api.example.com",
        uri: b"/api/users/42?fields=name,email&page=2",
        ..Texts::default()
    };
    let field = |(field, _): &(LogField, _)| [PartConfig::Field(*field), PartConfig::Literal(" ".to_owned())];
    let template = FormatConfig::Template(LogField::ALL.iter().flat_map(field).collect());
    for (name, format) in [("json", FormatConfig::Json), ("template", template)] {
        let config = AccessLogConfig { format, ..AccessLogConfig::default() };
        let log = AccessLog::compile(Some(&config), ["users"].into_iter(), ["users"].into_iter());
        let (log, mut lines) = (log.expect("it is not off"), Lines::with_capacity(4096));
        criterion.bench_function(&format!("access_log/line/{name}"), |bencher| {
            bencher.iter(|| {
                lines.clear();
                log.put_line(&black_box(Entry { facts: &facts, texts }), &mut lines);
                black_box(lines.as_bytes().len())
            });
        });
    }
}

criterion_group!(cores, requests, responses, bodies, lines);
criterion_main!(cores);
