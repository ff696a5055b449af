//! `config/examples/request_id.toml`: one id for each request, in a field of one's choice.

use crate::harness::message::is_uuid7;
use crate::harness::{Gateway, Origin, on_both_drivers};

const FILE: &str = include_str!("../../config/examples/request_id.toml");

#[test]
fn an_id_is_kept_and_is_the_same_everywhere() {
    on_both_drivers(|driver| {
        let reply = "HTTP/1.1 200 OK\r\nx-correlation-id: theirs\r\nContent-Length: 0\r\n\r\n";
        let origin = Origin::start().reply_bytes("/app/a", reply);
        let gateway = Gateway::from(FILE).services(origin.address()).driver(driver).start();
        let longest = "a".repeat(128);
        for (sent, kept) in [
            ("Root=1-67891233:abc/def+g", true),
            (&*longest, true),
            ("a b", false),
            ("a\"b", false),
            (&*format!("{longest}a"), false),
            ("", false),
        ] {
            for path in ["/app/a", "/nowhere"] {
                let before = origin.all_received().len();
                let head =
                    format!("GET {path} HTTP/1.1\r\nHost: h\r\nx-correlation-ID: {sent}\r\nX-Request-Id: other\r\n");
                let response = gateway.request(format!("{head}Connection: close\r\n\r\n"));
                let id = response.field("X-Correlation-Id").expect("an id").to_owned();
                assert_eq!(response.head.to_ascii_lowercase().matches("x-correlation-id: ").count(), 1);
                assert!(if kept { id == sent } else { is_uuid7(id.as_bytes()) }, "{sent} became {id}");
                let received = String::from_utf8(origin.all_received().split_off(before)).unwrap();
                if path == "/nowhere" {
                    assert!(response.text().ends_with(&format!("\"request_id\":\"{id}\"}}\n")), "{}", response.text());
                } else {
                    assert_eq!(received.to_ascii_lowercase().matches("x-correlation-id: ").count(), 1, "{received}");
                    assert!(received.contains(&format!("\r\nX-Correlation-Id: {id}\r\n")), "{received}");
                    assert!(received.contains("\r\nX-Request-Id: other\r\n"), "a field like any other: {received}");
                }
            }
        }
    });
}

#[test]
fn whose_id_is_kept() {
    for (accept, trusted, kept) in
        [("trusted", "\"127.0.0.1\"", true), ("trusted", "", false), ("never", "\"127.0.0.1\"", false)]
    {
        let origin = Origin::start().reply("/app/a", 200, "ok");
        let file =
            FILE.replace("accept = \"always\" }", &format!("accept = \"{accept}\" }}\ntrusted_proxies = [{trusted}]"));
        let gateway = Gateway::from(&file).services(origin.address()).start();
        let request = "GET /app/a HTTP/1.1\r\nHost: h\r\nX-Correlation-Id: mine\r\nConnection: close\r\n\r\n";
        let response = gateway.request(request);
        assert_eq!(response.field("X-Correlation-Id") == Some("mine"), kept, "{accept} {trusted}");
    }
}
