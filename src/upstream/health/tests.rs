//! Tables of configurations and of verdicts, and the verdicts against a model that keeps every check.

use proptest::prelude::*;
use toml::de::DeTable;

use super::*;
use crate::base::decode::{Diagnostic, Section};

/// Reads the keys of a `health` table.
fn read(keys: &str) -> Result<HealthConfig, Vec<Diagnostic>> {
    let tree = DeTable::parse(keys).unwrap();
    let mut faults = Vec::new();
    let config = HealthConfig::read(Section::new("`health`", 0..0, tree.get_ref(), &mut faults));
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

#[test]
fn a_path_is_enough() {
    let checks = Checks::compile(&read("path = \"/health?deep=1\"").unwrap());
    let Probe::Http(question) = &checks.probe else { panic!("{checks:?}") };
    assert_eq!(
        (question.method, &*question.path, &question.host, &question.body),
        ("GET", "/health?deep=1", &None, &None)
    );
    assert!(question.statuses.contains(200) && question.statuses.contains(299) && !question.statuses.contains(300));
    assert_eq!((checks.interval, checks.timeout), (Duration::from_secs(5), Duration::from_secs(1)));
    assert_eq!(checks.thresholds, Thresholds { healthy: 2, unhealthy: 3 });
    assert_eq!((checks.jitter, checks.port), (Jitter(100), None));
}

#[test]
fn every_key_arrives() {
    let text = "path = \"/h\"\nmethod = \"OPTIONS\"\nhost = \"[::1]:80\"\nheaders = { x-b = \"1\", a = \"2\" }\n\
        statuses = [\"2xx\", 301]\nbody = \"~ ^o.\"\nport = 8081\ninterval = \"200ms\"\njitter = 0\ntimeout = \"150ms\"\n\
        healthy = 1\nunhealthy = 7\n";
    let checks = Checks::compile(&read(text).unwrap());
    let Probe::Http(question) = &checks.probe else { panic!("{checks:?}") };
    assert_eq!((question.method, question.host.as_deref()), ("OPTIONS", Some("[::1]:80")));
    let headers: Vec<(&str, &str)> = question.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(headers, [("x-b", "1"), ("a", "2")]);
    assert_eq!(question.statuses.to_string(), "2xx, 301");
    assert!(question.statuses.contains(301) && !question.statuses.contains(302));
    let rule = question.body.as_ref().unwrap();
    assert!(rule.admits(b"ok") && !rule.admits(b"not ok"));
    assert_eq!((checks.port, checks.timeout), (Some(8081), Duration::from_millis(150)));
    assert_eq!(checks.thresholds, Thresholds { healthy: 1, unhealthy: 7 });
}

#[test]
fn a_connection_may_be_enough_and_a_short_interval_shortens_the_timeout() {
    let checks = Checks::compile(&read("tcp = true\ninterval = \"200ms\"").unwrap());
    assert_eq!((&checks.probe, checks.timeout), (&Probe::Tcp, Duration::from_millis(200)));
}

#[test]
fn text_is_looked_for_anywhere_and_may_be_any_bytes() {
    let rule = BodyRule::new("ok").unwrap();
    assert!(rule.admits(b"\xff is ok\0") && !rule.admits(b"o k") && !rule.admits(b""));
}

#[test]
fn errors_say_what_to_write() {
    for (keys, message, help) in [
        (
            "",
            "`health` has no `path`",
            "add a line such as: path = \"/health\", or tcp = true for a check that only connects",
        ),
        ("path = \"health\"", "`health` does not begin with a slash", "write \"/health\""),
        ("path = \"/a b\"", "`/a b` has ` `, which no request can have", "%20"),
        ("path = \"/a#b\"", "has `#`", "percent escapes"),
        ("path = \"/\"\nmethod = \"POST\"", "does not ask with `POST`", "write \"GET\", \"HEAD\" or \"OPTIONS\""),
        ("path = \"/\"\nhost = \"a b\"", "`a b` cannot be the value of a Host field", "users.internal:8080"),
        ("path = \"/\"\nheaders = { Host = \"a\" }", "writes the field `Host` itself", "write `host = \"...\"`"),
        ("path = \"/\"\nheaders = { Connection = \"close\" }", "writes the field `Connection` itself", "leave it out"),
        ("path = \"/\"\nheaders = { \"a b\" = \"1\" }", "`a b` cannot be the name of a field", "letters, digits"),
        ("path = \"/\"\nheaders = { a = \"1\\r\\nb: 2\" }", "this cannot be the value of `a`", "one line"),
        ("path = \"/\"\nheaders = { a = 1 }", "the value of `a` is a whole number", "is a string"),
        ("path = \"/\"\nstatuses = []", "no status counts as well", "[\"2xx\", 301]"),
        ("path = \"/\"\nstatuses = [\"6xx\"]", "`6xx` is no status", "write a list such as"),
        ("path = \"/\"\nstatuses = 200", "cannot be a whole number", "a list, such as"),
        (
            "path = \"/\"\nbody = \"~ (\"",
            "`~ (` is not a regular expression: error: unclosed group",
            "leave out the `~`",
        ),
        ("path = \"/\"\nbody = \"\"", "every body has this", "leave it out"),
        ("path = \"/\"\nmethod = \"HEAD\"\nbody = \"ok\"", "cannot be checked with HEAD", "method = \"GET\""),
        ("path = \"/\"\nport = 65536", "this is not a port", "from 1 to 65535"),
        ("path = \"/\"\ninterval = \"1ms\"", "`1ms` is too short", "from 10ms to 24h"),
        ("path = \"/\"\njitter = 0.6", "may differ by", "from 0 to 0.5"),
        ("path = \"/\"\ntimeout = \"6s\"", "`timeout` (6s) is longer than `interval` (5s)", "make `timeout` shorter"),
        ("path = \"/\"\nhealthy = 0", "`0` is too small", "from 1 to 100"),
        ("tcp = true\nbody = \"ok\"", "`body` is for checks over HTTP", "leave out `body`, or leave out `tcp`"),
        ("tcp = 1", "cannot be a whole number", "`true` or `false`"),
        ("path = \"/\"\nrise = 2", "unknown key `rise` in `health`", "there is only: tcp, path, "),
    ] {
        let faults = read(keys).unwrap_err();
        let fault = faults.iter().find(|fault| fault.message.contains(message));
        let fault = fault.unwrap_or_else(|| panic!("{keys}: {faults:?}"));
        assert!(fault.help.as_ref().unwrap().contains(help), "{keys}: {fault:?}");
    }
}

#[test]
fn the_first_check_decides_and_later_ones_in_a_row() {
    use Health::{Down, Up};
    let thresholds = Thresholds { healthy: 2, unhealthy: 3 };
    // `+` is a check that passed, `-` one that failed; what is news after each.
    for (checks, news) in [
        ("+", &[Some(Up)][..]),
        ("-", &[Some(Down)]),
        ("+---", &[Some(Up), None, None, Some(Down)]),
        ("+--+--", &[Some(Up), None, None, None, None, None]),
        ("-+-++", &[Some(Down), None, None, None, Some(Up)]),
        ("-++---++", &[Some(Down), None, Some(Up), None, None, Some(Down), None, Some(Up)]),
    ] {
        let mut verdict = Verdict::new(Health::Unknown);
        let is: Vec<_> = checks.chars().map(|check| verdict.note(check == '+', thresholds)).collect();
        assert_eq!(is, news, "{checks}");
    }
    let mut kept = Verdict::new(Down);
    assert_eq!((kept.note(true, thresholds), kept.against(), kept.health()), (None, 1, Down));
}

/// What is held after all of `checks`, found by looking at all of them again.
fn model(checks: &[bool], thresholds: Thresholds) -> Health {
    let (mut health, mut since) = (Health::Unknown, 0);
    for end in 1..=checks.len() {
        let of = |passed: bool| checks[since..end].iter().rev().take_while(|&&check| check == passed).count();
        let (passes, failures) = (of(true), of(false));
        let next = match health {
            Health::Unknown if checks[0] => Health::Up,
            Health::Unknown => Health::Down,
            Health::Up if failures >= thresholds.unhealthy as usize => Health::Down,
            Health::Down if passes >= thresholds.healthy as usize => Health::Up,
            same => same,
        };
        if next != health {
            (health, since) = (next, end);
        }
    }
    health
}

proptest! {
    #[test]
    fn verdicts_are_those_of_the_model(checks in prop::collection::vec(any::<bool>(), 0..60), healthy in 1..5u32, unhealthy in 1..5u32) {
        let thresholds = Thresholds { healthy, unhealthy };
        let mut verdict = Verdict::new(Health::Unknown);
        for (at, &passed) in checks.iter().enumerate() {
            let before = verdict.health();
            let news = verdict.note(passed, thresholds);
            prop_assert_eq!(verdict.health(), model(&checks[..=at], thresholds));
            prop_assert_eq!(news, (verdict.health() != before).then_some(verdict.health()));
        }
    }

    #[test]
    fn pauses_stay_within_the_jitter(random in 0.0..=1.0f64, jitter in 0..=500u16) {
        let checks = Checks { jitter: Jitter(jitter), ..Checks::compile(&HealthConfig::default()) };
        let share = checks.pause(random).as_secs_f64() / checks.interval.as_secs_f64();
        prop_assert!((share - 1.0).abs() <= f64::from(jitter) / 1000.0 + 1e-9);
        prop_assert_eq!(Checks { jitter: Jitter(0), ..checks }.pause(random), Duration::from_secs(5));
    }
}
