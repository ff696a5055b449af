//! The end: what runs may finish, nothing new begins.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::harness::{Boot, Driver, Gate, Gateway, Origin, eventually, on_both_drivers};

fn boot(origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/minimal.toml")).service("app", origin.address()).driver(driver)
}

#[test]
fn a_running_request_finishes_and_everything_else_closes() {
    on_both_drivers(|driver| {
        let (go, goes) = channel();
        let goes = Mutex::new(goes);
        let origin = Origin::scripted(move |conversation| {
            while let Some(request) = conversation.request() {
                if request.starts_with(b"GET /slow") {
                    goes.lock().expect("no panic").recv().expect("the test says when");
                }
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let gateway = boot(&origin, driver)
            .workers(2)
            .with(|config| config.gateway.drain_timeout = Duration::from_secs(30))
            .start();
        let address = gateway.address();
        let mut idle = gateway.connect();
        idle.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(idle.response().status, 200);
        let mut running = gateway.connect();
        running.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("the backend is asked", || {
            origin.received().iter().any(|bytes| bytes.windows(9).any(|window| window == b"GET /slow"))
        });
        gateway.drain();
        idle.closed();
        eventually("new connections are refused", || TcpStream::connect(address).is_err());
        assert!(running.is_quiet(), "the running request goes on");
        go.send(()).expect("the origin waits");
        let response = running.response();
        assert_eq!((response.status, response.closes()), (200, true));
        running.closed();
        gateway.join();
    });
}

#[test]
fn a_request_that_does_not_finish_in_time_is_answered_in_its_stead() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_to_end();
        });
        let gateway =
            boot(&origin, driver).with(|config| config.gateway.drain_timeout = Duration::from_millis(50)).start();
        let mut client = gateway.connect();
        client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("the backend is asked", || origin.connections() == 1);
        let begun = Instant::now();
        gateway.drain();
        gateway.join();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let answer = client.response();
        assert_eq!((answer.status, answer.code()), (503, "drain_timeout"));
    });
}

#[test]
fn a_gateway_without_work_ends_at_once() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = boot(&origin, driver).workers(2).start();
        assert_eq!(gateway.get("/a").status, 200);
        let begun = Instant::now();
        gateway.drain();
        gateway.join();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        // The pool's connections went with it.
        assert_eq!(origin.settled(0, 1).len(), 1);
    });
}

#[test]
fn a_request_on_its_way_is_answered_on_an_idle_connection() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway =
            boot(&origin, driver).with(|config| config.gateway.drain_timeout = Duration::from_secs(30)).start();
        let mut clients: Vec<_> = (0..50).map(|_| gateway.connect()).collect();
        for client in &mut clients {
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(!client.response().closes());
        }
        for client in &mut clients {
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        gateway.drain();
        for client in &mut clients {
            let response = client.response();
            assert_eq!((response.status, response.text()), (200, "ok"));
            client.closed();
        }
        gateway.join();
    });
}

/// Idle connections stay for a moment when the gateway drains, for nobody knows what is on its way.
#[test]
fn a_request_that_crosses_the_drain_is_answered() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        for _ in 0..20 {
            let gateway =
                boot(&origin, driver).with(|config| config.gateway.drain_timeout = Duration::from_secs(30)).start();
            let mut client = gateway.connect();
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(!client.response().closes());
            let (address, begun) = (gateway.address(), Instant::now());
            gateway.drain();
            eventually("it drains", || TcpStream::connect(address).is_err());
            let sent = client.try_send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            // The moment is short, and a busy machine may have missed it.
            if begun.elapsed() < Duration::from_millis(50) {
                sent.expect("the connection stands");
                let response = client.response();
                assert_eq!((response.status, response.text(), response.closes()), (200, "ok", true));
                client.closed();
                gateway.join();
                return;
            }
        }
        panic!("the drain was never seen in time");
    });
}

/// Who has pipelined requests behind a response that does not say it is the last gets them answered.
#[test]
fn requests_behind_a_response_that_has_begun_are_answered() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let origin = Origin::scripted({
            let gate = gate.clone();
            move |conversation| {
                while let Some(request) = conversation.request() {
                    if request.starts_with(b"GET /slow") {
                        conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl");
                        gate.pass();
                        conversation.send("ow");
                    } else {
                        conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                    }
                }
            }
        });
        let gateway =
            boot(&origin, driver).with(|config| config.gateway.drain_timeout = Duration::from_secs(30)).start();
        let mut client = gateway.connect();
        client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = client.read_until("\r\n\r\nsl");
        assert!(!String::from_utf8_lossy(&head).contains("Connection:"), "it is not the last");
        let address = gateway.address();
        gateway.drain();
        eventually("it drains", || TcpStream::connect(address).is_err());
        gate.open();
        assert_eq!(client.read_until("ow"), b"ow");
        let response = client.response();
        assert_eq!((response.status, response.text(), response.closes()), (200, "ok", true));
        client.closed();
        gateway.join();
    });
}

#[test]
fn who_may_go_elsewhere_is_told_before_the_listeners_close() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let text = include_str!("../../config/examples/minimal.toml");
        let text = format!("{text}[gateway]\ndrain_delay = \"1500ms\"\n");
        let gateway = Gateway::from(&text).service("app", origin.address()).driver(driver).workers(2).start();
        let mut kept = gateway.connect();
        kept.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(!kept.response().closes());
        let mut idle = gateway.connect();
        gateway.drain();
        eventually("answers say that their connection ends", || {
            let mut client = gateway.connect();
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            let response = client.response();
            assert_eq!(response.status, 200);
            response.closes()
        });
        kept.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = kept.response();
        assert_eq!((response.status, response.closes()), (200, true));
        kept.closed();
        assert!(idle.is_quiet(), "it may have a request on its way");
        idle.closed();
        gateway.join();
    });
}
