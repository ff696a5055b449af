//! Lines: JSON with fields, or a template.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::entry::{Entry, OF_RESPONSE};
use super::escape::{put_json, put_plain};
use super::field::Field;
use super::number::{put_ip, put_millis, put_number, put_socket, put_time};
use super::{AccessLog, Header, Side};
use crate::base::decode::{DOLLAR, FromValue, Value, Wrong, raw_text};
use crate::http::fields::is_token;
use crate::http::message::Version;

/// `format`: as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatConfig {
    /// `"json"`.
    Json,
    /// A template.
    Template(Vec<PartConfig>),
}

/// A part of a template as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartConfig {
    /// Text.
    Literal(String),
    /// A field.
    Field(Field),
    /// `${request.header.NAME}`.
    RequestHeader(String),
    /// `${response.header.NAME}`.
    ResponseHeader(String),
}

impl FromValue for FormatConfig {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = raw_text(value, "\"json\" or a template such as \"${client} ${method} ${uri} ${status}\"")?;
        match text {
            "json" => Ok(Self::Json),
            _ if !text.contains("${") => {
                let problem = format!("`{text}` is the same for every request");
                Err(Wrong::content(problem, "write \"json\", or name fields as in \"${method} ${uri} ${status}\""))
            }
            _ if text.contains(char::is_control) || text.ends_with("\\n") => Err(Wrong::content(
                "a line has no control characters in it",
                "leave the end of the line out: each gets one",
            )),
            _ => template(text).map(Self::Template),
        }
    }
}

fn template(text: &str) -> Result<Vec<PartConfig>, Wrong> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
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
            parts.push(PartConfig::Literal(std::mem::take(&mut literal)));
        }
        parts.push(named(name)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(PartConfig::Literal(literal));
    }
    Ok(parts)
}

fn named(name: &str) -> Result<PartConfig, Wrong> {
    let of_request = name.strip_prefix("request.header.").map(|field| (field, Side::Request));
    let of_response = || name.strip_prefix("response.header.").map(|field| (field, Side::Response));
    match of_request.or_else(of_response) {
        Some((field, _)) if !is_token(field.as_bytes()) => {
            let help = "write one such as `${request.header.user-agent}`";
            Err(Wrong::content(format!("`${{{name}}}` does not name a field of a head"), help))
        }
        Some((field, Side::Request)) => Ok(PartConfig::RequestHeader(field.to_owned())),
        Some((field, Side::Response)) => Ok(PartConfig::ResponseHeader(field.to_owned())),
        None => match Field::find(name) {
            Some(field) => Ok(PartConfig::Field(field)),
            None => Err(Wrong::content(format!("there is no field `{name}`"), Field::help(name))),
        },
    }
}

/// How lines are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Format {
    Json(Box<[Field]>),
    Template(Box<[Part]>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Literal(Box<[u8]>),
    Field(Field),
    /// The header at this place among those of the entry, as the entry's header fields have it.
    Header(u8),
}

impl Format {
    /// What runs of what was written. `place` says where among the headers that are logged one is, by its name.
    pub(super) fn compile(config: &FormatConfig, fields: &[Field], mut place: impl FnMut(Side, &str) -> u8) -> Format {
        let FormatConfig::Template(parts) = config else { return Format::Json(fields.into()) };
        let parts = parts.iter().map(|part| match part {
            PartConfig::Literal(text) => Part::Literal(text.as_bytes().into()),
            PartConfig::Field(field) => Part::Field(*field),
            PartConfig::RequestHeader(name) => Part::Header(place(Side::Request, name)),
            PartConfig::ResponseHeader(name) => Part::Header(OF_RESPONSE | place(Side::Response, name)),
        });
        Format::Template(parts.collect())
    }

