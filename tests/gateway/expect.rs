//! `Expect: 100-continue` from end to end, and answers that come before the request is over.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::exchange::gateway;
use crate::harness::message::normal;
use crate::harness::{Driver, Origin, eventually, on_both_drivers};

const HEAD: &str = "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

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
    let reached = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n{for h}\r\n\r\nabc";
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
