//! What is sent on, byte for byte.

use super::*;
use crate::http::fields::FieldName;
use crate::http::h1::parse::{HeadLimits, ResponseContext};
use crate::http::message::Method;

const ADDED: &[NewField<'static>] = &[(FieldName::literal("X-Request-Id"), FieldValue::literal("7"))];

fn parse_request(input: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.parse(input.as_bytes(), &HeadLimits::default()).unwrap();
    assert!(!head.section().bytes().is_empty(), "incomplete");
    head
}

fn forward(head: &RequestHead) -> RequestForward<'static> {
    RequestForward {
        target: Target::new(b"/x").unwrap(),
        framing: head.framing(),
        host: None,
        default_host: FieldValue::literal("backend"),
        close: false,
        drop: Dropped::default(),
        append: &[],
    }
}

fn sent_request(input: &str) -> String {
    let head = parse_request(input);
    let mut out = b"before".to_vec();
    encode_request(&head, &forward(&head), None, &mut out);
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
}

#[test]
fn requests_are_sent_on() {
    for (received, sent) in [
        (
            "GET / HTTP/1.1\r\nhOST: a\r\nX-B: 1\r\nX-A: 2\r\n\r\n",
            "GET /x HTTP/1.1\r\nhOST: a\r\nX-B: 1\r\nX-A: 2\r\n\r\n",
        ),
        // Lines that are not canonical are written anew.
        (
            "GET / HTTP/1.1\r\nHost:a\r\nX:\t1 \r\nY:\r\nZ: 1\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: \r\nZ: 1\r\n\r\n",
        ),
        // Hop-by-hop fields are removed, and what Connection names.
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-h\r\nX: 1\r\nKeep-Alive: 5\r\nX-H: 1\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: a\r\nProxy-Connection: b\r\nProxy-Authorization: c\r\nTE: gzip\r\nTrailer: d\r\nY: 2\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\n\r\n",
        ),
        // The host of an absolute-form takes the place of the field.
        ("GET http://b:1/ HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\nHost: b:1\r\nX: 1\r\n\r\n"),
        ("GET http://a/ HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n"),
        // HTTP/1.0 becomes 1.1, with a host and without its unheard expectation.
        ("GET / HTTP/1.0\r\nExpect: 100-continue\r\nX: 1\r\n\r\n", "GET /x HTTP/1.1\r\nHost: backend\r\nX: 1\r\n\r\n"),
        // The framing is ours.
        (
            "PUT / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\n",
            "PUT /x HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\n",
        ),
        (
            "PUT / HTTP/1.1\r\ncontent-length: 005\r\nHost: a\r\n\r\n",
            "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "PUT / HTTP/1.1\r\ncontent-length:5\r\nHost: a\r\n\r\n",
            "PUT /x HTTP/1.1\r\ncontent-length: 5\r\nHost: a\r\n\r\n",
        ),
        (
            "PUT / HTTP/1.1\r\ntransfer-encoding: CHUNKED\r\nHost: a\r\nTrailer: X\r\nExpect: 100-continue\r\n\r\n",
            "PUT /x HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, x\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n",
        ),
    ] {
        assert_eq!(sent_request(received), sent);
    }
}

#[test]
fn a_route_changes_what_is_sent() {
    let head = parse_request("POST / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1\r\nContent-Length: 5\r\nTE: trailers\r\n\r\n");
    let mut out = Vec::new();
    let changed = RequestForward {
        framing: Framing::Chunked,
        host: FieldValue::new(b"other"),
        close: true,
        drop: Dropped { known: KnownSet::of(&[Known::XRealIp]), ..Dropped::default() },
        append: ADDED,
        ..forward(&head)
    };
    encode_request(&head, &changed, None, &mut out);
    let sent = "POST /x HTTP/1.1\r\nHost: other\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nTE: trailers\r\n\
                X-Request-Id: 7\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), sent);
}

#[test]
fn targets_that_would_break_the_line_cannot_be_made() {
    for target in ["", "x", "/a b", "/a\r\nX: y", "/\n", "/\0", "/%zz", "/a#", "http://h/", "*x", "/\u{e4}"] {
        assert_eq!(Target::new(target.as_bytes()), None, "{target:?}");
    }
    assert!(Target::new(b"*").is_some() && Target::new(b"/a?b=%20").is_some());
}

fn parse_response(method: Method, input: &str) -> ResponseHead {
    let mut head = ResponseHead::default();
    let context = ResponseContext { method, upgrade_requested: false };
    head.parse(input.as_bytes(), &HeadLimits::default(), &context).unwrap();
    assert!(!head.section().bytes().is_empty(), "incomplete");
    head
}

