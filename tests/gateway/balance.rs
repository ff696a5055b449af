//! `config/examples/balance.toml`: several targets share the requests of a service.

use std::collections::HashMap;
use std::time::Duration;

use crate::harness::{Boot, Driver, Gate, Gateway, Origin, eventually, on_both_drivers, pass};

/// The example, with these two as the targets of `service`.
fn boot(service: &str, [one, two]: [&Origin; 2], driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/balance.toml"))
        .targets(service, &[one.address(), two.address()])
        .driver(driver)
}

/// An origin that answers every request with its name.
fn named(name: &'static str) -> Origin {
    Origin::holding(name, &Gate::default())
}

#[test]
fn weights_are_kept_exactly_and_keys_stay_where_they_are() {
    on_both_drivers(|driver| {
        let origin = |name: &'static str| Origin::start().reply("/", 200, name).reply("/carts/1", 200, name);
        let (one, two) = (origin("one"), origin("two"));
        let targets = [one.address(), two.address()];
        let gateway = Gateway::from(include_str!("../../config/examples/balance.toml"))
            .targets("app", &targets)
            .targets("carts", &targets)
            .with(|config| config.services[0].targets[0].weight = 3)
            .driver(driver)
            .start();
        let mut counts: HashMap<String, usize> = HashMap::new();
        for _ in 0..40 {
            *counts.entry(gateway.get("/").text().to_owned()).or_default() += 1;
        }
        assert_eq!((counts["one"], counts["two"]), (30, 10));

        let at = |user: usize| {
            let response = gateway.request(format!("GET /carts/1 HTTP/1.1\r\nHost: h\r\nX-User: {user}\r\n\r\n"));
            response.text().to_owned()
        };
        let homes: Vec<String> = (0..40).map(at).collect();
        assert_eq!((0..40).map(at).collect::<Vec<_>>(), homes, "each user stays");
        assert!(homes.iter().any(|home| home == "one") && homes.iter().any(|home| home == "two"));
    });
}

#[test]
fn every_key_leads_to_one_target() {
    let (one, two) = (named("one"), named("two"));
    type Request = fn(usize) -> String;
    let kinds: [(&str, Request); 3] = [
        ("files", |key| format!("GET /files/{key}.png HTTP/1.1\r\nHost: h\r\n\r\n")),
        ("tiles", |key| format!("GET /tiles?zoom=1&map={key}+a HTTP/1.1\r\nHost: h\r\n\r\n")),
        ("visits", |key| format!("GET /visits HTTP/1.1\r\nHost: h\r\nCookie: a=b; visit={key}\r\n\r\n")),
    ];
    for (service, request) in kinds {
        let gateway = boot(service, [&one, &two], Driver::Epoll).start();
        let at = |key: usize| gateway.request(request(key)).text().to_owned();
        let homes: Vec<String> = (0..40).map(at).collect();
        assert_eq!((0..40).map(at).collect::<Vec<_>>(), homes, "{service}");
        assert!(homes.iter().any(|home| home == "one") && homes.iter().any(|home| home == "two"), "{service}");
        if service == "tiles" {
            // The same keys in other letters.
            let encoded = |key: usize| format!("GET /tiles?m%61p={key}%20%61&map=other HTTP/1.1\r\nHost: h\r\n\r\n");
            let found: Vec<_> = (0..40).map(|key| gateway.request(encoded(key)).text().to_owned()).collect();
            assert_eq!(found, homes);
        }
    }
    let gateway = boot("neighbours", [&one, &two], Driver::Epoll).start();
    let homes: Vec<String> = (0..20).map(|_| gateway.get("/neighbours").text().to_owned()).collect();
    assert!(homes.iter().all(|home| *home == homes[0]), "all come from one address: {homes:?}");
}

#[test]
fn least_connections_passes_by_who_is_busy() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let (one, two) = (Origin::holding("one", &gate), Origin::holding("two", &gate));
        let gateway = boot("reports", [&one, &two], driver).start();
        let mut long = gateway.connect();
        long.send("GET /reports/long HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("it runs", || one.connections() + two.connections() == 1);
        let busy = if one.connections() == 1 { "one" } else { "two" };
        for _ in 0..30 {
            assert_ne!(gateway.get("/reports/1").text(), busy);
        }
        gate.open();
        assert_eq!(long.response().text(), busy);
        // With nothing to tell them apart, both are asked.
        let both: Vec<String> = (0..60).map(|_| gateway.get("/reports/1").text().to_owned()).collect();
        assert!(both.iter().any(|name| name == "one") && both.iter().any(|name| name == "two"), "{both:?}");
    });
}

#[test]
fn two_choices_prefer_who_answers_sooner() {
    on_both_drivers(|driver| {
        let slow = Origin::scripted(|conversation| {
            while conversation.request().is_some() {
                pass(Duration::from_millis(30));
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
            }
        });
        let quick = named("quick");
        let gateway = boot("search", [&slow, &quick], driver).start();
        let slow = (0..100).filter(|_| gateway.get("/search").text() == "slow").count();
        assert!((1..=20).contains(&slow), "{slow} of 100 went to the slow one, which a round would give 50");
    });
}
