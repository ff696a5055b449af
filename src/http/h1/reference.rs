//! A slow, naive reading of HTTP/1.1, for tests to compare with.
//!
//! It shares no code with the real one and only knows whole inputs: it splits lines, collects everything into
//! vectors and asks one question at a time. `tests/fuzz.rs` compiles it, too.

/// The reference's opinion of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// The input ends too early to tell. The real one may already know that it is wrong.
    More,
    /// The input is wrong.
    Refused,
    /// The input begins with this.
    Taken(T),
}

/// A head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// How many bytes it takes.
    pub(crate) consumed: usize,
    /// The start line's three parts.
    pub(crate) start: [Vec<u8>; 3],
    /// Names, values and whether they are for the next hop only.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>, bool)>,
    /// How the body ends.
    pub(crate) body: Body,
    /// Whether the connection stays.
    pub(crate) keep_alive: bool,
    /// Host, path and query of a request.
    pub(crate) place: (Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>),
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    /// How many bytes it takes.
    pub(crate) consumed: usize,
    /// The data.
    pub(crate) data: Vec<u8>,
    /// The trailers that are sent on, a canonical line each.
    pub(crate) trailers: Vec<u8>,
}

const HOP: &[&str] = &[
    "connection",
    "transfer-encoding",
    "te",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "http2-settings",
    "proxy-authorization",
    "proxy-authenticate",
];
/// Names that Connection may name in vain.
const STAYING: &[&str] = &[
    "expect",
    "x-real-ip",
    "x-request-id",
    "forwarded",
    "via",
    "server",
    "date",
    "authorization",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "origin",
    "user-agent",
    "referer",
    "accept",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "content-type",
    "content-encoding",
    "content-range",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "etag",
    "last-modified",
    "age",
    "expires",
    "cache-control",
    "pragma",
    "vary",
    "location",
    "retry-after",
    "max-forwards",
];
const IMITATED: &[&str] =
    &["host", "content-length", "trailer", "expect", "x-real-ip", "x-request-id", "forwarded", "authorization"];
const FORBIDDEN_TRAILERS: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
];
const DROPPED_TRAILERS: &[&str] = &[
    "expect",
    "max-forwards",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "origin",
    "x-real-ip",
    "x-request-id",
    "forwarded",
    "via",
    "content-type",
    "content-encoding",
    "content-range",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "cache-control",
    "pragma",
    "expires",
    "age",
    "vary",
    "location",
    "retry-after",
    "date",
];

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    (0..haystack.len()).find(|&i| haystack[i..].starts_with(needle))
}

fn lower(text: &[u8]) -> String {
    text.iter().map(|&b| char::from(b).to_ascii_lowercase()).collect()
}

fn strip(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    while text.last().is_some_and(|b| b" \t".contains(b)) {
        text.pop();
    }
    while text.first().is_some_and(|b| b" \t".contains(b)) {
        text.remove(0);
    }
    text
}

fn token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Splits a field line, if it is well formed.
fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = find(line, b":")?;
    let (name, value) = (&line[..colon], strip(&line[colon + 1..]));
    let name_fits = !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
    let value_fits = line[colon..].iter().all(|&b| b == 9 || (32..=126).contains(&b) || b >= 128);
    let folded = lower(name).replace('_', "-");
    let imitated = HOP.contains(&folded.as_str()) || IMITATED.contains(&folded.as_str());
    let imitates = folded != lower(name) && (imitated || folded.starts_with("x-forwarded-"));
    (name_fits && value_fits && !imitates).then(|| (name.to_vec(), value))
}

fn authority(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| {
        (1..=5).contains(&port.len()) && port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)),
    };
    host_fits && port_fits && host.len() <= 255
}

/// Lines of a head that is complete, and how many bytes it takes.
fn lines(input: &[u8]) -> Verdict<(Vec<&[u8]>, usize)> {
    let Some(end) = find(input, b"\r\n\r\n") else { return Verdict::More };
    let mut lines = Vec::new();
    let mut rest = &input[..end + 2];
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    let broken = lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n'));
    let large = end + 4 > 32 * 1024 || lines.len() > 101;
    if broken || large { Verdict::Refused } else { Verdict::Taken((lines, end + 4)) }
}

/// What the fields of a head say.
struct Said {
    fields: Vec<(Vec<u8>, Vec<u8>, bool)>,
    length: Option<u64>,
    chunked: bool,
    options: Vec<String>,
}

