//! Tests of the access log that need more than one of its parts.

use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::entry::{Entries, TEXT_MAX, TEXTS_MAX, URI_MAX, put_header};
use super::escape::{put_json, put_plain};
use super::mask::Mask;
use super::page::Page;
use super::*;
use crate::config::Config;
use crate::http::message::Version;
use crate::http::query;

fn config(text: &str) -> Config {
    let rest = "[listeners.a]\naddress = \"127.0.0.1:1\"\n";
    Config::parse("test.toml", &format!("{text}\n{rest}")).unwrap_or_else(|faults| panic!("{}", faults.render(false)))
}

pub(super) fn log(text: &str) -> Arc<AccessLog> {
    let config = config(&format!("[access_log]\n{text}"));
    let names = || ["other", "users"].into_iter();
    AccessLog::compile(config.access_log.as_ref(), names(), names()).unwrap()
}

fn line(log: &AccessLog, entry: &Entry<'_>) -> String {
    let mut lines = Lines::default();
    log.put_line(entry, &mut lines);
    let line = String::from_utf8(lines.as_bytes().to_vec()).unwrap();
    assert_eq!(line.find('\n'), Some(line.len() - 1), "{line:?}");
    line.trim_end().to_owned()
}

/// A request that knows everything of itself.
fn full() -> Entry<'static> {
    static FACTS: LazyLock<Facts> = LazyLock::new(full_facts);
    let texts = Texts {
        id: b"0193515b-57a0-7cc3-98c4-dc0c0c07398f",
        traceparent: b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        method: b"GET",
        host: b"api.example.com",
        uri: b"/users/7?token=1234&page=2",
        target: b"",
        headers: b"",
    };
    Entry { facts: &FACTS, texts }
}

fn full_facts() -> Facts {
    let spent = Spent {
        gateway: 42_000,
        queue: 1_000_000,
        connect: 2_500_000,
        pause: 25_000_000,
        upload: 0,
        first_byte: 30_000_000,
        backend: 40_000_000,
        total: 50_123_456,
    };
    Facts {
        unix_micros: 1_700_000_000_123_456,
        spent,
        received: 123,
        sent: 4567,
        attempts: 2,
        status: 200,
        version: Some(Version::Http11),
        client: Some("2001:db8::7".parse().unwrap()),
        peer: Some("10.0.0.1:4321".parse().unwrap()),
        target: Some("127.0.0.1:3001".parse().unwrap()),
        route: Some(1),
        service: Some(0),
        outcome: "replied",
        code: "",
    }
}

/// The same with these header fields.
fn with_headers(headers: &[u8]) -> Entry<'_> {
    Entry { facts: full().facts, texts: Texts { headers, ..full().texts } }
}

fn record(recorder: &Recorder, log: &Arc<AccessLog>, entry: &Entry<'_>) {
    recorder.record(log, entry.facts, &entry.texts);
}

#[test]
fn a_line_of_json_says_all_there_is() {
    let expected = "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"request_id\":\"0193515b-57a0-7cc3-98c4-dc0c0c07398f\",\
        \"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"client\":\"2001:db8::7\",\"peer\":\"10.0.0.1:4321\",\
        \"method\":\"GET\",\"host\":\"api.example.com\",\"path\":\"/users/7\",\"query\":\"token=***&page=2\",\
        \"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes_received\":123,\"bytes_sent\":4567,\"route\":\"users\",\
        \"service\":\"other\",\"target\":\"127.0.0.1:3001\",\"attempts\":2,\"outcome\":\"replied\",\"gateway_ms\":0.042,\
        \"queue_ms\":1.000,\"connect_ms\":2.500,\"pause_ms\":25.000,\"first_byte_ms\":30.000,\"backend_ms\":40.000,\"total_ms\":50.123}";
    assert_eq!(line(&log(""), &full()), expected);
    let facts = Facts { outcome: "refused", code: "head_timeout", status: 408, ..Facts::default() };
    let bare = Entry { facts: &facts, texts: Texts::default() };
    let expected = "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"status\":408,\"bytes_received\":0,\"bytes_sent\":0,\
        \"outcome\":\"refused\",\"code\":\"head_timeout\",\"gateway_ms\":0.000,\"total_ms\":0.000}";
    assert_eq!(line(&log(""), &bare), expected);
    let chosen = log("fields = [\"status\", \"uri\", \"time\"]");
    let expected = "{\"status\":200,\"uri\":\"/users/7?token=***&page=2\",\"time\":\"2023-11-14T22:13:20.123456Z\"}";
    assert_eq!(line(&chosen, &full()), expected);
}

