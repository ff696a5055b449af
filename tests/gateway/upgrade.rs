//! Connections that switch protocols, from the request to the last byte, and those that do not.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tidegate::base::units::Setting;
use tidegate::config::Config;
use tidegate::policy::upgrade::UpgradeConfig;

use crate::harness::message::normal;
use crate::harness::{Boot, Client, Counter, Driver, Gate, Gateway, Origin, eventually, on_both_drivers};

/// A time limit that passes soon.
const SHORT: Duration = Duration::from_millis(150);

const ASK: &str = "GET /chat/1 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: k\r\n\r\n";
const GRANT: &str =
    "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\nConnection: Upgrade\r\n\r\n";

fn boot(origin: &Origin, driver: Driver) -> Boot {
    let text = include_str!("../../config/examples/upgrade.toml");
    Gateway::from(text).service("app", origin.address()).driver(driver)
}

/// Changes the rules of the route that may switch.
fn rules(change: impl Fn(&mut UpgradeConfig)) -> impl Fn(&mut Config) {
    move |config| {
        for route in &mut config.routes {
            if let Some(Setting::On(upgrade)) = &mut route.upgrade {
                change(upgrade);
            }
        }
    }
}

/// Grants the switch, and then sends back whatever comes, in pieces that end with a line.
fn echo() -> Origin {
    Origin::scripted(|conversation| {
        if conversation.request().is_none() {
            return;
        }
        conversation.send(GRANT);
        while conversation.has_more() {
            let line = conversation.read_until(b"\n");
            conversation.send(line);
        }
    })
}

/// A connection that has become a tunnel.
fn switched(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.send(ASK);
    assert_eq!(client.response().status, 101);
    client
}

#[test]
fn a_connection_switches_and_carries_bytes_both_ways() {
    on_both_drivers(|driver| {
        let origin = echo();
        let gateway = boot(&origin, driver).start();
        let mut client = gateway.connect();
        client.send(ASK);
        let response = client.response();
        let granted = "HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: a\r\nX-Request-Id: {id}\r\nVia: 1.1 tidegate\r\n\
                       Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(normal(response.head.as_bytes()), granted);
        let asked = "GET /chat/1 HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: k\r\n{for h}\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\n\r\n";
        assert_eq!(normal(&origin.all_received()), asked);
        for round in 0..3 {
            let line = format!("GET /never HTTP/1.1\r line {round}\n");
            client.send(&line);
            assert_eq!(client.read_until("\n"), line.as_bytes());
        }
        let long = format!("{}\n", "x".repeat(3_000_000));
        client.send(&long);
        assert_eq!(client.read_until("\n"), long.as_bytes());
        assert_eq!((gateway.count(Counter::Tunnels), gateway.count(Counter::TunnelsOpen)), (1, 1));
        assert_eq!(gateway.count(Counter::Responses1xx), 1);
        client.finish();
        client.closed();
        eventually("the tunnel ends", || gateway.count(Counter::TunnelsOpen) == 0);
        assert_eq!((gateway.count(Counter::Requests), gateway.count(Counter::TunnelsCut)), (1, 0));
        let carried = 3 * "GET /never HTTP/1.1\r line 0\n".len() as u64 + 3_000_001;
        assert_eq!(gateway.count(Counter::TunnelBytesUp), carried);
        assert_eq!(gateway.count(Counter::TunnelBytesDown), carried);
    });
}

#[test]
fn early_bytes_of_both_sides_go_first() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.request();
            conversation.send(format!("{GRANT}early down"));
            conversation.read_until(b"early up, late");
        });
        let gateway = boot(&origin, driver).start();
        let mut client = gateway.connect();
        client.send(format!("{ASK}early up"));
        assert_eq!(client.response().status, 101);
        assert_eq!(client.read_until("early down"), b"early down");
        client.send(", late");
        client.closed();
        assert!(origin.all_received().ends_with(b"\r\n\r\nearly up, late"));
    });
}

