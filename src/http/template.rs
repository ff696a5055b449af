//! Values that are put together anew for each request, from text and from what is known of the request.
//!
//! ```toml
//! request_headers = { set = { X-User-Path = "${client.ip} ${request.method} ${request.path}", X-Price = "5 $$" } }
//! ```
//!
//! | name | what it stands for |
//! |---|---|
//! | `${request.method}` | the method |
//! | `${request.scheme}` | `http` or `https`, as the client's address bar shows it |
//! | `${request.host}` | the host that was asked for, without its port |
//! | `${request.path}` | the path as it was matched, without the query |
//! | `${request.id}` | the request's id |
//! | `${request.header.NAME}` | the field as it was received; several lines of one name are joined with `, ` |
//! | `${path.NAME}` | what `{NAME}` in the route's path has captured |
//! | `${query.NAME}` | the first value of this name in the query |
//! | `${client.ip}`, `${client.port}` | where the client is; behind trusted proxies the port is not known |
//! | `${service}`, `${route}` | the names of the service and the route |
//!
//! `$$` is a dollar, and so is a `$` without a brace. What is not there is empty.
//!
//! Bytes of paths and queries are taken as they were received, still percent-encoded: nothing is decoded that
//! somebody else has to encode again. A byte that may not stand where the value goes is percent-encoded, see
//! [`Encoding`]. So no request can end a line, or lead a redirect elsewhere.

use super::fields::{Known, NameShape, name_shape};
use super::h1::encode::Decimal;
use super::h1::parse::RequestHead;
use super::query;
use crate::base::decode::{DOLLAR, FromValue, Value, Wrong, closest, raw_text};

/// What is known of a request, as far as templates can name it.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Its head.
    pub request: &'a RequestHead,
    /// Its path in normal form.
    pub path: &'a [u8],
    /// What the route's path has captured, as places in `path`, in the order of the captures.
    pub captures: &'a [(u32, u32)],
    /// The client's address.
    pub client_ip: &'a [u8],
    /// The client's port, if it is known.
    pub client_port: Option<u16>,
    /// The request's id.
    pub request_id: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The name of the service; empty where there is none.
    pub service: &'a str,
    /// The name of the route.
    pub route: &'a str,
}

/// Where a value goes, and so which bytes of a request may go there as they are. All others are percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Into a field value: all but control characters (RFC 9110 section 5.5).
    Field,
    /// Into a URI: what may stand in a path or a query there, and no `#` (RFC 3986 section 3).
    Uri,
    /// Into text between quotes or tags: as in a URI, and without `'`, `&` and what quotes.
    Text,
}

/// A part of a template. `C` says which capture is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part<C> {
    Literal(Box<str>),
    Method,
    Scheme,
    Host,
    Path,
    Id,
    Header(Known, Box<str>),
    Capture(C),
    Query(Box<str>),
    ClientIp,
    ClientPort,
    Service,
    Route,
}

/// A template as it was written: every name is one that there is, but captures are only names yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateConfig(Vec<Part<Box<str>>>);

/// A template that can be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Box<[Part<usize>]>);

/// The names without a part of the user's choice.
const PLAIN: &[&str] = &[
    "request.method",
    "request.scheme",
    "request.host",
    "request.path",
    "request.id",
    "client.ip",
    "client.port",
    "service",
    "route",
];

/// The names that end with one of the user's choice.
const PREFIXES: &[&str] = &["request.header.", "path.", "query."];

impl FromValue for TemplateConfig {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        Self::parse(raw_text(value, "a string, perhaps with names such as `${client.ip}` in it")?)
    }
}

