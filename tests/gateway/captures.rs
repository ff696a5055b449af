//! `config/examples/captures.toml`: paths with parts that differ from request to request.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn literals_captures_expressions_and_prefixes() {
    let names = ["users", "me", "orders", "archive", "site"];
    let origins = names.map(Origin::named);
    let mut boot = Gateway::from(include_str!("../../config/examples/captures.toml")).driver(Driver::Epoll);
    for (name, origin) in names.iter().zip(&origins) {
        boot = boot.service(name, origin.address());
    }
    let gateway = boot.start();
    for (path, service) in [
        ("/users/7", "users"),
        ("/users/me", "me"),
        ("/users/%6De", "me"),
        ("/users/me%2Fx", "users"),
        ("/users/", "site"),
        ("/users/7/orders", "orders"),
        ("/users/me/orders/1/2", "orders"),
        ("/users/7/ordersx", "site"),
        ("/users//orders", "site"),
        ("/2019", "archive"),
        ("/2019/07", "archive"),
        ("/20190", "site"),
        ("/x/2019", "site"),
        ("/", "site"),
    ] {
        let body = gateway.get(path).text().to_owned();
        assert_eq!(body.split(' ').next(), Some(service), "{path}: {body}");
    }
}
