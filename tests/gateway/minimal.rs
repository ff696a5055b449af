//! `config/examples/minimal.toml`: everything goes to one service.

use crate::harness::{Counter, Gateway, Origin, on_both_drivers};

#[test]
fn everything_goes_to_one_service() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "hello").reply("/b/c", 201, "");
        let gateway = Gateway::from(include_str!("../../config/examples/minimal.toml"))
            .service("app", origin.address())
            .workers(2)
            .driver(driver)
            .start();
        let response = gateway.get("/a?q=1");
        assert_eq!((response.status, response.text()), (200, "hello"));
        assert_eq!(gateway.get("/b/c").status, 201);
        assert_eq!(gateway.get("/elsewhere").status, 404);
        assert_eq!(gateway.count(Counter::Requests), 3);
    });
}
