//! `config/examples/affinity.toml`: a cookie keeps each client at its target.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate::base::units::Setting;
use tidegate::upstream::ejection::EjectionConfig;

use crate::harness::{Gate, Gateway, Origin, eventually, on_both_drivers};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// What a client sends that has this cookie.
fn with(cookie: &str) -> String {
    let pair = cookie.split(';').next().expect("a pair");
    format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; {pair}\r\n\r\n")
}

#[test]
fn the_cookie_is_set_once_and_leads_back() {
    on_both_drivers(|driver| {
        let origins = ["one", "two", "three"].map(|name| Origin::start().reply("/", 200, name));
        let gateway = Gateway::from(include_str!("../../config/examples/affinity.toml"))
            .targets("app", &[origins[0].address(), origins[1].address(), origins[2].address()])
            .driver(driver)
            .start();
        for _ in 0..3 {
            let first = gateway.get("/");
            let cookie = first.field("set-cookie").expect("a cookie").to_owned();
            assert!(
                cookie.starts_with("backend=") && cookie.contains("; Secure") && cookie.contains("; HttpOnly"),
                "{cookie}"
            );
            for _ in 0..4 {
                let again = gateway.request(with(&cookie));
                assert_eq!(again.text(), first.text());
                assert_eq!(again.field("set-cookie"), None, "the client has it already");
            }
        }
        let forged = gateway.request("GET / HTTP/1.1\r\nHost: h\r\nCookie: backend=0000000000000000\r\n\r\n");
        assert!(forged.field("set-cookie").is_some(), "a cookie that names no target is replaced");
    });
}

#[test]
fn a_target_that_is_full_for_a_moment_keeps_its_clients() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let origins = ["one", "two"].map(|name| Origin::holding(name, &gate));
        let gateway = Gateway::from(include_str!("../../config/examples/affinity.toml"))
            .targets("app", &[origins[0].address(), origins[1].address()])
            .with(|config| config.services[0].pool.max_connections = Setting::On(1))
            .driver(driver)
            .start();
        let first = gateway.request(GET);
        let cookie = first.field("set-cookie").expect("a cookie").to_owned();
        let mut long = gateway.connect();
        long.send(with(&cookie).replace("GET / ", "GET /long "));
        let home = &origins[if first.text() == "one" { 0 } else { 1 }];
        let has_long = || home.all_received().windows(10).any(|bytes| bytes == b"GET /long ");
        eventually("its target is full", has_long);
        let other = gateway.request(with(&cookie));
        assert_ne!(other.text(), first.text(), "somebody else has room");
        assert_eq!(other.field("set-cookie"), None, "and the cookie stays");
        gate.open();
        assert_eq!(long.response().text(), first.text());
        assert_eq!(gateway.request(with(&cookie)).text(), first.text());
    });
}

#[test]
fn a_target_that_is_out_of_use_loses_its_clients() {
    let left = Origin::start().reply("/", 200, "left");
    let boot = |targets: [SocketAddr; 2]| {
        let example = Gateway::from(include_str!("../../config/examples/affinity.toml")).targets("app", &targets);
        example
            .with(|config| {
                config.services[0].ejection =
                    Setting::On(EjectionConfig { consecutive_failures: 1, ..EjectionConfig::default() })
            })
            .start()
    };
    let is_gone = Arc::new(AtomicBool::new(false));
    let gone = is_gone.clone();
    let leaving = Origin::scripted(move |conversation| {
        while conversation.request().is_some() && !gone.load(Ordering::SeqCst) {
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nleaving");
        }
        conversation.reset();
    });
    let gateway = boot([leaving.address(), left.address()]);
    let of_leaving = std::iter::repeat_with(|| gateway.request(GET)).find(|answer| answer.text() == "leaving");
    let cookie = of_leaving.and_then(|answer| answer.field("set-cookie").map(str::to_owned)).expect("a cookie");
    is_gone.store(true, Ordering::SeqCst);
    // The first failure ejects it; until then its clients are its clients.
    let moved = gateway.request(with(&cookie));
    assert_eq!((moved.text(), moved.field("set-cookie")), ("left", None), "it is tried first");
    let moved = gateway.request(with(&cookie));
    let new = moved.field("set-cookie").expect("a new cookie").to_owned();
    assert_eq!((moved.text(), new == cookie), ("left", false));
    assert_eq!(gateway.request(with(&new)).field("set-cookie"), None);
}
