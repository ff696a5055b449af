//! Requests whose chunks or trailers lie about where the body ends.

use super::Row;

const HEAD: &str = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n";

/// The body, the code of the refusal, and the data that may have reached the backend by then. The backend never sees
/// the end of such a body.
const REFUSED: &[(&[u8], &str, &str)] = &[
    // Sizes.
    (b"+3\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"-3\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"0x3\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b" 3\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3 \r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3 ;a\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3\t\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3\x0b\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3\x00\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3_0\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3,3\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"g\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b";a\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"\xef\xbc\x93\r\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3\r\nabc\r\n\r\n0\r\n\r\n", "bad_chunk_size", "abc"),
    (b"3\r\nabc\r\n-1\r\n\r\n", "bad_chunk_size", "abc"),
    // Sizes that overflow somewhere.
    (b"00000000000000003\r\nabc\r\n0\r\n\r\n", "chunk_size_too_large", ""),
    (b"10000000000000003\r\nabc\r\n0\r\n\r\n", "chunk_size_too_large", ""),
    (b"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", "chunk_size_too_large", ""),
    (b"8000000000000003\r\nabc\r\n0\r\n\r\n", "chunk_size_too_large", ""),
    (b"fffffffffffffffffffffff3\r\nabc\r\n0\r\n\r\n", "chunk_size_too_large", ""),
    // Line ends.
    (b"3\nabc\r\n0\r\n\r\n", "bad_chunk_size", ""),
    (b"3\rabc\r\n0\r\n\r\n", "bad_chunk_line", ""),
    (b"3\r\r\nabc\r\n0\r\n\r\n", "bad_chunk_line", ""),
    (b"3;a\nabc\r\n0\r\n\r\n", "bad_chunk_line", ""),
    (b"3;a\rb\r\nabc\r\n0\r\n\r\n", "bad_chunk_line", ""),
    (b"3;a\x00\r\nabc\r\n0\r\n\r\n", "bad_chunk_line", ""),
    (b"3;a\x7f\r\nabc\r\n0\r\n\r\n", "bad_chunk_line", ""),
    (b"3\r\nabc0\r\n\r\n", "bad_chunk_end", "abc"),
    (b"3\r\nabc\n0\r\n\r\n", "bad_chunk_end", "abc"),
    (b"3\r\nabc\r0\r\n\r\n", "bad_chunk_end", "abc"),
    (b"3\r\nabcd\r\n0\r\n\r\n", "bad_chunk_end", "abc"),
    (b"3\r\nabc \r\n0\r\n\r\n", "bad_chunk_end", "abc"),
    (b"5\r\nab", "bad_chunk_end", "abGET"),
    (b"3\r\nabc\r\n0\n\n", "bad_chunk_size", "abc"),
    (b"3\r\nabc\r\n0\r\n\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\n\r\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\r\n\r\n", "bad_chunk_line", "abc"),
    // Without an end, the canary is taken for a trailer, and is no field.
    (b"3\r\nabc\r\n0\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n", "bad_chunk_size", "abc"),
    // Trailers.
    (b"3\r\nabc\r\n0\r\nX\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nX : y\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\n: y\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nX: y\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nX: y\rz\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nX: y\x00\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nX.Y: z\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nContent_Length: 5\r\n\r\n", "bad_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", "forbidden_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\ntransfer-encoding: chunked\r\n\r\n", "forbidden_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nHost: evil\r\n\r\n", "forbidden_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nConnection: close\r\n\r\n", "forbidden_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nTrailer: X\r\n\r\n", "forbidden_trailer", "abc"),
    (b"3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", "bad_trailer", "abc"),
];

/// The body, and how it reaches the backend.
const ACCEPTED: &[(&str, &str)] = &[
    ("0\r\n\r\n", "0\r\n\r\n"),
    ("3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ("0003\r\nabc\r\n0000\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ("0000000000000003\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ("A\r\n0123456789\r\n0\r\n\r\n", "a\r\n0123456789\r\n0\r\n\r\n"),
    ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ("3;a=b;c=\"d\"\r\nabc\r\n0;last\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ("3;\t \r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ("3;transfer-encoding: chunked\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
    ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    ("3\r\nabc\r\n0\r\nX-Sum:  1\t\r\nY:\r\n\r\n", "3\r\nabc\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n"),
    (
        "3\r\nabc\r\n0\r\nAuthorization: a\r\nX-Forwarded-For: 6.6.6.6\r\nX: y\r\nX-Request-Id: z\r\nCookie: c\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    ),
    (
        "26\r\nGET /inside HTTP/1.1\r\nHost: inside\r\n\r\n\r\n0\r\n\r\n",
        "26\r\nGET /inside HTTP/1.1\r\nHost: inside\r\n\r\n\r\n0\r\n\r\n",
    ),
];

pub(super) fn rows() -> Vec<Row> {
    let reached = |body: &str| format!("{HEAD}{{for h}}\r\n\r\n{body}");
    let refused = REFUSED.iter().map(|(body, code, data)| {
        let send = [HEAD.as_bytes(), b"\r\n", body].concat();
        let name = format!("chunks {}", body.escape_ascii());
        Row::request(name, send, format!("<400 {code}>"), reached(&format!("~{data}")))
    });
    let accepted = ACCEPTED.iter().map(|(body, expected)| {
        let send = format!("{HEAD}\r\n{body}");
        Row::request(
            format!("good chunks {}", body.escape_debug()),
            send,
            "<ok><canary>",
            reached(&format!("{expected}{{canary}}")),
        )
    });
    let large = [
        (
            "a long size line",
            format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(300)),
            "<400 chunk_line_too_long>",
            String::new(),
        ),
        (
            "more framing than data",
            format!("1;{}\r\na\r\n", "a".repeat(200)).repeat(120),
            "<400 chunk_overhead>",
            "a".repeat(120),
        ),
        (
            "large trailers",
            format!("3\r\nabc\r\n0\r\nX: {}\r\n\r\n", "y".repeat(8200)),
            "<431 trailers_too_large>",
            "abc".to_owned(),
        ),
        (
            "many trailers",
            format!("3\r\nabc\r\n0\r\n{}\r\n", "X: y\r\n".repeat(65)),
            "<431 trailers_too_large>",
            "abc".to_owned(),
        ),
    ];
    let large = large.into_iter().map(|(name, body, answer, data)| {
        Row::request(name, format!("{HEAD}\r\n{body}"), answer, reached(&format!("~{data}")))
    });
    refused.chain(accepted).chain(large).collect()
}
