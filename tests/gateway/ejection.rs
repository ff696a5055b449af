//! `config/examples/ejection.toml`: a target that fails is left out for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::base::units::Setting;
use tidegate::upstream::ejection::EjectionConfig;

use crate::harness::{Boot, Counter, Driver, Gateway, Origin, eventually, on_both_drivers};
use crate::health::ask_json;

/// The example, with these as the targets of `service`.
fn boot(service: &str, targets: &[&Origin], driver: Driver) -> Boot {
    let addresses: Vec<_> = targets.iter().map(|origin| origin.address()).collect();
    Gateway::from(include_str!("../../config/examples/ejection.toml")).targets(service, &addresses).driver(driver)
}

/// Changes what the first service says of ejection.
fn ejection(boot: Boot, change: impl FnOnce(&mut EjectionConfig)) -> Boot {
    boot.with(|config| {
        let service = config.services.iter_mut().find(|service| service.name.get_ref() == "app").expect("it is there");
        let Setting::On(ejection) = &mut service.ejection else { panic!("it is on") };
        change(ejection);
    })
}

fn good() -> Origin {
    answering(|_| 200)
}

/// An origin whose answer to each request, by its number, has this status.
fn answering(status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::scripted(move |conversation| {
        while conversation.request().is_some() {
            let status = status(count.fetch_add(1, Ordering::SeqCst));
            conversation.send(format!("HTTP/1.1 {status} Reply\r\nContent-Length: 0\r\n\r\n"));
        }
    })
}

/// Of `count` requests for `path`, how many are answered with 500.
fn failures(gateway: &Gateway, path: &str, count: usize) -> usize {
    let mut client = gateway.connect();
    let mut get = || {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.response().status
    };
    (0..count).filter(|_| get() == 500).count()
}

#[test]
fn failures_in_a_row_put_a_target_out() {
    on_both_drivers(|driver| {
        let (bad, one, two) = (answering(|_| 500), good(), good());
        let gateway = boot("app", &[&bad, &one, &two], driver).start();
        assert_eq!(failures(&gateway, "/", 30), 3, "nobody else has to fail");
        assert_eq!(failures(&gateway, "/", 60), 0);
        assert_eq!(gateway.count(Counter::Ejections), 1);
        let (_, view) = ask_json(&gateway, "/upstreams");
        let targets = view["services"][0]["targets"].as_array().expect("a list");
        let out: Vec<_> = targets.iter().filter(|target| target["ejected_ends_in_ms"].is_u64()).collect();
        assert_eq!(out.len(), 1, "{view}");
        assert_eq!(out[0]["address"], bad.address().to_string().as_str());
        assert_eq!(ask_json(&gateway, "/health/app").1["usable"], 2);
    });
}

#[test]
fn a_success_between_failures_is_a_new_start() {
    let (flaky, other) = (answering(|number| if number % 3 == 2 { 200 } else { 500 }), good());
    let gateway = boot("app", &[&flaky, &other], Driver::Epoll).start();
    assert_eq!(failures(&gateway, "/", 120), 40, "two of three of its half");
    assert_eq!(gateway.count(Counter::Ejections), 0);
}

#[test]
fn a_rate_of_failures_puts_a_target_out_as_well() {
    let (flaky, other) = (answering(|number| if number % 2 == 0 { 500 } else { 200 }), good());
    let gateway = boot("flaky", &[&flaky, &other], Driver::Epoll).start();
    eventually("it is out", || {
        let failed = failures(&gateway, "/flaky", 10);
        assert!(failed <= 5);
        gateway.count(Counter::Ejections) == 1
    });
    assert_eq!(failures(&gateway, "/flaky", 40), 0);
}

