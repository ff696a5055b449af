//! `config/examples/mirror.toml`: copies of requests for another service.

use tidegate::upstream::mirror::COPIES_MAX;

use crate::harness::{Boot, Counter, Driver, Gate, Gateway, Origin, eventually, on_both_drivers};

fn boot(orders: &Origin, next: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/mirror.toml"))
        .service("orders", orders.address())
        .service("next", next.address())
        .driver(driver)
}

fn origins() -> [Origin; 2] {
    ["orders", "next"].map(|name| Origin::start().reply("/orders/1", 200, name).reply("/by-target", 200, name))
}

/// How often an origin has got `what`.
fn times(origin: &Origin, what: impl AsRef<[u8]>) -> usize {
    let what = what.as_ref();
    origin.all_received().windows(what.len()).filter(|bytes| *bytes == what).count()
}

#[test]
fn copies_arrive_whole_and_too_large_ones_are_counted() {
    on_both_drivers(|driver| {
        let [orders, next] = origins();
        let gateway = boot(&orders, &next, driver).start();
        let mut client = gateway.connect();
        let large = format!("POST /orders/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\n\r\n{}", "x".repeat(1025));
        for request in [
            "GET /orders/1 HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /orders/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
            "POST /orders/1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             2\r\nbo\r\n2\r\ndy\r\n0\r\nX-Sum: 4\r\n\r\n",
            &large,
        ] {
            client.send(request);
            assert_eq!(client.response().text(), "orders");
        }
        client.send("HEAD /orders/1 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status, 200);
        eventually("four copies", || times(&next, " /orders/1 HTTP/1.1\r\n") == 4);
        eventually("one body", || times(&next, "\r\n\r\nbody") == 1);
        eventually("another with its trailer", || times(&next, "\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 4\r\n\r\n") == 1);
        eventually("what was too large is counted", || gateway.count(Counter::MirrorsDropped) == 1);
        assert_eq!((gateway.count(Counter::Mirrors), times(&orders, " /orders/1 HTTP")), (4, 5));
    });
}

#[test]
fn a_copy_has_the_fields_of_its_own_service_and_no_other() {
    on_both_drivers(|driver| {
        let [orders, next] = origins();
        let gateway = boot(&orders, &next, driver).start();
        let get = "GET /orders/1 HTTP/1.1\r\nHost: shop.example.com\r\nAuthorization: Basic own\r\n\r\n";
        assert_eq!(gateway.request(get).text(), "orders");
        eventually("the copy", || times(&next, "X-For: next\r\n") == 1);
        assert_eq!(
            (times(&orders, "Authorization: Bearer of-orders\r\n"), times(&orders, "X-For: orders\r\n")),
            (1, 1)
        );
        assert_eq!(times(&next, "of-orders"), 0, "what is for one service is not for the other");
        assert_eq!(
            (times(&next, "Authorization: Basic own\r\n"), times(&next, "\r\nHost: shop.example.com\r\n")),
            (1, 1)
        );

        assert_eq!(gateway.request("GET /by-target HTTP/1.1\r\nHost: shop.example.com\r\n\r\n").text(), "orders");
        let host = |origin: &Origin| format!("\r\nHost: {}\r\n", origin.address());
        eventually("a copy for the target's name", || times(&next, host(&next)) == 1);
        assert_eq!((times(&orders, host(&orders)), times(&next, host(&orders))), (1, 0));
    });
}

#[test]
fn a_mirror_that_hangs_delays_nobody_and_gets_no_more_than_there_is_room_for() {
    on_both_drivers(|driver| {
        const MORE: usize = 5;
        let [orders, _] = origins();
        let gate = Gate::default();
        let next = Origin::scripted({
            let gate = gate.clone();
            move |conversation| {
                conversation.request();
                gate.pass();
            }
        });
        let gateway = boot(&orders, &next, driver).start();
        let mut client = gateway.connect();
        for _ in 0..COPIES_MAX + MORE {
            client.send("GET /orders/1 HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().text(), "orders");
        }
        eventually("all copies are there", || next.connections() == COPIES_MAX);
        eventually("the others are dropped", || gateway.count(Counter::MirrorsDropped) == MORE as u64);
        gate.open();
        eventually("there is room again", || next.finished() == COPIES_MAX);
        eventually("for another", || {
            assert_eq!(gateway.get("/orders/1").text(), "orders");
            gateway.count(Counter::Mirrors) > COPIES_MAX as u64
        });
    });
}

#[test]
fn what_was_never_sent_is_not_copied_and_a_dead_mirror_hurts_nobody() {
    let [orders, next] = origins();
    let example = || Gateway::from(include_str!("../../config/examples/mirror.toml"));
    let gateway = example().service("next", next.address()).start();
    assert_eq!(gateway.get("/orders/1").status, 502);
    eventually("it is counted", || gateway.count(Counter::MirrorsDropped) == 1);
    assert_eq!((gateway.count(Counter::Mirrors), next.connections()), (0, 0));

    let gateway = example().service("orders", orders.address()).start();
    for _ in 0..3 {
        assert_eq!(gateway.get("/orders/1").text(), "orders");
    }
    eventually("the copies are tried", || gateway.count(Counter::UpstreamConnectErrors) == 3);
}
