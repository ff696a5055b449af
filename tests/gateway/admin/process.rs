//! What the process says of itself, and what it is told to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tidegate::config::Config;
use tidegate::control::operations::{LogLevel, Refused, Reloaded};

use super::{boot, exchange, json, post, request};
use crate::harness::{Driver, Gateway, Origin, Response};
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
    assert_eq!(ask_json(&gateway, "/ready"), (503, serde_json::json!({ "status": "draining" })));
    assert_eq!(ask(&gateway, "/health").status, 200, "it lives");
}

#[test]
fn what_nobody_has_set_is_not_available() {
    let gateway = start();
    for response in [
        post(&gateway, "/reload"),
        post(&gateway, "/drain"),
        ask(&gateway, "/log-level"),
        put(&gateway, "{\"level\":\"info\"}"),
    ] {
        assert_eq!((response.status, response.code()), (501, "not_available"));
    }
}

#[test]
fn a_drain_is_asked_for() {
    let (gateway, asked) = (start(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    gateway.running().operations().on_drain(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let response = post(&gateway, "/drain");
    assert_eq!((response.status, json(&response)), (202, serde_json::json!({ "status": "draining" })));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_reload_is_reported_or_refused_with_each_fault() {
    let (gateway, count) = (start(), Arc::new(AtomicUsize::new(0)));
    gateway.running().operations().on_reload(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                0 => Ok(Reloaded {
                    generation: 2,
                    changed: true,
                    notes: vec!["`workers` holds from the next start".into()],
                }),
                1 => {
                    let text = "[admin]\naddress = 7\ntoken = \"too short\"\n";
                    Err(Refused::from(&Config::parse("test.toml", text).expect_err("it is wrong")))
                }
                _ => Err(Refused { detail: "an address is taken".into(), errors: Vec::new() }),
            }
        }
    });
    let good = post(&gateway, "/reload");
    let view =
        serde_json::json!({ "generation": 2, "changed": true, "notes": ["`workers` holds from the next start"] });
    assert_eq!((good.status, json(&good)), (200, view));
    let wrong = post(&gateway, "/reload");
    assert_eq!((wrong.status, wrong.code()), (422, "reload_refused"));
    let view = json(&wrong);
    assert!(view["detail"].as_str().is_some_and(|detail| detail.contains("test.toml:2:11: ")), "{view}");
    assert!(view["errors"].as_array().is_some_and(|errors| errors.len() >= 3), "{view}");
    assert!(!wrong.text().contains("too short"), "the file may have secrets: {view}");
    let elsewhere = post(&gateway, "/reload");
    assert_eq!((elsewhere.status, &json(&elsewhere)["errors"]), (422, &serde_json::json!([])));
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
