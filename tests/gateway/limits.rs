//! `config/examples/limits.toml`: what is too large or too slow is refused.

use std::time::Duration;

use tidegate::base::units::{Rate, Setting};

use crate::harness::{Boot, Client, Counter, Driver, Gateway, Origin, on_both_drivers};

const KIB: usize = 1024;

fn boot(origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/limits.toml")).service("app", origin.address()).driver(driver)
}

fn origin() -> Origin {
    Origin::start().reply("/a", 200, "ok").reply("/uploads/a", 200, "ok").reply("/backups/a", 200, "ok")
}

/// Sends a body, chunked, and says what was answered.
fn upload_chunked(gateway: &Gateway, path: &str, length: usize) -> u16 {
    let mut client = gateway.connect();
    client.send(format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"));
    let mut left = length;
    while left > 0 {
        let some = left.min(10_000);
        // Once it is refused, the rest is read and dropped, or not taken at all.
        if client.try_send(format!("{some:x}\r\n{}\r\n", "x".repeat(some))).is_err() {
            break;
        }
        left -= some;
    }
    let _ = client.try_send("0\r\n\r\n");
    client.response().status
}

#[test]
fn a_large_body_is_refused_whether_it_is_announced_or_not() {
    on_both_drivers(|driver| {
        let origin = origin();
        let gateway = boot(&origin, driver).start();
        let announce = |path: &str, length: usize| {
            let mut client = gateway.connect();
            client.send(format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"));
            client
        };
        let refused = announce("/a", 64 * KIB + 1).response();
        assert_eq!((refused.status, refused.code()), (413, "body_too_large"));
        assert!(refused.closes());
        assert_eq!(origin.connections(), 0, "nothing of it is sent on");
        let mut client = announce("/a", 64 * KIB);
        client.send("x".repeat(64 * KIB));
        assert_eq!(client.response().status, 200);
        assert_eq!(upload_chunked(&gateway, "/a", 64 * KIB), 200);
        assert_eq!(upload_chunked(&gateway, "/a", 64 * KIB + 1), 413);
        assert_eq!(gateway.refused("body_too_large"), 2);
    });
}

#[test]
fn a_route_may_admit_more_or_anything() {
    let origin = origin();
    let gateway = boot(&origin, Driver::Epoll).start();
    assert_eq!(upload_chunked(&gateway, "/uploads/a", 300 * KIB), 200);
    assert_eq!(upload_chunked(&gateway, "/backups/a", 300 * KIB), 200);
    let announce = |path: &str, length: u64| {
        let mut client = gateway.connect();
        client.send(format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"));
        client.finish();
        client.response()
    };
    assert_eq!(announce("/uploads/a", 5_000_000_001).code(), "body_too_large");
    // The cut that follows is what is refused, and not the length.
    assert_eq!(announce("/uploads/a", 5_000_000_000).code(), "truncated_body");
    assert_eq!(announce("/backups/a", i64::MAX as u64).code(), "truncated_body");
}

#[test]
fn a_large_head_is_refused_before_it_is_whole() {
    on_both_drivers(|driver| {
        let origin = origin();
        let gateway = boot(&origin, driver).start();
        let refused = |bytes: String| {
            let response = gateway.request(bytes);
            (response.status, response.code().to_owned())
        };
        let long = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length - 1));
        assert_eq!(gateway.request(long(2 * KIB)).status, 404, "the origin is asked");
        assert_eq!(refused(long(2 * KIB + 1)), (414, "target_too_long".to_owned()));
        assert_eq!(refused(format!("GET /{}", "a".repeat(2 * KIB))), (414, "target_too_long".to_owned()));
        let fields = |count: usize| format!("GET /a HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
        assert_eq!(gateway.request(fields(50)).status, 200);
        assert_eq!(refused(fields(51)), (431, "too_many_fields".to_owned()));
        let head = |length: usize| {
            let start = "GET /a HTTP/1.1\r\nHost: h\r\nA: ";
            format!("{start}{}\r\n\r\n", "b".repeat(length - start.len() - 4))
        };
        assert_eq!(gateway.request(head(16 * KIB)).status, 200);
        assert_eq!(refused(head(16 * KIB + 1)), (431, "head_too_large".to_owned()));
        assert_eq!(refused(head(60 * KIB)), (431, "head_too_large".to_owned()));
    });
}

#[test]
fn who_is_slow_with_a_head_gets_408() {
    on_both_drivers(|driver| {
        let origin = origin();
        let gateway = boot(&origin, driver)
            .with(|config| {
                config.gateway.limits.head_timeout = Duration::from_millis(60);
                config.gateway.limits.idle_timeout = Duration::from_millis(60);
            })
            .start();
        let mut client = gateway.connect();
        client.send("GET /a HTTP/1.1\r\nHo");
        let refused = client.response();
        assert_eq!((refused.status, refused.code()), (408, "head_timeout"));
        client.closed();
        // Whoever sends nothing is told nothing.
        gateway.connect().closed();
        let mut client = gateway.connect();
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().status, 200);
        client.closed();
    });
}

#[test]
fn an_empty_line_behind_a_request_asks_for_nothing() {
    const REQUESTS: [&str; 2] =
        ["GET /a HTTP/1.1\r\nHost: h\r\n\r\n\r\n", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx\r\n"];
    on_both_drivers(|driver| {
        let origin = origin();
        let short = Duration::from_millis(60);
        let gateway = boot(&origin, driver).with(|config| config.gateway.limits.head_timeout = short).start();
        for request in REQUESTS {
            let mut client = gateway.connect();
            client.send(request);
            assert_eq!(client.response().status, 200);
            client.closed();
        }
        assert_eq!((gateway.refused("head_timeout"), gateway.count(Counter::Requests)), (0, 2));
        // Nor does it harm the next request.
        let gateway = boot(&origin, driver).start();
        let mut client = gateway.connect();
        for request in REQUESTS.iter().cycle().take(4) {
            client.send(request);
            assert_eq!(client.response().status, 200);
        }
    });
}

#[test]
fn who_is_slow_with_a_body_gets_408() {
    on_both_drivers(|driver| {
        let origin = origin();
        let gateway = boot(&origin, driver)
            .with(|config| {
                config.gateway.limits.body_rate = Setting::On(Rate { bytes_per_second: 1 });
                config.gateway.limits.body_rate_grace = Duration::from_millis(60);
            })
            .start();
        let mut client = gateway.connect();
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
        let refused = client.response();
        assert_eq!((refused.status, refused.code()), (408, "body_timeout"));
        client.closed();
        assert_eq!(gateway.refused("body_timeout"), 1);
    });
}

#[test]
fn a_connection_has_so_many_requests() {
    let origin = origin();
    let gateway = boot(&origin, Driver::Epoll).start();
    let mut client: Client = gateway.connect();
    for count in 1..=1000 {
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().closes(), count == 1000);
    }
    client.closed();
}