    /// Writes the line of `entry` to the end of `out`, without its end.
    pub(super) fn put(&self, log: &AccessLog, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let line = Line { log, entry };
        match self {
            Format::Json(fields) => line.put_object(fields, out),
            Format::Template(parts) => {
                for part in parts {
                    match part {
                        Part::Literal(text) => out.extend_from_slice(text),
                        Part::Field(field) => line.put_text(&line.value(*field), put_plain, out),
                        Part::Header(place) => match line.header(*place) {
                            Some(value) => put_plain(&value, out),
                            None => out.push(b'-'),
                        },
                    }
                }
            }
        }
    }
}

/// The value of a field.
enum Said<'a> {
    /// It is not known.
    Nothing,
    /// A text that a stranger may have written.
    Text(&'a [u8]),
    /// A path or a query, or both, in which secrets are masked.
    Uri(&'a [u8], Option<&'a [u8]>),
    /// A text of ours, in which nothing is to be escaped.
    Plain(&'a str),
    Time(u64),
    Ip(IpAddr),
    Socket(SocketAddr),
    Number(u64),
    /// Nanoseconds, which become milliseconds.
    Nanos(u64),
}

/// A line that is being written.
struct Line<'a> {
    log: &'a AccessLog,
    entry: &'a Entry<'a>,
}

