//! Requests and responses that are as they should be, byte by byte on both sides.

use tidegate::observe::counters::Counter;

use crate::harness::message::{is_date_line, is_uuid7, normal};
use crate::harness::{Driver, Gateway, Origin, eventually, on_both_drivers};

/// A gateway with one service at `origin`.
pub(crate) fn gateway(origin: &Origin, driver: Driver) -> Gateway {
    Gateway::from(include_str!("../../config/examples/minimal.toml"))
        .service("app", origin.address())
        .driver(driver)
        .start()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "first").reply("/b", 201, "second").reply("/c", 202, "");
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send(
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\n\
             POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
             PUT /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n\
             HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n\
             DELETE /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\
             GET /never HTTP/1.1\r\nHost: h\r\n\r\n",
        );
        let end = client.end();
        assert!(!end.reset);
        let ok = |line: &str, rest: &str, body: &str| {
            format!("HTTP/1.1 {line} Reply\r\n{rest}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\n{body}")
        };
        let expected = [
            ok("200", "Content-Length: 5\r\n", "first"),
            ok("201", "Content-Length: 6\r\n", "second"),
            ok("201", "Content-Length: 6\r\n", "second"),
            // The origin of this test answers a HEAD as it would a GET; what is too much goes with its connection.
            ok("200", "Content-Length: 5\r\n", ""),
            ok("202", "Content-Length: 0\r\nConnection: close\r\n", ""),
        ];
        assert_eq!(normal(&end.bytes), expected.concat());
        let reached: Vec<_> = origin.received().iter().map(|bytes| normal(bytes)).collect();
        assert_eq!(
            reached,
            [
                "GET /a HTTP/1.1\r\nHost: h\r\n{for h}\r\n\r\n\
                 POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n{for h}\r\n\r\nabc\
                 PUT /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{for h}\r\n\r\n3\r\nxyz\r\n0\r\n\r\n\
                 HEAD /a HTTP/1.1\r\nHost: h\r\n{for h}\r\n\r\n",
                "DELETE /c HTTP/1.1\r\nHost: h\r\n{for h}\r\n\r\n",
            ]
        );
    });
}

#[test]
fn a_connection_is_kept_as_its_version_says() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = gateway(&origin, driver);
        let ask = |line: &str| {
            let mut client = gateway.connect();
            // At once: a client that has announced its last request may be left as soon as that is answered.
            client.send(format!("GET /a {line}\r\n\r\n").repeat(2));
            client.finish();
            let end = client.end();
            normal(&end.bytes)
        };
        let ok = |connection: &str| {
            format!(
                "HTTP/1.1 200 Reply\r\nContent-Length: 2\r\n{connection}X-Request-Id: {{id}}\r\nVia: 1.1 tidegate\r\n\r\nok"
            )
        };
        let close = ok("Connection: close\r\n");
        assert_eq!(ask("HTTP/1.1\r\nHost: h"), ok("").repeat(2));
        assert_eq!(ask("HTTP/1.1\r\nHost: h\r\nConnection: Close"), close);
        assert_eq!(ask("HTTP/1.0"), close);
        assert_eq!(ask("HTTP/1.0\r\nConnection: close, keep-alive"), close);
        assert_eq!(ask("HTTP/1.0\r\nConnection: Keep-Alive"), ok("Connection: keep-alive\r\n").repeat(2));
    });
}

/// The gateway has closed the connection by the time at which the client reads.
#[test]
fn a_client_that_reads_late_gets_all_of_its_last_response() {
    on_both_drivers(|driver| {
        // The sockets between here and there take it.
        let body = "late".repeat(50_000);
        let origin = Origin::start().reply("/a", 200, "ok").reply("/large", 200, &body);
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        // By then its receives go on, and one is under way when the connection is closed.
        for _ in 0..10 {
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().status, 200);
        }
        client.send("GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        eventually("the connection is closed", || gateway.count(Counter::ConnectionsOpen) == 0);
        let end = client.end();
        assert!(!end.reset && end.bytes.ends_with(body.as_bytes()), "{} bytes", end.bytes.len());
        assert_eq!(gateway.count(Counter::ResponsesCut), 0);
    });
}

#[test]
fn both_sides_know_a_request_by_the_same_id() {
    let origin = Origin::start().reply_bytes("/a", "HTTP/1.1 200 OK\r\nX-Request-Id: 7\r\nContent-Length: 0\r\n\r\n");
    let gateway = gateway(&origin, Driver::Epoll);
    let mut ids = Vec::new();
    for target in ["/a", "/a", "/missing", "/%2e%2e/"] {
        let before = origin.all_received().len();
        let response = gateway
            .request(format!("GET {target} HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\nConnection: close\r\n\r\n"));
        let id = response.field("x-request-id").expect("an id").to_owned();
        assert!(is_uuid7(id.as_bytes()), "{id}");
        let received = String::from_utf8(origin.all_received().split_off(before)).unwrap();
        if response.status == 400 {
            assert!(received.is_empty() && response.text().contains(&format!("\"request_id\":\"{id}\"")));
        } else {
            assert!(received.contains(&format!("\r\nX-Request-Id: {id}\r\nVia: 1.1 tidegate\r\n")), "{received}");
        }
        ids.push(id);
    }
    let sorted = ids.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "{sorted:?}");
}

#[test]
fn a_client_that_has_ended_its_side_gets_its_answer() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = gateway(&origin, driver);
        for request in
            ["GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"]
        {
            let mut client = gateway.connect();
            client.send(request);
            client.finish();
            assert_eq!(client.response().text(), "ok");
            client.closed();
        }
    });
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let origin = Origin::start().reply("/a", 200, "ok");
    let gateway = gateway(&origin, Driver::Epoll);
    let mut client = gateway.connect();
    client.send("HEAD /../ HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    let refused = client.response_to("HEAD");
    assert_eq!((refused.status, refused.closes()), (400, false));
    assert!(refused.field("Content-Length").is_some_and(|length| length != "0"));
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_head_may_come_byte_by_byte() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        for byte in b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab" {
            client.send([*byte]);
        }
        assert_eq!(client.response().text(), "ok");
    });
}

/// RFC 9110 section 6.6.1: a response without a date gets one, and a date that there is stays as it is.
#[test]
fn a_response_has_a_date() {
    on_both_drivers(|driver| {
        let dated = "HTTP/1.1 200 OK\r\ndate: yesterday\r\nContent-Length: 2\r\n\r\nok";
        let origin = Origin::start().reply("/plain", 200, "ok").reply_bytes("/dated", dated);
        let gateway = gateway(&origin, driver);
        let plain = gateway.get("/plain");
        let line = plain.head.split_inclusive("\r\n").find(|line| line.starts_with("Date: "));
        assert!(line.is_some_and(|line| is_date_line(line.as_bytes())), "{}", plain.head);
        let head = gateway.get("/dated").head.to_ascii_lowercase();
        assert!(head.contains("\r\ndate: yesterday\r\n") && head.matches("date: ").count() == 1, "{head}");
    });
}
