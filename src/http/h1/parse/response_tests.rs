//! Response heads as tables of exact bytes.

use super::*;

type Outcome = Result<Progress, HeadError>;

/// Parses `input` whole and at every split, all of which must agree.
fn parse(input: &[u8], context: &ResponseContext) -> (ResponseHead, Outcome) {
    let limits = HeadLimits::default();
    let mut head = ResponseHead::default();
    let whole = head.parse(input, &limits, context);
    let mut trickled = ResponseHead::default();
    let mut outcome = Ok(Progress::Incomplete);
    for end in 0..=input.len() {
        outcome = trickled.parse(&input[..end], &limits, context);
        if outcome != Ok(Progress::Incomplete) {
            break;
        }
    }
    assert_eq!(whole, outcome, "{}", input.escape_ascii());
    (head, whole)
}

fn accept_to(method: Method, input: &str) -> ResponseHead {
    let (head, outcome) = parse(input.as_bytes(), &ResponseContext { method, upgrade_requested: false });
    assert_eq!(outcome, Ok(Progress::Complete { consumed: input.len() }), "{}", input.escape_debug());
    head
}

fn accept(input: &str) -> ResponseHead {
    accept_to(Method::Get, input)
}

fn refuse(input: &str, error: HeadError) {
    let (_, outcome) = parse(input.as_bytes(), &ResponseContext::default());
    assert_eq!(outcome, Err(error), "{}", input.escape_debug());
}

#[test]
fn status_lines() {
    for (line, status, reason) in [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.0 404 Not  Found", 404, "Not  Found"),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.1 599  x", 599, " x"),
        ("HTTP/1.1 500 \u{e4}\t!", 500, "\u{e4}\t!"),
    ] {
        let head = accept(&format!("{line}\r\n\r\n"));
        assert_eq!((head.status(), head.reason()), (status, reason.as_bytes()), "{line}");
    }
    for line in [
        "",
        "x",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 099 x",
        "HTTP/1.1 600 x",
        "HTTP/1.1 000 x",
        "HTTP/1.1 2x0 x",
        "HTTP/1.2 200 OK",
        "HTTP/2 200",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 a\0b",
        "HTTP/1.1 200 a\x7fb",
        "HTTP/1.1 200 a\rb",
        "ICY 200 OK",
        "<html>",
        "GET / HTTP/1.1",
        "\r\nHTTP/1.1 200 OK",
    ] {
        refuse(&format!("{line}\r\n\r\n"), HeadError::BadStatusLine);
    }
    refuse("HTTP/1.1 200 OK\n\n", HeadError::BadLineEnd);
    refuse("HTTP/1.1 200 OK\r\nX: y\n\r\n", HeadError::BadLineEnd);
    refuse("HTTP/1.1 200 OK\r\nX: y\r\n\n", HeadError::BadLineEnd);
}

#[test]
fn garbage_is_refused_before_it_ends() {
    let (_, outcome) = parse(b"\x15\x03\x01", &ResponseContext::default());
    assert_eq!(outcome, Err(HeadError::BadStatusLine));
    let (_, outcome) = parse(b"HTTP/1", &ResponseContext::default());
    assert_eq!(outcome, Ok(Progress::Incomplete));
}

