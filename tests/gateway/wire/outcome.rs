//! What has become of a row, in the form in which rows are written.

use super::{CANARY, FLUSH, Row};
use crate::harness::message::{self, escape, find, normal};

/// What both sides saw.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What the client received.
    pub(super) answer: Vec<u8>,
    /// Whether its connection ended with a reset.
    pub(super) reset: bool,
    /// What reached the backend, by connection.
    pub(super) reached: Vec<Vec<u8>>,
    /// Where the backend is.
    pub(super) origin: String,
    /// What the request after the row was answered with.
    pub(super) flushed: Vec<u8>,
}

impl Outcome {
    /// What differs from the row, if anything.
    pub(super) fn differs(&self, row: &Row) -> Option<String> {
        let mut answer = brief(&canonical(&self.answer, Some(row.send.starts_with(b"HEAD "))));
        if self.reset {
            answer.push_str("<reset>");
        }
        let reached = self.reached.iter().filter_map(|bytes| {
            let text = normal(&canonical(bytes, None)).replace(&reaches(CANARY), "{canary}");
            let text = text.replace(&reaches(FLUSH), "").replace(&self.origin, "{origin}");
            (!text.is_empty()).then_some(text)
        });
        let reached = reached.collect::<Vec<_>>().join(" | ");
        let mut wrong = String::new();
        let mut compare = |what: &str, expected: &str, actual: &str| {
            if !fits(expected, actual) {
                wrong.push_str(&format!(
                    "\n  {what}\n    expected {}\n    but was  {}",
                    expected.escape_debug(),
                    actual.escape_debug()
                ));
            }
        };
        if !refused_at_once(row, &answer, &reached) && !strayed_late(row, &answer, &reached) {
            compare("the client sees", &row.answer, &answer);
            compare("the backend sees", &row.reached, &reached);
        }
        compare("the next client sees", "<canary>", &brief(&self.flushed));
        (!wrong.is_empty()).then(|| format!("{}: {}{wrong}", row.name, escape(&row.send)))
    }
}

/// Whether a response that would have been cut was refused, because its fault came in one piece with its head. The
/// client's connection goes on then, if it may.
fn refused_at_once(row: &Row, answer: &str, reached: &str) -> bool {
    row.answer.contains('~')
        && match answer {
            "<502 bad_response_body, kept><canary>" => reached == format!("{} | {{canary}}", row.reached),
            "<502 bad_response_body>" => reached == row.reached,
            _ => false,
        }
}

/// Whether bytes behind a response came so late that its connection was in use again: they are taken for the answer to
/// the canary, which is refused for them.
fn strayed_late(row: &Row, answer: &str, reached: &str) -> bool {
    row.reached.strip_suffix(" | {canary}").is_some_and(|first| reached == format!("{first}{{canary}}"))
        && row.answer.strip_suffix("<canary>").is_some_and(|first| answer == format!("{first}<502 bad_response>"))
}

/// Whether `actual` is what a row expects; behind a `~` a beginning is enough.
fn fits(expected: &str, actual: &str) -> bool {
    if !expected.contains('~') {
        return expected == actual;
    }
    let plain = |text: &str| text.replacen('~', "", 1);
    let (expected_end, actual_end) = (expected.strip_suffix("<reset>"), actual.strip_suffix("<reset>"));
    expected_end.is_some() == actual_end.is_some()
        && plain(expected_end.unwrap_or(expected)).starts_with(&plain(actual_end.unwrap_or(actual)))
}

/// How the canary or the flush reaches the backend.
fn reaches(request: &str) -> String {
    let host = if request == CANARY { "c" } else { "f" };
    request.replace("Connection: close\r\n", &format!("{{for {host}}}\r\n"))
}

