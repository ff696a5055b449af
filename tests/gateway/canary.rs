//! `config/examples/canary.toml`: a share of the users gets the new version.

use crate::harness::{Gateway, Origin};

#[test]
fn users_are_shared_by_weight_and_stay() {
    let [stable, canary] = ["stable", "canary"].map(|name| Origin::start().reply("/", 200, name));
    let gateway = Gateway::from(include_str!("../../config/examples/canary.toml"))
        .service("stable", stable.address())
        .service("canary", canary.address())
        .start();
    let mut client = gateway.connect();
    let mut at = |user: usize| {
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX-User: {user}\r\n\r\n"));
        client.response().text() == "canary"
    };
    let first: Vec<bool> = (0..300).map(&mut at).collect();
    // The hash has no secret: the same users are chosen every time.
    let with_canary = first.iter().filter(|canary| **canary).count();
    assert!((15..50).contains(&with_canary), "{with_canary} of 300 where 30 are expected");
    assert_eq!((0..300).map(&mut at).collect::<Vec<_>>(), first);
}
