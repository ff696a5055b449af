//! `config/examples/priority.toml`: a route that comes before all others.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn the_higher_priority_wins_whatever_else() {
    let (shop, notice) = (Origin::named("shop"), Origin::named("notice"));
    let gateway = Gateway::from(include_str!("../../config/examples/priority.toml"))
        .service("shop", shop.address())
        .service("notice", notice.address())
        .driver(Driver::Epoll)
        .start();
    for (fields, expected) in [
        ("", "notice /cart"),
        ("X-Maintenance: please\r\n", "notice /cart"),
        ("X-Maintenance: let me in\r\n", "shop /cart"),
    ] {
        let request = format!("GET /cart HTTP/1.1\r\nHost: shop.example.com\r\n{fields}Connection: close\r\n\r\n");
        assert_eq!(gateway.request(request).text(), expected, "{fields}");
    }
    let calm = Gateway::from(include_str!("../../config/examples/priority.toml"))
        .service("shop", shop.address())
        .service("notice", notice.address())
        .driver(Driver::Epoll)
        .with(|config| config.routes[0].matches.priority = -1)
        .start();
    let request = "GET /cart HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(calm.request(request).text(), "shop /cart");
    assert_eq!(calm.get("/cart").text(), "notice /cart");
}