/// Messages with all data of a body in one chunk. One that is cut has a `~` and the data behind its head. `responses`
/// says that these are responses, and whether the first is to a HEAD.
fn canonical(bytes: &[u8], responses: Option<bool>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    let mut to_head = responses == Some(true);
    while let Some(end) = find(rest, b"\r\n\r\n") {
        let (head, body) = rest.split_at(end + 4);
        out.extend_from_slice(head);
        let head = String::from_utf8_lossy(head);
        let interim = responses.is_some() && head.starts_with("HTTP/1.1 1");
        let bodiless = ["HTTP/1.1 204", "HTTP/1.1 304"].iter().any(|start| head.starts_with(start));
        rest = if interim || to_head || responses.is_some() && bodiless {
            body
        } else if message::field(&head, "Transfer-Encoding").is_some() {
            put_chunked(body, &mut out)
        } else if let Some(length) = message::field(&head, "Content-Length") {
            let length: usize = length.parse().unwrap_or(usize::MAX);
            if length > body.len() {
                out.push(b'~');
            }
            let (data, next) = body.split_at(length.min(body.len()));
            out.extend_from_slice(data);
            next
        } else if responses.is_some() {
            out.extend_from_slice(body);
            &[]
        } else {
            body
        };
        to_head &= interim;
    }
    out.extend_from_slice(rest);
    out
}

/// Appends a chunked body in one chunk, and returns what is behind it.
fn put_chunked<'b>(body: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
    let Some((data, used)) = message::dechunk(body) else {
        out.push(b'~');
        out.extend(chunks_of_cut(body));
        return &[];
    };
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(&data);
        out.extend_from_slice(b"\r\n");
    }
    let end = &body[..used];
    let last = if end.starts_with(b"0\r\n") { 0 } else { message::find_last(end, b"\r\n0\r\n").map_or(0, |at| at + 2) };
    out.extend_from_slice(&end[last..]);
    &body[used..]
}

/// The data of a chunked body that is not whole.
fn chunks_of_cut(mut body: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(line) = find(body, b"\r\n") {
        let size = std::str::from_utf8(&body[..line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else { break };
        body = &body[line + 2..];
        data.extend_from_slice(&body[..size.min(body.len())]);
        body = body.get(size + 2..).unwrap_or_default();
    }
    data
}

/// What a client received, with whole messages that are known written short.
fn brief(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (used, short) = refusal(rest).unwrap_or_else(|| {
            let next = find(&rest[1..], b"HTTP/1.1 ").map_or(rest.len(), |at| at + 1);
            (next, normal(&rest[..next]))
        });
        text.push_str(&short);
        rest = &rest[used..];
    }
    brief_known(&text)
}

/// Text with the responses that are known written short.
pub(super) fn brief_known(text: &str) -> String {
    let id = "X-Request-Id: {id}\r\n";
    let ok = |close: &str, version: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{close}{id}Via: {version} tidegate\r\n\r\nok")
    };
    let close = "Connection: close\r\n";
    let canary = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n{close}{id}Via: 1.1 tidegate\r\n\r\ncanary");
    let text = text.replace(&ok("", "1.1"), "<ok>").replace(&ok("", "1.0"), "<ok, 1.0>");
    text.replace(&ok(close, "1.1"), "<ok, close>").replace(&canary, "<canary>")
}

/// The refusal that `bytes` begin with, checked to the byte, and its length.
fn refusal(bytes: &[u8]) -> Option<(usize, String)> {
    let end = find(bytes, b"\r\n\r\n")?;
    find(&bytes[..end], b"\r\nContent-Type: application/problem+json\r\n")?;
    let (response, used) = message::response(bytes, false, false)?;
    let (status, code) = (response.status, response.code());
    let detail = response.text().split("\"detail\":\"").nth(1)?.split('"').next()?;
    let title = response.head.get(13..)?.split("\r\n").next()?;
    let (id, date) = (response.field("X-Request-Id")?, response.field("Date")?);
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date} is no date (RFC 9110 section 5.6.7)");
    let body = format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":\"{detail}\",\
         \"code\":\"{code}\",\"request_id\":\"{id}\"}}\n"
    );
    let connection = if response.closes() { "Connection: close\r\n" } else { "" };
    let again = if status == 503 { "Retry-After: 1\r\n" } else { "" };
    let whole = format!(
        "HTTP/1.1 {status} {title}\r\nContent-Length: {}\r\n{connection}Date: {date}\r\n\
         Content-Type: application/problem+json\r\n\
         Cache-Control: no-store\r\nX-Request-Id: {id}\r\n{again}\r\n{body}",
        body.len()
    );
    assert_eq!(escape(&bytes[..used]), whole.escape_default().to_string(), "the form of a refusal");
    assert!(message::is_uuid7(id.as_bytes()), "{id} is no UUID of version 7");
    let kept = if response.closes() { "" } else { ", kept" };
    Some((used, format!("<{status} {code}{kept}>")))
}
