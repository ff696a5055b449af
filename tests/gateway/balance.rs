//! `config/examples/balance.toml`: several targets share the requests of a service.

use std::collections::HashMap;

use crate::harness::{Gateway, Origin, on_both_drivers};

#[test]
fn weights_are_kept_exactly_and_keys_stay_where_they_are() {
    on_both_drivers(|driver| {
        let origin = |name: &'static str| Origin::start().reply("/", 200, name).reply("/carts/1", 200, name);
        let (one, two) = (origin("one"), origin("two"));
        let targets = [one.address(), two.address()];
        let gateway = Gateway::from(include_str!("../../config/examples/balance.toml"))
            .targets("app", &targets)
            .targets("carts", &targets)
            .with(|config| config.services[0].targets[0].weight = 3)
            .driver(driver)
            .start();
        let mut counts: HashMap<String, usize> = HashMap::new();
        for _ in 0..40 {
            *counts.entry(gateway.get("/").text().to_owned()).or_default() += 1;
        }
        assert_eq!((counts["one"], counts["two"]), (30, 10));

        let at = |user: usize| {
            let response = gateway.request(format!("GET /carts/1 HTTP/1.1\r\nHost: h\r\nX-User: {user}\r\n\r\n"));
            response.text().to_owned()
        };
        let homes: Vec<String> = (0..40).map(at).collect();
        assert_eq!((0..40).map(at).collect::<Vec<_>>(), homes, "each user stays");
        assert!(homes.iter().any(|home| home == "one") && homes.iter().any(|home| home == "two"));
    });
}
