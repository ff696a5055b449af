//! `config/examples/forwarded.toml`: what the services are told of clients.

use crate::harness::message::{escape, is_uuid7};
use crate::harness::{Gateway, Origin, on_both_drivers};

const FILE: &str = include_str!("../../config/examples/forwarded.toml");

/// What reaches the origin of a request with these lines, behind the line of Host and without the request's id.
fn reached(file: &str, lines: &str) -> String {
    let origin = Origin::start().reply("/a", 200, "ok");
    let gateway = Gateway::from(file).services(origin.address()).start();
    let port = gateway.address().port().to_string();
    let sent = format!("GET /a HTTP/1.1\r\nHost: h.test\r\n{lines}Connection: close\r\n\r\n");
    let response = gateway.request(sent);
    assert_eq!(response.text(), "ok");
    assert_eq!(response.field("Via"), if file == FILE { Some("1.1 edge") } else { Some("1.1 tidegate") });
    let received = String::from_utf8(origin.all_received()).expect("text");
    let lines = received.strip_prefix("GET /a HTTP/1.1\r\nHost: h.test\r\n").unwrap_or_else(|| panic!("{received}"));
    let (before, rest) = lines.split_once("X-Request-Id: ").expect("an id");
    assert!(is_uuid7(&rest.as_bytes()[..36]), "{}", escape(rest.as_bytes()));
    format!("{before}{}", &rest[38..]).replace(&format!("-Port: {port}\r\n"), "-Port: {port}\r\n")
}

#[test]
fn a_trusted_proxy_is_believed() {
    assert_eq!(
        reached(
            FILE,
            "X-Forwarded-For: 6.6.6.6, 2001:db8::7\r\nA: 1\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: www.example.com\r\nX-Forwarded-Prefix: /p\r\nX-Real-IP: 6.6.6.6\r\n\
             Forwarded: for=\"[2001:db8::7]\"\r\nVia: 1.1 lb\r\n"
        ),
        "A: 1\r\nX-Forwarded-Prefix: /p\r\nVia: 1.1 lb\r\n\
         X-Forwarded-For: 6.6.6.6, 2001:db8::7, 10.1.2.3, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: www.example.com\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 2001:db8::7\r\n\
         Forwarded: for=\"[2001:db8::7]\", for=127.0.0.1;host=h.test;proto=http\r\nVia: 1.1 edge\r\n\
         X-Seen: 2001:db8::7 by https\r\n\r\n"
    );
    assert_eq!(
        reached(FILE, "Forwarded: for=6.6.6.6, for=\"192.0.2.7:99\";proto=https\r\n"),
        "X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: h.test\r\n\
         X-Forwarded-Port: {port}\r\nX-Real-IP: 192.0.2.7\r\n\
         Forwarded: for=6.6.6.6, for=\"192.0.2.7:99\";proto=https, for=127.0.0.1;host=h.test;proto=http\r\n\
         Via: 1.1 edge\r\nX-Seen: 192.0.2.7 by https\r\n\r\n"
    );
}

#[test]
fn nobody_else_is() {
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
                  X-Forwarded-Prefix: /p\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    let file = FILE.replace("trusted_proxies = [\"127.0.0.1\", ", "trusted_proxies = [");
    assert_ne!(file, FILE);
    let seen = "X-Seen: 127.0.0.1 by http\r\n\r\n";
    let x = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h.test\r\n\
             X-Forwarded-Port: {port}\r\nX-Real-IP: 127.0.0.1\r\n";
    let forwarded = "Forwarded: for=127.0.0.1;host=h.test;proto=http\r\n";
    for (style, expected) in [
        ("both", format!("{x}{forwarded}")),
        ("x-forwarded", x.to_owned()),
        ("rfc7239", forwarded.to_owned()),
        ("none", String::new()),
    ] {
        let file = file
            .replace("forwarded = \"both\"", &format!("forwarded = \"{style}\""))
            .replace("\"edge\"", "\"tidegate\"");
        assert_eq!(reached(&file, forged), format!("{expected}Via: 1.1 tidegate\r\n{seen}"), "{style}");
    }
}

#[test]
fn without_via() {
    on_both_drivers(|driver| {
        let origin =
            Origin::start().reply_bytes("/a", "HTTP/1.1 200 OK\r\nVia: 1.0 cache\r\nContent-Length: 0\r\n\r\n");
        let file = FILE.replace("via = \"edge\"", "via = false");
        let gateway = Gateway::from(&file).services(origin.address()).driver(driver).start();
        let response = gateway.get("/a");
        assert_eq!(response.head.matches("Via: ").count(), 1, "{}", response.head);
        assert_eq!(response.field("Via"), Some("1.0 cache"));
        assert!(!String::from_utf8(origin.all_received()).unwrap().contains("Via"));
    });
}
