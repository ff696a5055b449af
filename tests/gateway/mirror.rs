//! `config/examples/mirror.toml`: copies of requests for another service.

use tidegate::base::units::{Setting, Size};
use tidegate::upstream::mirror::{BYTES_MAX, COPIES_MAX};

use crate::harness::{Boot, Counter, Driver, Gate, Gateway, Origin, eventually, on_both_drivers};
use crate::health::ask_json;

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

#[test]
fn copies_keep_nobody_from_the_service_that_gets_them() {
    on_both_drivers(|driver| {
        let [orders, _] = origins();
        let gate = Gate::default();
        // Of the two targets of the mirror's service, one answers nobody for now.
        let hanging = Origin::holding("late", &gate);
        let well = Origin::start().reply("/orders/1", 200, "well").reply("/next", 200, "well");
        let gateway = boot(&orders, &hanging, driver)
            .targets("next", &[hanging.address(), well.address()])
            .with(|config| {
                let next = config.services.iter_mut().find(|service| service.name.get_ref() == "next").unwrap();
                (next.pool.max_connections, next.pool.queue) = (Setting::On(1), 1);
            })
            .start();
        // These find no connection after a while, and are dropped.
        let mut client = gateway.connect();
        for _ in 0..20 {
            client.send("GET /orders/1?long HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().text(), "orders");
        }
        let ended = || gateway.count(Counter::Mirrors) + gateway.count(Counter::MirrorsDropped);
        eventually("all copies are sent or dropped", || ended() == 20);
        assert!(gateway.count(Counter::MirrorsDropped) > 0);
        assert_eq!(gateway.count(Counter::UpstreamQueued), 0, "no copy waits for a connection");
        for _ in 0..5 {
            assert_eq!(gateway.get("/next").text(), "well", "and people are served");
        }
        gate.open();
    });
}

#[test]
fn how_copies_end_is_nothing_to_their_target() {
    let [orders, _] = origins();
    let broken = Origin::start().reply("/orders/1", 503, "no").reply("/next", 200, "fine");
    let gateway = boot(&orders, &broken, Driver::Epoll)
        .with(|config| {
            let next = config.services.iter_mut().find(|service| service.name.get_ref() == "next").unwrap();
            let twice = next.targets[0].clone();
            next.targets.push(twice);
        })
        .start();
    for sent in 1..=20 {
        assert_eq!(gateway.get("/orders/1").text(), "orders");
        eventually("the copy", || gateway.count(Counter::Mirrors) == sent);
    }
    assert_eq!(gateway.count(Counter::Ejections), 0);
    assert_eq!(ask_json(&gateway, "/health/next").1["targets"][0]["failed"], 0);
}

#[test]
fn a_mirror_that_reads_nothing_holds_no_more_bytes_than_there_is_room_for() {
    const BODY: usize = 12 * 1024 * 1024;
    on_both_drivers(|driver| {
        let [orders, _] = origins();
        let gate = Gate::default();
        let next = Origin::scripted({
            let gate = gate.clone();
            move |conversation| {
                gate.pass();
                while conversation.request().is_some() {
                    conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        let gateway = boot(&orders, &next, driver)
            .with(|config| {
                config.defaults.limits = Some(Setting::Off);
                config.routes[0].mirror.as_mut().expect("there is one").body = Size::mib(16);
            })
            .start();
        let mut client = gateway.connect();
        let post = format!("POST /orders/1 HTTP/1.1\r\nHost: h\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
        for _ in 0..3 {
            client.send(&post);
            assert_eq!(client.response().text(), "orders");
        }
        // Two fit, a third does not.
        assert_eq!(BYTES_MAX / BODY, 2);
        eventually("the third is dropped", || gateway.count(Counter::MirrorsDropped) == 1);
        eventually("the two are on their way", || gateway.count(Counter::Mirrors) == 2);
        gate.open();
        eventually("the two arrive whole", || times(&next, "xxxx") >= 2 * (BODY - 3));
        eventually("there is room again", || {
            assert_eq!(gateway.request(&post).text(), "orders");
            gateway.count(Counter::Mirrors) > 2
        });
        eventually("the third is there, too", || times(&next, "xxxx") >= 3 * (BODY - 3));
    });
}
