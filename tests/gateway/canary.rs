//! `config/examples/canary.toml`: a share of the users, and copies for a mirror.

use crate::harness::{Boot, Counter, Driver, Gate, Gateway, Origin, eventually, on_both_drivers};

fn boot(stable: &Origin, canary: &Origin, next: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/canary.toml"))
        .service("stable", stable.address())
        .service("canary", canary.address())
        .service("next", next.address())
        .driver(driver)
}

fn origins() -> [Origin; 3] {
    ["stable", "canary", "next"].map(|name| Origin::start().reply("/", 200, name).reply("/orders", 200, name))
}

#[test]
fn users_are_shared_by_weight_and_stay() {
    let [stable, canary, next] = origins();
    let gateway = boot(&stable, &canary, &next, Driver::Epoll).start();
    let mut client = gateway.connect();
    let mut at = |user: usize| {
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX-User: {user}\r\n\r\n"));
        client.response().text() == "canary"
    };
    let first: Vec<bool> = (0..300).map(&mut at).collect();
    // The hash has no secret: the same users are chosen every time.
    let with_canary = first.iter().filter(|canary| **canary).count();
    assert!((15..50).contains(&with_canary), "{with_canary} of 300 where 30 are expected");
    assert_eq!((0..300).map(&mut at).collect::<Vec<_>>(), first);
}

#[test]
fn copies_arrive_whole_and_too_large_ones_are_counted() {
    on_both_drivers(|driver| {
        let [stable, canary, next] = origins();
        let gateway = boot(&stable, &canary, &next, driver).start();
        let mut client = gateway.connect();
        let large = format!("POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 1025\r\n\r\n{}", "x".repeat(1025));
        for request in [
            "GET /orders HTTP/1.1\r\nHost: h\r\n\r\n",
            "POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
            "POST /orders HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
            &large,
        ] {
            client.send(request);
            assert_eq!(client.response().text(), "stable");
        }
        let times = |what: &[u8]| next.all_received().windows(what.len()).filter(|bytes| *bytes == what).count();
        eventually("three copies", || times(b" /orders HTTP/1.1\r\n") == 3);
        eventually("the bodies", || times(b"\r\n\r\nbody") == 1 && times(b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n") == 1);
        eventually("what was too large is counted", || gateway.count(Counter::MirrorsDropped) == 1);
        assert_eq!(gateway.count(Counter::Mirrors), 3);
        let requests = stable.all_received().windows(9).filter(|bytes| *bytes == b" /orders ").count();
        assert_eq!(requests, 4);
    });
}

#[test]
fn a_mirror_that_hangs_delays_nobody() {
    on_both_drivers(|driver| {
        let [stable, canary, _] = origins();
        let gate = Gate::default();
        let next = Origin::scripted({
            let gate = gate.clone();
            move |conversation| {
                conversation.request();
                gate.pass();
            }
        });
        let gateway = boot(&stable, &canary, &next, driver).start();
        let mut client = gateway.connect();
        for _ in 0..5 {
            client.send("GET /orders HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().text(), "stable");
        }
        eventually("all copies are there", || next.connections() == 5);
        gate.open();
    });
}

#[test]
fn what_was_never_sent_is_not_copied() {
    let [_, canary, next] = origins();
    let gateway = Gateway::from(include_str!("../../config/examples/canary.toml"))
        .service("canary", canary.address())
        .service("next", next.address())
        .start();
    assert_eq!(gateway.get("/orders").status, 502);
    eventually("it is counted", || gateway.count(Counter::MirrorsDropped) == 1);
    assert_eq!((gateway.count(Counter::Mirrors), next.connections()), (0, 0));
}