#[test]
fn a_template_says_what_it_names() {
    let text = "format = '${client} - [${time}] \"${method} ${uri} ${protocol}\" ${status} ${code} $$ ${total_ms} \
                \"${request.header.User-Agent}\" ${response.header.x-none}'";
    let log = log(text);
    assert_eq!((log.request_headers.len(), log.response_headers.len()), (1, 1));
    let mut headers = Vec::new();
    put_header(0, b"curl/8 \"\x1b[31m\xff\xc2\x9b\\", &mut headers);
    let expected = "2001:db8::7 - [2023-11-14T22:13:20.123456Z] \"GET /users/7?token=***&page=2 HTTP/1.1\" 200 - $ 50.123 \
                    \"curl/8 \\x22\\x1b[31m\\xff\\xc2\\x9b\\x5c\" -";
    assert_eq!(line(&log, &with_headers(&headers)), expected);
    let bare = Entry { facts: &Facts::default(), texts: Texts::default() };
    assert_eq!(line(&log, &bare).matches(" -").count(), 6, "what there is not is a dash");
}

#[test]
fn header_fields_are_joined_and_secrets_are_not_told() {
    let log = log("fields = [\"status\"]\nrequest_headers = [\"X-A\", \"cookie\", \"x-api-key\", \"referer\"]\n\
                   response_headers = [\"set-cookie\", \"location\"]\nmask = { headers = [\"x-a2\"] }");
    let shown: Vec<_> = log.request_headers.iter().map(|header| header.shown(b"secret")).collect();
    assert_eq!(shown, [&b"secret"[..], b"***", b"secret", b"secret"], "x-api-key is no longer in the list");
    assert_eq!(log.response_headers[0].shown(b"secret"), b"***");
    let mut headers = Vec::new();
    put_header(0, b"1", &mut headers);
    put_header(3, b"https://a.test/?x=1&TOKEN=1234#access_token=5678", &mut headers);
    put_header(OF_RESPONSE | 1, b"/next#id_token=1", &mut headers);
    put_header(0, b"2", &mut headers);
    let expected = "{\"status\":200,\"request_headers\":{\"x-a\":\"1, 2\",\
                    \"referer\":\"https://a.test/?x=1&TOKEN=***#access_token=***\"},\
                    \"response_headers\":{\"location\":\"/next#id_token=***\"}}";
    assert_eq!(line(&log, &with_headers(&headers)), expected);
}

fn masked(mask: &Mask, query: &str) -> Vec<u8> {
    let mut out = Vec::new();
    mask.put_query(query.as_bytes(), |piece| out.extend_from_slice(piece));
    // No secret in these tests is written as what stands for it.
    assert_eq!(mask.is_clear(query.as_bytes()), out == query.as_bytes(), "{query}");
    out
}

