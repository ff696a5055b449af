//! Bodies of responses: those that are cut, that go wrong, that should not be there, and what comes behind them.

use super::{After, Row};

const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: h\r\n{for h}\r\n\r\n";

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";

/// Behind a head that says chunked: a body that goes wrong, how the connection ends, and the data before that. The
/// client never sees the end of such a body, and its connection ends.
const CUT: &[(&str, After, &str)] = &[
    ("5\r\nhello\r\nzz\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\n+1\r\na\r\n0\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\n0x1\r\na\r\n0\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\n 1\r\na\r\n0\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\n\r\n0\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello0\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello\n0\r\n\r\n", After::Stay, "hello"),
    ("5\nhello\r\n0\r\n\r\n", After::Stay, ""),
    ("5\r\nhello\r\n0\r\n\n", After::Stay, "hello"),
    ("5\r\nhello\r\nffffffffffffffff\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\n10000000000000000\r\n", After::Stay, "hello"),
    ("5;\0\r\nhello\r\n0\r\n\r\n", After::Stay, ""),
    ("5\r\nhello\r\n0\r\nContent-Length: 4\r\n\r\nevil", After::Stay, "hello"),
    ("5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\n0\r\nX\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n", After::Stay, "hello"),
    ("5\r\nhello\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", After::Stay, "hello"),
    ("", After::Close, ""),
    ("5\r\nhe", After::Close, "he"),
    ("5\r\nhello", After::Close, "hello"),
    ("5\r\nhello\r\n", After::Close, "hello"),
    ("5\r\nhello\r\n0\r\n", After::Close, "hello"),
    ("5\r\nhello\r\n0\r\nX: y\r\n", After::Close, "hello"),
    ("5\r\nhello\r\n", After::Reset, "hello"),
];

