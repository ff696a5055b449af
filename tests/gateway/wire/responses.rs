//! Heads of responses, malformed and odd.

use super::{After, Row, outcome};

const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: h\r\n{for h}\r\n\r\n";

/// Malformed: the client gets a 502 with nothing of it, and the connection to the backend is not used again.
const REFUSED: &[&[u8]] = &[
    // Status lines.
    b"HTTP/1.1 20 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 2000 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 2x0 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 099 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 000 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 600 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 -20 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 +20 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1  200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1\t200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200\tOK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 \r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.2 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/2 200\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.10 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"http/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b" HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"\x00HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"ICY 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"<html>evil</html>\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n",
    b"HTTP/1.1 200 O\x00K\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 O\x01K\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\rX: y\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
    // Splitting: whatever ends a line somewhere.
    b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: evil\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\r\r\nSet-Cookie: evil\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\x0bb\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX: a\x7f\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nLocation: /\r\n folded\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nLocation: /\n\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    b"HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nXYZ\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX.Y: a\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nX\xe4: a\r\nContent-Length: 2\r\n\r\nok",
    // Framing.
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 0\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent_Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nConnection: a b\r\nContent-Length: 2\r\n\r\nok",
    // Interim responses.
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevilHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
];

/// The head of the response, and the head that the client sees. The body is `ok`, and the connection is used again.
const ACCEPTED: &[(&str, &str)] = &[
    ("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
    ("HTTP/1.1 200\r\n", "HTTP/1.1 200 \r\nContent-Length: 2\r\n"),
    ("HTTP/1.1 200 \r\n", "HTTP/1.1 200 \r\nContent-Length: 2\r\n"),
    ("HTTP/1.1 299 Some  odd\treason\r\n", "HTTP/1.1 299 Some  odd\treason\r\nContent-Length: 2\r\n"),
    ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
    ("HTTP/1.1 200 OK\r\nx-A:b\r\nY:  c \r\n", "HTTP/1.1 200 OK\r\nx-A: b\r\nY: c\r\nContent-Length: 2\r\n"),
    (
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX_Y: z\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX_Y: z\r\nContent-Length: 2\r\n",
    ),
    (
        "HTTP/1.1 200 OK\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nX-Request-Id: evil\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
    ),
    (
        "HTTP/1.1 302 Found\r\nLocation: /%0d%0aSet-Cookie:evil\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /%0d%0aSet-Cookie:evil\r\nContent-Length: 2\r\n",
    ),
    ("HTTP/1.1 200 OK\r\nTrailer: X\r\nTE: trailers\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
];

pub(super) fn rows() -> Vec<Row> {
    let again = format!("{REQUEST} | {{canary}}");
    let refused = REFUSED.iter().map(|reply| {
        let name = format!("response {}", reply.escape_ascii());
        Row::response(&name, reply, After::Stay, "<502 bad_response, kept><canary>", &again)
    });
    let accepted = ACCEPTED.iter().map(|(head, expected)| {
        let version = &head[5..8];
        let answer = format!("{expected}X-Request-Id: {{id}}\r\nVia: {version} tidegate\r\n\r\nok<canary>");
        let reply = format!("{head}Content-Length: 2\r\n\r\nok");
        let name = format!("good response {}", head.escape_debug());
        Row::response(&name, reply, After::Stay, &outcome::brief_known(&answer), &format!("{REQUEST}{{canary}}"))
    });
    let refused_head = "<502 bad_response, kept><canary>";
    let large = [
        Row::response(
            "a large head",
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(32 * 1024)),
            After::Stay,
            refused_head,
            &again,
        ),
        Row::response(
            "many fields",
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)),
            After::Stay,
            refused_head,
            &again,
        ),
    ];
    let closed = "<502 backend_closed, kept><canary>";
    let ends = [
        ("nothing", "", After::Close),
        ("nothing but a reset", "", After::Reset),
        ("half a status line", "HTTP/1.1 200", After::Close),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", After::Close),
        ("half a head and a reset", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", After::Reset),
    ];
    let ends = ends.map(|(name, reply, after)| Row::response(name, reply, after, closed, &again));
    refused.chain(accepted).chain(large).chain(ends).collect()
}
