//! That what is printed means what runs, and that it says where each value comes from.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::{Config, Environment};
use crate::snapshot::Snapshot;

const RICH: &str = r#"
[gateway]
drain_delay = "5s"
via = false
trusted_proxies = ["10.0.0.0/8"]
limits = { head = "4KiB", body_rate = false }
[listeners.public]
address = "${HOST:-127.0.0.1}:8080"
[listeners.inside]
address = "127.0.0.1:8081"
proxy_protocol = true
[defaults]
limits = { body = "1MiB" }
request_headers = { remove = ["X-A"], set = { X-B = "5 $$ $${x} ${client.ip}" } }
retries = { attempts = 4, backoff = "1s" }
[services.one]
targets = ["127.0.0.1:1", { address = "127.0.0.1:2", weight = 3 }]
balance = { method = "consistent_hash", by = "header:x-user" }
ejection = { ejected_for = "10m", failure_rate = 0.5 }
affinity = { cookie = "backend", max_age = "1h" }
retries = { on = ["502", "reset"] }
pool = { max_connections = 7 }
health = { path = "/h", interval = "500ms", headers = { x-a = "b" } }
fallback = { service = "two" }
timeout = "9s"
response_headers = { append = { Link = ["a", "b"] } }
[services.two]
targets = ["unix:/run/two.sock"]
balance = { method = "p2c_ewma" }
ejection = false
retries = false
fallback = { body = "later" }
health = { tcp = true }
proxy_protocol = "v2"
request_headers = false
[services.three]
targets = ["three.internal:80", "srv:_a._tcp.three"]
balance = "least_connections"
[routes.a]
hosts = ["a.example.com", "*.b.example.com"]
path = "/a/{id}/*"
methods = ["GET", "POST"]
headers = { X-Version = "2", "user-agent" = "~ ^curl", x-there = true }
query = { q = "~ \\d+" }
listeners = ["public"]
priority = -3
service = "one"
rewrite = "/b/{id}/*"
first_byte_timeout = false
retries = { attempts = 5 }
limits = { body = false }
upgrade = { protocols = ["websocket"], tunnels = false }
mirror = { service = "three", share = 0.5 }
[routes.b]
path = '~ ^/b/(?<x>[^/"]+)$'
service = [{ name = "one", weight = 9 }, { name = "two" }]
sticky = "cookie:c"
preserve_host = false
upgrade = true
limits = false
[routes.c]
path = "/c"
redirect = { scheme = "https", path = "/d${request.path}", status = 308 }
[routes.d]
path = "/d"
redirect = "https://example.com${request.path}"
[routes.e]
path = "/e"
respond = { body = "line\n\"two\" ${path.x}", headers = { X-E = "$${e}" } }
[routes.f]
path = "/f/*"
service = "two"
strip_prefix = "/f"
access_log = { sample = { slower_than = false } }
[access_log]
format = "${status} ${request.header.x-a} $$"
sample = { share = 0.5, always = ["4xx"] }
[metrics]
routes = 7
"#;

fn load(name: &str, text: &str) -> Config {
    Config::parse_in(name, text, &Environment::of([]))
        .unwrap_or_else(|faults| panic!("{text}\n{}", faults.render(false)))
}

/// All that runs, as text.
fn what_runs(config: &Config) -> String {
    let snapshot = Snapshot::compile(config).unwrap_or_else(|faults| panic!("{}", faults.render(false)));
    let Snapshot { gateway, limits, fields, listeners, admin, access_log, metrics, services, routes, outlines, .. } =
        snapshot;
    let tests = config.routes.iter().flat_map(|route| route.matches.headers.iter().chain(&route.matches.query));
    let tests: Vec<_> = tests.map(|(name, test)| (name.get_ref(), test.get_ref())).collect();
    format!(
        "{gateway:#?}\n{limits:#?}\n{fields:#?}\n{listeners:#?}\n{admin:#?}\n{access_log:#?}\n{metrics:#?}\n{services:#?}\n{routes:#?}\n{outlines:#?}\n{tests:#?}"
    )
}

fn assert_same(name: &str, config: &Config) -> String {
    let text = config.effective();
    let (is, expected) = (what_runs(&load("effective.toml", &text)), what_runs(config));
    let different = is.lines().zip(expected.lines()).find(|(is, expected)| is != expected);
    assert!(is == expected, "{name}: {different:?}\n{text}");
    text
}