#[test]
fn framings() {
    const LENGTH: &str = "Content-Length: 5\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    let cases = [
        (Method::Get, "200", "", Framing::UntilClose, None),
        (Method::Get, "200", LENGTH, Framing::Length(5), Some(5)),
        (Method::Get, "200", CHUNKED, Framing::Chunked, None),
        (Method::Get, "205", "Content-Length: 0\r\n", Framing::Length(0), Some(0)),
        (Method::Head, "200", LENGTH, Framing::None, Some(5)),
        (Method::Head, "200", CHUNKED, Framing::None, None),
        (Method::Head, "200", "", Framing::None, None),
        (Method::Get, "304", LENGTH, Framing::None, Some(5)),
        (Method::Get, "304", CHUNKED, Framing::None, None),
        (Method::Get, "204", "", Framing::None, None),
        (Method::Get, "204", "Content-Length: 0\r\n", Framing::None, None),
        (Method::Get, "204", LENGTH, Framing::None, None),
        (Method::Get, "103", "Link: x\r\n", Framing::None, None),
    ];
    for (method, status, lines, framing, length) in cases {
        let head = accept_to(method, &format!("HTTP/1.1 {status} x\r\n{lines}\r\n"));
        assert_eq!((head.framing(), head.content_length()), (framing, length), "{status} {lines}");
    }
    for (head, error) in [
        (format!("HTTP/1.1 200 OK\r\n{LENGTH}{CHUNKED}"), HeadError::LengthAndChunked),
        (format!("HTTP/1.1 304 x\r\n{LENGTH}{CHUNKED}"), HeadError::LengthAndChunked),
        (format!("HTTP/1.1 200 OK\r\n{LENGTH}{LENGTH}"), HeadError::DuplicateContentLength),
        (format!("HTTP/1.1 204 x\r\n{LENGTH}{LENGTH}"), HeadError::DuplicateContentLength),
        (format!("HTTP/1.1 200 OK\r\n{CHUNKED}{CHUNKED}"), HeadError::DuplicateTransferEncoding),
        (format!("HTTP/1.0 200 OK\r\n{CHUNKED}"), HeadError::ChunkedInHttp10),
        (format!("HTTP/1.1 100 x\r\n{LENGTH}"), HeadError::FramedInterim),
        (format!("HTTP/1.1 103 x\r\n{CHUNKED}"), HeadError::FramedInterim),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n".into(), HeadError::BadContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n".into(), HeadError::BadContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n".into(), HeadError::UnsupportedTransferCoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n".into(), HeadError::BadTransferEncoding),
        ("HTTP/1.1 200 OK\r\nContent_Length: 5\r\n".into(), HeadError::AmbiguousFieldName),
        ("HTTP/1.1 200 OK\r\nConnection: content-length\r\n".into(), HeadError::BadConnection),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n".into(), HeadError::BadFieldName),
        ("HTTP/1.1 200 OK\r\nX : a\r\n".into(), HeadError::BadFieldName),
        ("HTTP/1.1 200 OK\r\nX: a\0\r\n".into(), HeadError::BadFieldValue),
        ("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n".into(), HeadError::BadFieldValue),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n".into(), HeadError::UnexpectedUpgrade),
    ] {
        refuse(&format!("{head}\r\n"), error);
    }
}

#[test]
fn an_upgrade_that_was_asked_for_is_taken() {
    let context = ResponseContext { method: Method::Get, upgrade_requested: true };
    let (head, outcome) = parse(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", &context);
    assert!(outcome.is_ok() && !head.keep_alive() && !head.is_interim());
    assert_eq!(head.framing(), Framing::None);
}

#[test]
fn connections_are_kept_where_both_the_head_and_the_body_allow() {
    for (head, keep) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n", false),
        ("HTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", false),
        ("HTTP/1.1 204 x\r\n", true),
        ("HTTP/1.1 204 x\r\nContent-Length: 0\r\n", true),
        ("HTTP/1.1 204 x\r\nContent-Length: 5\r\n", false),
        ("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n", false),
        ("HTTP/1.1 304 x\r\nContent-Length: 5\r\n", true),
    ] {
        assert_eq!(accept(&format!("{head}\r\n")).keep_alive(), keep, "{head}");
    }
}

#[test]
fn an_interim_response_is_followed_by_another_head() {
    let input = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let (mut head, outcome) = parse(input.as_bytes(), &ResponseContext::default());
    assert_eq!(outcome, Ok(Progress::Complete { consumed: 25 }));
    assert!(head.is_interim());
    head.clear();
    let rest = head.parse(&input.as_bytes()[25..], &HeadLimits::default(), &ResponseContext::default());
    assert_eq!(rest, Ok(Progress::Complete { consumed: 19 }));
    assert!(!head.is_interim() && head.status() == 200);
}
