//! Backends that let us wait, and what their clients do meanwhile.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::exchange::gateway;
use crate::harness::{Client, Counter, Driver, Gate, Gateway, Origin, PATIENCE, eventually, on_both_drivers, pass};
use crate::timeouts::black_hole;

/// More than a worker has receive buffers.
const MANY: usize = 600;

/// Longer than the wait after which a client is looked after.
const LONG: Duration = Duration::from_millis(1200);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway with one service at `slow`, for `/api/users/*`, and another at `fast`, for nothing but `/fast`.
fn start(slow: SocketAddr, fast: &Origin, driver: Driver) -> Gateway {
    Gateway::from(include_str!("../../config/examples/routes.toml"))
        .service("users", slow)
        .service("site", fast.address())
        .driver(driver)
        .with(|config| {
            config.services[0].timeouts.connect = Some(Duration::from_secs(60));
            "/fast".clone_into(config.routes[2].matches.path.as_mut().expect("a path").get_mut());
        })
        .start()
}

/// Asserts that other clients are served, and refused, while all of `clients` wait.
fn others_are_served(gateway: &Gateway, clients: &mut [Client]) {
    assert_eq!(gateway.get("/fast").text(), "quick");
    assert_eq!(gateway.get("/nowhere").code(), "no_route");
    assert!(clients.iter_mut().all(Client::is_quiet), "they all wait");
}

#[test]
fn bytes_behind_many_waiting_requests_take_no_buffers_from_others() {
    on_both_drivers(|driver| {
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Gate::default());
        let slow = Origin::scripted({
            let (asked, gate) = (asked.clone(), gate.clone());
            move |conversation| {
                while conversation.request().is_some() {
                    asked.fetch_add(1, Ordering::AcqRel);
                    gate.pass();
                    conversation.send(OK);
                }
            }
        });
        let fast = Origin::start().reply("/fast", 200, "quick");
        let gateway = start(slow.address(), &fast, driver);
        let mut clients: Vec<_> = (0..MANY).map(|_| gateway.connect()).collect();
        for client in &mut clients {
            client.send("GET /api/users/7 HTTP/1.1\r\nHost: h\r\n\r\nG");
        }
        eventually("the backend has all requests", || asked.load(Ordering::Acquire) == MANY);
        others_are_served(&gateway, &mut clients);
        gate.open();
        for client in &mut clients {
            let response = client.response();
            assert_eq!((response.status, response.text()), (200, "ok"));
        }
        for client in &mut clients {
            client.send("ET /api/users/7 HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().text(), "ok", "the byte behind the first request is not lost");
        }
    });
}

#[test]
fn bodies_for_a_backend_that_does_not_accept_take_no_buffers_from_others() {
    let (address, _listener, _fill) = black_hole();
    on_both_drivers(|driver| {
        let fast = Origin::start().reply("/fast", 200, "quick");
        let gateway = start(address, &fast, driver);
        let mut clients: Vec<_> = (0..MANY).map(|_| gateway.connect()).collect();
        for client in &mut clients {
            client.send("POST /api/users/7 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx");
        }
        eventually("all requests are there", || gateway.count(Counter::Requests) == MANY as u64);
        others_are_served(&gateway, &mut clients);
    });
}

#[test]
fn a_half_closed_client_gets_an_answer_that_takes_long() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.request();
            pass(LONG);
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
            pass(LONG);
            conversation.send("def");
            conversation.read_to_end();
        });
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
        client.finish();
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, "abcdef"));
        client.closed();
        assert_eq!(gateway.count(Counter::ClientsGone), 0);
    });
}

/// A client that resets its connection early in the wait for the backend or late, and one that has half-closed it
/// before; the backend is silent before its response or within.
#[test]
fn a_client_that_is_gone_ends_a_long_wait() {
    on_both_drivers(|driver| {
        for (half_closed, late, head) in
            [(false, false, ""), (true, true, ""), (false, true, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")]
        {
            let (over, overs) = channel();
            let over = Mutex::new(over);
            let origin = Origin::scripted(move |conversation| {
                conversation.request();
                conversation.send(head);
                conversation.read_to_end();
                over.lock().expect("no panic").send(()).expect("the test waits");
            });
            let gateway = gateway(&origin, driver);
            let mut client = gateway.connect();
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            eventually("the backend is asked", || origin.all_received().ends_with(b"\r\n\r\n"));
            if half_closed {
                client.finish();
            }
            if !head.is_empty() {
                client.read_until("half");
            }
            if late {
                pass(LONG);
            }
            client.reset();
            // An origin gives up by itself, too, but much later.
            overs.recv_timeout(PATIENCE / 2).expect("the backend's connection ends with the client's");
            eventually("it is counted", || gateway.count(Counter::ClientsGone) == 1);
        }
    });
}
