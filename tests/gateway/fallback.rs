//! `config/examples/fallback.toml`: what answers when no target is left.

use tidegate::base::units::Setting;
use tidegate::upstream::retry::RetriesConfig;

use crate::harness::{Counter, Gate, Gateway, Origin, eventually, on_both_drivers, unused_address};

#[test]
fn another_service_or_a_response_stands_in() {
    on_both_drivers(|driver| {
        let archive = Origin::start().reply("/search", 200, "old");
        let gateway = Gateway::from(include_str!("../../config/examples/fallback.toml"))
            .service("archive", archive.address())
            .service("search", unused_address())
            .service("prices", unused_address())
            .driver(driver)
            .start();
        let mut client = gateway.connect();
        client.send("GET /search HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().text(), "old");
        client.send("POST /search HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(client.response().text(), "old", "nothing had been sent, so a POST may go elsewhere");
        assert!(archive.received().iter().any(|request| request.ends_with(b"\r\n\r\nx")));
        client.send("GET /prices HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text()), (503, "{\"prices\":[]}"));
        assert_eq!(response.field("content-type"), Some("application/json"));
        assert_eq!(response.field("retry-after"), Some("1"));
        client.send("HEAD /prices HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status, 503);
        assert_eq!(gateway.count(Counter::Fallbacks), 4);
    });
}

#[test]
fn it_stands_in_for_a_service_that_takes_no_more() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let busy = Origin::holding("new", &gate);
        let archive = Origin::named("old");
        let gateway = Gateway::from(include_str!("../../config/examples/fallback.toml"))
            .service("archive", archive.address())
            .service("search", busy.address())
            .with(|config| {
                let search = config.services.iter_mut().find(|service| service.name.get_ref() == "search").unwrap();
                (search.pool.max_connections, search.pool.queue) = (Setting::On(1), 0);
            })
            .driver(driver)
            .start();
        let mut first = gateway.connect();
        first.send("GET /search?long HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("it runs", || busy.connections() == 1);
        assert_eq!(gateway.request("GET /search HTTP/1.1\r\nHost: h\r\n\r\n").text(), "old /search");
        gate.open();
        assert_eq!(first.response().text(), "new");
        assert_eq!(gateway.count(Counter::Fallbacks), 1);
    });
}

#[test]
fn it_stands_in_after_a_failed_attempt_only_for_what_may_be_sent_twice() {
    let archive = Origin::named("old");
    // One takes a request and says nothing; the other is not there.
    let left = Origin::scripted(|conversation| {
        conversation.request();
        conversation.reset();
    });
    let gateway = Gateway::from(include_str!("../../config/examples/fallback.toml"))
        .service("archive", archive.address())
        .targets("search", &[left.address(), unused_address()])
        .with(|config| {
            let search = config.services.iter_mut().find(|service| service.name.get_ref() == "search").unwrap();
            let retries = RetriesConfig { non_idempotent: Some(true), ..RetriesConfig::default() };
            (search.retries, search.ejection) = (Some(Setting::On(retries)), Setting::Off);
        })
        .start();
    let post = "POST /search HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    for _ in 0..4 {
        let response = gateway.request(post);
        // Where nothing had been sent to either, it would have been safe; here one of them may have carried it out.
        assert_eq!(response.status, 502, "{}", response.text());
    }
    assert!(archive.received().is_empty() && left.connections() > 0);
    // Whether the one that is cut or the one that is refused comes last is by turns.
    let answers = (0..8).map(|_| gateway.get("/search").text().to_owned());
    assert!(answers.filter(|answer| answer == "old /search").count() > 0);
}
