//! Which protocols are passed on, how many tunnels there may be, and what a wrong configuration says.

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::http::h1::parse::{HeadLimits, Progress, ResponseContext};
use crate::snapshot::Snapshot;

fn config(upgrade: &str) -> Result<Option<Setting<UpgradeConfig>>, String> {
    let text = format!(
        "[listeners.public]\naddress = \"127.0.0.1:8080\"\n[services.app]\ntargets = [\"127.0.0.1:3000\"]\n\
         [routes.app]\npath = \"/*\"\nservice = \"app\"\n{upgrade}\n"
    );
    let config = Config::parse("test.toml", &text).map_err(|faults| faults.compact())?;
    assert!(Snapshot::compile(&config).is_ok());
    Ok(config.routes[0].upgrade.clone())
}

fn upgrade(text: &str) -> Upgrade {
    Upgrade::compile(config(text).unwrap().as_ref())
}

fn request(text: &str) -> RequestHead {
    let mut head = RequestHead::default();
    let parsed = head.parse(text.as_bytes(), &HeadLimits::default());
    assert!(matches!(parsed, Ok(Progress::Complete { .. })), "{parsed:?}");
    head
}

fn response(fields: &str) -> ResponseHead {
    let mut head = ResponseHead::default();
    let text = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{fields}\r\n");
    let context = ResponseContext { upgrade_requested: true, ..ResponseContext::default() };
    let parsed = head.parse(text.as_bytes(), &HeadLimits::default(), &context);
    assert!(matches!(parsed, Ok(Progress::Complete { .. })), "{parsed:?}");
    head
}

#[test]
fn what_the_user_writes() {
    assert_eq!(config(""), Ok(None));
    assert_eq!(config("upgrade = false"), Ok(Some(Setting::Off)));
    assert_eq!(config("upgrade = true"), Ok(Some(Setting::On(UpgradeConfig::default()))));
    let all = "upgrade = { protocols = [\"websocket\", \"foo/2\"], idle_timeout = \"1m\", lifetime = \"24h\", \
               send_timeout = false, tunnels = 5 }";
    let Upgrade::On(rules) = upgrade(all) else { panic!("it is on") };
    assert_eq!((rules.idle, rules.stall), (Some(Duration::from_secs(60)), None));
    assert_eq!((rules.lifetime, rules.most), (Some(Duration::from_secs(86_400)), 5));
    let Upgrade::On(rules) = upgrade("upgrade = { idle_timeout = false, tunnels = false }") else { panic!("it is on") };
    assert_eq!((rules.idle, rules.lifetime, rules.most), (None, None, usize::MAX));
    assert_eq!(upgrade("upgrade = false"), Upgrade::Off);
}

#[test]
fn what_is_wrong_is_named() {
    for (written, words) in [
        ("upgrade = \"websocket\"", "it must be `true`, `false`, or a table such as { protocols = [\"websocket\"] }"),
        ("upgrade = { protocols = [] }", "the list is empty"),
        ("upgrade = { protocols = \"websocket\" }", "it must be a list, such as [\"websocket\"]"),
        ("upgrade = { protocols = [\"web socket\"] }", "`web socket` is not a protocol"),
        ("upgrade = { protocols = [\"foo/\"] }", "`foo/` is not a protocol"),
        ("upgrade = { protocols = [\"H2C\"] }", "`H2C` carries HTTP again"),
        ("upgrade = { protocols = [\"TLS/1.0\"] }", "`TLS/1.0` carries HTTP again"),
        ("upgrade = { idle_timeout = \"0s\" }", "to switch it off, write `false`"),
        ("upgrade = { tunnels = -1 }", "`-1` is negative"),
        ("upgrade = { timeout = \"1s\" }", "unknown key `timeout` in `upgrade`"),
    ] {
        let said = config(written).unwrap_err();
        assert!(said.contains(words), "{written}: {said}");
    }
}

