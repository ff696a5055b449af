//! The end: what runs may finish, nothing new begins.

use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tidegate::base::units::Setting;
use tidegate::observe::counters::sum;

use crate::harness::{Boot, Counter, Driver, Gate, Gateway, Origin, eventually, on_both_drivers};

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

/// A backend that fails `/again`, asks for the body of who expects that, begins to answer `/begun`, and then says nothing.
fn reticent() -> Origin {
    Origin::scripted(|conversation| {
        let head = conversation.read_until(b"\r\n\r\n");
        if head.starts_with(b"GET /again") {
            conversation.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        } else if head.starts_with(b"PUT /expected") {
            conversation.send("HTTP/1.1 100 Continue\r\n\r\n");
        } else if head.starts_with(b"GET /begun") {
            conversation.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        }
        conversation.read_to_end();
    })
}

#[test]
fn whatever_is_waited_for_is_broken_off() {
    on_both_drivers(|driver| {
        let origins = [reticent(), reticent()];
        let text = "[listeners.public]\naddress = \"127.0.0.1:0\"\n[routes.all]\npath = \"/*\"\nservice = \"app\"\n\
                    retries = { attempts = 2, on = [\"503\"], backoff = \"30m\", backoff_max = \"30m\" }\n[services.app]\n\
                    targets = [\"unix:/nowhere/x.sock\"]\ntimeout = \"1h\"\n";
        let gateway =
            Gateway::from(text).targets("app", &origins.each_ref().map(Origin::address)).driver(driver).start();
        let ask = |request: &str| {
            let mut client = gateway.connect();
            client.send(request);
            client
        };
        let refused = [
            ask("GET /again HTTP/1.1\r\nHost: h\r\n\r\n"),
            ask("PUT /half HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"),
            ask("GET /first HTTP/1.1\r\nHost: h\r\n\r\nGET /second HTTP/1.1\r\nHost: h\r\n\r\n"),
        ];
        let mut expected =
            ask("PUT /expected HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
        assert!(expected.read_until("\r\n\r\n").starts_with(b"HTTP/1.1 100 "));
        let mut begun = ask("GET /begun HTTP/1.1\r\nHost: h\r\n\r\n");
        begun.read_until("half\r\n");
        let mut old = ask("GET /begun HTTP/1.0\r\nHost: h\r\n\r\n");
        old.read_until("half");
        let asked = || origins.iter().map(Origin::connections).sum::<usize>();
        eventually("all have been asked", || asked() == 6 && gateway.count(Counter::Retries) == 1);
        let shared = gateway.running().shared().clone();
        gateway.drain();
        for mut client in refused.into_iter().chain([expected]) {
            let answer = client.response();
            assert_eq!((answer.status, answer.code(), answer.closes()), (503, "drain_timeout", true));
            assert!(client.end().bytes.is_empty(), "nothing follows the last answer");
        }
        assert_eq!(begun.end().bytes, b"", "without its last chunk");
        assert!(old.end().reset, "the end would be taken for the end of the body");
        gateway.join();
        assert_eq!(sum(&shared.counters, Counter::Unfinished), 6);
    });
}

#[test]
fn who_is_in_line_when_others_are_broken_off_is_not_sent_any_more() {
    on_both_drivers(|driver| {
        let origin = reticent();
        let gateway = boot(&origin, driver)
            .with(|config| {
                config.gateway.drain_timeout = Duration::from_millis(50);
                config.services[0].pool.max_connections = Setting::On(1);
            })
            .start();
        let mut clients: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
        clients[0].send("GET /first HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("the first is there", || origin.connections() == 1);
        clients[1..]
            .iter_mut()
            .for_each(|client| client.send("POST /more HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"));
        eventually("the others wait", || gateway.count(Counter::UpstreamQueued) == 4);
        gateway.drain();
        for client in &mut clients {
            assert_eq!(client.response().code(), "drain_timeout");
        }
        gateway.join();
        assert_eq!(origin.connections(), 1);
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