#[test]
fn what_is_written_is_kept_masked() {
    let mask = Mask::new(["token", "api key"].into_iter());
    for (query, expected) in [
        ("token=1", "token=***"),
        ("a=1&token=2&b=3&token=4", "a=1&token=***&b=3&token=***"),
        ("%74oken=1&t%6Fk%65n=2", "%74oken=***&t%6Fk%65n=***"),
        ("TOKEN=1&Token=2", "TOKEN=***&Token=***"),
        ("api+key=1&api%20key=2", "api+key=***&api%20key=***"),
        ("a=1;token=2", "a=1;token=***"),
        ("user[token]=1&token[]=2&token%5Ba%5D=3", "user[token]=***&token[]=***&token%5Ba%5D=***"),
        ("a?token=1", "a?token=***"),
        ("token", "token"),
        ("token=", "token=***"),
        ("token==1", "token=***"),
        ("tokens=1&mytoken=2", "tokens=1&mytoken=2"),
        ("a=token=1", "a=token=1"),
        ("", ""),
        ("&&=&", "&&=&"),
    ] {
        assert_eq!(masked(&mask, query), expected.as_bytes(), "{query}");
    }
    let long = format!("{}=1", "a".repeat(300));
    assert!(masked(&mask, &long).ends_with(b"a=***"), "what is too long to be looked at");
}

#[test]
fn who_has_a_line() {
    let sampling = |access_log: &str, defaults: &str, route: &str| {
        let config = config(&format!(
            "[access_log]\n{access_log}\n[defaults]\n{defaults}\n[routes.a]\nrespond = {{ body = \"a\" }}\n{route}\n"
        ));
        let scopes = [config.routes[0].access_log.as_ref(), config.defaults.access_log.as_ref()];
        AccessLog::sampling(config.access_log.as_ref(), scopes)
    };
    let never = || u32::MAX;
    let second = 1_000_000_000;
    assert!(sampling("", "", "").unwrap().wants(200, 0, true, || panic!("nothing is left to chance")));
    let none = sampling("sample = { share = 0.0, slower_than = \"2s\" }", "", "").unwrap();
    for (status, total, well, expected) in [
        (200, 0, true, false),
        (499, 2 * second - 1, true, false),
        (200, 2 * second, true, true),
        (500, 0, true, true),
        (200, 0, false, true),
    ] {
        assert_eq!(none.wants(status, total, well, never), expected, "{status} {total} {well}");
    }
    let half = sampling("sample = { share = 0.5, always = [], slower_than = false }", "", "").unwrap();
    assert!(half.wants(500, u64::MAX - 1, true, || (1 << 31) - 1) && !half.wants(500, u64::MAX - 1, true, || 1 << 31));
    // Key by key, the narrowest first.
    let mixed = sampling(
        "sample = { share = 0.0, always = [\"404\"] }",
        "access_log = { sample = { slower_than = \"5s\", share = 0.0 } }",
        "access_log = { sample = { slower_than = \"9s\" } }",
    );
    let mixed = mixed.unwrap();
    assert!(mixed.wants(404, 0, true, never) && !mixed.wants(500, 8 * second, true, never));
    assert!(mixed.wants(200, 9 * second, true, never));
    assert_eq!(sampling("", "", "access_log = false"), None);
    assert_eq!(sampling("", "access_log = false", ""), None);
    assert!(sampling("", "access_log = false", "access_log = true").is_some());
    assert_eq!(sampling("output = \"off\"", "", "access_log = true"), None);
    assert_eq!(config("").access_log, None, "none unless it is asked for");
}

#[test]
fn buffers_go_round_and_lines_without_one_are_dropped() {
    let (mailboxes, log) = (Mailboxes::new(1), log("queue = \"256KiB\""));
    let recorder = Recorder::new(mailboxes.of(0).clone());
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(recorder.poll_pending(&mut context), Poll::Pending);
    record(&recorder, &log, &full());
    assert_eq!(recorder.poll_pending(&mut context), Poll::Ready(()));
    assert!(mailboxes.of(0).take().is_none(), "it waits for others");
    recorder.hand_over();
    let batch = mailboxes.of(0).take().unwrap();
    assert_eq!(batch.entries().collect::<Vec<_>>(), [full()]);
    mailboxes.of(0).give_back(batch);

    // The writer stands still: four buffers, and no more.
    let mut recorded = 0;
    while mailboxes.dropped() == 0 {
        record(&recorder, &log, &full());
        recorded += 1;
    }
    assert!((400..1000).contains(&recorded), "{recorded}");
    record(&recorder, &log, &full());
    assert_eq!(mailboxes.dropped(), 2);
    let batches: Vec<Batch> = std::iter::from_fn(|| mailboxes.of(0).take()).collect();
    assert_eq!(batches.len(), 4);
    assert_eq!(batches.iter().map(|batch| batch.entries().count()).sum::<usize>(), recorded - 1);
    for batch in batches {
        assert!(batch.entries().all(|entry| entry == full()));
        mailboxes.of(0).give_back(batch);
    }
    record(&recorder, &log, &full());
    recorder.hand_over();
    let lines = mailboxes.of(0).take().map(|batch| batch.entries().count());
    assert_eq!((mailboxes.dropped(), lines), (2, Some(1)));
}

