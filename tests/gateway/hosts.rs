//! `config/examples/hosts.toml`: services by the name that was asked for.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn each_host_goes_to_its_service() {
    let names = ["site", "tenants", "local", "fallback"];
    let origins = names.map(Origin::named);
    let mut boot = Gateway::from(include_str!("../../config/examples/hosts.toml")).driver(Driver::Epoll);
    for (name, origin) in names.iter().zip(&origins) {
        boot = boot.service(name, origin.address());
    }
    let gateway = boot.start();
    for (host, service) in [
        ("example.com", "site"),
        ("WWW.Example.Com.:8080", "site"),
        ("shop.example.com", "tenants"),
        ("eu.shop.example.com:443", "tenants"),
        ("badexample.com", "fallback"),
        ("example.com.evil", "fallback"),
        ("127.0.0.1", "local"),
        ("[0::1]:8080", "local"),
        ("[::2]", "fallback"),
    ] {
        let answer = gateway.request(format!("GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert_eq!(answer.text(), format!("{service} /x"), "{host}");
        // The authority of an absolute target is the host, whatever the field says.
        let answer = gateway.request(format!("GET http://{host}/x HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"));
        assert_eq!(answer.text(), format!("{service} /x"), "{host}");
    }
    assert_eq!(gateway.request("GET /x HTTP/1.0\r\n\r\n").text(), "fallback /x");
}