/// Behind a head that says chunked: a body, and how the client sees it.
const WHOLE: &[(&str, &str)] = &[
    ("0\r\n\r\n", "0\r\n\r\n"),
    ("5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("2;a=b\r\nhe\r\n003\r\nllo\r\n000;c\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("5\r\nhello\r\n0\r\nX-Sum:1\r\nSet-Cookie: evil\r\n\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
    ("10\r\nHTTP/1.1 200 OK\n\r\n0\r\n\r\n", "10\r\nHTTP/1.1 200 OK\n\r\n0\r\n\r\n"),
];

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

pub(super) fn rows() -> Vec<Row> {
    let cut = CUT.iter().map(|(body, after, data)| {
        let answer = format!("{CHUNKED}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\n~{data}");
        let name = format!("chunks of a response {} {after:?}", body.escape_debug());
        Row::response(&name, format!("{CHUNKED}\r\n{body}"), *after, &answer, REQUEST)
    });
    let whole = WHOLE.iter().map(|(body, expected)| {
        let answer = format!("{CHUNKED}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\n{expected}<canary>");
        let name = format!("good chunks of a response {}", body.escape_debug());
        Row::response(&name, format!("{CHUNKED}\r\n{body}"), After::Stay, &answer, &format!("{REQUEST}{{canary}}"))
    });
    cut.chain(whole).chain(lengths()).chain(bodiless()).chain(behind()).chain(interim()).chain(http10()).collect()
}

/// Bodies with a length, and until the connection ends.
fn lengths() -> Vec<Row> {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n";
    let cut = format!("{length}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\n~hello");
    let again = format!("{REQUEST} | {{canary}}");
    let chunked = format!("{CHUNKED}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\n5\r\nhello\r\n0\r\n\r\n<canary>");
    let chunked_cut = format!("{CHUNKED}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\n~hello");
    vec![
        Row::response("less than announced", format!("{length}\r\nhello"), After::Close, &cut, REQUEST),
        Row::response("less than announced and a reset", format!("{length}\r\nhello"), After::Reset, &cut, REQUEST),
        Row::response("a head and nothing", format!("{length}\r\n"), After::Close, &cut, REQUEST),
        Row::response("until close", "HTTP/1.1 200 OK\r\n\r\nhello", After::Close, &chunked, &again),
        Row::response(
            "until close in HTTP/1.0",
            "HTTP/1.0 200 OK\r\n\r\nhello",
            After::Close,
            &chunked.replacen("Via: 1.1", "Via: 1.0", 1),
            &again,
        ),
        Row::response("until a reset", "HTTP/1.1 200 OK\r\n\r\nhello", After::Reset, &chunked_cut, REQUEST),
        Row::response(
            "the backend closes",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            After::Close,
            "<ok><canary>",
            &again,
        ),
        Row::response(
            "HTTP/1.0 closes",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            After::Close,
            "<ok, 1.0><canary>",
            &again,
        ),
    ]
}

/// Responses that have no body, whatever they say.
fn bodiless() -> Vec<Row> {
    let kept = format!("{REQUEST}{{canary}}");
    let again = format!("{REQUEST} | {{canary}}");
    let none = "X-Request-Id: {id}\r\nVia: 1.1 tidegate\r\n\r\n<canary>";
    let row = |name: &str, reply: &str, answer: &str, reached: &str| {
        Row::response(name, reply, After::Stay, &format!("{answer}{none}"), reached)
    };
    let head = |reply: &str, answer: &str, reached: &str| Row {
        send: b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        ..row(&format!("to a HEAD {}", reply.escape_debug()), reply, answer, &reached.replace("GET /x", "HEAD /x"))
    };
    let no_content = "HTTP/1.1 204 No Content\r\n";
    let not_modified = "HTTP/1.1 304 Not Modified\r\n";
    vec![
        row("204", "HTTP/1.1 204 No Content\r\n\r\n", no_content, &kept),
        row("204 with an empty body", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", no_content, &kept),
        row(
            "204 that announces a body",
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
            no_content,
            &again,
        ),
        row(
            "204 that announces chunks",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
            no_content,
            &again,
        ),
        row("304", "HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: a\r\n", &kept),
        row(
            "304 with the length of what it stands for",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n",
            &kept,
        ),
        row("304 with a body", "HTTP/1.1 304 Not Modified\r\n\r\nevil", not_modified, &again),
        head("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", &kept),
        head("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", &again),
        head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n", &kept),
        head("HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n", &kept),
        head("HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n", &kept),
    ]
}

/// A response to a request that was never sent: it comes with the one before, and never goes on. (`pool` has those
/// that come while the connection is idle. One that comes when the next request has been sent is that one's answer.)
fn behind() -> Vec<Row> {
    let again = format!("{REQUEST} | {{canary}}");
    let chunked = format!("{CHUNKED}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\n0\r\n\r\n<canary>");
    let row = |name: &str, reply: String, answer: &str| Row::response(name, reply, After::Stay, answer, &again);
    vec![
        row("a second response", format!("{}{EVIL}", super::OK), "<ok><canary>"),
        row("a byte more than announced", format!("{}!", super::OK), "<ok><canary>"),
        row("a line end more than announced", format!("{}\r\n", super::OK), "<ok><canary>"),
        row("a second response behind chunks", format!("{CHUNKED}\r\n0\r\n\r\n{EVIL}"), &chunked),
        row(
            "an interim response behind the final one",
            format!("{}HTTP/1.1 100 Continue\r\n\r\n", super::OK),
            "<ok><canary>",
        ),
    ]
}

/// Interim responses, which go on before the final one.
fn interim() -> Vec<Row> {
    let kept = format!("{REQUEST}{{canary}}");
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let row = |name: &str, reply: String, answer: String| Row::response(name, reply, After::Stay, &answer, &kept);
    vec![
        row(
            "100",
            format!("HTTP/1.1 100 Continue\r\n\r\n{}", super::OK),
            "HTTP/1.1 100 Continue\r\n\r\n<ok><canary>".into(),
        ),
        row("103", format!("{hint}{}", super::OK), format!("{hint}<ok><canary>")),
        row("103 twice", format!("{hint}{hint}{}", super::OK), format!("{hint}{hint}<ok><canary>")),
        row(
            "102 without a reason, with hop-by-hop fields",
            format!("HTTP/1.1 102\r\nConnection: x\r\nX: y\r\n\r\n{}", super::OK),
            "HTTP/1.1 102 \r\n\r\n<ok><canary>".into(),
        ),
        Row::response(
            "a flood of interim responses",
            hint.repeat(1000),
            After::Stay,
            &format!("{}<502 too_many_interim, kept><canary>", hint.repeat(32)),
            &format!("{REQUEST} | {{canary}}"),
        ),
        Row::response(
            "an interim response and an end",
            hint,
            After::Close,
            &format!("{hint}<502 backend_closed, kept><canary>"),
            &format!("{REQUEST} | {{canary}}"),
        ),
    ]
}

/// Responses to a client of HTTP/1.0, which knows neither chunks nor interim responses.
fn http10() -> Vec<Row> {
    let row = |name: &str, reply: &str, after: After, answer: &str| Row {
        send: b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n".to_vec(),
        ..Row::response(name, reply, after, answer, &REQUEST.replace("{for h}", "{for h, 1.0}"))
    };
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Request-Id: {id}\r\nVia: 1.1 tidegate\r\n\r\n";
    let chunked = format!("{CHUNKED}\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n");
    let chunked_cut = format!("{CHUNKED}\r\n5\r\nhello\r\n");
    let chunked_bad = format!("{CHUNKED}\r\n5\r\nhello\r\nzz\r\n");
    let whole = format!("{head}hello");
    let cut = format!("{head}~hello<reset>");
    let interim = format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", super::OK);
    vec![
        row("chunks to HTTP/1.0", &chunked, After::Stay, &whole),
        row("until close to HTTP/1.0", "HTTP/1.1 200 OK\r\n\r\nhello", After::Close, &whole),
        row("interim responses to HTTP/1.0", &interim, After::Stay, "<ok, close>"),
        row("cut chunks to HTTP/1.0", &chunked_cut, After::Close, &cut),
        row("bad chunks to HTTP/1.0", &chunked_bad, After::Stay, &cut),
        row("until a reset to HTTP/1.0", "HTTP/1.1 200 OK\r\n\r\nhello", After::Reset, &cut),
        row("a length to HTTP/1.0", super::OK, After::Stay, "<ok, close>"),
    ]
}
