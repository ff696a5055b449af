//! `config/examples/affinity.toml`: a cookie keeps each client at its target.

use crate::harness::{Gateway, Origin, on_both_drivers};

#[test]
fn the_cookie_is_set_once_and_leads_back() {
    on_both_drivers(|driver| {
        let origins = ["one", "two", "three"].map(|name| Origin::start().reply("/", 200, name));
        let gateway = Gateway::from(include_str!("../../config/examples/affinity.toml"))
            .targets("app", &[origins[0].address(), origins[1].address(), origins[2].address()])
            .driver(driver)
            .start();
        for _ in 0..3 {
            let first = gateway.get("/");
            let cookie = first.field("set-cookie").expect("a cookie").to_owned();
            assert!(
                cookie.starts_with("backend=") && cookie.contains("; Secure") && cookie.contains("; HttpOnly"),
                "{cookie}"
            );
            let pair = cookie.split(';').next().expect("a pair");
            for _ in 0..4 {
                let request = format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; {pair}\r\n\r\n");
                let again = gateway.request(request);
                assert_eq!(again.text(), first.text());
                assert_eq!(again.field("set-cookie"), None, "the client has it already");
            }
        }
        let forged = gateway.request("GET / HTTP/1.1\r\nHost: h\r\nCookie: backend=0000000000000000\r\n\r\n");
        assert!(forged.field("set-cookie").is_some(), "a cookie that names no target is replaced");
    });
}
