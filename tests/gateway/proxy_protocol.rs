//! `config/examples/proxy_protocol.toml`: clients behind a proxy of TCP, and services that want to be told of clients.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate::net::proxy_protocol::{Endpoints, Version, encode};

use crate::harness::{Boot, Client, Counter, Driver, Gateway, Origin, eventually, on_both_drivers};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

fn boot(origin: &Origin, driver: Driver) -> Boot {
    let text = include_str!("../../config/examples/proxy_protocol.toml");
    Gateway::from(text).services(origin.address()).driver(driver)
}

fn header(version: Version, source: &str, destination: &str) -> Vec<u8> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let endpoints = Endpoints::Tcp { source: address(source), destination: address(destination) };
    let mut header = Vec::new();
    encode(version, &endpoints, &mut header);
    header
}

/// The value of a field of the last request that the origin got.
fn told(origin: &Origin, name: &str) -> Option<String> {
    let all = String::from_utf8_lossy(&origin.all_received()).into_owned();
    let start = all.rfind("GET ")?;
    all[start..].lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
}

#[test]
fn the_client_is_who_the_header_says() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = boot(&origin, driver).start();
        for (version, source, destination, address) in [
            (Version::V1, "203.0.113.7:4711", "198.51.100.1:443", "203.0.113.7"),
            (Version::V2, "203.0.113.8:4711", "198.51.100.1:443", "203.0.113.8"),
            (Version::V1, "[2001:db8::7]:4711", "[2001:db8::1]:443", "2001:db8::7"),
            (Version::V2, "[2001:db8::8]:4711", "[2001:db8::1]:443", "2001:db8::8"),
            (Version::V2, "[::ffff:203.0.113.9]:4711", "[::ffff:198.51.100.1]:443", "203.0.113.9"),
        ] {
            let mut client = gateway.connect();
            client.send([&header(version, source, destination)[..], GET.as_bytes(), GET.as_bytes()].concat());
            for _ in 0..2 {
                assert_eq!(client.response().text(), "ok");
                assert_eq!(told(&origin, "X-Forwarded-For").as_deref(), Some(address));
                assert_eq!(told(&origin, "X-Forwarded-Port").as_deref(), Some("443"));
            }
        }
        assert_eq!(gateway.count(Counter::ProxyRefused), 0);
    });
}

/// What a client behind the proxy says of itself is not believed, though the proxy is.
#[test]
fn a_client_cannot_speak_for_the_proxy() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = boot(&origin, driver).start();
        let request = "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n";
        let mut binary_unknown = Vec::new();
        encode(Version::V2, &Endpoints::Unknown, &mut binary_unknown);
        for (header, address) in [
            (header(Version::V1, "203.0.113.7:1", "198.51.100.1:2"), "203.0.113.7"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "unknown"),
            (binary_unknown, "unknown"),
        ] {
            let mut client = gateway.connect();
            client.send([&header[..], request.as_bytes()].concat());
            assert_eq!(client.response().status, 200);
            assert_eq!(told(&origin, "X-Forwarded-For").as_deref(), Some(address));
        }
        // The proxy itself is believed, as always.
        let mut own = Vec::new();
        encode(Version::V2, &Endpoints::Local, &mut own);
        let mut client = gateway.connect();
        client.send([&own[..], request.as_bytes()].concat());
        assert_eq!(client.response().status, 200);
        assert_eq!(told(&origin, "X-Forwarded-For").as_deref(), Some("192.0.2.66, 127.0.0.1"));
    });
}

#[test]
fn a_header_may_come_in_pieces() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = boot(&origin, driver).start();
        for version in [Version::V1, Version::V2] {
            let bytes = [&header(version, "203.0.113.7:1", "198.51.100.1:2")[..], GET.as_bytes()].concat();
            let mut clients: Vec<(Client, usize)> = (1..bytes.len()).map(|cut| (gateway.connect(), cut)).collect();
            clients.iter_mut().for_each(|(client, cut)| client.send(&bytes[..*cut]));
            for (client, cut) in &mut clients {
                client.send(&bytes[*cut..]);
                assert_eq!(client.response().text(), "ok", "cut at {cut}");
            }
        }
        let reached = String::from_utf8(origin.all_received()).unwrap();
        assert_eq!(reached.matches("GET ").count(), reached.matches("X-Forwarded-For: 203.0.113.7\r\n").count());
    });
}