fn sent_response(method: Method, input: &str, client: Version, keep_alive: bool) -> String {
    let head = parse_response(method, input);
    let framing = head.framing().for_client(client);
    let keep_alive = keep_alive && framing != Framing::UntilClose;
    let mut out = Vec::new();
    let drop = Dropped { known: KnownSet::of(&[Known::Server]), ..Dropped::default() };
    let forward = ResponseForward { framing, client, keep_alive, drop, append: ADDED };
    encode_response(&head, &forward, None, &mut out);
    String::from_utf8(out).unwrap().replace("X-Request-Id: 7\r\n\r\n", "")
}

#[test]
fn responses_are_sent_on() {
    use Version::{Http10, Http11};
    let length = "HTTP/1.1 200 OK\r\nServer: x\r\nA: 1\r\nContent-Length: 5\r\nB: 2\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nA: 1\r\n\r\n";
    let close = "HTTP/1.0 200 Fine\r\nConnection: close, h\r\nH: 1\r\nKeep-Alive: 1\r\nA: 1\r\n\r\n";
    let empty = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    let cached = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n";
    for (method, received, client, keep_alive, sent) in [
        (Method::Get, length, Http11, true, "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 5\r\nB: 2\r\n"),
        (
            Method::Get,
            length,
            Http11,
            false,
            "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 5\r\nB: 2\r\nConnection: close\r\n",
        ),
        (
            Method::Get,
            length,
            Http10,
            true,
            "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 5\r\nB: 2\r\nConnection: keep-alive\r\n",
        ),
        (Method::Head, length, Http11, true, "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 5\r\nB: 2\r\n"),
        (Method::Get, chunked, Http11, true, "HTTP/1.1 200 OK\r\nTrailer: X\r\nA: 1\r\nTransfer-Encoding: chunked\r\n"),
        (Method::Get, chunked, Http10, true, "HTTP/1.1 200 OK\r\nA: 1\r\nConnection: close\r\n"),
        (Method::Head, chunked, Http11, true, "HTTP/1.1 200 OK\r\nA: 1\r\n"),
        (Method::Get, close, Http11, true, "HTTP/1.1 200 Fine\r\nA: 1\r\nTransfer-Encoding: chunked\r\n"),
        (Method::Get, close, Http10, false, "HTTP/1.1 200 Fine\r\nA: 1\r\nConnection: close\r\n"),
        (Method::Get, empty, Http11, true, "HTTP/1.1 204 No Content\r\n"),
        (Method::Get, cached, Http11, true, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n"),
    ] {
        assert_eq!(sent_response(method, received, client, keep_alive), sent);
    }
}

#[test]
fn interim_responses_go_to_those_who_know_them() {
    let head = parse_response(Method::Get, "HTTP/1.1 103 Early Hints\r\nLink: a\r\nConnection: close\r\n\r\n");
    let mut out = Vec::new();
    assert!(!encode_interim(&head, Version::Http10, &mut out));
    assert!(out.is_empty());
    assert!(encode_interim(&head, Version::Http11, &mut out));
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
}

#[test]
fn local_responses() {
    let response = |status, to_head, client, keep_alive| {
        let mut out = Vec::new();
        encode_local(
            &LocalResponse { status, fields: ADDED, body: b"{}", to_head, client, keep_alive },
            None,
            &mut out,
        );
        String::from_utf8(out).unwrap()
    };
    let id = "X-Request-Id: 7\r\n\r\n";
    assert_eq!(
        response(404, false, Version::Http11, true),
        format!("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n{id}{{}}")
    );
    assert_eq!(
        response(400, true, Version::Http11, false),
        format!("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n{id}")
    );
    assert_eq!(
        response(204, false, Version::Http10, true),
        format!("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n{id}")
    );
}

#[test]
fn numbers() {
    for number in [0, 9, 10, 99, 100, 12345, u64::MAX] {
        assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
    }
}

#[test]
fn nothing_is_allocated_once_the_storage_has_grown() {
    let input = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX:1\r\n\r\n";
    let mut head = parse_request(input);
    let mut out = Vec::new();
    encode_request(&head, &forward(&head), None, &mut out);
    let (storage, capacity) = (head.section().bytes().as_ptr(), out.capacity());
    for _ in 0..3 {
        head.clear();
        out.clear();
        head.parse(input.as_bytes(), &HeadLimits::default()).unwrap();
        encode_request(&head, &forward(&head), None, &mut out);
    }
    assert_eq!((head.section().bytes().as_ptr(), out.capacity()), (storage, capacity));
}
