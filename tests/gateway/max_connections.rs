//! `config/examples/max_connections.toml`: a target that must not be asked too much at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Boot, Counter, Driver, Gate, Gateway, Origin, eventually, on_both_drivers};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn boot(origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/max_connections.toml")).services(origin.address()).driver(driver)
}

/// An origin that answers once the gate is open.
fn gated(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::scripted(move |conversation| {
        while conversation.request().is_some() {
            gate.pass();
            conversation.send(OK);
        }
    })
}

#[test]
fn others_wait_in_a_line_of_bounded_length_and_time() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let origin = gated(&gate);
        let gateway = boot(&origin, driver).start();
        let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(GET));
        eventually("two run and two wait", || origin.connections() == 2 && gateway.count(Counter::UpstreamQueued) == 2);
        let refused = gateway.request(GET);
        assert_eq!((refused.status, refused.code()), (503, "queue_full"));
        gate.open();
        for client in &mut clients {
            assert_eq!(client.response().text(), "ok");
        }
        assert_eq!(origin.connections(), 2, "those who waited got connections that were free again");
    });
}

#[test]
fn who_waits_too_long_is_told() {
    let gate = Gate::default();
    let origin = gated(&gate);
    let gateway = boot(&origin, Driver::Epoll).start();
    let mut first = gateway.connect();
    first.send("GET /eager HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it runs", || origin.connections() == 1);
    let late = gateway.request("GET /eager HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((late.status, late.code(), late.field("retry-after")), (503, "queue_timeout", Some("1")));
    gate.open();
    assert_eq!(first.response().text(), "ok");
    assert_eq!(gateway.request("GET /eager HTTP/1.1\r\nHost: h\r\n\r\n").text(), "ok");
}

#[test]
fn the_bound_holds_over_all_workers_and_nobody_is_forgotten() {
    on_both_drivers(|driver| {
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let origin = Origin::scripted({
            let (open, most) = (open.clone(), most.clone());
            move |conversation| {
                while conversation.request().is_some() {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    open.fetch_sub(1, Ordering::SeqCst);
                    conversation.send(OK);
                }
            }
        });
        let gateway = boot(&origin, driver).workers(2).with(|config| config.services[0].pool.queue = 100).start();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let mut client = gateway.connect();
                    for _ in 0..50 {
                        client.send(GET);
                        assert_eq!(client.response().text(), "ok");
                    }
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "at most two at a time");
    });
}
