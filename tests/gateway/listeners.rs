//! `config/examples/listeners.toml`: routes that only some listeners serve.

use crate::harness::{Client, Gateway, Origin, on_both_drivers};

#[test]
fn a_route_is_served_where_it_says() {
    let (shop, reports) = (Origin::named("shop"), Origin::named("reports"));
    on_both_drivers(|driver| {
        let gateway = Gateway::from(include_str!("../../config/examples/listeners.toml"))
            .service("shop", shop.address())
            .service("reports", reports.address())
            .driver(driver)
            .workers(2)
            .start();
        let ask = |listener: &str, path: &str| {
            let mut client = Client::connect(gateway.listener(listener));
            client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
            client.response()
        };
        for listener in ["public", "inside"] {
            assert_eq!(ask(listener, "/shop/1").text(), "shop /shop/1", "{listener}");
        }
        assert_eq!(ask("inside", "/reports/1").text(), "reports /reports/1");
        assert_eq!(ask("public", "/reports/1").code(), "no_route");
    });
}