impl TemplateConfig {
    /// Reads a template.
    ///
    /// # Errors
    /// A name that there is not, or that has no end.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find(['$', DOLLAR]) {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            let Some(after) = rest.strip_prefix("${") else {
                literal.push('$');
                let length = if rest.starts_with("$$") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
                rest = &rest[length..];
                continue;
            };
            let Some((name, after)) = after.split_once('}') else {
                return Err(Wrong::content(format!("`${{{after}` has no end"), "close it with `}`"));
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(named(name)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self(parts))
    }

    /// Finds the captures that it names among those of a route's path, which are in the order of the path.
    ///
    /// # Errors
    /// The first name that is none of them.
    pub fn compile(&self, captures: &[&str]) -> Result<Template, UnknownCapture> {
        let place = |name: &str| {
            let place = captures.iter().position(|capture| *capture == name);
            place.ok_or_else(|| UnknownCapture::new(name, captures))
        };
        let parts = self.0.iter().map(|part| {
            Ok(match part {
                Part::Capture(name) => Part::Capture(place(name)?),
                Part::Literal(text) => Part::Literal(text.clone()),
                Part::Header(known, name) => Part::Header(*known, name.clone()),
                Part::Query(name) => Part::Query(name.clone()),
                Part::Method => Part::Method,
                Part::Scheme => Part::Scheme,
                Part::Host => Part::Host,
                Part::Path => Part::Path,
                Part::Id => Part::Id,
                Part::ClientIp => Part::ClientIp,
                Part::ClientPort => Part::ClientPort,
                Part::Service => Part::Service,
                Part::Route => Part::Route,
            })
        });
        Ok(Template(parts.collect::<Result<_, _>>()?))
    }

    /// The template with something in place of each name: `/path` for `${request.path}`, `host` for `${request.host}`, and a
    /// NUL for all whose value a request can choose freely.
    #[must_use]
    pub fn shape(&self) -> String {
        let shape = |part: &Part<Box<str>>| match part {
            Part::Literal(text) => text.to_string(),
            Part::Path => "/path".to_owned(),
            Part::Host => "host".to_owned(),
            _ => "\0".to_owned(),
        };
        self.0.iter().map(shape).collect()
    }

    /// The pieces of text in it.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| if let Part::Literal(text) = part { Some(&**text) } else { None })
    }

    /// The captures that it names.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| if let Part::Capture(name) = part { Some(&**name) } else { None })
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A capture that the route's path does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCapture {
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub help: String,
}

impl UnknownCapture {
    fn new(name: &str, captures: &[&str]) -> Self {
        let help = match (closest(name, captures), captures) {
            (Some(meant), _) => format!("did you mean `${{path.{meant}}}`?"),
            (None, []) => format!("write `{{{name}}}` into the route's path, such as \"/users/{{{name}}}\""),
            (None, captures) => format!("the path has only: {}", captures.join(", ")),
        };
        Self { problem: format!("`${{path.{name}}}` is nothing that the route's path captures"), help }
    }
}

/// The part that `name` stands for.
fn named(name: &str) -> Result<Part<Box<str>>, Wrong> {
    if let Some(field) = name.strip_prefix("request.header.") {
        return match name_shape(field.as_bytes()) {
            NameShape::Plain | NameShape::Underscore => {
                Ok(Part::Header(Known::classify(field.as_bytes()), field.into()))
            }
            _ => {
                let problem = format!("`${{{name}}}` does not name a field");
                Err(Wrong::content(
                    problem,
                    "a name is letters, digits, `-` and `_`, as in `${request.header.user-agent}`",
                ))
            }
        };
    }
    for (prefix, part) in [("path.", Part::Capture as fn(Box<str>) -> Part<Box<str>>), ("query.", Part::Query)] {
        match name.strip_prefix(prefix) {
            Some("") => {
                let help = format!("write the name behind the dot, as in `${{{prefix}id}}`");
                return Err(Wrong::content(format!("`${{{name}}}` has no name"), help));
            }
            Some(own) => return Ok(part(own.into())),
            None => {}
        }
    }
    Ok(match name {
        "request.method" => Part::Method,
        "request.scheme" => Part::Scheme,
        "request.host" => Part::Host,
        "request.path" => Part::Path,
        "request.id" => Part::Id,
        "client.ip" => Part::ClientIp,
        "client.port" => Part::ClientPort,
        "service" => Part::Service,
        "route" => Part::Route,
        _ => return Err(unknown(name)),
    })
}

/// The error for a name that there is not.
fn unknown(name: &str) -> Wrong {
    let problem = format!("there is no `${{{name}}}`");
    let family = name.rfind('.').map_or("", |dot| &name[..=dot]);
    let near = PREFIXES.iter().find(|prefix| closest(family, &[prefix.trim_end_matches('.')]).is_some());
    Wrong::content(
        problem,
        match (closest(name, PLAIN), near) {
            (Some(meant), _) => format!("did you mean `${{{meant}}}`?"),
            (None, Some(prefix)) => format!("did you mean `${{{prefix}{}}}`?", &name[family.len()..]),
            (None, None) => format!("there is only: {}, {}", PLAIN.join(", "), PREFIXES.join("NAME, ") + "NAME"),
        },
    )
}

