//! `config/examples/versioning.toml`: versions of an API by path, header or query.

use crate::harness::{Gateway, Origin};

#[test]
fn each_way_to_ask_leads_to_its_version() {
    let old = Origin::start().reply("/users/7", 200, "one");
    let new = Origin::start().reply("/users/7", 200, "two");
    let gateway = Gateway::from(include_str!("../../config/examples/versioning.toml"))
        .service("users_v1", old.address())
        .service("users_v2", new.address())
        .start();
    for (target, lines, version) in [
        ("/v1/users/7", "", "one"),
        ("/v2/users/7", "", "two"),
        ("/users/7", "", "two"),
        ("/users/7", "X-API-Version: 1\r\n", "one"),
        ("/users/7", "X-API-Version: 2\r\n", "two"),
        ("/users/7?version=1", "", "one"),
        ("/users/7?version=2", "", "two"),
        ("/users/7?version=1", "X-API-Version: 2\r\n", "two"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{lines}Connection: close\r\n\r\n");
        let response = gateway.request(request);
        assert_eq!(response.text(), version, "{target} {lines}");
        let deprecated = [
            ("Deprecation", "@1767225600"),
            ("Sunset", "Thu, 31 Dec 2026 23:59:59 GMT"),
            ("Link", "<https://example.com/docs/v2>; rel=\"deprecation\""),
        ];
        for (name, value) in deprecated {
            assert_eq!(response.field(name), (version == "one").then_some(value), "{target} {lines}");
        }
    }
    assert_eq!(gateway.get("/v3/users/7").code(), "no_route");
}
