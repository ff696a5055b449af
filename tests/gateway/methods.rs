//! `config/examples/methods.toml`: services by method, and 405 with `Allow`.

use crate::harness::{Gateway, Origin, on_both_drivers};

#[test]
fn each_method_goes_to_its_service() {
    let (replica, primary) = (Origin::named("replica"), Origin::named("primary"));
    on_both_drivers(|driver| {
        let gateway = Gateway::from(include_str!("../../config/examples/methods.toml"))
            .service("replica", replica.address())
            .service("primary", primary.address())
            .driver(driver)
            .start();
        let mut client = gateway.connect();
        let mut ask = |method: &str, path: &str| {
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
            client.response_to(method)
        };
        assert_eq!(ask("GET", "/orders/7").text(), "replica /orders/7");
        assert_eq!(ask("HEAD", "/orders/7").field("Content-Length"), Some("17"));
        assert_eq!(ask("DELETE", "/orders/7").text(), "primary /orders/7");
        // The connection goes on behind a refusal, and no Allow stays for the next one.
        for method in ["PATCH", "OPTIONS", "BREW", "GET-ORDERS"] {
            let refused = ask(method, "/orders/7");
            assert_eq!((refused.status, refused.code()), (405, "method_not_allowed"), "{method}");
            assert_eq!(refused.field("Allow"), Some("GET, HEAD, POST, PUT, DELETE"), "{method}");
            let unknown = ask(method, "/x");
            assert_eq!((unknown.status, unknown.code(), unknown.field("Allow")), (404, "no_route", None), "{method}");
        }
        assert_eq!(ask("OPTIONS", "*").code(), "no_route");
        assert_eq!(gateway.refused("method_not_allowed"), 4);
    });
}
