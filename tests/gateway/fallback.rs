//! `config/examples/fallback.toml`: what answers when no target is left.

use crate::harness::{Counter, Gateway, Origin, on_both_drivers, unused_address};

#[test]
fn another_service_or_a_response_stands_in() {
    on_both_drivers(|driver| {
        let archive = Origin::start().reply("/search", 200, "old");
        let gateway = Gateway::from(include_str!("../../config/examples/fallback.toml"))
            .service("archive", archive.address())
            .service("search", unused_address())
            .service("prices", unused_address())
            .driver(driver)
            .start();
        let mut client = gateway.connect();
        client.send("GET /search HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().text(), "old");
        client.send("POST /search HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(client.response().text(), "old", "nothing had been sent, so a POST may go elsewhere");
        assert!(archive.received().iter().any(|request| request.ends_with(b"\r\n\r\nx")));
        client.send("GET /prices HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text()), (503, "{\"prices\":[]}"));
        assert_eq!(response.field("content-type"), Some("application/json"));
        assert_eq!(response.field("retry-after"), Some("1"));
        client.send("HEAD /prices HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status, 503);
        assert_eq!(gateway.count(Counter::Fallbacks), 4);
    });
}
