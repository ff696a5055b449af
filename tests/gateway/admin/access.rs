//! Who is let in, what is refused, and what hostile clients can take from others.

use std::fmt::Write as _;

use super::{boot, exchange, json, post, request};
use crate::harness::{Client, Driver, Gateway, Origin};
use crate::health::ask;

fn start(lines: &str) -> Gateway {
    let text = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\n{lines}\n{}",
        include_str!("../../../config/examples/minimal.toml")
    );
    Gateway::from(&text).service("app", Origin::start().address()).start()
}

/// The answer to a GET with these fields, which are the whole head.
fn get(gateway: &Gateway, path: &str, fields: &str) -> crate::harness::Response {
    exchange(gateway, format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n"))
}

#[test]
fn a_page_that_has_rebound_its_name_is_misdirected() {
    let gateway = start("hosts = [\"gateway.internal\"]");
    for (fields, status, code) in [
        ("Host: localhost\r\n", 200, ""),
        ("Host: gateway.internal\r\n", 200, ""),
        ("Host: rebound.example\r\n", 421, "wrong_host"),
        ("Host: rebound.example:9180\r\n", 421, "wrong_host"),
        ("", 400, "bad_host"),
        ("Host: localhost\r\nHost: rebound.example\r\n", 400, "bad_host"),
    ] {
        for path in ["/upstreams", "/health", "/nowhere"] {
            let response = get(&gateway, path, fields);
            let expected = if status == 200 && path == "/nowhere" { 404 } else { status };
            assert_eq!(response.status, expected, "{path} with {fields:?}");
            if !code.is_empty() {
                assert_eq!(response.code(), code, "{path} with {fields:?}");
            }
            assert_eq!(response.field("access-control-allow-origin"), None);
            assert_eq!(response.field("cache-control"), Some("no-store"));
        }
    }
    let absolute = exchange(&gateway, "GET http://rebound.example/upstreams HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((absolute.status, absolute.code()), (421, "wrong_host"));
}

#[test]
fn without_the_token_there_is_nothing_to_see() {
    let gateway = start("token = \"0123456789-abcdef\"");
    let with = |path: &str, value: &str| get(&gateway, path, &format!("Host: localhost\r\n{value}"));
    let missing = with("/upstreams", "");
    assert_eq!((missing.status, missing.code()), (401, "no_token"));
    assert_eq!(missing.field("www-authenticate"), Some("Bearer realm=\"tidegate\""));
    let wrong = with("/upstreams", "Authorization: Bearer 0123456789-abcdeF\r\n");
    assert_eq!((wrong.status, wrong.code()), (401, "wrong_token"));
    assert!(wrong.field("www-authenticate").is_some_and(|field| field.contains("invalid_token")));
    assert!(!wrong.text().contains("0123456789"), "neither the right one nor the wrong one");
    assert_eq!(with("/upstreams", "Authorization: Bearer 0123456789-abcdef\r\n").status, 200);
    // Also what does not exist, and what changes something.
    assert_eq!((with("/nowhere", "").status, post(&gateway, "/drain").status), (401, 401));
    assert_eq!(with("/health", "").status, 200);
}

#[test]
fn what_changes_something_is_posted_and_not_from_a_page() {
    let gateway = boot(&Origin::start(), Driver::Epoll).start();
    for path in ["/drain", "/reload", "/targets/app/x/drain", "/targets/app/x/enable"] {
        let response = ask(&gateway, path);
        assert_eq!((response.status, response.field("allow")), (405, Some("POST")), "{path}");
        assert_eq!(response.code(), "method_not_allowed");
        assert_eq!(response.field("content-type"), Some("application/problem+json"));
    }
    for (method, path, allow) in
        [("POST", "/health", "GET, HEAD"), ("DELETE", "/log-level", "GET, HEAD, PUT"), ("OPTIONS", "/drain", "POST")]
    {
        let response = exchange(&gateway, request(method, path, "", ""));
        assert_eq!((response.status, response.field("allow")), (405, Some(allow)), "{method} {path}");
        assert_eq!(response.field("access-control-allow-methods"), None);
    }
    for field in ["Origin: http://localhost\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let response = exchange(&gateway, request("POST", "/drain", field, ""));
        assert_eq!((response.status, response.code()), (403, "from_a_page"), "{field}");
    }
    let response = ask(&gateway, "/elsewhere");
    assert_eq!((response.status, response.code()), (404, "no_such_path"));
    assert!(json(&response)["detail"].as_str().is_some_and(|detail| detail.contains("/health/{service}")));
    let mut client = Client::connect(gateway.admin());
    client.send(request("HEAD", "/health", "", ""));
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.field("content-length")), (200, Some("16")));
}

#[test]
fn hostile_requests_are_refused_and_the_next_one_is_answered() {
    let gateway = boot(&Origin::start(), Driver::Epoll).start();
    let long = "x".repeat(10_000);
    let many = (0..200).fold(String::new(), |mut all, number| {
        let _ = write!(all, "X-{number}: y\r\n");
        all
    });
    let body = |length: usize| request("PUT", "/log-level", "Content-Type: application/json\r\n", &"[".repeat(length));
    for (bytes, statuses) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), &[414, 431][..]),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"), &[431]),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), &[431]),
        ("nonsense\r\n\r\n".to_owned(), &[400]),
        ("GET /health/%ff HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[400]),
        ("GET /health/%2e%2e%2f%00 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[404]),
        ("GET //health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[404]),
        ("POST /targets/app/%22%0d%0aX:y/drain HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), &[404]),
        // The level is looked for first where there is no log to set: the body is read before that.
        (body(20_000), &[413]),
        (request("PUT", "/log-level", "", "{}"), &[415]),
    ] {
        let mut client = Client::connect(gateway.admin());
        let _ = client.try_send(&bytes);
        let response = client.response();
        assert!(statuses.contains(&response.status), "{} to {:.60}", response.status, bytes);
        assert_eq!(ask(&gateway, "/health").status, 200);
    }
}

#[test]
fn clients_that_say_nothing_do_not_keep_others_out_for_long() {
    let gateway = boot(&Origin::start(), Driver::Epoll).start();
    // As many as there are places, and more who wait for one.
    let silent: Vec<Client> = (0..40).map(|_| Client::connect(gateway.admin())).collect();
    let mut patient = Client::connect(gateway.admin());
    patient.send(request("GET", "/health", "", ""));
    drop(silent);
    assert_eq!(patient.response().status, 200);
}
