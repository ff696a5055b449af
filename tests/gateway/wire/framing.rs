//! Requests with lengths and codings that two readers could understand in two ways.

use super::Row;

/// Behind `POST /x HTTP/1.1` and a Host: refused with 400 and this code, and nothing reaches the backend.
const REFUSED: &[(&[u8], &str)] = &[
    // CL.TE and TE.CL: which of the two counts?
    (b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", "length_and_chunked"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n24\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n\r\n0\r\n\r\n", "length_and_chunked"),
    (b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "length_and_chunked"),
    (b"transfer-encoding: CHUNKED\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", "length_and_chunked"),
    (b"Content-Length: 5\r\nX: y\r\nTransfer-Encoding:chunked\r\n\r\n0\r\n\r\n", "length_and_chunked"),
    // TE.TE: which of the two counts, and is it one at all?
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "duplicate_transfer_encoding"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "duplicate_transfer_encoding"),
    (b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n0\r\n\r\n", "duplicate_transfer_encoding"),
    (b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"Transfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"Transfer-Encoding\x00: chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"Transfer-Encoding\r\n: chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"Transfer Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous_field_name"),
    (b"Transfer.Encoding: chunked\r\n\r\n0\r\n\r\n", "odd_field_name"),
    (b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_line_end"),
    (b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_field_value"),
    (b"X: y\r\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_field_value"),
    (b"X: y\n\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_line_end"),
    (b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "bad_field_value"),
    (b"Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n", "bad_field_value"),
    (b"Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n", "bad_field_value"),
    (b"Transfer-Encoding: chunked\x7f\r\n\r\n0\r\n\r\n", "bad_field_value"),
    (b"Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: chunked,chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: chunk\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: \r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", "bad_transfer_encoding"),
    (b"Transfer-Encoding: chunked\r\n , identity\r\n\r\n0\r\n\r\n", "bad_field_name"),
    (b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "bad_field_name"),
    // Lengths that are no plain number.
    (b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "duplicate_content_length"),
    (b"Content-Length: 3\r\nContent-Length: 0\r\n\r\nabc", "duplicate_content_length"),
    (b"Content-Length: 0\r\ncontent-length: 34\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", "duplicate_content_length"),
    (b"Content-Length: 3, 3\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 3,0\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: +3\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: -3\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: -0\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 0x3\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 3.0\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 3e0\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 3 0\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 3;\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: \"3\"\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: three\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 3_0\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length:\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length:  \t \r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: \xef\xbc\x93\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 9223372036854775808\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 18446744073709551619\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 4294967299999999999999\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: 00000000000000000003\r\n\r\nabc", "bad_content_length"),
    (b"Content-Length: \x0b3\r\n\r\nabc", "bad_field_value"),
    (b"Content-Length: 3\x00\r\n\r\nabc", "bad_field_value"),
    (b"Content-Length : 3\r\n\r\nabc", "bad_field_name"),
    (b"Content-Length\r\n : 3\r\n\r\nabc", "bad_field_name"),
    (b"Content-Length: 3\r\n 4\r\n\r\nabc", "bad_field_name"),
    (b"Content_Length: 3\r\n\r\nabc", "ambiguous_field_name"),
    (b"Content-Length\xad: 3\r\n\r\nabc", "bad_field_name"),
];

pub(super) fn rows() -> Vec<Row> {
    let refused = REFUSED.iter().map(|(rest, code)| {
        let send = [b"POST /x HTTP/1.1\r\nHost: h\r\n", *rest].concat();
        let name = format!("framing {}", rest.escape_ascii());
        Row::request(name, send, format!("<400 {code}>"), "")
    });
    refused.chain(others()).chain(behind_refusals()).collect()
}

fn others() -> Vec<Row> {
    let post = "POST /x HTTP/1.1\r\nHost: h\r\n";
    let row = |name: &str, rest: &str, answer: &str, reached: &str| {
        let reached = if reached.is_empty() { String::new() } else { format!("{post}{reached}") };
        Row::request(name, format!("{post}{rest}"), answer, reached)
    };
    let chunked = "Transfer-Encoding: chunked\r\n{for h}\r\n\r\n3\r\nabc\r\n0\r\n\r\n{canary}";
    let three = "Content-Length: 3\r\n{for h}\r\n\r\nabc";
    vec![
        row(
            "a coding that is not ours",
            "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "<501 unsupported_transfer_coding>",
            "",
        ),
        row(
            "identity is a coding that is not ours",
            "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
            "<501 unsupported_transfer_coding>",
            "",
        ),
        row("any case", "transfer-ENCODING: cHuNkEd\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "<ok><canary>", chunked),
        row(
            "tabs around a coding",
            "Transfer-Encoding:\tchunked\t \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "<ok><canary>",
            chunked,
        ),
        row(
            "leading zeros are not repeated",
            "Content-Length: 0003\r\n\r\nabc",
            "<ok><canary>",
            &format!("{three}{{canary}}"),
        ),
        row("tabs around a length", "Content-Length:\t3 \t\r\n\r\nabc", "<ok><canary>", &format!("{three}{{canary}}")),
        row("more than announced", "Content-Length: 3\r\n\r\nabcdef", "<ok><400 bad_method>", three),
        row("no length is no body", "\r\nabc", "<ok><400 bad_method>", "{for h}\r\n\r\n"),
        row("the longest length", "Content-Length: 9223372036854775807\r\n\r\nabc", "<413 body_too_large>", ""),
        row(
            "less than announced swallows what follows, and is refused",
            "Content-Length: 500\r\n\r\nabc",
            "<400 truncated_body>",
            &format!("Content-Length: 500\r\n{{for h}}\r\n\r\n~abc{}", super::CANARY),
        ),
        row(
            "what is behind an empty body is a request of its own",
            "Content-Length: 0\r\n\r\nGET /second HTTP/1.1\r\nHost: s\r\n\r\n",
            "<ok><ok><canary>",
            "Content-Length: 0\r\n{for h}\r\n\r\nGET /second HTTP/1.1\r\nHost: s\r\n{for s}\r\n\r\n{canary}",
        ),
        Row::request(
            "a GET may have a body",
            "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
            "<ok><canary>",
            "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n{for h}\r\n\r\nabc{canary}",
        ),
        Row::request(
            "HTTP/1.0 has no chunks",
            "POST /x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "<400 chunked_in_http10>",
            "",
        ),
        Row::request(
            "HTTP/1.0 ends with its answer",
            "POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
            "<ok, close>",
            "POST /x HTTP/1.1\r\nHost: {origin}\r\nContent-Length: 3\r\n{for nobody, 1.0}\r\n\r\nabc",
        ),
    ]
}

/// What is behind the head of a request that is refused for what it asks.
fn behind_refusals() -> Vec<Row> {
    vec![
        Row::request(
            "the body of a refused request is no request",
            "POST /../x HTTP/1.1\r\nHost: h\r\nContent-Length: 34\r\n\r\nGET /inside HTTP/1.1\r\nHost: h\r\n\r\n ",
            "<400 bad_path, kept><canary>",
            "{canary}",
        ),
        Row::request(
            "the chunks of a refused request are not looked at",
            "POST /../x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "<400 bad_path>",
            "",
        ),
        Row::request(
            "the body of a refused request that is announced and not sent is not waited for",
            "POST /../x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n",
            "<400 bad_path>",
            "",
        ),
    ]
}
