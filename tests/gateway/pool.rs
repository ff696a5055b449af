//! `config/examples/pool.toml`: connections to backends are kept, and the dead ones noticed.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::harness::{Boot, Conversation, Counter, Driver, Gateway, Origin, eventually, on_both_drivers};

const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn boot(app: &Origin, legacy: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/pool.toml"))
        .service("app", app.address())
        .service("legacy", legacy.address())
        .driver(driver)
}

#[test]
fn a_connection_is_used_again() {
    on_both_drivers(|driver| {
        let app = Origin::start().reply("/a", 200, "app");
        let legacy = Origin::start().reply("/legacy/a", 200, "legacy");
        let gateway = boot(&app, &legacy, driver).start();
        for _ in 0..5 {
            assert_eq!(gateway.get("/a").text(), "app");
            assert_eq!(gateway.get("/legacy/a").text(), "legacy");
        }
        assert_eq!(app.connections(), 1);
        assert_eq!(gateway.count(Counter::UpstreamReused), 4);
        // Here nothing is kept, and each connection closed after its response.
        assert_eq!(legacy.settled(0, 5).len(), 5);
        assert_eq!(gateway.count(Counter::UpstreamConnects), 6);
    });
}

#[test]
fn more_than_the_pool_holds_are_closed() {
    let app = Origin::start().reply("/a", 200, "app");
    let gateway = boot(&app, &app, Driver::Epoll).with(|config| config.services[0].pool.idle_connections = 2).start();
    // All of them run at once: each origin thread answers when all requests are there.
    let mut clients: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
    let slow = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n";
    clients.iter_mut().for_each(|client| client.send(slow));
    eventually("five connections", || app.connections() == 5);
    for client in &mut clients {
        client.send("x");
        assert_eq!(client.response().status, 200);
    }
    eventually("three are closed", || app.finished() == 3);
    assert_eq!(gateway.count(Counter::UpstreamConnects), 5);
}

#[test]
fn old_connections_are_closed() {
    let app = Origin::start().reply("/a", 200, "app");
    let idle = std::time::Duration::from_millis(10);
    let gateway = boot(&app, &app, Driver::Epoll).with(|config| config.services[0].pool.idle_timeout = idle).start();
    assert_eq!(gateway.get("/a").status, 200);
    eventually("the gateway closes it", || app.finished() == 1);
    assert_eq!(gateway.count(Counter::UpstreamStale), 0, "old is not dead");
}

/// An origin that answers the first request of its first connection and closes when told, in a way that the gateway
/// has learnt of when `told` returns.
fn closes_when_told(how: fn(&mut Conversation)) -> (Origin, impl Fn()) {
    let (order, orders) = channel();
    let (done, dones) = channel();
    let (orders, done) = (Mutex::new(orders), Mutex::new(done));
    let origin = Origin::scripted(move |conversation| {
        while conversation.request().is_some() {
            conversation.send(OK);
            if conversation.index == 0 {
                orders.lock().expect("no panic").recv().expect("an order");
                how(conversation);
                done.lock().expect("no panic").send(()).expect("the test waits");
                conversation.read_to_end();
                return;
            }
        }
    });
    let told = move || {
        order.send(()).expect("the origin waits");
        dones.recv().expect("the origin does it");
    };
    (origin, told)
}

#[test]
fn what_a_backend_closed_or_spoke_on_is_not_used_again() {
    let ways: [fn(&mut Conversation); 2] = [
        |conversation| conversation.finish(),
        // An answer to a request that was never sent.
        |conversation| conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ];
    on_both_drivers(|driver| {
        for how in ways {
            let (origin, told) = closes_when_told(how);
            let gateway = boot(&origin, &origin, driver).start();
            let mut client = gateway.connect();
            client.send(REQUEST);
            assert_eq!(client.response().text(), "ok");
            told();
            // A request that must not be sent twice: it is on a new connection from the start.
            client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
            assert_eq!(client.response().text(), "ok");
            assert_eq!(gateway.count(Counter::UpstreamConnects), 2);
            assert_eq!(gateway.count(Counter::UpstreamReplaced), 0);
            assert_eq!(gateway.count(Counter::UpstreamStale), 1);
        }
    });
}

#[test]
fn a_connection_that_dies_in_use_is_replaced_for_what_may_be_sent_twice() {
    on_both_drivers(|driver| {
        for (request, status, replaced) in [
            (REQUEST, 200, 1),
            ("DELETE /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 200, 1),
            ("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 502, 0),
            ("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 502, 0),
            ("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 200, 1),
        ] {
            // The first connection is closed when its second request is there.
            let origin = Origin::scripted(|conversation| {
                while conversation.request().is_some() {
                    if conversation.index == 0 && conversation.requests() == 2 {
                        return;
                    }
                    conversation.send(OK);
                }
            });
            let gateway = boot(&origin, &origin, driver).start();
            assert_eq!(gateway.get("/a").status, 200);
            assert_eq!(gateway.request(request).status, status, "{request}");
            assert_eq!(gateway.count(Counter::UpstreamReplaced), replaced);
            assert_eq!(origin.connections(), 1 + replaced as usize, "{request}");
        }
    });
}

#[test]
fn what_is_sent_again_goes_out_on_a_new_connection() {
    on_both_drivers(|driver| {
        // As with a backend that closes after so many requests: all kept connections die with their next one.
        let origin = Origin::scripted(|conversation| {
            while conversation.request().is_some() && (conversation.index > 1 || conversation.requests() == 1) {
                conversation.send(OK);
            }
        });
        let gateway = boot(&origin, &origin, driver).start();
        let mut clients = [gateway.connect(), gateway.connect()];
        clients.iter_mut().for_each(|client| client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"));
        eventually("two connections", || origin.connections() == 2);
        for client in &mut clients {
            client.send("x");
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(gateway.get("/a").status, 200);
        assert_eq!(gateway.count(Counter::UpstreamReplaced), 1);
        assert_eq!(origin.connections(), 3);
    });
}

#[test]
fn a_new_connection_that_is_closed_is_not_tried_again() {
    let origin = Origin::scripted(|conversation| drop(conversation.request()));
    let gateway = boot(&origin, &origin, Driver::Epoll).start();
    let response = gateway.get("/a");
    assert_eq!((response.status, response.code()), (502, "backend_closed"));
    assert_eq!(origin.connections(), 1);
}