#[test]
fn some_targets_stay_whatever_they_do() {
    on_both_drivers(|driver| {
        let (one, two, well) = (answering(|_| 500), answering(|_| 500), good());
        let gateway = boot("app", &[&one, &two, &well], driver).start();
        failures(&gateway, "/", 60);
        assert_eq!(gateway.count(Counter::Ejections), 1, "half of three is one");
        assert_eq!(failures(&gateway, "/", 40), 20, "the other bad one has its turns still");

        let gateway = boot("app", &[&one], driver).start();
        assert_eq!((failures(&gateway, "/", 20), gateway.count(Counter::Ejections)), (20, 0), "the only one stays");

        // When all are out, a guess that condemns all is wrong.
        let gateway = ejection(boot("app", &[&one, &two], driver), |ejection| ejection.most = 1.0).start();
        assert_eq!((failures(&gateway, "/", 20), gateway.count(Counter::Ejections)), (20, 2));
        let (status, health) = ask_json(&gateway, "/health/app");
        assert_eq!((status, &health["status"], &health["usable"]), (200, &"panic".into(), &0.into()));
        let after = [one.all_received().len(), two.all_received().len()];
        assert_eq!(failures(&gateway, "/", 10), 10);
        assert!(one.all_received().len() > after[0] && two.all_received().len() > after[1], "both are asked");
    });
}

#[test]
fn it_comes_back_by_itself() {
    on_both_drivers(|driver| {
        let is_well = Arc::new(AtomicBool::new(false));
        let state = is_well.clone();
        let (bad, other) = (answering(move |_| if state.load(Ordering::SeqCst) { 204 } else { 500 }), good());
        let boot = boot("app", &[&bad, &other], driver);
        let gateway = ejection(boot, |ejection| ejection.ejected_for = Duration::from_millis(50)).start();
        // It is tried and put out again for as long as it fails.
        eventually("it is out for the third time", || {
            failures(&gateway, "/", 2);
            gateway.count(Counter::Ejections) == 3
        });
        is_well.store(true, Ordering::SeqCst);
        eventually("it is asked again", || gateway.get("/").status == 204);
        let answers: Vec<u16> = (0..10).map(|_| gateway.get("/").status).collect();
        assert_eq!(answers.iter().filter(|status| **status == 204).count(), 5, "{answers:?}");
        assert_eq!(gateway.count(Counter::Ejections), 3);
    });
}

#[test]
fn connections_that_fail_count_and_clients_do_not_notice() {
    let (refusing, other) = (crate::harness::unused_address(), good());
    let gateway = Gateway::from(include_str!("../../config/examples/ejection.toml"))
        .targets("app", &[refusing, other.address()])
        .start();
    assert_eq!((0..20).filter(|_| gateway.get("/").status != 200).count(), 0);
    assert_eq!((gateway.count(Counter::UpstreamConnectErrors), gateway.count(Counter::Ejections)), (3, 1));
}

#[test]
fn answers_that_are_none_count_as_failures() {
    on_both_drivers(|driver| {
        let reset = Origin::scripted(|conversation| {
            conversation.request();
            conversation.reset();
        });
        let broken = Origin::scripted(|conversation| {
            conversation.request();
            conversation.send("no HTTP at all\r\n\r\n");
        });
        for bad in [&reset, &broken] {
            let other = good();
            let gateway =
                boot("app", &[bad, &other], driver).with(|config| config.services[0].retries = Some(Setting::Off));
            let gateway = gateway.start();
            let failed = (0..40).filter(|_| gateway.get("/").status == 502).count();
            assert_eq!((failed, gateway.count(Counter::Ejections)), (3, 1));
        }
    });
}

#[test]
fn failures_of_all_workers_count_together() {
    on_both_drivers(|driver| {
        let (bad, other) = (answering(|_| 500), good());
        let boot = ejection(boot("app", &[&bad, &other], driver), |ejection| ejection.consecutive_failures = 20);
        let gateway = boot.workers(4).start();
        let failed = (0..200).filter(|_| gateway.get("/").status == 500).count();
        // Another worker may send one while the last failure is being counted.
        assert!((20..=22).contains(&failed), "{failed}, where each worker for itself would come to 80");
        assert_eq!(gateway.count(Counter::Ejections), 1);
    });
}
