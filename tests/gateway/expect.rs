//! `Expect: 100-continue` from end to end, and answers that come before the request is over.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use tidegate::base::units::{Rate, Setting};

use crate::exchange::gateway;
use crate::harness::message::normal;
use crate::harness::{Boot, Driver, Gate, Gateway, Origin, eventually, on_both_drivers, pass};

/// A time limit that passes soon.
const SHORT: Duration = Duration::from_millis(80);

const HEAD: &str = "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn boot(origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/limits.toml")).service("app", origin.address()).driver(driver)
}

#[test]
fn a_client_waits_until_the_backend_asks() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_until(b"\r\n\r\n");
            conversation.send("HTTP/1.1 100 Continue\r\n\r\n");
            conversation.read_until(b"abc");
            conversation.send(OK);
            conversation.read_to_end();
        });
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send(HEAD);
        let asked = client.response();
        assert_eq!(asked.head, "HTTP/1.1 100 Continue\r\n\r\n", "the backend's own, and only it");
        client.send("abc");
        let response = client.response();
        assert_eq!((response.status, response.text(), response.closes()), (200, "ok", false));
        let reached = "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n{for h}\r\n\r\nabc";
        assert_eq!(normal(&origin.all_received()), reached);
        assert!(client.is_quiet());
    });
}

#[test]
fn a_backend_that_never_asks_gets_the_body_all_the_same() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send(HEAD);
        eventually("the head is there", || origin.all_received().ends_with(b"\r\n\r\n"));
        assert!(client.is_quiet(), "nobody asks in the backend's name");
        // RFC 9110 section 10.1.1: a client does not wait for ever.
        client.send("abc");
        let response = client.response();
        assert_eq!((response.status, response.closes()), (200, false));
    });
}

#[test]
fn a_backend_may_answer_instead_of_asking() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_until(b"\r\n\r\n");
            conversation.send("HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nwho");
            conversation.read_to_end();
        });
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send(HEAD);
        let response = client.response();
        assert_eq!((response.status, response.text()), (401, "who"));
        assert!(response.closes(), "nobody knows whether the body comes");
        client.finish();
        client.closed();
        // Nor is the backend's connection used again: it waits for a body.
        assert_eq!(origin.settled(0, 1).len(), 1);
    });
}

#[test]
fn an_expectation_of_http10_is_not_heard() {
    let origin = Origin::start().reply("/a", 200, "ok");
    let gateway = gateway(&origin, Driver::Epoll);
    let response =
        gateway.request("POST /a HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(response.status, 200);
    let reached = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n{for h, 1.0}\r\n\r\nabc";
    assert_eq!(normal(&origin.all_received()), reached);
}

/// A request whose body is still flowing, and a backend that has had enough and ends its connection in some way.
#[test]
fn an_early_answer_reaches_the_client_and_is_not_torn_down() {
    const REFUSAL: &str = "HTTP/1.1 413 Enough\r\nContent-Length: 3\r\n\r\nbig";
    on_both_drivers(|driver| {
        for reset in [false, true] {
            let origin = Origin::scripted(move |conversation| {
                conversation.read_until(b"\r\n\r\n");
                conversation.send(REFUSAL);
                if !reset {
                    conversation.finish();
                    conversation.read_to_end();
                }
                // A close with unread bytes is a reset.
            });
            let gateway = gateway(&origin, driver);
            let mut client = gateway.connect();
            client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n");
            client.send("x".repeat(300_000));
            let response = client.response();
            if reset && response.status == 502 {
                // The kernel may have dropped the answer with the connection; then nobody has it.
                assert_eq!(response.code(), "backend_closed");
            } else {
                assert_eq!((response.status, response.text()), (413, "big"));
            }
            assert!(response.closes());
            // The client may go on for a while, and is not reset for it.
            client.send("x".repeat(300_000));
            client.finish();
            client.closed();
        }
    });
}

#[test]
fn an_answer_may_begin_before_the_request_is_over_and_end_after() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_until(b"abc");
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
            conversation.read_until(b"def");
            conversation.send("def");
            conversation.read_to_end();
        });
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
        let head = client.read_until("\r\n\r\nabc");
        assert!(normal(&head).contains("Connection: close\r\n"));
        client.send("def");
        assert_eq!(client.end().bytes, b"def");
    });
}

