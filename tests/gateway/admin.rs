//! `config/examples/admin.toml`: the admin listener.

mod access;
mod openapi;
mod process;
mod schema;
mod socket;
mod targets;

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::{Boot, Client, Driver, Gateway, Origin, Response, eventually, on_both_drivers};
use crate::health::{ask, ask_json};

/// A request of an operator, which closes its connection.
pub(crate) fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}{length}\r\n{body}")
}

/// What the admin listener answers to these bytes, on a connection of their own.
fn exchange(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> Response {
    let mut client = Client::connect(gateway.admin());
    client.send(bytes);
    client.response()
}

/// What it answers to a POST without a body.
fn post(gateway: &Gateway, path: &str) -> Response {
    exchange(gateway, request("POST", path, "", ""))
}

/// A body of JSON.
fn json(response: &Response) -> Value {
    serde_json::from_str(response.text()).expect("JSON")
}

fn boot(origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/minimal.toml")).service("app", origin.address()).driver(driver)
}

/// Every series and its value.
fn metrics(gateway: &Gateway) -> HashMap<String, u64> {
    let text = ask(gateway, "/metrics").text().to_owned();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    series.map(pair).collect()
}

#[test]
fn health_says_that_the_process_lives() {
    let origin = Origin::start();
    let gateway = boot(&origin, Driver::Epoll).start();
    let response = ask(&gateway, "/health");
    assert_eq!((response.status, response.text()), (200, "{\"status\":\"ok\"}\n"));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn the_example_lets_operators_in_who_have_its_token() {
    let origin = Origin::start();
    let text = include_str!("../../config/examples/admin.toml");
    let gateway = Gateway::from(text).service("app", origin.address()).start();
    let with = |host: &str, token: &str| {
        let fields = format!("Host: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
        exchange(&gateway, format!("GET /upstreams HTTP/1.1\r\n{fields}\r\n"))
    };
    let token = "example-token-of-an-operator";
    assert!(text.contains(token));
    for (host, token, status) in [
        ("gateway.internal", token, 200),
        ("127.0.0.1", token, 200),
        ("gateway.elsewhere", token, 421),
        ("gateway.internal", "example-token-of-somebody", 401),
    ] {
        assert_eq!(with(host, token).status, status, "{host} with {token}");
    }
    assert_eq!(ask(&gateway, "/health").status, 200, "probes need none");
}

#[test]
fn it_can_be_switched_off() {
    let origin = Origin::start().reply("/a", 200, "hello");
    let text = format!("admin = false\n{}", include_str!("../../config/examples/minimal.toml"));
    let gateway = Gateway::from(&text).service("app", origin.address()).start();
    assert_eq!(gateway.running().admin_address(), None);
    assert_eq!(gateway.get("/a").text(), "hello");
}

#[test]
fn services_and_their_targets_are_shown() {
    let origin = Origin::start().reply("/a", 200, "hello");
    let gateway = boot(&origin, Driver::Epoll).workers(2).start();
    assert_eq!(gateway.get("/a").status, 200);
    // The client has its answer a moment before the target is done with the request.
    eventually("it has ended", || ask_json(&gateway, "/upstreams").1["services"][0]["targets"][0]["active"] == 0);
    let (status, view) = ask_json(&gateway, "/upstreams");
    let services = view["services"].as_array().expect("a list");
    assert_eq!((status, services.len()), (200, 1));
    let service = &services[0];
    assert_eq!((&service["name"], &service["usable"]), (&"app".into(), &1.into()));
    assert_eq!((&service["health_checks"], service["names"].as_array().map(Vec::len)), (&false.into(), Some(0)));
    let target = &service["targets"][0];
    let address = origin.address().to_string();
    for (key, value) in [
        ("address", Value::from(address.as_str())),
        ("authority", address.as_str().into()),
        ("weight", 1.into()),
        ("health", "unknown".into()),
        ("usable", true.into()),
        ("drained", false.into()),
        ("last_check", Value::Null),
        ("ejected_ends_in_ms", Value::Null),
        ("active", 0.into()),
    ] {
        assert_eq!(target[key], value, "{key} in {target}");
    }

    let (status, view) = ask_json(&gateway, "/health/app");
    assert_eq!((status, &view["status"], &view["name"]), (200, &"ok".into(), &"app".into()));
    assert_eq!(&view["targets"][0]["address"], &Value::from(address.as_str()));
    for path in ["/health/nobody", "/health/%22%0a"] {
        let refused = ask(&gateway, path);
        let kind = refused.field("content-type").map(str::to_owned);
        assert_eq!((refused.status, refused.code()), (404, "no_service"), "{path}");
        assert_eq!(kind.as_deref(), Some("application/problem+json"));
        let view: Value = serde_json::from_str(refused.text()).expect("JSON, whatever the name");
        assert!(view["detail"].as_str().is_some_and(|detail| detail.contains("There is, for example: app.")), "{view}");
    }
}

#[test]
fn the_counters_add_up() {
    on_both_drivers(|driver| {
        let cut = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhi";
        let origin = Origin::start()
            .reply("/a", 200, "hello")
            .reply("/moved", 301, "")
            .reply("/bad", 500, "")
            .reply_bytes("/cut", cut)
            .reply_bytes("/garbage", "garbage\r\n\r\n");
        let gateway = boot(&origin, driver).workers(2).start();
        for path in ["/a", "/a", "/moved", "/missing", "/bad", "/garbage", "/../", "/a#"] {
            gateway.get(path);
        }
        let mut client = gateway.connect();
        client.send("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
        client.end();
        drop(client);
        crate::harness::eventually("all connections are over", || metrics(&gateway)["tidegate_connections_open"] == 0);
        let metrics = metrics(&gateway);
        let count = |name: &str| metrics[&format!("tidegate_{name}_total")];
        assert_eq!(count("connections"), 9);
        assert_eq!(count("requests"), 9);
        assert_eq!(count("responses_success"), 3);
        assert_eq!(count("responses_redirect"), 1);
        assert_eq!(count("responses_client_error"), 3);
        assert_eq!(count("responses_server_error"), 2);
        assert_eq!(count("responses_cut"), 1);
        assert_eq!(count("clients_gone"), 0);
        let asked = count("upstream_connects") + count("upstream_reused");
        assert_eq!(asked, 7, "each request that was sent on went out once");
        let refusals = |code: &str| metrics[&format!("tidegate_refusals_total{{code=\"{code}\"}}")];
        assert_eq!((refusals("bad_response"), refusals("bad_path"), refusals("bad_target")), (1, 1, 1));
        let all: u64 = metrics.iter().filter(|(name, _)| name.contains("refusals")).map(|(_, count)| count).sum();
        assert_eq!(all, 3);
        assert_eq!(count("task_panics"), 0);
        assert!(count("client_received_bytes") > 0 && count("client_sent_bytes") > 0);
    });
}
