//! `config/examples/conditions.toml`: services by what stands in the header and in the query.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn the_route_with_most_conditions_that_hold() {
    let names = ["v1", "v2", "canary", "europe"];
    let origins = names.map(Origin::named);
    let mut boot = Gateway::from(include_str!("../../config/examples/conditions.toml")).driver(Driver::Epoll);
    for (name, origin) in names.iter().zip(&origins) {
        boot = boot.service(name, origin.address());
    }
    let gateway = boot.start();
    let ask = |path: &str, fields: &str| {
        gateway.request(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}Connection: close\r\n\r\n"))
    };
    for (fields, service) in [
        ("", "v1"),
        ("X-Api-Version: v1\r\n", "v1"),
        ("x-api-version:  v2 \r\n", "v2"),
        ("X-Api-Version: V2\r\n", "v1"),
        ("X-Api-Version: v2\r\nX-Api-Version: v2\r\n", "v1"),
        ("X-Api-Version: v2\r\nUser-Agent: Acme/7 (x)\r\n", "canary"),
        ("X-Api-Version: v2\r\nUser-Agent: not Acme/7\r\n", "v2"),
        ("User-Agent: Acme/7\r\n", "v1"),
    ] {
        assert_eq!(ask("/api/x", fields).text(), format!("{service} /api/x"), "{fields}");
    }
    for target in
        ["/reports?region=eu&format=pdf", "/reports?a&format&%72egion=%63h", "/reports?region=eu&format=&region=us"]
    {
        assert_eq!(ask(target, "").text(), format!("europe {target}"), "{target}");
    }
    for target in
        ["/reports", "/reports?region=eu", "/reports?region=us&format=pdf", "/reports?region=us&region=eu&format"]
    {
        assert_eq!(ask(target, "").code(), "no_route", "{target}");
    }
}