impl<'a> Line<'a> {
    fn put_object(&self, fields: &[Field], out: &mut Vec<u8>) {
        let start = out.len();
        for field in fields {
            let value = self.value(*field);
            if !matches!(value, Said::Nothing) {
                out.extend_from_slice(field.key().as_bytes());
                self.put_json_value(&value, out);
            }
        }
        let sides = [
            (&b",\"request_headers\":"[..], &self.log.request_headers, 0),
            (b",\"response_headers\":", &self.log.response_headers, OF_RESPONSE),
        ];
        for (key, headers, side) in sides {
            if self.entry.texts.header_fields().any(|(place, _)| place & OF_RESPONSE == side) {
                out.extend_from_slice(key);
                self.put_headers(headers, side, out);
            }
        }
        match out.get_mut(start) {
            // Each key begins with a comma.
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }

    fn put_headers(&self, headers: &[Header], side: u8, out: &mut Vec<u8>) {
        let mut separator = b'{';
        for (header, place) in headers.iter().zip(0_u8..) {
            if let Some(value) = self.header(place | side) {
                out.push(std::mem::replace(&mut separator, b','));
                // A name is a token, and has nothing to escape.
                out.push(b'"');
                out.extend_from_slice(header.name.as_bytes());
                out.extend_from_slice(b"\":");
                self.put_json_value(&Said::Text(&value), out);
            }
        }
        out.push(b'}');
    }

    fn put_json_value(&self, value: &Said<'_>, out: &mut Vec<u8>) {
        match value {
            Said::Number(number) => return put_number(*number, out),
            Said::Nanos(nanos) => return put_millis(*nanos, out),
            _ => {}
        }
        out.push(b'"');
        self.put_text(value, put_json, out);
        out.push(b'"');
    }

    /// Writes a value as text; what strangers may have written goes through `escape`.
    fn put_text(&self, value: &Said<'_>, escape: fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
        match value {
            Said::Nothing => out.push(b'-'),
            Said::Text(text) => escape(text, out),
            Said::Uri(path, query) => {
                escape(path, out);
                if let Some(query) = query {
                    if !path.is_empty() {
                        out.push(b'?');
                    }
                    match self.log.mask.masked_query(query) {
                        Cow::Borrowed(query) => escape(query, out),
                        Cow::Owned(masked) => escape(&masked, out),
                    }
                }
            }
            Said::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Said::Time(unix_micros) => put_time(*unix_micros, out),
            Said::Ip(ip) => put_ip(*ip, out),
            Said::Socket(address) => put_socket(*address, out),
            Said::Number(number) => put_number(*number, out),
            Said::Nanos(nanos) => put_millis(*nanos, out),
        }
    }

    /// The values of the header at `place`, joined, without the secrets in them.
    fn header(&self, place: u8) -> Option<Vec<u8>> {
        let mut joined: Option<Vec<u8>> = None;
        for (_, value) in self.entry.texts.header_fields().filter(|(other, _)| *other == place) {
            match &mut joined {
                None => joined = Some(Vec::new()),
                Some(joined) => joined.extend_from_slice(b", "),
            }
            self.log.mask.put_uri(value, joined.get_or_insert_default());
        }
        joined
    }

    fn value(&self, field: Field) -> Said<'a> {
        let Entry { facts, texts } = self.entry;
        let text = |text: &'a [u8]| if text.is_empty() { Said::Nothing } else { Said::Text(text) };
        let plain = |text: Option<&'a str>| text.filter(|text| !text.is_empty()).map_or(Said::Nothing, Said::Plain);
        // What was never sent to a service has no times of one.
        let of_service = |said: Said<'a>| if facts.service.is_none() { Said::Nothing } else { said };
        match field {
            Field::Time => Said::Time(facts.unix_micros),
            Field::RequestId => text(texts.id),
            Field::TraceId => text(trace_id(texts.traceparent).unwrap_or_default()),
            Field::Client => facts.client.map_or(Said::Nothing, Said::Ip),
            Field::Peer => facts.peer.map_or(Said::Nothing, Said::Socket),
            Field::Method => text(texts.method),
            Field::Host => text(texts.host),
            Field::Path => text(texts.path_and_query().0),
            Field::Query => match texts.path_and_query() {
                (_, Some(query)) => Said::Uri(b"", Some(query)),
                (_, None) => Said::Nothing,
            },
            Field::Uri if texts.uri.is_empty() => Said::Nothing,
            Field::Uri => {
                let (path, query) = texts.path_and_query();
                Said::Uri(path, query)
            }
            Field::Protocol => plain(facts.version.map(|version| match version {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
            })),
            Field::Status if facts.status == 0 => Said::Nothing,
            Field::Status => Said::Number(facts.status.into()),
            Field::BytesReceived => Said::Number(facts.received),
            Field::BytesSent => Said::Number(facts.sent),
            Field::Route => plain(facts.route.and_then(|route| self.log.routes.name(route))),
            Field::Service => plain(facts.service.and_then(|service| self.log.services.name(service))),
            Field::Target => match facts.target {
                Some(target) => Said::Socket(target),
                None => text(texts.target),
            },
            Field::Attempts => of_service(Said::Number(facts.attempts.into())),
            Field::Outcome => plain(Some(facts.outcome)),
            Field::Code => plain(Some(facts.code)),
            Field::Gateway => Said::Nanos(facts.spent.gateway),
            Field::Queue => of_service(Said::Nanos(facts.spent.queue)),
            Field::Connect => of_service(Said::Nanos(facts.spent.connect)),
            Field::FirstByte => of_service(Said::Nanos(facts.spent.first_byte)),
            Field::Backend => of_service(Said::Nanos(facts.spent.backend)),
            Field::Total => Said::Nanos(facts.spent.total),
        }
    }
}

/// The trace that a `traceparent` belongs to: 32 hexadecimal digits, not all zero (W3C Trace Context section 3.2).
fn trace_id(traceparent: &[u8]) -> Option<&[u8]> {
    let mut parts = traceparent.splitn(4, |byte| *byte == b'-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex =
        |text: &[u8], length| text.len() == length && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parent = parts.next().filter(|parent| is_hex(parent, 16));
    let good =
        is_hex(version, 2) && version != b"ff" && is_hex(trace, 32) && parent.is_some() && parts.next().is_some();
    (good && trace.iter().any(|byte| *byte != b'0')).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_those_of_the_standard() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(good.as_bytes()), Some(trace.as_bytes()));
        assert_eq!(trace_id(format!("{good}-more").as_bytes()), Some(trace.as_bytes()), "of a later version");
        for bad in [
            String::new(),
            good.replace("00-4", "ff-4"),
            good.replace("4bf", "4BF"),
            good.replace(trace, &"0".repeat(32)),
            good.replace("-01", ""),
            good.replace("00f067aa0ba902b7", "00f067aa0ba902b"),
            good.replace(trace, "4bf9"),
            format!("00-{trace}"),
        ] {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
    }
}
