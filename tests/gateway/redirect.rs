//! `config/examples/redirect.toml`: routes that send the client elsewhere.

use tidegate::observe::counters::Counter;

use crate::harness::message::normal;
use crate::harness::{Gateway, on_both_drivers};

const FILE: &str = include_str!("../../config/examples/redirect.toml");

#[test]
fn where_the_client_is_sent() {
    on_both_drivers(|driver| {
        let gateway = Gateway::from(FILE).driver(driver).start();
        for (target, status, location) in [
            ("/a/../b?c=d", "308 Permanent Redirect", "https://h.test/b?c=d"),
            ("/people/7?x", "307 Temporary Redirect", "https://users.example.com/people/7?x"),
            ("/person/a%20b", "301 Moved Permanently", "/users/a%20b"),
            ("/person/%2fevil.example", "301 Moved Permanently", "/users/%2Fevil.example"),
            ("//evil.example", "308 Permanent Redirect", "https://h.test//evil.example"),
        ] {
            let response =
                gateway.request(format!("GET {target} HTTP/1.1\r\nHost: h.test:8080\r\nConnection: close\r\n\r\n"));
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\nLocation: {location}\r\nX-Request-Id: {{id}}\r\n\r\n"
            );
            assert_eq!(normal(response.head.as_bytes()), head, "{target}");
            assert_eq!(response.text(), "");
        }
        let start = normal(gateway.get("/start?a=b").head.as_bytes());
        assert!(start.starts_with("HTTP/1.1 302 Found\r\n") && start.contains("\r\nLocation: /welcome\r\n"), "{start}");
        assert!(start.ends_with("\r\nCache-Control: no-store\r\n\r\n"), "{start}");
        assert_eq!(gateway.count(Counter::Responses3xx), 6);
    });
}

/// A connection goes on behind a redirect if what is left of the request is little; else it ends in good order.
#[test]
fn what_is_left_of_the_request() {
    on_both_drivers(|driver| {
        let gateway = Gateway::from(FILE).driver(driver).start();
        let mut client = gateway.connect();
        client.send(
            "HEAD /start HTTP/1.1\r\nHost: h\r\n\r\nPOST /start HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe",
        );
        let head = client.response_to("HEAD");
        assert_eq!((head.status, head.closes()), (302, false));
        assert_eq!(client.response().status, 302);
        client.send("lloGET /person/7 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let last = client.response();
        assert_eq!((last.field("Location"), last.closes()), (Some("/users/7"), true));
        client.closed();
        for body in [
            "Content-Length: 1000000\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
        ] {
            let mut client = gateway.connect();
            client.send(format!("POST /start HTTP/1.1\r\nHost: h\r\n{body}\r\n"));
            let response = client.response();
            assert!(response.status == 302 && response.closes(), "{body}: {}", response.head);
            client.finish();
            client.closed();
        }
    });
}

#[test]
fn a_request_without_a_host_and_one_that_is_too_large() {
    let gateway = Gateway::from(FILE).start();
    assert_eq!(gateway.request("GET /a HTTP/1.0\r\n\r\n").code(), "missing_host");
    assert_eq!(gateway.request("GET /person/7 HTTP/1.0\r\n\r\n").field("Location"), Some("/users/7"));
    let large = "POST /start HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n";
    assert_eq!(gateway.request(large).code(), "body_too_large");
}