impl Said {
    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        self.fields.iter().filter(|f| lower(&f.0) == name).map(|f| f.1.clone()).collect()
    }

    fn says(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

fn said(lines: &[&[u8]], minor: u8) -> Option<Said> {
    let fields = lines.iter().map(|line| field(line)).collect::<Option<Vec<_>>>()?;
    let fields = fields.into_iter().map(|(name, value)| (name, value, false)).collect();
    let mut said = Said { fields, length: None, chunked: false, options: Vec::new() };
    match &said.values("content-length")[..] {
        [] => {}
        [one] if !one.is_empty() && one.len() < 20 && one.iter().all(u8::is_ascii_digit) => {
            said.length = Some(lower(one).parse::<i64>().ok()?.unsigned_abs());
        }
        _ => return None,
    }
    match &said.values("transfer-encoding")[..] {
        [] => {}
        [one] if lower(one) == "chunked" && minor == 1 && said.length.is_none() => said.chunked = true,
        _ => return None,
    }
    if said.values("expect").iter().any(|value| lower(value) != "100-continue") {
        return None;
    }
    let joined = said.values("connection");
    let options: Vec<Vec<u8>> = joined.iter().flat_map(|v| v.split(|b| *b == b',')).map(strip).collect();
    if options.len() > 32 || options.iter().any(|o| !o.is_empty() && !token(o)) {
        return None;
    }
    said.options = options.iter().map(|o| lower(o)).collect();
    if ["host", "content-length", "transfer-encoding"].iter().any(|name| said.says(name)) {
        return None;
    }
    let options = said.options.clone();
    for (name, _, hop) in &mut said.fields {
        let name = lower(name);
        let stays = STAYING.contains(&name.as_str()) || name.starts_with("x-forwarded-");
        let named = options.contains(&name) && name != "close" && name != "keep-alive";
        *hop = HOP.contains(&name.as_str()) || (named && !stays);
    }
    Some(said)
}

/// Splits path and query if all characters are allowed.
fn path_and_query(text: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let (path, query) = match find(text, b"?") {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    for (part, refused) in [(path, &b"#\\\"<>`{}"[..]), (query.unwrap_or_default(), b"#\\\"<>")] {
        for (i, b) in part.iter().enumerate() {
            let hex = |digits: &[u8]| digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00";
            let broken = *b == b'%' && !hex(&part[i + 1..part.len().min(i + 3)]);
            if !(33..=126).contains(b) || refused.contains(b) || broken {
                return None;
            }
        }
    }
    Some((path.to_vec(), query.map(<[u8]>::to_vec)))
}

/// Reads a request's head.
pub(crate) fn request(input: &[u8]) -> Verdict<Head> {
    let skipped = if input.starts_with(b"\r\n") { 2 } else { 0 };
    if matches!(input, [b'\r', other, ..] if *other != b'\n') {
        return Verdict::Refused;
    }
    match lines(&input[skipped..]) {
        Verdict::More => Verdict::More,
        Verdict::Refused => Verdict::Refused,
        Verdict::Taken((lines, end)) => request_head(&lines, end + skipped).map_or(Verdict::Refused, Verdict::Taken),
    }
}

fn request_head(lines: &[&[u8]], consumed: usize) -> Option<Head> {
    let parts: Vec<&[u8]> = lines[0].split(|b| *b == b' ').collect();
    let &[method, target, version] = &parts[..] else { return None };
    let method_fits = !method.is_empty() && method[0] != b'-' && method.len() <= 32 && method != b"CONNECT";
    if !method_fits || !method.iter().all(|b| b.is_ascii_uppercase() || *b == b'-') || target.len() > 8192 {
        return None;
    }
    let minor = [&b"HTTP/1.0"[..], b"HTTP/1.1"].iter().position(|v| *v == version)? as u8;
    let said = said(&lines[1..], minor)?;
    let hosts = said.values("host");
    if hosts.len() > 1 || (hosts.is_empty() && minor == 1) || !hosts.iter().all(|host| authority(host)) {
        return None;
    }
    let place = place(target, method, hosts.into_iter().next())?;
    let body = match said.length {
        _ if said.chunked => Body::Chunked,
        Some(length) => Body::Length(length),
        None => Body::None,
    };
    let keep_alive = !said.says("close") && (minor == 1 || said.says("keep-alive"));
    let start = [method.to_vec(), target.to_vec(), version.to_vec()];
    Some(Head { consumed, start, fields: said.fields, body, keep_alive, place })
}

type Place = (Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>);

fn place(target: &[u8], method: &[u8], host: Option<Vec<u8>>) -> Option<Place> {
    if target == b"*" {
        return (method == b"OPTIONS").then(|| (host, b"*".to_vec(), None));
    }
    if target.starts_with(b"/") {
        let (path, query) = path_and_query(target)?;
        return Some((host, path, query));
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower(target).starts_with(scheme))?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
    let (mut path, query) = path_and_query(&rest[end..])?;
    if path.is_empty() {
        path = if method == b"OPTIONS" && query.is_none() { b"*".to_vec() } else { b"/".to_vec() };
    }
    authority(&rest[..end]).then(|| (Some(rest[..end].to_vec()), path, query))
}

/// Reads a response's head.
pub(crate) fn response(input: &[u8], to_head: bool) -> Verdict<Head> {
    match lines(input) {
        Verdict::More => Verdict::More,
        Verdict::Refused => Verdict::Refused,
        Verdict::Taken((lines, end)) => response_head(&lines, end, to_head).map_or(Verdict::Refused, Verdict::Taken),
    }
}

fn response_head(lines: &[&[u8]], consumed: usize, to_head: bool) -> Option<Head> {
    let line = lines[0];
    let mut parts = line.splitn(3, |b| *b == b' ');
    let (version, code, reason) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let minor = [&b"HTTP/1.0"[..], b"HTTP/1.1"].iter().position(|v| *v == version)? as u8;
    let reason_fits = reason.iter().all(|&b| b == 9 || (32..=126).contains(&b) || b >= 128);
    if code.len() != 3 || !code.iter().all(u8::is_ascii_digit) || !b"12345".contains(&code[0]) || !reason_fits {
        return None;
    }
    let said = said(&lines[1..], minor)?;
    let hosts = said.values("host");
    if hosts.len() > 1 || !hosts.iter().all(|host| authority(host)) {
        return None;
    }
    let announced = said.chunked || said.length.is_some();
    if code == b"101" || (code[0] == b'1' && announced) {
        return None;
    }
    let bodiless = to_head || code[0] == b'1' || code == b"204" || code == b"304";
    let body = match said.length {
        _ if bodiless => Body::None,
        _ if said.chunked => Body::Chunked,
        Some(length) => Body::Length(length),
        None => Body::UntilClose,
    };
    let lying = code == b"204" && (said.chunked || said.length.is_some_and(|length| length != 0));
    let stays = (minor == 1 || said.says("keep-alive")) && !said.says("close");
    let keep_alive = stays && body != Body::UntilClose && !lying;
    let start = [version.to_vec(), code.to_vec(), reason.to_vec()];
    Some(Head { consumed, start, fields: said.fields, body, keep_alive, place: (None, Vec::new(), None) })
}

/// Reads a chunked body.
pub(crate) fn chunked(input: &[u8]) -> Verdict<Chunks> {
    let (mut at, mut data, mut excess) = (0, Vec::new(), 0u64);
    loop {
        let Some(length) = find(&input[at..], b"\r\n") else { return Verdict::More };
        let line = &input[at..at + length];
        let (size, extension) = line.split_at(line.iter().position(|b| *b == b';').unwrap_or(line.len()));
        let plain = extension.iter().all(|&b| b == 9 || (32..=126).contains(&b) || b >= 128);
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) || !plain || length + 2 > 256 {
            return Verdict::Refused;
        }
        let size = u64::from_str_radix(&lower(size), 16).unwrap_or(u64::MAX);
        excess = (excess + length as u64 + 1).saturating_sub(size.saturating_mul(2).saturating_add(16));
        if size > 1 << 62 || excess > 16 * 1024 {
            return Verdict::Refused;
        }
        at += length + 2;
        if size == 0 {
            return trailers(input, at, data);
        }
        let rest = &input[at..];
        if (rest.len() as u64) < size {
            return Verdict::More;
        }
        let (piece, rest) = rest.split_at(size as usize);
        match rest {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Verdict::More,
            _ => return Verdict::Refused,
        }
        data.extend_from_slice(piece);
        at += piece.len() + 2;
    }
}

fn trailers(input: &[u8], mut at: usize, data: Vec<u8>) -> Verdict<Chunks> {
    let (mut trailers, mut bytes, mut count) = (Vec::new(), 0, 0);
    loop {
        let Some(length) = find(&input[at..], b"\r\n") else { return Verdict::More };
        let line = &input[at..at + length];
        at += length + 2;
        if line.is_empty() {
            return Verdict::Taken(Chunks { consumed: at, data, trailers });
        }
        (bytes, count) = (bytes + length + 2, count + 1);
        let Some((name, value)) = field(line) else { return Verdict::Refused };
        let known = lower(&name);
        if FORBIDDEN_TRAILERS.contains(&known.as_str()) || bytes > 8192 || count > 64 {
            return Verdict::Refused;
        }
        if !DROPPED_TRAILERS.contains(&known.as_str()) && !known.starts_with("x-forwarded-") {
            trailers.extend([&name[..], b": ", &value, b"\r\n"].concat());
        }
    }
}
