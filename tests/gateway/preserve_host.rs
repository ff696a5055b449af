//! `config/examples/preserve_host.toml`: whose Host a service gets.

use crate::harness::message::normal;
use crate::harness::{Gateway, Origin};

#[test]
fn the_client_s_host_or_the_target_s_own() {
    let origin = Origin::start();
    let gateway =
        Gateway::from(include_str!("../../config/examples/preserve_host.toml")).services(origin.address()).start();
    let own = origin.address().to_string();
    for (request, reached) in [
        (
            "GET /a HTTP/1.1\r\nA: 1\r\nhost: h.test:81\r\n",
            "GET /a HTTP/1.1\r\nA: 1\r\nhost: h.test:81\r\n{for h.test:81}\r\n\r\n",
        ),
        ("GET http://x.test/a HTTP/1.1\r\nHost: h\r\n", "GET /a HTTP/1.1\r\nHost: x.test\r\n{for x.test}\r\n\r\n"),
        (
            "GET /theirs/a HTTP/1.1\r\nA: 1\r\nhost: h.test:81\r\n",
            "GET /theirs/a HTTP/1.1\r\nHost: {own}\r\nA: 1\r\n{for h.test:81}\r\n\r\n",
        ),
        (
            "GET http://x.test/theirs/a HTTP/1.1\r\nHost: h\r\n",
            "GET /theirs/a HTTP/1.1\r\nHost: {own}\r\n{for x.test}\r\n\r\n",
        ),
        ("GET /theirs/a HTTP/1.0\r\n", "GET /theirs/a HTTP/1.1\r\nHost: {own}\r\n{for nobody, 1.0}\r\n\r\n"),
    ] {
        let before = origin.all_received().len();
        assert_eq!(gateway.request(format!("{request}Connection: close\r\n\r\n")).status, 404);
        let received = normal(&origin.all_received().split_off(before));
        assert_eq!(received, reached.replace("{own}", &own), "{request}");
    }
}
