//! Lines: JSON with fields, or a template.

use std::io::Write;
use std::time::Duration;

use super::entry::{Entry, OF_RESPONSE};
use super::escape::{put_json, put_plain};
use super::field::Field;
use super::{AccessLog, Header, Side};
use crate::base::decode::{FromValue, Value, Wrong, raw_text};
use crate::base::time::Calendar;
use crate::http::fields::is_token;

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
    while let Some(dollar) = rest.find('$') {
        literal.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let Some(after) = rest.strip_prefix('{') else {
            return Err(Wrong::content(
                "a `$` that begins no name",
                "write `$$` for a dollar, and `${status}` for a field",
            ));
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
    /// The header at this place among those of the entry, as [`Entry::header_fields`] has it.
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
                        Part::Field(field) => line.put_plain(line.value(*field), out),
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
    /// Text of ours, put together.
    Made(Vec<u8>),
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
        out.push(b'{');
        let mut separator = &b""[..];
        let mut key = |name: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(std::mem::replace(&mut separator, b","));
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
        };
        for field in fields {
            let value = self.value(*field);
            if !matches!(value, Said::Nothing) {
                key(field.name(), out);
                put_json_value(value, out);
            }
        }
        let sides = [
            ("request_headers", &self.log.request_headers, 0),
            ("response_headers", &self.log.response_headers, OF_RESPONSE),
        ];
        for (name, headers, side) in sides {
            if self.entry.header_fields().any(|(place, _)| place & OF_RESPONSE == side) {
                key(name, out);
                self.put_headers(headers, side, out);
            }
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
                put_json_value(Said::Text(&value), out);
            }
        }
        out.push(b'}');
    }

    fn put_plain(&self, value: Said<'_>, out: &mut Vec<u8>) {
        match value {
            Said::Nothing => out.push(b'-'),
            Said::Text(text) => put_plain(text, out),
            Said::Made(text) => put_plain(&text, out),
            Said::Number(number) => put_number(number, out),
            Said::Nanos(nanos) => put_millis(nanos, out),
        }
    }

    /// The values of the header at `place`, joined, without the secrets in them.
    fn header(&self, place: u8) -> Option<Vec<u8>> {
        let mut joined: Option<Vec<u8>> = None;
        for (_, value) in self.entry.header_fields().filter(|(other, _)| *other == place) {
            match &mut joined {
                None => joined = Some(Vec::new()),
                Some(joined) => joined.extend_from_slice(b", "),
            }
            self.log.mask.put_uri(value, joined.get_or_insert_default());
        }
        joined
    }

    fn value(&self, field: Field) -> Said<'a> {
        let entry = self.entry;
        let text = |text: &'a [u8]| if text.is_empty() { Said::Nothing } else { Said::Text(text) };
        // What was never sent to a service has no times of one.
        let of_service = |said: Said<'a>| if entry.service.is_empty() { Said::Nothing } else { said };
        match field {
            Field::Time => made(|out| put_time(entry.unix_micros, out)),
            Field::RequestId => text(entry.id),
            Field::TraceId => text(trace_id(entry.traceparent).unwrap_or_default()),
            Field::Client => {
                entry.client.map_or(Said::Nothing, |client| made(|out| write(out, format_args!("{client}"))))
            }
            Field::Peer => entry.peer.map_or(Said::Nothing, |peer| made(|out| write(out, format_args!("{peer}")))),
            Field::Method => text(entry.method),
            Field::Host => text(entry.host),
            Field::Path => text(entry.path),
            Field::Query => entry.query.map_or(Said::Nothing, |query| made(|out| self.log.mask.put_query(query, out))),
            Field::Uri if entry.path.is_empty() => Said::Nothing,
            Field::Uri => made(|out| {
                out.extend_from_slice(entry.path);
                if let Some(query) = entry.query {
                    out.push(b'?');
                    self.log.mask.put_query(query, out);
                }
            }),
            Field::Protocol => match entry.minor_version {
                Some(minor) => made(|out| write(out, format_args!("HTTP/1.{minor}"))),
                None => Said::Nothing,
            },
            Field::Status if entry.status == 0 => Said::Nothing,
            Field::Status => Said::Number(entry.status.into()),
            Field::BytesReceived => Said::Number(entry.received),
            Field::BytesSent => Said::Number(entry.sent),
            Field::Route => text(entry.route),
            Field::Service => text(entry.service),
            Field::Target => match entry.target {
                Some(target) => made(|out| write(out, format_args!("{target}"))),
                None => text(entry.target_text),
            },
            Field::Attempts => of_service(Said::Number(entry.attempts.into())),
            Field::Outcome => text(entry.outcome),
            Field::Code => text(entry.code),
            Field::Gateway => Said::Nanos(entry.spent.gateway),
            Field::Queue => of_service(Said::Nanos(entry.spent.queue)),
            Field::Connect => of_service(Said::Nanos(entry.spent.connect)),
            Field::FirstByte => of_service(Said::Nanos(entry.spent.first_byte)),
            Field::Backend => of_service(Said::Nanos(entry.spent.backend)),
            Field::Total => Said::Nanos(entry.spent.total),
        }
    }
}

fn made<'a>(put: impl FnOnce(&mut Vec<u8>)) -> Said<'a> {
    let mut text = Vec::new();
    put(&mut text);
    Said::Made(text)
}

fn put_json_value(value: Said<'_>, out: &mut Vec<u8>) {
    let quoted = |text: &[u8], out: &mut Vec<u8>| {
        out.push(b'"');
        put_json(text, out);
        out.push(b'"');
    };
    match value {
        Said::Nothing => out.extend_from_slice(b"null"),
        Said::Text(text) => quoted(text, out),
        Said::Made(text) => quoted(&text, out),
        Said::Number(number) => put_number(number, out),
        Said::Nanos(nanos) => put_millis(nanos, out),
    }
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A vector takes everything.
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    write(out, format_args!("{number}"));
}

/// Milliseconds with three decimals.
fn put_millis(nanos: u64, out: &mut Vec<u8>) {
    let micros = Duration::from_nanos(nanos).as_micros();
    write(out, format_args!("{}.{:03}", micros / 1000, micros % 1000));
}

/// RFC 3339 with microseconds, in UTC.
fn put_time(unix_micros: u64, out: &mut Vec<u8>) {
    let Calendar { year, month, day, hour, minute, second } = Calendar::of(unix_micros / 1_000_000);
    let micros = unix_micros % 1_000_000;
    write(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"));
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

    #[test]
    fn numbers_are_exact() {
        let millis = |nanos| {
            let mut out = Vec::new();
            put_millis(nanos, &mut out);
            String::from_utf8(out).unwrap()
        };
        for (nanos, text) in
            [(0, "0.000"), (999, "0.000"), (1_000, "0.001"), (1_234_567, "1.234"), (61_000_000_000, "61000.000")]
        {
            assert_eq!(millis(nanos), text);
        }
    }
}
