//! Messages as bytes: where they end, and what is the same in all of them.

/// A response as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// Every byte up to the empty line, with it.
    pub(crate) head: String,
    /// The body, without what frames it.
    pub(crate) body: Vec<u8>,
    /// The body as it came.
    pub(crate) framed: Vec<u8>,
}

impl Response {
    /// The value of the first field called `name`.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// Whether it says that the connection ends.
    pub(crate) fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }

    /// The member `code` of problem details.
    pub(crate) fn code(&self) -> &str {
        let after = |text: &'static str| self.text().split(text).nth(1);
        after("\"code\":\"").and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("no code: {self:?}"))
    }
}

/// Bytes in a form that can be read, and be pasted into a test.
pub(crate) fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Where `needle` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// Where the last `needle` begins in `bytes`.
pub(crate) fn find_last(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).rposition(|window| window == needle)
}

/// How long the request is that `bytes` begin with, if it is whole.
pub(crate) fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    if field(&text, "Transfer-Encoding").is_some() {
        return Some(head + dechunk(&bytes[head..])?.1);
    }
    let body = field(&text, "Content-Length").map_or(0, |length| length.parse().expect("the gateway writes a number"));
    (bytes.len() - head >= body).then_some(head + body)
}

/// The response that `bytes` begin with, if it is whole, and its length. `ended`: nothing more will come.
pub(crate) fn response(bytes: &[u8], to_head: bool, ended: bool) -> Option<(Response, usize)> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let status: u16 = status.unwrap_or_else(|| panic!("not a response: {}", escape(bytes)));
    let rest = &bytes[end..];
    let (body, used) = if to_head || matches!(status, 100..=199 | 204 | 304) {
        (Vec::new(), 0)
    } else if field(&head, "Transfer-Encoding").is_some() {
        dechunk(rest)?
    } else if let Some(length) = field(&head, "Content-Length") {
        let length: usize = length.parse().expect("the gateway writes a number");
        (rest.get(..length)?.to_vec(), length)
    } else if ended {
        (rest.to_vec(), rest.len())
    } else {
        return None;
    };
    Some((Response { status, head, body, framed: rest[..used].to_vec() }, end + used))
}

/// The data of a chunked body, and how long the body is, if it is whole. It must be as the gateway writes it.
pub(crate) fn dechunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size =
            std::str::from_utf8(&bytes[at..at + line]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.unwrap_or_else(|| panic!("not a chunk: {}", escape(&bytes[at..])));
        at += line + 2;
        if size == 0 {
            let trailers = if bytes[at..].starts_with(b"\r\n") { 2 } else { find(&bytes[at..], b"\r\n\r\n")? + 4 };
            return Some((data, at + trailers));
        }
        data.extend_from_slice(bytes.get(at..at + size)?);
        assert_eq!(bytes.get(at + size..at + size + 2)?, b"\r\n", "what follows a chunk");
        at += size + 2;
    }
}

/// The value of the first field called `name` in a head.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Whether `text` is a UUID of version 7 (RFC 9562) in lower case.
pub(crate) fn is_uuid7(text: &[u8]) -> bool {
    text.len() == 36
        && text[14] == b'7'
        && b"89ab".contains(&text[19])
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// The length of a Date field's line.
const DATE_LINE: usize = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();

/// Whether `line` is a Date field with a time (RFC 9110 section 5.6.7).
pub(crate) fn is_date_line(line: &[u8]) -> bool {
    line.len() == DATE_LINE && line.starts_with(b"Date: ") && line.ends_with(b" GMT\r\n")
}

/// `bytes` as text, one character a byte, with what is new in each run replaced: Date fields by nothing, request ids by `{id}`, and the whole
/// set of fields that the gateway adds to a request by `{for HOST}`, `{for nobody}` where no host was named, and
/// `{for HOST, 1.0}` where Via has that version.
pub(crate) fn normal(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes.get(at..at + 36).is_some_and(is_uuid7) {
            text.push_str("{id}");
            at += 36;
        } else if bytes.get(at..at + DATE_LINE).is_some_and(is_date_line) {
            at += DATE_LINE;
        } else {
            text.push(char::from(bytes[at]));
            at += 1;
        }
    }
    let mut parts = text.split("X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n");
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match added(part) {
            Some((host, version, rest)) => short.extend(["{for ", host, version, "}\r\n", rest]),
            None => short.extend(["{for whom?}", part]),
        }
    }
    short
}

/// What follows the first two fields that the gateway adds to a request: the host, `, 1.0` where Via says that the
/// request came in HTTP/1.0, and what is behind all of them.
fn added(text: &str) -> Option<(&str, &str, &str)> {
    let (host, rest) = match text.strip_prefix("X-Forwarded-Host: ") {
        Some(rest) => rest.split_once("\r\n")?,
        None => ("nobody", text),
    };
    let (port, rest) = rest.strip_prefix("X-Forwarded-Port: ")?.split_once("\r\n")?;
    port.parse::<u16>().ok()?;
    let rest = rest.strip_prefix("X-Real-IP: 127.0.0.1\r\nX-Request-Id: {id}\r\n")?;
    match rest.strip_prefix("Via: 1.1 tidegate\r\n") {
        Some(rest) => Some((host, "", rest)),
        None => Some((host, ", 1.0", rest.strip_prefix("Via: 1.0 tidegate\r\n")?)),
    }
}
