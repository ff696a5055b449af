//! Lines as plainly as they can be made, to compare those with that are made fast.

use std::net::{IpAddr, SocketAddr};

use proptest::option;
use proptest::prelude::*;

use super::entry::{Entries, put_header};
use super::tests::{log, naive};
use super::*;
use crate::base::time::Calendar;
use crate::http::message::Version;

/// What a value is written like.
enum Value {
    Text(Vec<u8>),
    Number(String),
}

/// The value of a field, without a thought of its cost. There is one route, and one service.
fn value(field: Field, Entry { facts, texts }: &Entry<'_>) -> Option<Value> {
    let text = |text: &[u8]| (!text.is_empty()).then(|| Value::Text(text.to_vec()));
    let number = |number: u64| Some(Value::Number(number.to_string()));
    let millis = |nanos: u64| Some(Value::Number(format!("{}.{:03}", nanos / 1_000_000, nanos / 1000 % 1000)));
    let of_service = |value: Option<Value>| facts.service.and(value);
    let of_time = |nanos: u64| of_service(millis(nanos)).filter(|_| nanos > 0);
    let uri = std::str::from_utf8(texts.uri).unwrap();
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(naive(query))));
    match field {
        Field::Time => {
            let Calendar { year, month, day, hour, minute, second } = Calendar::of(facts.unix_micros / 1_000_000);
            let micros = facts.unix_micros % 1_000_000;
            let time = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
            text(time.as_bytes())
        }
        Field::RequestId => text(texts.id),
        // All that are made up are well-formed.
        Field::TraceId => text(texts.traceparent.split(|byte| *byte == b'-').nth(1).unwrap_or_default()),
        Field::Client => facts.client.map(|client| Value::Text(client.to_string().into())),
        Field::Peer => facts.peer.map(|peer| Value::Text(peer.to_string().into())),
        Field::Method => text(texts.method),
        Field::Host => text(texts.host),
        Field::Path => text(path.as_bytes()),
        Field::Query => query.map(|query| Value::Text(query.into())),
        Field::Uri => match query {
            Some(query) if path.is_empty() => Some(Value::Text(query.into())),
            Some(query) => Some(Value::Text(format!("{path}?{query}").into())),
            None => text(path.as_bytes()),
        },
        Field::Protocol => facts
            .version
            .map(|version| Value::Text(if version == Version::Http10 { b"HTTP/1.0" } else { b"HTTP/1.1" }.to_vec())),
        Field::Status => number(facts.status.into()).filter(|_| facts.status != 0),
        Field::BytesReceived => number(facts.received),
        Field::BytesSent => number(facts.sent),
        Field::Route => {
            facts.route.filter(|route| *route < 2).and_then(|route| text(["other", "users"][route as usize].as_bytes()))
        }
        Field::Service => facts
            .service
            .filter(|service| *service < 2)
            .and_then(|service| text(["other", "users"][service as usize].as_bytes())),
        Field::Target => match facts.target {
            Some(target) => text(target.to_string().as_bytes()),
            None => text(texts.target),
        },
        Field::Attempts => of_service(number(facts.attempts.into())),
        Field::Outcome => text(facts.outcome.as_bytes()),
        Field::Code => text(facts.code.as_bytes()),
        Field::Gateway => millis(facts.spent.gateway),
        Field::Queue => of_service(millis(facts.spent.queue)),
        Field::Connect => of_service(millis(facts.spent.connect)),
        Field::Pause => of_time(facts.spent.pause),
        Field::Upload => of_time(facts.spent.upload),
        Field::FirstByte => of_service(millis(facts.spent.first_byte)),
        Field::Backend => of_service(millis(facts.spent.backend)),
        Field::Total => millis(facts.spent.total),
    }
}

/// The inside of a string of JSON, character by character.
fn json(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let escaped = text.chars().map(|character| match character {
        '"' | '\\' => format!("\\{character}"),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\0'..=' ' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' if character != ' ' => {
            format!("\\u{:04x}", u32::from(character))
        }
        other => other.to_string(),
    });
    escaped.collect()
}

/// A text in a template, byte by byte where it is no character that is shown.
fn plain(text: &[u8]) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let lengths = 1..=rest.len().min(4);
        let character = lengths.into_iter().find_map(|length| std::str::from_utf8(&rest[..length]).ok());
        match character.filter(|character| json(character.as_bytes()) == *character) {
            Some(character) => shown += character,
            None => {
                let bytes = &rest[..character.map_or(1, str::len)];
                bytes.iter().for_each(|byte| shown += &format!("\\x{byte:02x}"));
            }
        }
        rest = &rest[character.map_or(1, str::len)..];
    }
    shown
}

