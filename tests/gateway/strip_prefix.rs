//! `config/examples/strip_prefix.toml`: a service does not see the prefix it is shown under.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn the_prefix_is_not_sent_on() {
    let origin = Origin::start();
    let gateway = Gateway::from(include_str!("../../config/examples/strip_prefix.toml"))
        .service("app", origin.address())
        .driver(Driver::Epoll)
        .start();
    for (sent, reached) in [
        ("/api/users", "/users"),
        ("/api/users/7?a=/api", "/users/7?a=/api"),
        ("/api/users/api/", "/users/api/"),
        ("/%61pi/users/%7e", "/users/~"),
        ("/internal/v2/reports", "/reports"),
        ("/internal/v2/reports?", "/reports?"),
    ] {
        let before = origin.all_received().len();
        assert_eq!(gateway.get(sent).text(), "", "{sent}");
        let received = origin.all_received().split_off(before);
        let line = format!("GET {reached} HTTP/1.1\r\n");
        assert!(received.starts_with(line.as_bytes()), "{sent}: {}", received.escape_ascii());
    }
    for nowhere in ["/users/7", "/internal/v2/reports/", "/", "/api"] {
        assert_eq!(gateway.get(nowhere).code(), "no_route", "{nowhere}");
    }
}
