//! Fields of requests: names, values, and which of them go on.

use super::Row;

/// A line behind the Host, and the refusal.
const REFUSED: &[(&[u8], &str)] = &[
    (b"X Y: z", "400 bad_field_name"),
    (b"X\tY: z", "400 bad_field_name"),
    (b"X : z", "400 bad_field_name"),
    (b": z", "400 bad_field_name"),
    (b"XYZ", "400 bad_field_name"),
    (b"X\x00: z", "400 bad_field_name"),
    (b"X\x7f: z", "400 bad_field_name"),
    (b"X\xe4: z", "400 bad_field_name"),
    (b"X(Y): z", "400 bad_field_name"),
    (b"X@Y: z", "400 bad_field_name"),
    (b"X\"Y\": z", "400 bad_field_name"),
    (b"X/Y: z", "400 bad_field_name"),
    (b"X=Y: z", "400 bad_field_name"),
    (b"GET /smuggled HTTP/1.1", "400 bad_field_name"),
    (b" folded", "400 bad_field_name"),
    (b"\tfolded", "400 bad_field_name"),
    (b"X: a\r\n b", "400 bad_field_name"),
    (b"X.Y: z", "400 odd_field_name"),
    (b"X!Y: z", "400 odd_field_name"),
    (b"X'Y: z", "400 odd_field_name"),
    (b"X%59: z", "400 odd_field_name"),
    (b"X*: z", "400 odd_field_name"),
    (b"$X: z", "400 odd_field_name"),
    (b"X: a\x00b", "400 bad_field_value"),
    (b"X: a\x01b", "400 bad_field_value"),
    (b"X: a\x0bb", "400 bad_field_value"),
    (b"X: a\x1bb", "400 bad_field_value"),
    (b"X: a\x7fb", "400 bad_field_value"),
    (b"X: a\rb", "400 bad_field_value"),
    (b"X: a\r", "400 bad_field_value"),
    (b"X: a\nY: b", "400 bad_line_end"),
    (b"X: a\n\nGET /smuggled HTTP/1.1", "400 bad_line_end"),
    (b"X_Forwarded_For: 6.6.6.6", "400 ambiguous_field_name"),
    (b"X-Forwarded_Host: evil", "400 ambiguous_field_name"),
    (b"X_REAL_IP: 6.6.6.6", "400 ambiguous_field_name"),
    (b"x_request_id: 7", "400 ambiguous_field_name"),
    (b"Proxy_Authorization: a", "400 ambiguous_field_name"),
    (b"Keep_Alive: a", "400 ambiguous_field_name"),
    (b"Expect: 200-ok", "417 bad_expect"),
    (b"Expect: 100-continue, 200-ok", "417 bad_expect"),
    (b"Expect:", "417 bad_expect"),
    (b"Connection: Host", "400 bad_connection"),
    (b"Connection: close, content-length", "400 bad_connection"),
    (b"Connection: Transfer-Encoding", "400 bad_connection"),
    (b"Connection: a b", "400 bad_connection"),
    (b"Connection: (a)", "400 bad_connection"),
    (b"Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,a,b,c,d,e,f,g", "400 bad_connection"),
];

/// Lines behind the Host, and what of them reached the backend.
const ACCEPTED: &[(&[u8], &str)] = &[
    (b"X:a\r\n", "X: a\r\n"),
    (b"X: \t a b \t\r\n", "X: a b\r\n"),
    (b"X:\r\n", "X: \r\n"),
    (b"X: a\tb\r\n", "X: a\tb\r\n"),
    (b"X: \xe4\xff\x80\r\n", "X: \u{e4}\u{ff}\u{80}\r\n"),
    (b"x_y: z\r\nX-y-Z: 1\r\n", "x_y: z\r\nX-y-Z: 1\r\n"),
    (b"B: 1\r\na: 2\r\nB: 3\r\n", "B: 1\r\na: 2\r\nB: 3\r\n"),
    (b"X: ,\"a:b\";\r\n", "X: ,\"a:b\";\r\n"),
    // What the client says of itself is replaced by what we know.
    (b"X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\n", ""),
    (b"X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n", ""),
    (b"X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Request-Id: evil\r\n", ""),
    // From hop to hop.
    (b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: a\r\n", ""),
    (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", ""),
    (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", ""),
    (b"Connection: x-secret , ,X-Other\r\nX-Secret: 1\r\nX: y\r\nx-other: 2\r\nX-Secret: 3\r\n", "X: y\r\n"),
    (b"X-Late: 1\r\nConnection: x-late\r\n", ""),
    // What must not be removed at the client's word.
    (b"Connection: Authorization, Cookie\r\nAuthorization: a\r\nCookie: b\r\n", "Authorization: a\r\nCookie: b\r\n"),
    (b"Connection: X-Forwarded-For, X-Forwarded-Prefix\r\nX-Forwarded-Prefix: a\r\n", "X-Forwarded-Prefix: a\r\n"),
    (b"Connection: X-Request-Id\r\n", ""),
    (b"TE: trailers, deflate;q=0.5\r\nConnection: TE\r\n", "Connection: TE\r\nTE: trailers\r\n"),
    (b"TE: gzip\r\n", ""),
    (b"Trailer: X-Sum\r\n", ""),
    (b"Expect: 100-continue\r\n", "Expect: 100-continue\r\n"),
];

pub(super) fn rows() -> Vec<Row> {
    let start = b"GET /x HTTP/1.1\r\nHost: h\r\n";
    let refused = REFUSED.iter().map(|(line, answer)| {
        let send = [start, *line, b"\r\n\r\n"].concat();
        Row::request(format!("field {}", line.escape_ascii()), send, format!("<{answer}>"), "")
    });
    let accepted = ACCEPTED.iter().map(|(lines, expected)| {
        let send = [start, *lines, b"\r\n"].concat();
        let reached = format!("GET /x HTTP/1.1\r\nHost: h\r\n{expected}{{for h}}\r\n\r\n{{canary}}");
        Row::request(format!("fields {}", lines.escape_ascii()), send, "<ok><canary>", reached)
    });
    let many = |count: usize| format!("GET /x HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    let large = [
        Row::request("too many fields", many(101), "<431 too_many_fields>", ""),
        Row::request(
            "a large field",
            format!("GET /x HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "y".repeat(32 * 1024)),
            "<431 head_too_large>",
            "",
        ),
        Row::request(
            "a long target",
            format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "y".repeat(8 * 1024)),
            "<414 target_too_long>",
            "",
        ),
        Row::request("a head that never ends", "GET /x HTTP/1.1\r\nHost: h\r\nX: y\r\n", "<400 bad_field_name>", ""),
    ];
    refused.chain(accepted).chain(large).collect()
}
