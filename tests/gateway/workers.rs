//! `config/examples/workers.toml`: how much of the machine the gateway takes.

use tidegate::config::Driver;

use crate::harness::{Client, Counter, Gateway, Origin, on_both_drivers};

#[test]
fn every_listener_leads_to_the_same_routes() {
    let origin = Origin::start().reply("/a", 200, "ok");
    let boot = Gateway::from(include_str!("../../config/examples/workers.toml")).service("app", origin.address());
    assert_eq!(boot.config().gateway.driver, Driver::Epoll);
    let gateway = boot.workers(2).start();
    for listener in ["public", "internal"] {
        let mut client = Client::connect(gateway.listener(listener));
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn several_workers_share_the_connections() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = Gateway::from(include_str!("../../config/examples/workers.toml"))
            .service("app", origin.address())
            .workers(3)
            .driver(driver)
            .start();
        let mut clients: Vec<_> = (0..60).map(|_| gateway.connect()).collect();
        for client in &mut clients {
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(gateway.count(Counter::ConnectionsOpen), 60);
        assert!(origin.connections() > 1, "more than one worker has asked it");
    });
}

#[test]
fn one_connection_too_many_is_told_so() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = Gateway::from(include_str!("../../config/examples/workers.toml"))
            .service("app", origin.address())
            .driver(driver)
            .with(|config| config.gateway.connections_per_worker = 2)
            .start();
        let mut clients: Vec<_> = (0..2).map(|_| gateway.connect()).collect();
        for client in &mut clients {
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().status, 200);
        }
        let mut third = gateway.connect();
        let refused = third.response();
        assert_eq!((refused.status, refused.code()), (503, "too_many_connections"));
        assert_eq!(refused.field("Retry-After"), Some("1"));
        third.closed();
        assert_eq!(gateway.count(Counter::ConnectionsRefused), 1);
        drop(clients);
        crate::harness::eventually("room for one more", || gateway.count(Counter::ConnectionsOpen) == 0);
        assert_eq!(gateway.get("/a").status, 200);
    });
}