#[test]
fn a_client_that_leaves_in_its_body_takes_the_request_with_it() {
    on_both_drivers(|driver| {
        let (sender, receiver) = channel();
        let sender = Mutex::new(sender);
        let origin = Origin::scripted(move |conversation| {
            conversation.read_until(b"abc");
            conversation.read_to_end();
            sender.lock().expect("unused").send(()).expect("the test waits");
        });
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
        eventually("the body has begun", || origin.all_received().ends_with(b"abc"));
        client.reset();
        receiver.recv().expect("the backend's connection ends");
        assert!(origin.all_received().ends_with(b"abc"), "and its request is never whole");
    });
}

#[test]
fn a_backend_may_take_longer_to_ask_than_a_body_may() {
    const GRACE: Duration = Duration::from_secs(1);
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_until(b"\r\n\r\n");
            pass(GRACE + SHORT * 2);
            conversation.send("HTTP/1.1 100 Continue\r\n\r\n");
            conversation.read_until(b"abc");
            conversation.send(OK);
            conversation.read_to_end();
        });
        let gateway = boot(&origin, driver)
            .with(|config| {
                config.gateway.limits.body_rate = Setting::On(Rate { bytes_per_second: 1000 });
                config.gateway.limits.body_rate_grace = GRACE;
            })
            .start();
        let mut client = gateway.connect();
        client.send(HEAD);
        assert_eq!(client.response().status, 100);
        for piece in ["a", "b", "c"] {
            pass(SHORT);
            client.send(piece);
        }
        let response = client.response();
        assert_eq!((response.status, response.text(), response.closes()), (200, "ok", false));
    });
}

/// The default first-byte timeout is longer than a test waits: it is the body's time that is over.
#[test]
fn a_client_that_is_asked_and_sends_nothing_is_late() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_until(b"\r\n\r\n");
            conversation.send("HTTP/1.1 100 Continue\r\n\r\n");
            conversation.read_to_end();
        });
        let gateway = boot(&origin, driver).with(|config| config.gateway.limits.body_rate_grace = SHORT).start();
        let mut client = gateway.connect();
        client.send(HEAD);
        assert_eq!(client.response().status, 100);
        let response = client.response();
        assert_eq!((response.status, response.code()), (408, "body_timeout"));
    });
}

#[test]
fn a_backend_that_neither_asks_nor_answers_is_given_up() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_to_end();
        });
        let gateway = boot(&origin, driver)
            .with(|config| config.services[0].timeouts.first_byte = Some(Setting::On(SHORT)))
            .start();
        let mut client = gateway.connect();
        client.send(HEAD);
        let response = client.response();
        assert_eq!((response.status, response.code()), (504, "first_byte_timeout"));
        assert!(response.closes(), "nobody knows whether the body comes");
        client.finish();
        client.closed();
        assert_eq!(gateway.refused("body_timeout"), 0, "it is not the client's fault");
        assert_eq!(origin.settled(0, 1).len(), 1);
    });
}

/// The backend begins to answer, takes no more of the request, and goes on with its answer when the time for the
/// first byte has long passed.
#[test]
fn an_early_answer_is_whole_though_the_request_is_stuck() {
    const LARGE: usize = 96 * 1024 * 1024;
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let origin = Origin::scripted({
            let gate = gate.clone();
            move |conversation| {
                conversation.read_until(b"\r\n\r\n");
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst");
                gate.pass();
                conversation.send("last");
                conversation.read_to_end();
            }
        });
        let gateway = boot(&origin, driver)
            .with(|config| config.services[0].timeouts.first_byte = Some(Setting::On(SHORT)))
            .start();
        let mut client = gateway.connect();
        client.send(format!("PUT /backups/a HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n"));
        let head = normal(&client.read_until("first"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Connection: close\r\n"), "{head}");
        let sent = client.send_until_stuck(SHORT * 3);
        assert!(sent < LARGE / 2, "{sent} bytes were taken from the client, and nobody read one");
        gate.open();
        client.read_until("last");
        client.finish();
        client.closed();
    });
}