/// What is asked of the backend for a request with this Upgrade field.
fn offered(upgrade: &Upgrade, asked: &str) -> Option<String> {
    let head = request(&format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {asked}\r\n\r\n"));
    let mut offer = b"before".to_vec();
    upgrade.offer(&head, &mut offer)?;
    Some(String::from_utf8(offer).unwrap().strip_prefix("before").unwrap().to_owned())
}

#[test]
fn only_what_is_allowed_is_asked_for() {
    let any = upgrade("upgrade = true");
    let some = upgrade("upgrade = { protocols = [\"websocket\", \"foo/2\"] }");
    for (asked, of_any, of_some) in [
        ("websocket", Some("websocket"), Some("websocket")),
        ("WebSocket", Some("WebSocket"), Some("WebSocket")),
        ("h2c", None, None),
        ("h2c, websocket", Some("websocket"), Some("websocket")),
        ("HTTP/2.0, TLS/1.0, IRC/6.9", Some("IRC/6.9"), None),
        (" ,websocket ,, bar ", Some("websocket, bar"), Some("websocket")),
        ("websocket/13", Some("websocket/13"), Some("websocket/13")),
        ("foo/1, FOO/2", Some("foo/1, FOO/2"), Some("FOO/2")),
        ("foo", Some("foo"), None),
        ("web socket, /1, a/, a/b/c", None, None),
        (",", None, None),
    ] {
        assert_eq!(offered(&any, asked).as_deref(), of_any, "{asked}");
        assert_eq!(offered(&some, asked).as_deref(), of_some, "{asked}");
        assert_eq!(offered(&Upgrade::Off, asked), None, "{asked}");
    }
    assert!(some.allows(b"websocket") && some.allows(b"websocket, foo/2"));
    assert!(!some.allows(b"websocket, bar") && !some.allows(b"") && !any.allows(b"websocket, h2c"));
    assert!(any.allows(b"anything") && !Upgrade::Off.allows(b"websocket"));
}

#[test]
fn requests_that_cannot_switch_are_ordinary() {
    let any = upgrade("upgrade = true");
    let switch = "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    for (head, offers) in [
        (format!("GET / HTTP/1.1\r\n{switch}\r\n"), true),
        (format!("POST / HTTP/1.1\r\n{switch}Content-Length: 0\r\n\r\n"), true),
        (format!("POST / HTTP/1.1\r\n{switch}Content-Length: 1\r\n\r\n"), false),
        (format!("POST / HTTP/1.1\r\n{switch}Transfer-Encoding: chunked\r\n\r\n"), false),
        (format!("GET / HTTP/1.0\r\n{switch}\r\n"), false),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n".to_owned(), false),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n".to_owned(), false),
    ] {
        assert_eq!(any.offer(&request(&head), &mut Vec::new()).is_some(), offers, "{head:?}");
    }
}

#[test]
fn a_101_must_be_what_was_asked_for() {
    for (offer, fields, fits) in [
        ("websocket", "Upgrade: websocket\r\n", true),
        ("websocket", "upgrade: WebSocket\r\n", true),
        ("foo, websocket", "Upgrade: websocket, foo\r\n", true),
        ("foo", "Upgrade: foo/2\r\n", true),
        ("foo/2", "Upgrade: foo/3\r\n", false),
        ("foo/2", "Upgrade: foo\r\n", false),
        ("websocket", "Upgrade: h2c\r\n", false),
        ("websocket", "Upgrade: websocket, h2c\r\n", false),
        ("websocket", "Upgrade: websocket\r\nUpgrade: h2c\r\n", false),
        ("websocket", "Upgrade: web socket\r\n", false),
        ("websocket", "Upgrade: ,\r\n", false),
        ("websocket", "", false),
    ] {
        assert_eq!(answers(&response(fields), offer.as_bytes()), fits, "{offer} and {fields:?}");
    }
}

#[test]
fn as_many_tunnels_as_may_be_and_no_more() {
    let Upgrade::On(rules) = upgrade("upgrade = { tunnels = 3 }") else { panic!("it is on") };
    let open = Arc::new(OpenTunnels::default());
    let mut permits: Vec<Permit> = (0..3).map(|_| rules.admit(&open).unwrap()).collect();
    assert!(rules.admit(&open).is_none());
    permits.pop();
    permits.push(rules.admit(&open).unwrap());
    assert!(rules.admit(&open).is_none());
    drop(permits);
    assert_eq!(open.count(), 0);
    let Upgrade::On(none) = upgrade("upgrade = { tunnels = 0 }") else { panic!("it is on") };
    assert!(none.admit(&open).is_none());
}

/// Threads that open and close tunnels: there are never more than may be, and in the end none.
#[test]
fn the_count_is_exact_across_threads() {
    const MOST: usize = 4;
    let Upgrade::On(rules) = upgrade("upgrade = { tunnels = 4 }") else { panic!("it is on") };
    let (open, held, refused) = (Arc::new(OpenTunnels::default()), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let Some(permit) = rules.admit(&open) else {
                        refused.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                        continue;
                    };
                    assert!(held.fetch_add(1, Ordering::AcqRel) < MOST, "one too many");
                    held.fetch_sub(1, Ordering::AcqRel);
                    drop(permit);
                }
            });
        }
    });
    assert_eq!(open.count(), 0);
}

proptest! {
    /// Whatever is asked for, what is sent on is well formed, allowed, and answered only by itself.
    #[test]
    fn offers_are_allowed_and_answer_themselves(asked in "[ -~]{1,40}", listed in any::<bool>()) {
        let upgrade =
            upgrade(if listed { "upgrade = { protocols = [\"websocket\", \"a\", \"b/1\"] }" } else { "upgrade = true" });
        prop_assume!(!asked.trim().is_empty());
        if let Some(offer) = offered(&upgrade, &asked) {
            prop_assert!(upgrade.allows(offer.as_bytes()), "{offer}");
            let answer = response(&format!("Upgrade: {offer}\r\n"));
            prop_assert!(answers(&answer, offer.as_bytes()), "{offer}");
            prop_assert!(!offer.to_ascii_lowercase().split(", ").any(|one| one == "h2c"));
        }
    }
}