#[test]
fn lines_of_another_configuration_are_not_mixed_in() {
    let (mailboxes, first, second) = (Mailboxes::new(1), log(""), log("format = '${status}'"));
    let recorder = Recorder::new(mailboxes.of(0).clone());
    for log in [&first, &first, &second] {
        record(&recorder, log, &full());
    }
    recorder.hand_over();
    let batches: Vec<Batch> = std::iter::from_fn(|| mailboxes.of(0).take()).collect();
    assert_eq!(batches.iter().map(|batch| batch.entries().count()).collect::<Vec<_>>(), [2, 1]);
    assert!(Arc::ptr_eq(&batches[0].log, &first) && Arc::ptr_eq(&batches[1].log, &second));
}

#[test]
fn a_line_can_be_finished_later() {
    let (mailboxes, log) = (Mailboxes::new(1), log("fields = [\"bytes_sent\", \"code\", \"path\"]"));
    let recorder = Recorder::new(mailboxes.of(0).clone());
    let pending = Pending::new(&log, full().facts, &full().texts);
    pending.record(&recorder, |facts| {
        facts.sent += 1_000_000;
        facts.code = "tunnel_idle";
    });
    recorder.hand_over();
    let batch = mailboxes.of(0).take().unwrap();
    let entry = batch.entries().next().unwrap();
    assert_eq!(line(&log, &entry), "{\"bytes_sent\":1004567,\"code\":\"tunnel_idle\",\"path\":\"/users/7\"}");
}

#[test]
fn the_longest_entry_is_cut_and_fits() {
    let long = vec![b'b'; 70_000];
    let mut headers = Vec::new();
    for place in 0..100 {
        put_header(place, &long, &mut headers);
    }
    let texts =
        Texts { id: &long, traceparent: &long, method: &long, host: &long, uri: &long, target: &long, headers: &long };
    let mut entries = Entries::with_capacity(2, 2 * TEXTS_MAX);
    entries.push(full().facts, &Texts { headers: &headers, ..texts });
    assert!(entries.has_room());
    entries.push(full().facts, &texts);
    assert!(!entries.has_room());
    let [first, second]: [Entry<'_>; 2] = entries.iter().collect::<Vec<_>>().try_into().unwrap();
    assert!(
        first.texts.host == &long[..TEXT_MAX] && first.texts.uri == &long[..URI_MAX] && first.facts == full().facts
    );
    let fields: Vec<_> = first.texts.header_fields().collect();
    assert!(fields.len() > 3 && fields.iter().all(|(_, value)| *value == &long[..TEXT_MAX]));
    let length = |texts: Texts<'_>| {
        let all = [texts.id, texts.traceparent, texts.method, texts.host, texts.uri, texts.target, texts.headers];
        all.iter().map(|text| text.len()).sum::<usize>()
    };
    assert_eq!(length(second.texts), TEXTS_MAX);
}

#[test]
fn the_reference_file_has_every_default() {
    let reference = include_str!("../../../config/gateway.toml");
    let config = Config::parse("gateway.toml", reference).unwrap();
    let written = config.access_log.unwrap();
    // What is inherited is not written where it is inherited.
    let sample = SampleConfig {
        share: Some(SampleConfig::SHARE),
        always: Some(SampleConfig::always()),
        slower_than: Some(SampleConfig::SLOWER_THAN),
    };
    assert_eq!(written, AccessLogConfig { sample, ..AccessLogConfig::default() });
}

