//! What the process says of itself, and what it is told to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tidegate::base::units::Setting;
use tidegate::config::Config;
use tidegate::control::operations::LogLevel;
use tidegate::control::reload::Load;
use tidegate::gateway::Start;
use tidegate::net::Address;

use super::{boot, exchange, json, post, request};
use crate::harness::{Client, Driver, Gateway, Origin, Response, eventually};
use crate::health::{ask, ask_json};

fn start() -> Gateway {
    boot(&Origin::start(), Driver::Epoll).start()
}

fn put(gateway: &Gateway, body: &str) -> Response {
    exchange(gateway, request("PUT", "/log-level", "Content-Type: application/json\r\n", body))
}

#[test]
fn it_is_ready_until_it_drains() {
    let gateway = start();
    assert_eq!(ask_json(&gateway, "/ready"), (200, serde_json::json!({ "status": "serving" })));
    gateway.drain();
    eventually("it drains", || ask_json(&gateway, "/ready") == (503, serde_json::json!({ "status": "draining" })));
    assert_eq!(ask(&gateway, "/health").status, 200, "it lives");
}

#[test]
fn what_nobody_has_set_is_not_available() {
    let gateway = start();
    for response in [ask(&gateway, "/log-level"), put(&gateway, "{\"level\":\"info\"}")] {
        assert_eq!((response.status, response.code()), (501, "not_available"));
    }
}

#[test]
fn a_drain_is_asked_for() {
    let text = include_str!("../../../config/examples/minimal.toml");
    let delayed = |config: &mut Config| config.gateway.drain_delay = Setting::On(std::time::Duration::from_secs(60));
    let origin = Origin::named("app");
    let gateway = Gateway::from(text).service("app", origin.address()).with(delayed).start();
    let response = post(&gateway, "/drain");
    assert_eq!((response.status, json(&response)), (202, serde_json::json!({ "status": "leaving" })));
    eventually("it says so", || ask_json(&gateway, "/ready") == (503, serde_json::json!({ "status": "leaving" })));
    assert!(gateway.get("/a").closes(), "it serves on for a while");
    gateway.running().drain_handle().drain_at_once();
    gateway.join();
}

/// An answer of a gateway that was started without the harness.
fn ask_running(gateway: &tidegate::gateway::Gateway, bytes: String) -> Response {
    let Some(Address::Tcp(address)) = gateway.admin_address() else { panic!("it listens") };
    let mut client = Client::connect(*address);
    client.send(bytes);
    client.response()
}

#[test]
fn a_reload_is_reported_or_refused_with_each_fault() {
    let minimal = include_str!("../../../config/examples/minimal.toml");
    let count = AtomicUsize::new(0);
    let load: Load = Arc::new(move || {
        let more = match count.fetch_add(1, Ordering::Relaxed) {
            0 => {
                "[routes.more]\npath = \"/more\"\nservice = \"app\"\n[services.idle]\ntargets = [\"unix:/nowhere/idle.sock\"]\n"
            }
            _ => "[admin]\naddress = 7\ntoken = \"too short\"\n",
        };
        Config::parse("test.toml", &format!("{minimal}{more}")).map(|mut config| {
            config.use_free_ports();
            config.gateway.workers = 1;
            config
        })
    });
    let mut config = Config::parse("test.toml", minimal).expect("the example is right");
    config.use_free_ports();
    config.gateway.workers = 1;
    let gateway = tidegate::gateway::Gateway::start_with(&config, Start { load: Some(load), ..Start::default() })
        .expect("it starts");
    let post = || ask_running(&gateway, request("POST", "/reload", "", ""));
    let good = post();
    let view = json(&good);
    assert_eq!((good.status, &view["edition"], &view["routes"]), (200, &2.into(), &2.into()), "{view}");
    assert_eq!((&view["needs_restart"], &view["listeners_added"]), (&serde_json::json!([]), &serde_json::json!([])));
    let warnings = view["warnings"].as_array().expect("a list");
    let unused = |warning: &serde_json::Value| warning.as_str().is_some_and(|warning| warning.contains("`idle`"));
    assert!(warnings.len() == 1 && unused(&warnings[0]), "{view}");
    let wrong = post();
    assert_eq!((wrong.status, wrong.code()), (422, "config_refused"));
    let view = json(&wrong);
    assert!(view["detail"].as_str().is_some_and(|detail| detail.contains("test.toml:")), "{view}");
    assert_eq!(view["errors"].as_array().map(Vec::len), Some(2), "{view}");
    assert!(!wrong.text().contains("too short"), "the file may have secrets: {view}");
    gateway.drain();
    gateway.join().expect("it ends well");

    let gateway = start();
    let impossible = super::post(&gateway, "/reload");
    assert_eq!((impossible.status, impossible.code()), (503, "reload_impossible"));
}

#[test]
fn another_token_holds_at_once_and_another_address_after_a_restart() {
    let with = |lines: &str| {
        let minimal = include_str!("../../../config/examples/minimal.toml");
        let origin = Origin::start();
        Gateway::from(&format!("{minimal}{lines}")).service("app", origin.address())
    };
    let gateway = with("[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"the-first-token-of-all\"\n").start();
    let status = |token: &str| {
        let field = format!("Authorization: Bearer {token}\r\n");
        exchange(&gateway, request("GET", "/upstreams", &field, "")).status
    };
    assert_eq!((status("the-first-token-of-all"), status("the-second-token-of-all")), (200, 401));
    let second = with("[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"the-second-token-of-all\"\n");
    gateway.reload(second).expect("it is right");
    assert_eq!((status("the-first-token-of-all"), status("the-second-token-of-all")), (401, 200));
    // The socket stays, and whoever it was open to is still asked for the token.
    let outcome = gateway.reload(with("").with(|config| config.admin = Setting::Off)).expect("it is right");
    assert_eq!(outcome.needs_restart.len(), 1, "{outcome:?}");
    assert!(outcome.needs_restart[0].contains("[admin] address is \"127.0.0.1:0\" and would be off"), "{outcome:?}");
    assert_eq!((status("none"), status("the-second-token-of-all")), (401, 200));
}

#[test]
fn the_level_of_the_log_is_read_and_set() {
    let gateway = start();
    let level = Arc::new(Mutex::new("info".to_owned()));
    let (read, write) = (level.clone(), level);
    gateway.running().operations().on_log_level(LogLevel {
        get: Box::new(move || read.lock().expect("no panic").clone()),
        set: Box::new(move |wanted| match wanted {
            "info" | "debug" => {
                *write.lock().expect("no panic") = wanted.to_owned();
                Ok(())
            }
            other => Err(format!("There is no level `{other}`")),
        }),
    });
    let level = || ask_json(&gateway, "/log-level");
    assert_eq!(level(), (200, serde_json::json!({ "level": "info" })));
    let set = put(&gateway, "{\"level\": \"debug\"}");
    assert_eq!((set.status, json(&set)), (200, serde_json::json!({ "level": "debug" })));
    for (body, status, code) in [
        ("{\"level\": \"loud\"}", 422, "bad_level"),
        ("{\"level\": 7}", 400, "bad_body"),
        ("{\"level\": \"info\", \"more\": 1}", 400, "bad_body"),
        ("[]", 400, "bad_body"),
        ("{\"level\"", 400, "bad_json"),
        ("\u{1}", 400, "bad_json"),
    ] {
        let response = put(&gateway, body);
        assert_eq!((response.status, response.code()), (status, code), "{body}");
    }
    assert_eq!(level(), (200, serde_json::json!({ "level": "debug" })), "it stays");
}
