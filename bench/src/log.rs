//! The access log: a worker records a request, and the writer makes a line of it.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use tidegate::http::message::Version;
use tidegate::policy::access_log::{
    AccessLog, AccessLogConfig, Entry, Facts, Field, FormatConfig, Lines, Mailboxes, PartConfig, Recorder, Spent, Texts,
};

use crate::{Case, Work};

const SPENT: Spent = Spent {
    gateway: 41_234,
    queue: 1_234,
    connect: 0,
    pause: 0,
    upload: 0,
    first_byte: 1_230_000,
    backend: 1_240_000,
    total: 1_323_456,
};

const TEXTS: Texts<'static> = Texts {
    id: b"0193515b-57a0-7cc3-98c4-dc0c0c07398f",
    traceparent: b"",
    method: b"GET",
    host: b"api.example.com",
    uri: b"/api/users/42?fields=name,email&page=2",
    target: b"",
    headers: b"",
};

pub(crate) fn cases() -> Vec<Case> {
    let field = |(field, _): &(Field, _)| [PartConfig::Field(*field), PartConfig::Literal(" ".to_owned())];
    let template = move || FormatConfig::Template(Field::ALL.iter().flat_map(field).collect());
    vec![
        Case::new("log/record", 1000, record),
        Case::new("log/line/json", 1000, || line(FormatConfig::Json)),
        Case::new("log/line/template", 1000, move || line(template())),
    ]
}

fn facts() -> Facts {
    let address = SocketAddr::from(([203, 0, 113, 7], 54321));
    Facts {
        unix_micros: 1_700_000_000_123_456,
        spent: SPENT,
        received: 423,
        sent: 1367,
        attempts: 1,
        status: 200,
        version: Some(Version::Http11),
        client: Some(address.ip()),
        peer: Some(address),
        target: Some(SocketAddr::from(([10, 0, 0, 12], 3001))),
        route: Some(0),
        service: Some(0),
        outcome: "replied",
        code: "",
    }
}

/// A log with all usual fields.
fn log(format: FormatConfig) -> Arc<AccessLog> {
    let config = AccessLogConfig { format, ..AccessLogConfig::default() };
    let log = AccessLog::compile(Some(&config), ["users"].into_iter(), ["users"].into_iter());
    log.expect("it is not off")
}

/// The worker's part. What is full goes back at once, as from a writer who keeps up.
fn record() -> Work {
    let (log, facts, mailboxes) = (log(FormatConfig::Json), facts(), Mailboxes::new(1));
    let recorder = Recorder::new(mailboxes.of(0).clone());
    Box::new(move |times| {
        for _ in 0..times {
            recorder.record(&log, black_box(&facts), black_box(&TEXTS));
            while let Some(batch) = mailboxes.of(0).take() {
                mailboxes.of(0).give_back(batch);
            }
        }
        assert_eq!(mailboxes.dropped(), 0);
    })
}

/// The writer's part.
fn line(format: FormatConfig) -> Work {
    let (log, facts, mut lines) = (log(format), facts(), Lines::with_capacity(4096));
    Box::new(move |times| {
        for _ in 0..times {
            lines.clear();
            log.put_line(&black_box(Entry { facts: &facts, texts: TEXTS }), &mut lines);
            black_box(lines.as_bytes().len());
        }
    })
}
