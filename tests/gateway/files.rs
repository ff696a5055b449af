//! The files under `config/` that are no example of one feature: what they say, runs.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn the_reference_runs() {
    let origin = Origin::start().reply("/users/7", 200, "Grace");
    let boot = Gateway::from(include_str!("../../config/gateway.toml")).service("users", origin.address());
    let gateway = boot.start();
    assert_eq!(gateway.get("/api/users/7").text(), "Grace");
    assert_eq!(gateway.get("/elsewhere").code(), "no_route");
}

#[test]
fn the_demo_runs() {
    let origin =
        Origin::start().reply("/users/7", 200, "u").reply("/orders/", 201, "o").reply("/products/events", 200, "p");
    let gateway =
        Gateway::from(include_str!("../../config/demo.toml")).services(origin.address()).driver(Driver::Auto).start();
    for (path, body) in [("/api/users/7", "u"), ("/api/orders/", "o"), ("/api/products/events", "p")] {
        assert_eq!(gateway.get(path).text(), body, "{path}");
    }
}

#[test]
fn every_file_has_a_test() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    let names = |path: &str| -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.filter(|name| name.ends_with(".toml")).collect();
        names.sort();
        names
    };
    assert_eq!(names(directory), ["demo.toml", "gateway.toml"], "a new file needs a test in here");
    for name in names(&format!("{directory}/examples")) {
        let test = format!("{}/tests/gateway/{}.rs", env!("CARGO_MANIFEST_DIR"), name.trim_end_matches(".toml"));
        let text = std::fs::read_to_string(&test).unwrap_or_else(|error| panic!("{test}: {error}"));
        assert!(text.contains(&format!("examples/{name}\")")), "{test} does not boot {name}");
    }
}
