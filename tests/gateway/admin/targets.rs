//! Targets that an operator takes out and puts back.

use super::{json, post};
use crate::harness::{Driver, Gate, Gateway, Origin, eventually, on_both_drivers};
use crate::health::{ask, ask_json};

fn start(targets: &[&Origin], driver: Driver) -> Gateway {
    let targets: Vec<_> = targets.iter().map(|target| target.address()).collect();
    let text = include_str!("../../../config/examples/minimal.toml");
    Gateway::from(text).targets("app", &targets).driver(driver).workers(2).start()
}

#[test]
fn a_drained_target_gets_nothing_new_and_finishes_what_it_has() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let (first, second) = (Origin::holding("first", &gate), Origin::named("second"));
        let gateway = start(&[&first, &second], driver);
        let answers = || -> Vec<String> { (0..8).map(|_| gateway.get("/a").text().to_owned()).collect() };
        assert!(answers().iter().any(|text| text == "first"));
        // Whichever workers they come to, some of them get the first in its turn.
        let mut running: Vec<_> = (0..6).map(|_| gateway.connect()).collect();
        for client in &mut running {
            client.send("GET /long HTTP/1.1\r\nHost: test\r\n\r\n");
        }
        let first_of = |name: &str| ask_json(&gateway, "/upstreams").1["services"][0]["targets"][0][name].clone();
        let received = || {
            String::from_utf8_lossy(&[first.all_received(), second.all_received()].concat()).matches("/long ").count()
        };
        eventually("all are sent on", || received() == running.len());
        assert!(first_of("active") != 0);

        let path = format!("/targets/app/{}/drain", first.address());
        let drained = post(&gateway, &path);
        assert_eq!(drained.status, 200, "{}", drained.text());
        let view = json(&drained);
        assert_eq!((&view["service"], &view["targets"][0]["drained"]), (&"app".into(), &true.into()));
        assert_eq!(view["targets"][0]["usable"], false);
        assert_eq!(post(&gateway, &path).status, 200, "twice is the same");
        assert!(answers().iter().all(|text| text.starts_with("second")));
        let metric = format!("tidegate_upstream_drained{{service=\"app\",target=\"{}\"}} 1\n", first.address());
        assert!(ask(&gateway, "/metrics").text().contains(&metric));
        eventually("its idle connections close", || first_of("connections") == first_of("active"));
        gate.open();
        for client in &mut running {
            assert_eq!(client.response().status, 200, "it finishes");
        }
        eventually("the last one closes too", || first_of("connections") == 0);
        assert_eq!(first_of("failed"), 0);

        let enabled = post(&gateway, &path.replace("/drain", "/enable"));
        assert_eq!((enabled.status, &json(&enabled)["targets"][0]["drained"]), (200, &false.into()));
        assert!(answers().iter().any(|text| text == "first"));
    });
}

#[test]
fn a_service_whose_targets_are_all_drained_is_down() {
    let origins = [Origin::named("first"), Origin::named("second")];
    let gateway = start(&[&origins[0], &origins[1]], Driver::Epoll);
    for origin in &origins {
        assert_eq!(post(&gateway, &format!("/targets/app/{}/drain", origin.address())).status, 200);
    }
    let (status, view) = ask_json(&gateway, "/health/app");
    assert_eq!((status, &view["status"], &view["usable"]), (503, &"down".into(), &0.into()));
    let refused = gateway.get("/a");
    assert_eq!((refused.status, refused.code()), (503, "no_target"));
    assert_eq!(post(&gateway, &format!("/targets/app/{}/enable", origins[0].address())).status, 200);
    assert_eq!((ask(&gateway, "/health/app").status, gateway.get("/a").text()), (200, "first /a"));
}

#[test]
fn a_reload_leaves_drained_what_is_drained() {
    let origins = [Origin::named("first"), Origin::named("second")];
    let gateway = start(&[&origins[0], &origins[1]], Driver::Epoll);
    assert_eq!(post(&gateway, &format!("/targets/app/{}/drain", origins[0].address())).status, 200);
    let boot = |targets: &[&Origin]| {
        let targets: Vec<_> = targets.iter().map(|target| target.address()).collect();
        Gateway::from(include_str!("../../../config/examples/minimal.toml")).targets("app", &targets).workers(2)
    };
    gateway.reload(boot(&[&origins[1]])).expect("it is right");
    let gone = || ask_json(&gateway, "/upstreams").1["services"][0]["drained_and_gone"].clone();
    assert_eq!(gone(), serde_json::json!([origins[0].address().to_string()]));
    gateway.reload(boot(&[&origins[0], &origins[1]])).expect("it is right");
    assert_eq!(gone(), serde_json::json!([]));
    assert!((0..4).all(|_| gateway.get("/a").text() == "second /a"), "it has come back as it went");
    assert_eq!(post(&gateway, &format!("/targets/app/{}/enable", origins[0].address())).status, 200);
    assert!((0..4).any(|_| gateway.get("/a").text() == "first /a"));
}

#[test]
fn what_is_not_there_cannot_be_drained() {
    let origin = Origin::named("first");
    let gateway = start(&[&origin], Driver::Epoll);
    for (path, code) in [
        ("/targets/nobody/127.0.0.1:0/drain", "no_service"),
        ("/targets/app/127.0.0.1:0/drain", "no_target"),
        ("/targets/app/127.0.0.1:0/enable", "no_target"),
        ("/targets/app//drain", "no_target"),
        ("/targets/app/unix:%2Frun%2Fapp.sock/drain", "no_target"),
        ("/targets/app/127.0.0.1:0/remove", "no_such_path"),
    ] {
        let response = post(&gateway, path);
        assert_eq!((response.status, response.code()), (404, code), "{path}");
    }
    let response = post(&gateway, "/targets/app/127.0.0.1:0/drain");
    assert!(response.text().contains(&format!("It has, for example: {}.", origin.address())), "{}", response.text());
    assert_eq!(gateway.get("/a").text(), "first /a");
}
