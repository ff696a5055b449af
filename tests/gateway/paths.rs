//! `config/examples/paths.toml`: one path in many spellings, and the path as it was received.

use crate::harness::{Driver, Gateway, Origin};

#[test]
fn what_is_matched_is_sent_on_unless_asked_for_raw() {
    let (app, signed) = (Origin::named("app"), Origin::named("signed"));
    let boot = || {
        Gateway::from(include_str!("../../config/examples/paths.toml"))
            .service("app", app.address())
            .service("signed", signed.address())
            .driver(Driver::Epoll)
    };
    let gateway = boot().start();
    for (target, expected) in [
        ("/app/x", "app /app/x"),
        ("//app///x//?y//z", "app /app/x/?y//z"),
        ("/x/..//app/./%7Ex", "app /app/~x"),
        ("/app%2Fx/../app/a%2fb", "app /app/a%2Fb"),
        ("/app/%ff%c0%ae", "app /app/%FF%C0%AE"),
        ("/app/a%5cb", "app /app/a%5Cb"),
        ("/app/../signed/x", "signed /app/../signed/x"),
        ("/signed//%7Ex%2f/.?a=%7E", "signed /signed//%7Ex%2f/.?a=%7E"),
    ] {
        assert_eq!(gateway.get(target).text(), expected, "{target}");
    }
    for (target, code) in [
        ("/signed/../app%2f..", "bad_path"),
        ("/signed/../..", "bad_path"),
        ("/signed%2Fx", "no_route"),
        ("/signed/..", "no_route"),
        ("/app/%00", "bad_percent_encoding"),
        ("/app/a\\b", "bad_target"),
    ] {
        assert_eq!(gateway.get(target).code(), code, "{target}");
    }
    let kept = boot().with(|config| config.gateway.merge_slashes = false).start();
    assert_eq!(kept.get("/app//x/").text(), "app /app//x/");
    assert_eq!(kept.get("//app/x").code(), "no_route");
}