#[test]
fn each_direction_ends_by_itself() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.request();
            conversation.send(GRANT);
            assert!(!conversation.read_to_end(), "an end, and no reset");
            conversation.send("said after the end of the client");
        });
        let gateway = boot(&origin, driver).start();
        let mut client = switched(&gateway);
        client.send("last words");
        client.finish();
        let end = client.end();
        assert_eq!((end.bytes.as_slice(), end.reset), (&b"said after the end of the client"[..], false));
        assert!(origin.all_received().ends_with(b"last words"));
    });
}

#[test]
fn a_reset_reaches_the_other_side() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.request();
            conversation.send(GRANT);
            if conversation.index == 0 {
                assert!(conversation.read_to_end(), "the client's reset");
            } else {
                conversation.reset();
            }
        });
        let gateway = boot(&origin, driver).start();
        switched(&gateway).reset();
        eventually("the backend's connection ends", || origin.finished() == 1);
        let mut client = gateway.connect();
        client.send(ASK);
        assert!(client.end().reset);
        eventually("both are counted", || gateway.count(Counter::TunnelsCut) == 2);
    });
}

#[test]
fn what_may_not_switch_is_an_ordinary_request() {
    let switch = "Host: h\r\nConnection: Upgrade\r\nUpgrade:";
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/chat/1", 200, "chat").reply("/other", 200, "other");
        let gateway = boot(&origin, driver).start();
        for request in [
            format!("GET /other HTTP/1.1\r\n{switch} websocket\r\n\r\n"),
            format!("GET /chat/1 HTTP/1.1\r\n{switch} h2c\r\nHTTP2-Settings: x\r\n\r\n"),
            format!("GET /chat/1 HTTP/1.1\r\n{switch} irc\r\n\r\n"),
            format!("GET /chat/1 HTTP/1.0\r\n{switch} websocket\r\n\r\n"),
            format!("POST /chat/1 HTTP/1.1\r\n{switch} websocket\r\nContent-Length: 1\r\n\r\nx"),
            format!("POST /chat/1 HTTP/1.1\r\n{switch} websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "GET /chat/1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n".to_owned(),
        ] {
            assert_eq!(gateway.request(&request).status, 200, "{request}");
        }
        let reached = String::from_utf8(origin.all_received()).unwrap();
        assert!(!reached.contains("Upgrade") && !reached.contains("Settings"), "{reached}");
        assert_eq!(gateway.count(Counter::Tunnels), 0);
    });
}

#[test]
fn anything_but_101_is_an_ordinary_response() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/chat/1", 426, "other version").reply("/chat/2", 200, "plain");
        let gateway = boot(&origin, driver).workers(1).start();
        let mut client = gateway.connect();
        client.send(ASK);
        let response = client.response();
        assert_eq!((response.status, response.text(), response.closes()), (426, "other version", false));
        assert_eq!(response.field("Upgrade"), None, "what the backend would rather speak is between it and us");
        client.send("GET /chat/2 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().text(), "plain");
        assert_eq!(origin.connections(), 1, "the backend's connection is used again");
        assert_eq!(gateway.count(Counter::Tunnels), 0);
    });
}