#[test]
fn what_is_printed_means_what_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = fs::read_dir(root.join("config/examples")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> =
        [root.join("config/gateway.toml"), root.join("config/demo.toml")].into_iter().chain(examples).collect();
    for file in &files {
        let config = Config::load_in(file, &Environment::of([])).unwrap();
        let text = config.effective();
        if !text.contains(MASK) {
            assert_same(&file.display().to_string(), &config);
        }
    }
    let rich = RICH.replace("${path.x}", "x");
    let text = assert_same("rich", &load("rich.toml", &rich));
    // And what is printed of that is the same but for the places.
    let again = load("effective.toml", &text).effective();
    let values =
        |text: &str| text.lines().map(|line| line.split("  # ").next().unwrap().trim().to_owned()).collect::<Vec<_>>();
    let is_value = |line: &String| !line.is_empty() && !line.starts_with('#');
    let (mut once, mut twice) = (values(&text), values(&again));
    once.retain(is_value);
    twice.retain(is_value);
    assert_eq!(once.len(), twice.len(), "{again}");
}

#[test]
fn each_value_says_where_it_comes_from() {
    let text = load("rich.toml", &RICH.replace("${path.x}", "x")).effective();
    for expected in [
        "workers = 0                     # built-in\n",
        "drain_delay = \"5s\"              # rich.toml:3\n",
        "target = \"4KiB\"                 # built-in\n",
        "[listeners.public]              # rich.toml:7\naddress = \"127.0.0.1:8080\"      # rich.toml:8, \"${HOST:-127.0.0.1}:8080\"\n",
        "[services.one.retries]\nattempts = 4                    # [defaults], rich.toml:15\non = [\"502\", \"reset\"]",
        "backoff_max = \"1s\"              # built-in\n",
        "longest = \"10m\"                 # built-in\n",
        "[services.three.retries]\nattempts = 4                    # [defaults], rich.toml:15\n",
        "retries = false                 # rich.toml:31\n",
        "\n# connect_timeout = \"5s\"        # built-in\n",
        "\n# timeout = \"9s\"                # service one, rich.toml:25\n",
        "\n# retries.on = [\"502\", \"reset\"] # service one, rich.toml:21\n",
        "\n# retries.backoff = \"1s\"        # [defaults], rich.toml:15\n",
        "set = { X-B = \"5 $ $${x} ${client.ip}\" } # rich.toml:14\n",
        "# timeouts, retries and rules over fields: those of its services",
        "[routes.f.limits]\nbody = \"1MiB\"                   # [defaults], rich.toml:13\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn secrets_are_masked() {
    let text = r#"
[listeners.public]
address = "127.0.0.1:8080"
[admin]
address = "127.0.0.1:9180"
token = "0123456789abcdef-hush"
[services.s]
targets = ["127.0.0.1:1"]
affinity = { cookie = "${COOKIE_KEY}", secret = "hush-hush" }
health = { path = "/h", headers = { Authorization = "Bearer hush", Accept = "text/plain" } }
request_headers = { set = { X-Api-Key = "hush", X-Plain = "plain" }, append = { Cookie = ["hush"] } }
[routes.r]
path = "/r"
service = "s"
headers = { x-auth-token = "hush" }
"#;
    let environment = Environment::of([("COOKIE_KEY", "hush")]);
    let config = Config::parse_in("s.toml", text, &environment).unwrap();
    let effective = config.effective();
    assert!(!effective.contains("hush"), "{effective}");
    assert!(effective.contains("Accept = \"text/plain\"") && effective.contains("X-Plain = \"plain\""), "{effective}");
    let rows = config.effective_route("r", Some("s"));
    assert!(!format!("{rows:?}").contains("hush"), "{rows:?}");
}

#[test]
fn what_sounds_like_a_secret_is_masked() {
    let text = r#"
[listeners.public]
address = "127.0.0.1:8080"
[services.s]
targets = ["127.0.0.1:1"]
health = { path = "/h?key=${HEALTH_PASS}" }
[services.s.request_headers.set]
X-Signature = "${HMAC}"
X-Auth = "${BACKEND_AUTH}"
X-Session = "hush"
X-Some = "${HMAC}"
X-Author = "plain"
[routes.r]
path = "/r"
service = "s"
headers = { x-session = "hush", x-there = "there" }
query = { key = "hush", code = "${HMAC}" }
"#;
    let environment = Environment::of([("HMAC", "hush"), ("HEALTH_PASS", "hush"), ("BACKEND_AUTH", "hush")]);
    let config = Config::parse_in("s.toml", text, &environment).unwrap();
    let effective = config.effective();
    assert!(!effective.contains("hush"), "{effective}");
    for expected in [
        "headers = { x-session = \"***\", x-there = \"there\" }",
        "query = { key = \"***\", code = \"***\" }",
        "X-Author = \"plain\"",
        "path = \"***\"                    # s.toml:6, \"/h?key=${HEALTH_PASS}\"\n",
    ] {
        assert!(effective.contains(expected), "{expected}\n{effective}");
    }
    let rows = config.effective_route("r", Some("s"));
    assert!(!format!("{rows:?}").contains("hush"), "{rows:?}");
}

#[test]
fn defaults_of_secrets_are_masked() {
    let text = r#"
[listeners.public]
address = "127.0.0.1:8080"
[admin]
address = "127.0.0.1:9180"
token = "${TOK:-hush0123456789abcdef}"
[services.s]
targets = ["${HOST:-127.0.0.1}:1"]
affinity = { cookie = "${COOKIE_KEY:-hush}", secret = "hush-${A}-${B:-hush-hush}" }
[routes.r]
path = "/r"
service = "s"
"#;
    let environment = Environment::of([("A", "a"), ("TOK", "")]);
    let config = Config::parse_in("s.toml", text, &environment).unwrap();
    let effective = config.effective();
    assert!(!effective.contains("hush"), "{effective}");
    for expected in [
        "token = \"***\"                   # s.toml:6, \"${TOK:-***}\"\n",
        "# s.toml:9, \"${COOKIE_KEY:-***}\"\n",
        "secret = \"***\"                  # s.toml:9, \"***${A}***${B:-***}\"\n",
    ] {
        assert!(effective.contains(expected), "{expected}\n{effective}");
    }
    let rows = config.effective_route("r", Some("s"));
    assert!(!format!("{rows:?}").contains("hush"), "{rows:?}");
}

/// What is said of a route is what runs.
#[test]
fn what_is_said_of_routes_runs() {
    let config = load("rich.toml", &RICH.replace("${path.x}", "x"));
    let snapshot = Snapshot::compile(&config).unwrap();
    let value = |rows: &[Row], path: &[&str]| {
        let row = rows.iter().find(|row| row.path == path);
        row.map(|row| (row.value.clone(), row.source.to_string()))
    };
    let pair = |value: &str, source: &str| Some((value.to_owned(), source.to_owned()));
    let a = config.effective_route("a", Some("one"));
    assert_eq!(value(&a, &["routes", "a", "timeout"]), pair("\"9s\"", "service one, rich.toml:25"));
    assert_eq!(value(&a, &["routes", "a", "first_byte_timeout"]), pair("false", "rich.toml:49"));
    assert_eq!(value(&a, &["routes", "a", "retries", "attempts"]), pair("5", "rich.toml:50"));
    assert_eq!(value(&a, &["routes", "a", "retries", "backoff"]), pair("\"1s\"", "[defaults], rich.toml:15"));
    assert_eq!(value(&a, &["routes", "a", "retries", "body"]), pair("\"64KiB\"", "built-in"));
    assert_eq!(value(&a, &["services", "one", "pool", "max_connections"]), pair("7", "rich.toml:22"));
    let route = &snapshot.routes[0];
    assert_eq!(route.timeouts.total.map(|total| total.as_secs()), Some(9));
    let retries = route.retries.as_ref().unwrap();
    assert_eq!((retries.attempts, retries.backoff.as_secs(), retries.body), (5, 1, 64 << 10));
    // The rules of all scopes, the widest first; those of the defaults are dropped by one that says `false`.
    let rules = |rows: &[Row]| rows.iter().filter(|row| row.path[2] == "request_headers").count();
    assert_eq!((rules(&a), rules(&config.effective_route("f", Some("two")))), (1, 0));
    let f = config.effective_route("f", Some("two"));
    let sample = |key| value(&f, &["routes", "f", "access_log", "sample", key]);
    assert_eq!(sample("slower_than"), pair("false", "rich.toml:74"));
    assert_eq!(sample("share"), pair("0.5", "[access_log], rich.toml:77"));
    let e = config.effective_route("e", None);
    assert_eq!(value(&e, &["routes", "e", "timeout"]), None);
    assert_eq!(value(&e, &["routes", "e", "limits", "body"]), pair("\"1MiB\"", "[defaults], rich.toml:13"));
}