/// What is shown of the header at `place`.
fn header(place: u8, entry: &Entry<'_>) -> Option<Vec<u8>> {
    let values = entry.texts.header_fields().filter(|(other, _)| *other == place);
    let shown: Vec<String> = values
        .map(|(_, value)| {
            let value = std::str::from_utf8(value).unwrap();
            match value.find(['?', '#']) {
                Some(mark) => format!("{}{}", &value[..=mark], naive(&value[mark + 1..])),
                None => value.to_owned(),
            }
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join(", ").into_bytes())
}

const REQUEST_HEADERS: [&str; 2] = ["x-a", "referer"];

/// A line of JSON with all fields.
fn object(entry: &Entry<'_>) -> String {
    let quoted = |name: &str, value: &[u8]| format!("\"{name}\":\"{}\"", json(value));
    let fields = Field::ALL.iter().filter_map(|(field, name)| match value(*field, entry)? {
        Value::Text(text) => Some(quoted(name, &text)),
        Value::Number(number) => Some(format!("\"{name}\":{number}")),
    });
    let mut members: Vec<String> = fields.collect();
    for (key, names, side) in
        [("request_headers", &REQUEST_HEADERS[..], 0), ("response_headers", &["location"][..], OF_RESPONSE)]
    {
        let shown = names.iter().zip(side..).filter_map(|(name, place)| Some(quoted(name, &header(place, entry)?)));
        let shown: Vec<String> = shown.collect();
        if !shown.is_empty() {
            members.push(format!("\"{key}\":{{{}}}", shown.join(",")));
        }
    }
    format!("{{{}}}\n", members.join(","))
}

/// A line of a template with all fields.
fn filled(entry: &Entry<'_>) -> String {
    let shown = |value: Option<Value>| match value {
        Some(Value::Text(text)) => plain(&text),
        Some(Value::Number(number)) => number,
        None => "-".to_owned(),
    };
    let fields = Field::ALL.iter().map(|(field, _)| shown(value(*field, entry)));
    let headers = [0, 1, OF_RESPONSE].into_iter().map(|place| shown(header(place, entry).map(Value::Text)));
    format!("{}\n", fields.chain(headers).collect::<Vec<_>>().join(" <> "))
}

/// Texts of all lengths that are treated differently: harmless ones, odd ones, and any bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let string =
        prop_oneof!["[!#-\\[\\]-~]{0,70}", "(a|\"|\\\\|[\u{0}-\u{a0}]|\u{2028}|\u{1f600}){0,30}", "[a-z]{0,600}"];
    prop_oneof![string.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..20)]
}

fn uri() -> impl Strategy<Value = String> {
    "(/|[a-z\"\u{0}\u{e9}]{0,40}){0,3}(\\?(token|%74oken|TOKEN|[a-z\"]{1,20}|[=&;?#\\[\\]%+]){0,12})?"
}

/// Numbers of all sizes.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

/// The same, or often nothing.
fn sometimes() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), number()]
}

fn facts() -> impl Strategy<Value = Facts> {
    let times = (
        0..4_000_000_000_000_000_u64,
        number(),
        number(),
        number(),
        number(),
        number(),
        number(),
        sometimes(),
        sometimes(),
    );
    let counts = (number(), number(), any::<u32>(), 0..600_u16, option::of(0..3_u32), option::of(0..3_u32));
    let ip = || prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    let socket = move || option::of((ip(), any::<u16>()).prop_map(SocketAddr::from));
    let version = option::of(prop::sample::select(vec![Version::Http10, Version::Http11]));
    let words = prop::sample::select(vec![("replied", ""), ("cut", "backend_timeout"), ("", "tunnel_idle")]);
    let rest = (option::of(ip()), socket(), socket(), version, words);
    (times, counts, rest).prop_map(|(times, counts, (client, peer, target, version, (outcome, code)))| {
        let (unix_micros, gateway, queue, connect, first_byte, backend, total, pause, upload) = times;
        let (received, sent, attempts, status, route, service) = counts;
        let spent = Spent { gateway, queue, connect, pause, upload, first_byte, backend, total };
        Facts {
            unix_micros,
            spent,
            received,
            sent,
            attempts,
            status,
            version,
            client,
            peer,
            target,
            route,
            service,
            outcome,
            code,
        }
    })
}

/// The texts of an entry, and its header fields.
#[derive(Clone, Debug)]
struct Made {
    texts: [Vec<u8>; 4],
    traceparent: String,
    uri: String,
    headers: Vec<(u8, String)>,
}

fn made() -> impl Strategy<Value = Made> {
    let texts = [text(), text(), text(), text()];
    let traceparent = "(00-[0-9a-f]{31}1-00f067aa0ba902b7-0[01])?";
    let headers = prop::collection::vec((prop::sample::select(vec![0, 1, OF_RESPONSE]), uri()), 0..4);
    (texts, traceparent, uri(), headers).prop_map(|(texts, traceparent, uri, headers)| Made {
        texts,
        traceparent,
        uri,
        headers,
    })
}

proptest! {
    #[test]
    fn lines_are_those_that_are_made_plainly(all in prop::collection::vec((facts(), made()), 1..4)) {
        let more = "request_headers = [\"x-a\", \"referer\"]\nresponse_headers = [\"location\"]\n\
                    mask = { query = [\"token\"] }";
        let each = |show: fn(&str) -> String| Field::ALL.iter().map(|(_, name)| show(name)).collect::<Vec<_>>();
        let fields = each(|name| format!("{name:?}")).join(",");
        let template = each(|name| format!("${{{name}}}")).join(" <> ");
        let headers = "${request.header.x-a} <> ${request.header.referer} <> ${response.header.location}";
        let as_json = log(&format!("fields = [{fields}]\n{more}"));
        let as_template = log(&format!("format = '{template} <> {headers}'\n{more}"));

        let mut entries = Entries::default();
        for (facts, Made { texts: [id, method, host, target], traceparent, uri, headers: fields }) in &all {
            let (uri, traceparent, mut headers) = (uri.as_bytes(), traceparent.as_bytes(), Vec::new());
            for (place, value) in fields {
                put_header(*place, value.as_bytes(), &mut headers);
            }
            entries.push(facts, &Texts { id, traceparent, method, host, uri, target, headers: &headers });
        }
        for (log, plainly) in [(as_json, object as fn(&Entry<'_>) -> String), (as_template, filled)] {
            let mut lines = Lines::default();
            entries.iter().for_each(|entry| log.put_line(&entry, &mut lines));
            let expected: String = entries.iter().map(|entry| plainly(&entry)).collect();
            prop_assert_eq!(std::str::from_utf8(lines.as_bytes()).unwrap(), expected);
        }
    }
}