/// What a naive reader makes of a query: pairs, keys decoded, and those that are secrets.
pub(super) fn naive(query: &str) -> String {
    let mut out = String::new();
    for piece in query.split_inclusive(['&', ';', '?', '#']) {
        let (pair, separator) = match piece.strip_suffix(['&', ';', '?', '#']) {
            Some(pair) => (pair, &piece[pair.len()..]),
            None => (piece, ""),
        };
        match pair.split_once('=') {
            Some((key, _)) => {
                let decoded: Vec<u8> = query::decoded(key.as_bytes()).collect();
                let decoded = String::from_utf8_lossy(&decoded).to_lowercase();
                let hidden = decoded.split(['[', ']']).any(|part| part == "token");
                out += &if hidden { format!("{key}=***{separator}") } else { piece.to_owned() };
            }
            None => out += piece,
        }
    }
    out
}

fn escaped(put: impl FnOnce(&[u8], &mut Page), text: &[u8]) -> String {
    let mut page = Page::default();
    put(text, &mut page);
    String::from_utf8(page.written().to_vec()).unwrap()
}

proptest! {
    #[test]
    fn a_string_of_json_is_read_back_and_holds_no_control(text in prop::collection::vec(any::<u8>(), 0..40)) {
        let shown = format!("\"{}\"", escaped(put_json, &text));
        let read: String = serde_json::from_str(&shown).unwrap();
        prop_assert_eq!(read, String::from_utf8_lossy(&text));
        let is_order = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        prop_assert!(!shown.contains(is_order));
    }

    #[test]
    fn text_in_a_template_ends_no_line_and_no_quote(text in prop_oneof!["\\PC*", "[\"\\\\\u{0}-\u{9f}a]*"], tail: Vec<u8>) {
        let bytes: Vec<u8> = text.bytes().chain(tail).collect();
        let shown = escaped(put_plain, &bytes);
        prop_assert!(!shown.contains(|c: char| c.is_control() || c == '"'), "{shown:?}");
        // Each escape stands for one byte, and all others for themselves.
        let mut back = Vec::new();
        let mut rest = shown.as_str();
        while let Some(at) = rest.find('\\') {
            back.extend_from_slice(&rest.as_bytes()[..at]);
            prop_assert_eq!(&rest[at + 1..at + 2], "x");
            back.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
            rest = &rest[at + 4..];
        }
        back.extend_from_slice(rest.as_bytes());
        prop_assert_eq!(back, bytes);
    }

    #[test]
    fn masks_hide_what_a_naive_reader_finds(query in "(token|%74oken|TOKEN|a|[=&;?#\\[\\]%+]|%5B|1){0,12}") {
        let mask = Mask::new(["token"].into_iter());
        let expected = naive(&query);
        prop_assert_eq!(masked(&mask, &query), expected.as_bytes());
    }

    #[test]
    fn entries_are_read_back_in_their_order(all in prop::collection::vec((any::<u64>(), any::<[Vec<u8>; 4]>()), 0..8)) {
        let mut entries = Entries::default();
        let made = |(number, texts): &(u64, [Vec<u8>; 4])| {
            let [id, host, uri, headers] = texts;
            (*number, id.clone(), host.clone(), uri.clone(), headers.clone())
        };
        for (number, [id, host, uri, headers]) in &all {
            let facts = Facts { unix_micros: *number, ..*full().facts };
            entries.push(&facts, &Texts { id, host, uri, headers, ..Texts::default() });
        }
        let read: Vec<_> = entries
            .iter()
            .map(|Entry { facts, texts }| {
                let _ = texts.header_fields().count();
                let Texts { id, host, uri, headers, .. } = texts;
                (facts.unix_micros, id.to_vec(), host.to_vec(), uri.to_vec(), headers.to_vec())
            })
            .collect();
        prop_assert_eq!(read, all.iter().map(made).collect::<Vec<_>>());
    }
}
