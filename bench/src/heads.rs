//! Heads: parsing one, and writing it as it is sent on.
//!
//! The budget for parsing and rewriting a typical head is half a microsecond.

use std::hint::black_box;

use tidegate::http::fields::{FieldName, FieldValue, Known, KnownSet, NewField};
use tidegate::http::h1::encode::{Dropped, RequestForward, ResponseForward, Target, encode_request, encode_response};
use tidegate::http::h1::parse::{HeadLimits, RequestHead, ResponseContext, ResponseHead};
use tidegate::http::message::Version;

use crate::samples::{BROWSER, CURL, RESPONSE, WRK};
use crate::{Case, Work};

const REQUESTS: [(&str, &str); 3] = [("wrk", WRK), ("curl", CURL), ("browser", BROWSER)];

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

pub(crate) fn cases() -> Vec<Case> {
    let of_request = |(name, input): (&str, &'static str)| {
        [
            Case::timed(format!("head/httparse/{name}"), move || httparse(input)),
            Case::new(format!("head/parse/{name}"), 1000, move || parse_request(input)),
            Case::new(format!("head/forward/{name}"), 1000, move || forward_request(input)),
        ]
    };
    let mut cases: Vec<Case> = REQUESTS.into_iter().flat_map(of_request).collect();
    cases.push(Case::new("head/parse/response", 1000, parse_response));
    cases.push(Case::new("head/forward/response", 1000, forward_response));
    cases
}

/// The parser below ours, for comparison.
fn httparse(input: &'static str) -> Work {
    Box::new(move |times| {
        for _ in 0..times {
            let mut fields = [const { std::mem::MaybeUninit::uninit() }; 64];
            let mut request = httparse::Request::new(&mut []);
            let status = request.parse_with_uninit_headers(black_box(input.as_bytes()), &mut fields);
            black_box((status, request.headers.len())).0.expect("a head");
        }
    })
}

fn parse_request(input: &'static str) -> Work {
    let (limits, mut head) = (HeadLimits::default(), RequestHead::default());
    Box::new(move |times| {
        for _ in 0..times {
            head.clear();
            black_box(head.parse(black_box(input.as_bytes()), &limits)).expect("a head");
        }
    })
}

fn forward_request(input: &'static str) -> Work {
    let (mut head, mut out) = (RequestHead::default(), Vec::with_capacity(4096));
    head.parse(input.as_bytes(), &HeadLimits::default()).expect("a head");
    Box::new(move |times| {
        for _ in 0..times {
            let head = black_box(&head);
            let forward = RequestForward {
                target: Target::new(head.target().as_bytes()).expect("origin-form"),
                framing: head.framing(),
                host: None,
                default_host: FieldValue::literal("backend"),
                close: false,
                drop: Dropped { known: DROP, forwarding: true, name: None },
                append: APPEND,
            };
            out.clear();
            encode_request(head, &forward, None, &mut out);
            black_box(out.len());
        }
    })
}

fn parse_response() -> Work {
    let (limits, mut head) = (HeadLimits::default(), ResponseHead::default());
    Box::new(move |times| {
        for _ in 0..times {
            head.clear();
            let context = ResponseContext::default();
            black_box(head.parse(black_box(RESPONSE.as_bytes()), &limits, &context)).expect("a head");
        }
    })
}

fn forward_response() -> Work {
    let (mut head, mut out) = (ResponseHead::default(), Vec::with_capacity(4096));
    head.parse(RESPONSE.as_bytes(), &HeadLimits::default(), &ResponseContext::default()).expect("a head");
    Box::new(move |times| {
        for _ in 0..times {
            let head = black_box(&head);
            let forward = ResponseForward {
                framing: head.framing().for_client(Version::Http11),
                client: Version::Http11,
                keep_alive: true,
                drop: Dropped::default(),
                append: &APPEND[3..],
            };
            out.clear();
            encode_response(head, &forward, None, &mut out);
            black_box(out.len());
        }
    })
}