#[test]
fn a_101_that_was_not_asked_for_is_refused() {
    for (answer, code) in [
        ("HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "wrong_upgrade"),
        ("HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n", "wrong_upgrade"),
        ("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "wrong_upgrade"),
        ("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n", "bad_response"),
    ] {
        on_both_drivers(|driver| {
            let origin = Origin::start().reply_bytes("/chat/1", answer);
            let gateway = boot(&origin, driver).start();
            let mut client = gateway.connect();
            client.send(ASK);
            let response = client.response();
            assert_eq!((response.status, response.code()), (502, code), "{answer}");
            assert_eq!((gateway.refused(code), gateway.count(Counter::Tunnels)), (1, 0));
        });
    }
    // Without Upgrade in the request, there is nothing to be switched to at all.
    let origin = Origin::start().reply_bytes("/chat/1", GRANT);
    let gateway = boot(&origin, Driver::Epoll).start();
    assert_eq!(gateway.get("/chat/1").code(), "bad_response");
}

#[test]
fn one_tunnel_too_many_is_refused_whichever_worker_has_the_others() {
    on_both_drivers(|driver| {
        let origin = echo();
        let gateway = boot(&origin, driver).workers(2).with(rules(|upgrade| upgrade.tunnels = Setting::On(3))).start();
        let mut open: Vec<Client> = (0..3).map(|_| switched(&gateway)).collect();
        let refused = || {
            let mut client = gateway.connect();
            client.send(ASK);
            client.response()
        };
        for _ in 0..4 {
            let response = refused();
            assert_eq!((response.status, response.code()), (503, "too_many_tunnels"));
            assert!(!response.closes(), "the connection is fit for other requests");
        }
        assert_eq!(origin.connections(), 3, "the backend is not asked");
        open[0].finish();
        open[0].closed();
        eventually("there is room for one", || {
            let mut client = gateway.connect();
            client.send(ASK);
            let granted = client.response().status == 101;
            if granted {
                client.finish();
                client.closed();
            }
            granted
        });
    });
}

#[test]
fn idle_and_old_tunnels_end() {
    on_both_drivers(|driver| {
        let origin = echo();
        let gateway = boot(&origin, driver).with(rules(|upgrade| upgrade.idle_timeout = Setting::On(SHORT))).start();
        let begun = Instant::now();
        let mut client = switched(&gateway);
        for _ in 0..4 {
            client.send("not idle\n");
            client.read_until("\n");
        }
        client.closed();
        assert!(begun.elapsed() >= SHORT);

        let origin = echo();
        let gateway = boot(&origin, driver).with(rules(|upgrade| upgrade.lifetime = Setting::On(SHORT))).start();
        let client = RefCell::new(switched(&gateway));
        eventually("the tunnel ends, though it is busy", || {
            drop(client.borrow_mut().try_send("busy\n"));
            gateway.count(Counter::TunnelsCut) == 1
        });
    });
}

#[test]
fn a_side_that_takes_nothing_is_cut() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let stuck = gate.clone();
        let origin = Origin::scripted(move |conversation| {
            conversation.request();
            conversation.send(GRANT);
            // It does not read before the gateway has given up.
            stuck.pass();
            assert!(conversation.read_to_end(), "bytes are missing, so this is no end");
        });
        let gateway = boot(&origin, driver).with(rules(|upgrade| upgrade.send_timeout = Setting::On(SHORT))).start();
        let mut client = switched(&gateway);
        let sent = client.send_until_stuck(SHORT * 2);
        assert!(sent < 64 << 20, "{sent} bytes for nobody");
        eventually("the tunnel ends", || gateway.count(Counter::TunnelsOpen) == 0);
        gate.open();
        // The client has met the reset when it sent, or meets it now.
        client.end();
    });
}

#[test]
fn tunnels_may_last_until_the_time_of_a_drain_is_over() {
    on_both_drivers(|driver| {
        let origin = echo();
        let long = |config: &mut Config| config.gateway.drain_timeout = Duration::from_secs(30);
        let gateway = boot(&origin, driver).with(long).start();
        let mut client = switched(&gateway);
        gateway.drain();
        client.send("still here\n");
        assert_eq!(client.read_until("\n"), b"still here\n");
        client.finish();
        client.closed();
        gateway.join();

        let origin = echo();
        let gateway = boot(&origin, driver).with(|config| config.gateway.drain_timeout = SHORT).start();
        let mut client = switched(&gateway);
        gateway.drain();
        client.closed();
        gateway.join();
    });
}

#[test]
fn a_gateway_that_drains_opens_no_tunnels() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/chat/1", 400, "no switch");
        let long = |config: &mut Config| config.gateway.drain_timeout = Duration::from_secs(30);
        let gateway = boot(&origin, driver).with(long).start();
        let (first, rest) = ASK.split_at(20);
        let mut client = gateway.connect();
        client.send(first);
        // It is being read by now, or will be: either way it is answered.
        gateway.drain();
        eventually("the drain has begun", || std::net::TcpStream::connect(gateway.address()).is_err());
        client.send(rest);
        assert_eq!(client.response().status, 400);
        assert!(!String::from_utf8(origin.all_received()).unwrap().contains("Upgrade"));
        gateway.join();
    });
}
