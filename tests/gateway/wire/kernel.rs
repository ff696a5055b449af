//! The rows over real sockets.

use std::sync::{Arc, Mutex};

use super::outcome::Outcome;
use super::{After, FLUSH, LAST, OK, Row, rows};
use crate::harness::{Client, Conversation, Counter, Driver, Gateway, Origin, has_io_uring};

type Reply = (Vec<u8>, After);

/// What the backend does: the row's answer to everything but the requests that it knows.
fn converse(conversation: &mut Conversation, reply: &Mutex<Reply>) {
    while let Some(request) = conversation.request() {
        if request.starts_with(b"GET /canary ") || request.starts_with(b"GET /flush ") {
            conversation.send(LAST);
            continue;
        }
        let (bytes, after) = reply.lock().expect("no test has failed with it").clone();
        conversation.send(bytes);
        match after {
            After::Stay => {}
            After::Close => {
                conversation.finish();
                conversation.read_to_end();
            }
            After::Reset => return conversation.reset(),
        }
    }
    conversation.read_to_end();
}

fn run(row: &Row, gateway: &Gateway, origin: &Origin) -> Outcome {
    let before = origin.connections();
    let mut client = gateway.connect();
    client.send(row.sent());
    if row.finish {
        client.finish();
    }
    let end = client.end();
    let mut next = Client::connect(gateway.address());
    next.send(FLUSH);
    let flushed = next.end().bytes;
    let reached = origin.settled(before, gateway.count(Counter::UpstreamConnects) as usize);
    Outcome { answer: end.bytes, reset: end.reset, reached, origin: origin.address().to_string(), flushed }
}

fn run_all(driver: Driver) {
    let reply = Arc::new(Mutex::new((OK.into(), After::Stay)));
    let origin = Origin::scripted({
        let reply = reply.clone();
        move |conversation| converse(conversation, &reply)
    });
    let gateway = Gateway::from(include_str!("../../../config/examples/minimal.toml"))
        .service("app", origin.address())
        .driver(driver)
        .start();
    let mut wrong = Vec::new();
    for row in rows() {
        *reply.lock().expect("no test has failed with it") = (row.reply.clone(), row.after);
        wrong.extend(run(&row, &gateway, &origin).differs(&row));
    }
    assert!(wrong.is_empty(), "{} rows differ on {}:\n{}", wrong.len(), driver.name(), wrong.join("\n"));
    assert_eq!(gateway.count(Counter::Panics), 0);
}

#[test]
fn every_row_on_epoll() {
    run_all(Driver::Epoll);
}

#[test]
fn every_row_on_io_uring() {
    if has_io_uring() {
        run_all(Driver::IoUring);
    }
}
