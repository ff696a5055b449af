//! `config/examples/health.toml`: services are asked whether they are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Client, Gateway, Origin, eventually, message::Response};

/// What an admin listener answers.
pub(crate) fn ask(gateway: &Gateway, path: &str) -> Response {
    let mut client = Client::connect(gateway.admin());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    client.response()
}

/// The same, read as JSON.
pub(crate) fn ask_json(gateway: &Gateway, path: &str) -> (u16, Value) {
    let response = ask(gateway, path);
    (response.status, serde_json::from_str(response.text()).expect("JSON"))
}

/// An origin that is well for as long as the flag says so.
fn origin(is_well: &Arc<AtomicBool>) -> Origin {
    let is_well = is_well.clone();
    Origin::scripted(move |conversation| {
        while let Some(request) = conversation.request() {
            let is_check = request.starts_with(b"GET /health HTTP/1.1\r\n");
            let answer = match is_well.load(Ordering::Acquire) || !is_check {
                true => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall is ok",
                false => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsick",
            };
            conversation.send(answer);
        }
    })
}

fn start(origin: &Origin) -> Gateway {
    Gateway::from(include_str!("../../config/examples/health.toml"))
        .service("app", origin.address())
        .with(|config| {
            for service in &mut config.services {
                let health = service.health.as_mut().expect("a check");
                (health.interval, health.timeout) = (Duration::from_millis(10), Some(Duration::from_secs(5)));
            }
        })
        .start()
}

#[test]
fn a_service_that_falls_ill_and_recovers_is_seen() {
    let is_well = Arc::new(AtomicBool::new(true));
    let origin = origin(&is_well);
    let gateway = start(&origin);
    let health = || ask_json(&gateway, "/health/app");
    eventually("it is up", || health().1["targets"][0]["health"] == "up");
    assert_eq!(health().0, 200);
    assert_eq!(gateway.get("/").text(), "all is ok");

    is_well.store(false, Ordering::Release);
    eventually("it is down", || health().0 == 503);
    let (_, view) = health();
    let target = &view["targets"][0];
    assert_eq!((&view["status"], &view["usable"], &target["health"]), (&"down".into(), &0.into(), &"down".into()));
    assert_eq!(target["last_check"]["error"], "`ok` is not in the body of its answer");
    assert_eq!(target["last_check"]["status"], 200);

    is_well.store(true, Ordering::Release);
    eventually("it is up again", || health().0 == 200);
    let metrics = ask(&gateway, "/metrics").text().to_owned();
    assert!(metrics.contains("\ntidegate_health_transitions_total{service=\"app\"} 3\n"), "{metrics}");
    let up = format!("\ntidegate_upstream_health{{service=\"app\",target=\"{}\"}} 1\n", origin.address());
    assert!(metrics.contains(&up), "{metrics}");
}

#[test]
fn a_connection_is_enough_where_that_is_asked_for() {
    let app = Origin::start().reply("/health", 200, "ok");
    let gateway = start(&app);
    // Nobody listens where the files would be.
    eventually("the files are down", || ask_json(&gateway, "/health/files").0 == 503);
    let (_, view) = ask_json(&gateway, "/health/files");
    let error = view["targets"][0]["last_check"]["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.starts_with("cannot connect to 127.0.0.1:") && error.contains("refused"), "{error}");
    // Each service has a verdict of its own.
    eventually("the app is up", || ask_json(&gateway, "/health/app").1["targets"][0]["health"] == "up");
}