#[test]
fn what_is_no_header_ends_the_connection() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = boot(&origin, driver).start();
        let long = "PROXY UNKNOWN ".to_owned() + &"x".repeat(200);
        for bytes in [GET, "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "PROXY TCP4 999.1.1.1 1.2.3.4 1 2\r\n", &long] {
            let mut client = gateway.connect();
            client.send(bytes);
            assert_eq!(client.end().bytes, b"", "nobody knows to whom an answer would go");
        }
        let mut client = gateway.connect();
        client.send("PROXY TCP4 1.2.3.4 ");
        client.finish();
        assert_eq!(client.end().bytes, b"");
        eventually("all are counted", || gateway.count(Counter::ProxyRefused) == 5);
        // Whoever only looks whether somebody listens has done nothing wrong.
        let mut client = gateway.connect();
        client.finish();
        client.closed();
        assert_eq!((gateway.count(Counter::ProxyRefused), gateway.count(Counter::Requests)), (5, 0));
        assert_eq!(origin.connections(), 0);
        // The other listener wants no header, and takes none.
        let mut client = Client::connect(gateway.listener("inside"));
        client.send(GET);
        assert_eq!(client.response().text(), "ok");
        client.send([&header(Version::V1, "203.0.113.7:1", "198.51.100.1:2")[..], GET.as_bytes()].concat());
        assert_eq!(client.response().status, 400);
    });
}

#[test]
fn a_header_from_nobody_trusted_is_not_even_read() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let trust_others = |config: &mut tidegate::config::Config| {
            config.gateway.forwarded.trusted_proxies.remove(0);
        };
        let gateway = boot(&origin, driver).with(trust_others).start();
        let mut client = gateway.connect();
        let _ = client.try_send(header(Version::V2, "203.0.113.7:1", "198.51.100.1:2"));
        assert_eq!(client.end().bytes, b"");
        // It needs no byte for that.
        let mut silent = gateway.connect();
        silent.closed();
        eventually("both are counted", || gateway.count(Counter::ProxyRefused) == 2);
        assert_eq!(gateway.count(Counter::ConnectionsOpen), 0);
    });
}

#[test]
fn a_header_that_never_comes_is_not_waited_for() {
    on_both_drivers(|driver| {
        let origin = Origin::start();
        let soon = |config: &mut tidegate::config::Config| {
            config.gateway.limits.head_timeout = Duration::from_millis(80);
        };
        let gateway = boot(&origin, driver).with(soon).start();
        let (mut slow, mut silent) = (gateway.connect(), gateway.connect());
        slow.send("PROXY TCP4 ");
        slow.end();
        silent.closed();
        eventually("the slow one is counted", || gateway.count(Counter::ProxyRefused) == 1);
    });
}

#[test]
fn a_service_is_told_who_the_client_is() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_until(b"GET /mail/a HTTP/1.1\r\n");
            conversation.read_until(b"\r\n\r\n");
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            conversation.read_to_end();
        });
        let gateway = boot(&origin, driver).start();
        let mut client = gateway.connect();
        let request = "GET /mail/a HTTP/1.1\r\nHost: h\r\n\r\n";
        client.send([&header(Version::V1, "203.0.113.7:4711", "198.51.100.1:443")[..], request.as_bytes()].concat());
        assert_eq!(client.response().text(), "ok");
        client.send(request);
        assert_eq!(client.response().text(), "ok");
        let here = format!("{}:443", std::net::Ipv4Addr::UNSPECIFIED);
        let expected = header(Version::V2, "203.0.113.7:4711", &here);
        let received = origin.received();
        assert_eq!(received.len(), 2, "a connection tells of one client");
        assert!(received.iter().all(|bytes| bytes.starts_with(&expected)), "{}", received[0].escape_ascii());
    });
}
