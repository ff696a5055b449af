//! `config/examples/retries.toml`: what fails is sent again where that is safe.

use std::time::Duration;

use tidegate::base::units::Setting;

use crate::harness::message::{find, normal, request_length};
use crate::harness::{Boot, Conversation, Counter, Driver, Gateway, Origin, on_both_drivers, pass, unused_address};

fn boot(targets: &[std::net::SocketAddr; 2], driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/retries.toml")).targets("app", targets).driver(driver)
}

/// An origin that does this with each request that is whole.
fn failing(how: Failure) -> Origin {
    Origin::scripted(move |conversation| {
        if conversation.request().is_some() {
            how(conversation);
        }
    })
}

/// What an origin does instead of answering.
type Failure = fn(&mut Conversation);

/// The ways in which an origin fails a request that has arrived.
const FAILURES: [(&str, Failure); 4] = [
    ("reset", |conversation| conversation.reset()),
    ("end", |conversation| conversation.finish()),
    ("status", |conversation| conversation.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")),
    ("no HTTP", |conversation| conversation.send("HTTP/1.1 2xx\r\n\r\n")),
];

#[test]
fn an_answer_that_there_is_no_time_to_replace_goes_to_the_client() {
    let bad = || Origin::start().reply("/a", 503, "no");
    let (first, second) = (bad(), bad());
    let gateway = boot(&[first.address(), second.address()], Driver::Epoll)
        .with(|config| {
            config.services[0].timeouts.total = Some(Setting::On(Duration::from_secs(60)));
            let Some(Setting::On(retries)) = &mut config.services[0].retries else { panic!("they are on") };
            // With so long a wait on the average, a second attempt would be as likely as a blow of lightning.
            (retries.backoff, retries.backoff_max) = (Some(Duration::MAX), Some(Duration::MAX));
        })
        .start();
    let response = gateway.request("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((response.status, response.text()), (503, "no"));
    assert_eq!((gateway.count(Counter::Retries), first.connections() + second.connections()), (0, 1));
}

#[test]
fn idempotent_requests_go_to_another_target_and_others_do_not() {
    on_both_drivers(|driver| {
        for (name, how) in FAILURES {
            let (bad, good) = (failing(how), Origin::start().reply("/a", 200, "ok"));
            let gateway = boot(&[bad.address(), good.address()], driver).start();
            // Whichever of the two comes first, each of these is answered.
            for request in
                ["GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"]
            {
                for _ in 0..2 {
                    assert_eq!(gateway.request(request).text(), "ok", "{name}: {request}");
                }
            }
            let retries = gateway.count(Counter::Retries);
            assert_eq!(retries, bad.connections() as u64, "{name}: each failure led to one more attempt");
            assert!(retries > 0, "{name}");
            let put = good.all_received().windows(5).filter(|bytes| bytes == b"PUT /").count();
            assert_eq!(put, 2, "{name}");
            let posts =
                (0..2).map(|_| gateway.request("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody").status);
            let mut posts: Vec<u16> = posts.collect();
            posts.sort_unstable();
            let failed = if name == "status" { 503 } else { 502 };
            assert_eq!(posts, [200, failed], "{name}: a POST is not sent again");
            assert_eq!(gateway.count(Counter::Retries), retries, "{name}");
        }
    });
}

#[test]
fn a_post_is_sent_again_if_nothing_had_been_sent_or_if_it_may_be() {
    on_both_drivers(|driver| {
        let good = Origin::start().reply("/a", 200, "ok").reply("/search", 200, "found");
        let gateway = boot(&[unused_address(), good.address()], driver).start();
        for _ in 0..3 {
            let post = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
            assert_eq!(gateway.request(post).text(), "ok");
        }
        let bad = failing(|conversation| conversation.reset());
        let gateway = boot(&[bad.address(), good.address()], driver).start();
        for _ in 0..2 {
            let post = "POST /search HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
            assert_eq!(gateway.request(post).text(), "found");
        }
        assert_eq!(gateway.count(Counter::Retries), bad.connections() as u64);
        assert!(bad.connections() > 0);
    });
}

#[test]
fn a_body_that_is_too_large_to_keep_is_not_sent_again() {
    let (bad, good) = (failing(|conversation| conversation.reset()), Origin::start().reply("/a", 200, "ok"));
    let gateway = boot(&[bad.address(), good.address()], Driver::Epoll).start();
    let body = "x".repeat(65_537);
    let put = format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut statuses: Vec<u16> = (0..2).map(|_| gateway.request(&put).status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[test]
fn a_target_that_does_not_answer_in_time_is_left() {
    let silent = Origin::scripted(|conversation| while conversation.request().is_some() {});
    let good = Origin::start().reply("/a", 200, "ok");
    let gateway = boot(&[silent.address(), good.address()], Driver::Epoll)
        .with(|config| {
            let first_byte = tidegate::base::units::Setting::On(Duration::from_millis(300));
            config.services[0].timeouts.first_byte = Some(first_byte);
        })
        .start();
    for _ in 0..2 {
        assert_eq!(gateway.get("/a").text(), "ok");
    }
    assert_eq!(gateway.count(Counter::Retries), silent.connections() as u64);
    assert!(silent.connections() > 0);
}

#[test]
fn the_last_answer_is_passed_on_as_it_is() {
    let bad = || failing(|conversation| conversation.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"));
    let (one, two) = (bad(), bad());
    let gateway = boot(&[one.address(), two.address()], Driver::Epoll).start();
    let response = gateway.get("/a");
    assert_eq!((response.status, response.text()), (503, "no"));
    assert_eq!((one.connections(), two.connections()), (1, 1));
}

#[test]
fn a_head_is_sent_again_and_has_no_body() {
    let (bad, good) = (failing(|conversation| conversation.reset()), Origin::start().reply("/a", 200, "ok"));
    let gateway = boot(&[bad.address(), good.address()], Driver::Epoll).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = client.response_to("HEAD");
        assert_eq!((response.status, response.text()), (200, ""));
    }
    assert!(bad.connections() > 0);
    assert_eq!(gateway.count(Counter::Retries), bad.connections() as u64);
}

#[test]
fn chunks_and_trailers_are_sent_again_whole() {
    on_both_drivers(|driver| {
        let (bad, good) = (failing(|conversation| conversation.reset()), Origin::start().reply("/a", 200, "ok"));
        let gateway = boot(&[bad.address(), good.address()], driver).start();
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send("PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            client.send("3\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n");
            assert_eq!(client.response().text(), "ok");
        }
        assert!(bad.connections() > 0);
        let bodies = normal(&good.all_received());
        let whole = bodies.matches("two\r\n0\r\nX-Sum: 6\r\n\r\n").count();
        assert_eq!((whole, bodies.matches("one").count()), (2, 2), "{bodies}");
    });
}

#[test]
fn a_client_that_waits_to_be_asked_is_asked_by_the_second_target() {
    on_both_drivers(|driver| {
        let good = Origin::scripted(|conversation| {
            while conversation.has_more() {
                conversation.read_until(b"\r\n\r\n");
                conversation.send("HTTP/1.1 100 Continue\r\n\r\n");
                conversation.read_until(b"abc");
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let gateway = boot(&[unused_address(), good.address()], driver).start();
        for _ in 0..2 {
            let mut client = gateway.connect();
            client.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
            assert_eq!(client.response().head, "HTTP/1.1 100 Continue\r\n\r\n", "once, and by who takes it");
            client.send("abc");
            assert_eq!(client.response().text(), "ok");
        }
        assert!(gateway.count(Counter::Retries) > 0);
    });
}

#[test]
fn a_failing_service_gets_no_more_than_its_budget() {
    const REQUESTS: u64 = 500;
    let bad = || failing(|conversation| conversation.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"));
    let (one, two) = (bad(), bad());
    let gateway = boot(&[one.address(), two.address()], Driver::Epoll)
        .with(|config| config.services[0].ejection = Setting::Off)
        .start();
    let mut client = gateway.connect();
    for _ in 0..REQUESTS {
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text()), (503, "no"), "what failed is what the client sees");
    }
    let (retries, refused) = (gateway.count(Counter::Retries), gateway.count(Counter::RetriesOverBudget));
    assert_eq!(retries + refused, REQUESTS);
    // A hundred are free every ten seconds, and a fifth of the requests besides; if this takes longer, some more.
    assert!((100 + REQUESTS / 5..REQUESTS).contains(&retries), "{retries}");
    assert_eq!((one.connections() + two.connections()) as u64, REQUESTS + retries);
}

#[test]
fn a_connection_that_ends_long_after_a_request_has_failed_it() {
    let origin = Origin::scripted(|conversation| {
        if conversation.request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        if conversation.request().is_some() {
            // It has worked on it for a while, so the connection was alive.
            pass(Duration::from_millis(1200));
        }
    });
    let gateway = Gateway::from(include_str!("../../config/examples/retries.toml"))
        .service("app", origin.address())
        .with(|config| config.services[0].retries = Some(Setting::Off))
        .start();
    assert_eq!(gateway.get("/a").text(), "ok");
    assert_eq!(gateway.get("/a").status, 502);
    assert_eq!((gateway.count(Counter::UpstreamReplaced), origin.connections()), (0, 1), "it was sent once");
}

#[test]
fn a_failing_target_has_no_more_than_its_turns() {
    let (bad, good) = (Origin::start().reply("/a", 503, "no"), Origin::start().reply("/a", 200, "ok"));
    let gateway = boot(&[bad.address(), good.address()], Driver::Epoll)
        .with(|config| config.services[0].ejection = Setting::Off)
        .start();
    for _ in 0..40 {
        assert_eq!(gateway.get("/a").text(), "ok");
    }
    assert_eq!(gateway.count(Counter::Retries), 20, "half of the requests began there");
}

/// Whether `bytes` have `text` in them.
fn holds(bytes: &[u8], text: &str) -> bool {
    find(bytes, text.as_bytes()).is_some()
}

/// The requests whose method begins like this that an origin has got whole.
fn requests(origin: &Origin, method: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for bytes in origin.received() {
        let mut rest = &bytes[..];
        while let Some(length) = request_length(rest) {
            let (request, next) = rest.split_at(length);
            all.push(request.to_vec());
            rest = next;
        }
    }
    all.retain(|request| request.starts_with(method.as_bytes()));
    all
}

#[test]
fn what_may_have_been_carried_out_is_sent_once() {
    on_both_drivers(|driver| {
        for (name, how) in FAILURES {
            let (one, two) = (failing(how), failing(how));
            let gateway = boot(&[one.address(), two.address()], driver)
                .with(|config| {
                    let Some(Setting::On(retries)) = &mut config.services[0].retries else { panic!("they are on") };
                    retries.attempts = Some(10);
                })
                .start();
            let methods = ["POST", "PATCH", "POST", "PATCH"].iter().enumerate();
            for (id, method) in methods {
                let body = if id < 2 { "body" } else { "" };
                let length = body.len();
                let request = format!("{method} /a?{id} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}");
                assert!(gateway.request(request).status >= 502, "{name}");
            }
            for id in 0..4 {
                let line = format!(" /a?{id} HTTP/1.1\r\n");
                let sent = [&one, &two].map(|origin| requests(origin, "P").iter().filter(|r| holds(r, &line)).count());
                // A kept connection may have been closed before it came.
                assert!(sent[0] + sent[1] <= 1, "{name}: number {id} was sent {sent:?} times");
            }
            assert!(!requests(&one, "P").is_empty() || !requests(&two, "P").is_empty());
            assert_eq!(gateway.count(Counter::Retries), 0);
        }
    });
}

#[test]
fn what_may_be_carried_out_twice_is_sent_as_often_as_that_is_allowed() {
    for (name, how) in FAILURES {
        let (one, two) = (failing(how), failing(how));
        let gateway = boot(&[one.address(), two.address()], Driver::Epoll).start();
        let post = "POST /search HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
        assert!(gateway.request(post).status >= 502, "{name}");
        let sent = [&one, &two].map(|origin| requests(origin, "POST "));
        for posts in &sent {
            assert_eq!(posts.len(), 1, "{name}: two attempts, and never two at one target");
            assert!(posts[0].ends_with(b"\r\n\r\nbody"), "{name}");
        }
        assert_eq!(gateway.count(Counter::Retries), 1, "{name}");
    }
}
