//! `config/examples/routes.toml`: which service a path goes to.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn each_path_goes_to_its_service() {
    let echo = |name: &'static str| {
        Origin::scripted(move |conversation| {
            while conversation.request().is_some() {
                conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
            }
        })
    };
    let (users, status, site) = (echo("users"), echo("status"), echo("site"));
    let gateway = Gateway::from(include_str!("../../config/examples/routes.toml"))
        .service("users", users.address())
        .service("status", status.address())
        .service("site", site.address())
        .driver(Driver::Epoll)
        .start();
    for (path, service) in [
        ("/api/users", "users"),
        ("/api/users/", "users"),
        ("/api/users/7?status", "users"),
        ("/api/users/status", "status"),
        ("/api/users/status?x", "status"),
        ("/api/users/status/", "users"),
        ("/api/users-old", "site"),
        ("/", "site"),
        // The same paths, spelt another way.
        ("/api/%75sers/status", "status"),
        ("/x/../api/users/7", "users"),
        ("/api/./users/%73tatus", "status"),
        ("/api/users/../users-old", "site"),
        ("/api/users%2F7", "site"),
    ] {
        assert_eq!(gateway.get(path).text(), service, "{path}");
    }
}