impl Template {
    /// Appends the value to `out`.
    pub fn render(&self, sources: &Sources<'_>, encoding: Encoding, out: &mut Vec<u8>) {
        for part in &self.0 {
            let value = match part {
                // It was checked when it was read.
                Part::Literal(text) => {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                Part::Header(known, name) => {
                    put_header(sources.request, *known, name, encoding, out);
                    continue;
                }
                Part::ClientPort => {
                    if let Some(port) = sources.client_port {
                        out.extend_from_slice(Decimal::new(port.into()).as_bytes());
                    }
                    continue;
                }
                Part::Host => {
                    // It was checked when it was parsed, and an IPv6 address keeps its brackets.
                    let host = host_without_port(sources.request.host().unwrap_or_default());
                    out.extend_from_slice(host.as_bytes());
                    continue;
                }
                Part::Method => sources.request.method_bytes(),
                Part::Scheme => sources.scheme.as_bytes(),
                Part::Path => sources.path,
                Part::Id => sources.request_id,
                Part::Capture(index) => capture(sources, *index),
                Part::Query(name) => {
                    let query = sources.request.query().unwrap_or_default();
                    query::value(query.as_bytes(), name.as_bytes()).unwrap_or_default()
                }
                Part::ClientIp => sources.client_ip,
                Part::Service => sources.service.as_bytes(),
                Part::Route => sources.route.as_bytes(),
            };
            put_encoded(value, encoding, out);
        }
    }

    /// The value, if it is the same for every request.
    #[must_use]
    pub fn fixed(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it needs the host that was asked for, which a request of HTTP/1.0 may lack.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        self.0.contains(&Part::Host)
    }
}

/// What was captured at this place; empty where nothing was.
fn capture<'a>(sources: &Sources<'a>, index: usize) -> &'a [u8] {
    let place = sources.captures.get(index).map(|&(start, end)| start as usize..end as usize);
    place.and_then(|place| sources.path.get(place)).unwrap_or_default()
}

/// `host` without a port behind it; an IPv6 address stays in its brackets.
#[must_use]
pub fn host_without_port(host: &str) -> &str {
    match host.rfind([':', ']']) {
        Some(colon) if host.as_bytes()[colon] == b':' => &host[..colon],
        _ => host,
    }
}

/// Appends all lines of one name, joined as RFC 9110 section 5.3 joins them.
fn put_header(request: &RequestHead, known: Known, name: &str, encoding: Encoding, out: &mut Vec<u8>) {
    let same = |field: &super::fields::Field<'_>| {
        field.known == known && (known != Known::Other || field.name.eq_ignore_ascii_case(name.as_bytes()))
    };
    for (place, field) in request.fields().filter(same).enumerate() {
        if place > 0 {
            put_encoded(b", ", encoding, out);
        }
        put_encoded(field.value, encoding, out);
    }
}

const FIELD: u8 = 1;
const URI: u8 = 2;
const TEXT: u8 = 4;

/// Where each byte may go as it is.
const GOES: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            table[b] |= FIELD;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            table[b] |= URI | TEXT;
        }
        if matches!(byte, b'!' | b'$' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?') {
            table[b] |= URI | TEXT;
        }
        if matches!(byte, b'&' | b'\'') {
            table[b] |= URI;
        }
        b += 1;
    }
    table
};

/// Appends `value`, with what may not go there percent-encoded. A percent sign that begins an escape stays one.
pub fn put_encoded(value: &[u8], encoding: Encoding, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let goes = match encoding {
        Encoding::Field => FIELD,
        Encoding::Uri => URI,
        Encoding::Text => TEXT,
    };
    let fits = |at: usize| {
        let byte = value[at];
        GOES[usize::from(byte)] & goes != 0
            || byte == b'%' && value.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    let mut start = 0;
    for at in 0..value.len() {
        if !fits(at) {
            out.extend_from_slice(&value[start..at]);
            let byte = value[at];
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            start = at + 1;
        }
    }
    out.extend_from_slice(&value[start..]);
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
