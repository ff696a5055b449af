//! Requests whose first line or Host is wrong, or odd but right.

use super::Row;

/// The head up to its last line end, and the refusal; the empty line is added.
const REFUSED: &[(&[u8], &str)] = &[
    // Line ends.
    (b"GET /x HTTP/1.1\nHost: h\n", "400 bad_line_end"),
    (b"GET /x HTTP/1.1\nHost: h\r\n", "400 bad_line_end"),
    (b"GET /x HTTP/1.1\r\nHost: h\n", "400 bad_line_end"),
    (b"GET /x HTTP/1.1\rHost: h\r\n", "400 bad_line_end"),
    (b"GET /x HTTP/1.1\r\r\nHost: h\r\n", "400 bad_line_end"),
    (b"\nGET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_line_end"),
    (b"\rGET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_line_end"),
    (b"\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"\r\n\nGET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_line_end"),
    (b"\x00GET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    // White space.
    (b" GET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"\tGET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"GET  /x HTTP/1.1\r\nHost: h\r\n", "400 bad_target"),
    (b"GET /x  HTTP/1.1\r\nHost: h\r\n", "400 bad_target"),
    (b"GET\t/x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"GET /x\tHTTP/1.1\r\nHost: h\r\n", "400 bad_request_line"),
    (b"GET /x HTTP/1.1 \r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/1.1\t\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/1.1 x\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x\x0bHTTP/1.1\r\nHost: h\r\n", "400 bad_request_line"),
    // Parts that are missing.
    (b"GET\r\nHost: h\r\n", "400 bad_method"),
    (b"GET /x\r\nHost: h\r\n", "400 bad_request_line"),
    (b"GET HTTP/1.1\r\nHost: h\r\n", "400 bad_request_line"),
    (b"GET  HTTP/1.1\r\nHost: h\r\n", "400 bad_request_line"),
    (b"/x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    // Methods.
    (b"get /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"Get /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"GET\x00 /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"G\xc3\x89T /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"G=T /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"G:T /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"-GET /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"G3T /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG /x HTTP/1.1\r\nHost: h\r\n", "400 bad_method"),
    (b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n", "501 connect_refused"),
    (b"CONNECT /x HTTP/1.1\r\nHost: h\r\n", "501 connect_refused"),
    (b"PRI * HTTP/2.0\r\n", "505 http2_preface"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", "400 bad_method"),
    // Versions.
    (b"GET /x HTTP/1.2\r\nHost: h\r\n", "505 unsupported_version"),
    (b"GET /x HTTP/0.9\r\nHost: h\r\n", "505 unsupported_version"),
    (b"GET /x HTTP/2.0\r\nHost: h\r\n", "505 unsupported_version"),
    (b"GET /x HTTP/9.9\r\nHost: h\r\n", "505 unsupported_version"),
    (b"GET /x HTTP/1.10\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/01.1\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/1\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/1.\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/1.1x\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/1.1\x00\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x http/1.1\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP 1.1\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTP/1,1\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x HTTPS/1.1\r\nHost: h\r\n", "400 bad_version"),
    (b"GET /x SIP/2.0\r\nHost: h\r\n", "400 bad_version"),
    // The host.
    (b"GET /x HTTP/1.1\r\n", "400 missing_host"),
    (b"GET http://a/x HTTP/1.1\r\n", "400 missing_host"),
    (b"GET /x HTTP/1.1\r\nHost: h\r\nHost: h\r\n", "400 duplicate_host"),
    (b"GET /x HTTP/1.1\r\nHost: h\r\nX: y\r\nhost: evil\r\n", "400 duplicate_host"),
    (b"GET /x HTTP/1.0\r\nHost: h\r\nHost: evil\r\n", "400 duplicate_host"),
    (b"GET http://h/x HTTP/1.1\r\nHost: h\r\nHost: evil\r\n", "400 duplicate_host"),
    (b"GET /x HTTP/1.1\r\nHost:\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: a b\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: a, b\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: a/b\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: a\\b\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: a#b\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: u@h\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: u:p@h\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: http://h\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: h:\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: h:x\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: h:99999\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: h:80:80\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: :80\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: [::1\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: [evil]\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: [::1]evil\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: h%2eevil\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: h\xc3\xa4\r\n", "400 bad_host"),
    (b"GET /x HTTP/1.1\r\nHost: h\x00evil\r\n", "400 bad_field_value"),
    (b"GET /x HTTP/1.1\r\nHost: h\r evil\r\n", "400 bad_field_value"),
    (b"GET /x HTTP/1.1\r\nHost : h\r\n", "400 bad_field_name"),
    (b"GET /x HTTP/1.1\r\n Host: h\r\n", "400 bad_field_name"),
    (b"GET /x HTTP/1.1\r\nHost: h\r\n .evil\r\n", "400 bad_field_name"),
    // The form of the target.
    (b"GET * HTTP/1.1\r\nHost: h\r\n", "400 bad_target_form"),
    (b"OPTIONS ** HTTP/1.1\r\nHost: h\r\n", "400 bad_target_form"),
    (b"GET h:80 HTTP/1.1\r\nHost: h\r\n", "400 bad_target_form"),
    (b"GET x HTTP/1.1\r\nHost: h\r\n", "400 bad_target_form"),
    (b"GET ?x HTTP/1.1\r\nHost: h\r\n", "400 bad_target_form"),
    (b"GET ftp://h/x HTTP/1.1\r\nHost: h\r\n", "400 bad_target_form"),
    (b"GET http:/x HTTP/1.1\r\nHost: h\r\n", "400 bad_target_form"),
    (b"GET http:///x HTTP/1.1\r\nHost: h\r\n", "400 bad_authority"),
    (b"GET http://u@h/x HTTP/1.1\r\nHost: h\r\n", "400 bad_authority"),
    (b"GET http://h:x/x HTTP/1.1\r\nHost: h\r\n", "400 bad_authority"),
    (b"GET http://h,evil/x HTTP/1.1\r\nHost: h\r\n", "400 bad_authority"),
    (b"GET http://h\\evil/x HTTP/1.1\r\nHost: h\r\n", "400 bad_authority"),
    (b"GET http://[::1/x HTTP/1.1\r\nHost: h\r\n", "400 bad_authority"),
];

/// The head, the answer before the canary's, and the head that reached the backend, without the fields that the
/// gateway adds. Without a second, nothing reached it.
const ACCEPTED: &[(&str, &str, &str, &str)] = &[
    ("\r\nGET /x HTTP/1.1\r\nHost: h\r\n", "<ok>", "GET /x HTTP/1.1\r\nHost: h\r\n", "h"),
    ("GET /x HTTP/1.1\r\nHost:h:80\r\n", "<ok>", "GET /x HTTP/1.1\r\nHost: h:80\r\n", "h:80"),
    ("GET /x HTTP/1.1\r\nhOST: \t [::2]:80 \r\n", "<ok>", "GET /x HTTP/1.1\r\nhOST: [::2]:80\r\n", "[::2]:80"),
    ("GET http://a/x HTTP/1.1\r\nHost: b\r\n", "<ok>", "GET /x HTTP/1.1\r\nHost: a\r\n", "a"),
    ("GET http://a/x HTTP/1.1\r\nX: y\r\nHost: b\r\n", "<ok>", "GET /x HTTP/1.1\r\nHost: a\r\nX: y\r\n", "a"),
    ("GET HTTPS://a:1/x?y HTTP/1.1\r\nHost: a:1\r\n", "<ok>", "GET /x?y HTTP/1.1\r\nHost: a:1\r\n", "a:1"),
    ("GET http://a HTTP/1.1\r\nHost: a\r\n", "<ok>", "GET / HTTP/1.1\r\nHost: a\r\n", "a"),
    ("GET http://a?x HTTP/1.1\r\nHost: a\r\n", "<ok>", "GET /?x HTTP/1.1\r\nHost: a\r\n", "a"),
    ("PURGE /x HTTP/1.1\r\nHost: h\r\n", "<ok>", "PURGE /x HTTP/1.1\r\nHost: h\r\n", "h"),
    ("M-SEARCH /x HTTP/1.1\r\nHost: h\r\n", "<ok>", "M-SEARCH /x HTTP/1.1\r\nHost: h\r\n", "h"),
    ("GET /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n", "", "GET /x HTTP/1.1\r\nHost: h\r\n", "h, 1.0"),
    ("OPTIONS * HTTP/1.1\r\nHost: h\r\n", "<404 no_route, kept>", "", ""),
    ("\r\nOPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n", "<404 no_route, kept>", "", ""),
    ("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n", "<404 no_route, kept>", "", ""),
];

pub(super) fn rows() -> Vec<Row> {
    let refused = REFUSED.iter().map(|(head, answer)| {
        let send = [head, &b"\r\n"[..]].concat();
        Row::request(format!("head {}", head.escape_ascii()), send, format!("<{answer}>"), "")
    });
    let kept = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nX-Request-Id: {id}\r\nVia: 1.1 tidegate\r\n\r\nok";
    let accepted = ACCEPTED.iter().map(move |(head, answer, reached, host)| {
        let answer = if answer.is_empty() { kept } else { answer };
        let reached = if reached.is_empty() { String::new() } else { format!("{reached}{{for {host}}}\r\n\r\n") };
        let name = format!("good head {}", head.escape_debug());
        Row::request(name, format!("{head}\r\n"), format!("{answer}<canary>"), format!("{reached}{{canary}}"))
    });
    refused.chain(accepted).collect()
}
