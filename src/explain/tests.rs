//! What is said of requests, and that it is what would happen.

use super::*;
use crate::config::Environment;

const TABLE: &str = r#"
[gateway.limits]
target = "64B"
[listeners.public]
address = "127.0.0.1:8080"
[listeners.inside]
address = "127.0.0.1:8081"
[defaults]
limits = { body = "1KiB" }
[services.users]
targets = ["127.0.0.1:1"]
timeout = "9s"
[services.next]
targets = ["127.0.0.1:2"]
[routes.all]
service = "users"
[routes.user]
hosts = ["api.example.com", "*.example.com"]
path = "/users/{id}"
service = [{ name = "users", weight = 2 }, { name = "next", weight = 1 }]
rewrite = "/people/{id}"
[routes.change]
hosts = ["api.example.com"]
path = "/users/{id}"
methods = ["PUT", "DELETE"]
headers = { x-version = "~ ^v[0-9]$" }
service = "users"
[routes.admin]
hosts = ["api.example.com"]
path = "/users/{id}"
headers = { x-auth-token = "hush" }
query = { region = "eu", debug = true }
service = "users"
timeout = "1s"
[routes.private]
priority = 10
path = "/users/*"
listeners = ["inside"]
service = "users"
[routes.upload]
hosts = ["up.example.org"]
path = "/up"
methods = ["POST"]
service = "users"
upgrade = true
[routes.moved]
hosts = ["old.example.org"]
path = "/*"
redirect = { scheme = "https", host = "www.example.org", status = 308 }
[routes.robots]
hosts = ["old.example.org"]
path = "/robots.txt"
respond = { body = "${request.path} for ${service}all" }
"#;

fn ask_with(method: &str, url: &str, fields: &[&str], listener: Option<&str>) -> Result<Explanation, String> {
    let config = Config::parse_in("table.toml", TABLE, &Environment::of([])).unwrap();
    let snapshot = Snapshot::compile(&config).unwrap();
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    let listener = listener.map(str::to_owned);
    explain(&config, &snapshot, &Question { method: method.into(), url: url.into(), fields, listener })
}

fn ask(method: &str, url: &str, fields: &[&str]) -> Explanation {
    ask_with(method, url, fields, None).unwrap()
}

fn taken(explanation: &Explanation) -> &Taken {
    let Outcome::Taken(taken) = &explanation.outcome else { panic!("{explanation}") };
    taken
}

fn reasons(near: &[Near]) -> Vec<String> {
    near.iter().map(|near| format!("{}: {}", near.route, near.reason)).collect()
}

#[test]
fn the_route_and_all_that_came_close() {
    let explanation = ask("GET", "http://api.example.com/users/7?region=eu", &["X-Auth-Token: hush", "x-version: 8"]);
    assert_eq!(taken(&explanation).route, "user");
    assert_eq!(
        reasons(&explanation.candidates),
        [
            "private: listener: it serves at inside alone, and this is public",
            "admin: query `debug`: it must be there, and is not there",
            "change: header `x-version`: it must match ^v[0-9]$, and is \"8\"",
            "user: takes it",
            "all: would take it, too, but `user` comes first: its host is more specific (api.example.com over any host)",
        ]
    );
    let secret = ask("GET", "http://api.example.com/users/7", &[]);
    assert_eq!(reasons(&secret.candidates)[1], "admin: header `x-auth-token`: it must have another value");
    let method = ask("GET", "http://api.example.com/users/7", &["x-version: v1"]);
    assert_eq!(reasons(&method.candidates)[2], "change: method: it takes PUT, DELETE alone");

    let inside = ask_with("GET", "http://a.example.com:8081/users/7", &[], None).unwrap();
    assert_eq!((inside.request.listener.as_str(), taken(&inside).route.as_str()), ("inside", "private"));
    let by = "user: would take it, too, but `private` comes first: its priority is higher (10 over 0)";
    assert_eq!(reasons(&inside.candidates)[1], by);
    let named = ask_with("GET", "/users/7", &[], Some("inside")).unwrap();
    assert_eq!(reasons(&named.candidates)[1], by.replace("user:", "all:"));

    let admin = ask("GET", "http://api.example.com/users/7?region=eu&debug", &["X-Auth-Token: hush"]);
    assert_eq!(taken(&admin).route, "admin");
    let more = "user: would take it, too, but `admin` comes first: it has more conditions (3 over 0)";
    assert_eq!(reasons(&admin.candidates)[3], more);
}

#[test]
fn secrets_are_not_said() {
    let text = r#"
[listeners.public]
address = "127.0.0.1:8080"
[services.s]
targets = ["127.0.0.1:1"]
affinity = { cookie = "c", secret = "${TOK:-hush-hush}" }
[routes.r]
path = "/*"
service = "s"
[routes.key]
priority = 1
path = "/*"
query = { key = "hush" }
service = "s"
[routes.signed]
priority = 2
path = "/*"
headers = { x-plain = "${HMAC}" }
service = "s"
"#;
    let config = Config::parse_in("s.toml", text, &Environment::of([("HMAC", "hush")])).unwrap();
    let snapshot = Snapshot::compile(&config).unwrap();
    let question = Question { method: "GET".into(), url: "/".into(), ..Question::default() };
    let explanation = explain(&config, &snapshot, &question).unwrap();
    let (text, json) = (explanation.to_string(), explanation.to_json().to_string());
    assert!(text.contains("${TOK:-***}") && !text.contains("hush"), "{text}");
    assert!(json.contains("${TOK:-***}") && !json.contains("hush"), "{json}");
    let mut reasons = reasons(&explanation.candidates);
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "key: query `key`: it must have another value",
            "r: takes it",
            "signed: header `x-plain`: it must have another value",
        ]
    );
}

#[test]
fn what_is_made_of_secrets_is_not_said() {
    let text = r#"
[listeners.public]
address = "127.0.0.1:8080"
[services.s]
targets = ["127.0.0.1:1"]
[routes.sent]
path = "/sent"
service = "s"
rewrite = "/${KEY}"
[routes.moved]
path = "/moved"
redirect = "https://x/${KEY}"
[routes.answered]
path = "/answered"
respond = { status = 200, body = "${KEY}" }
"#;
    let config = Config::parse_in("s.toml", text, &Environment::of([("KEY", "hush")])).unwrap();
    let snapshot = Snapshot::compile(&config).unwrap();
    for (path, expected) in [
        ("/sent", "sent on to service `s` as ***"),
        ("/moved", "Location: ***"),
        ("/answered", "answered with 200, and a body that may be a secret"),
    ] {
        let question = Question { method: "GET".into(), url: path.into(), ..Question::default() };
        let explanation = explain(&config, &snapshot, &question).unwrap();
        let (text, json) = (explanation.to_string(), explanation.to_json().to_string());
        assert!(text.contains(expected) && !text.contains("hush") && !json.contains("hush"), "{text}{json}");
    }
}

#[test]
fn what_becomes_of_it() {
    let user = ask("GET", "http://API.example.com/x/../users/%37?a=b", &[]);
    assert_eq!((user.request.path.as_str(), user.request.query.as_deref()), ("/users/7", Some("a=b")));
    let user = taken(&user);
    assert_eq!(user.captures, [("id".to_owned(), "7".to_owned())]);
    let Does::Sends { target, services } = &user.does else { panic!("{user:?}") };
    assert_eq!(target, "/people/7?a=b");
    assert_eq!(
        services.iter().map(|(name, share)| format!("{name} {share}")).collect::<Vec<_>>(),
        ["users 66.7%", "next 33.3%"]
    );
    let value = |policies: &Policies, key: &str| {
        let row = policies.rows.iter().find(|row| row.path[2..].join(".") == key).unwrap();
        format!("{} {}", row.value, row.source)
    };
    assert_eq!(value(&user.policies[0], "timeout"), "\"9s\" service users, table.toml:12");
    assert_eq!(value(&user.policies[1], "timeout"), "false built-in");
    assert_eq!(value(&user.policies[0], "limits.body"), "\"1KiB\" [defaults], table.toml:9");

    let moved = ask("GET", "https://old.example.org/a?b", &[]);
    let Does::Redirects { status, location } = &taken(&moved).does else { panic!("{moved}") };
    assert_eq!((*status, location.as_str()), (308, "https://www.example.org/a?b"));
    let robots = ask("GET", "http://old.example.org/robots.txt", &[]);
    let Does::Answers { status, body } = &taken(&robots).does else { panic!("{robots}") };
    assert_eq!((*status, body.as_str()), (200, "/robots.txt for all"));
    assert_eq!(
        reasons(&robots.candidates)[1],
        "moved: would take it, too, but `robots` comes first: its path is more specific (/robots.txt over /*)"
    );
}

#[test]
fn what_is_refused() {
    let status = |explanation: Explanation| match explanation.outcome {
        Outcome::Taken(taken) => taken.route,
        Outcome::MethodNotAllowed { allow } => format!("405 {allow}"),
        Outcome::NoRoute => "404".into(),
        Outcome::Refused { status, .. } => status.to_string(),
    };
    for (method, url, fields, expected) in [
        ("GET", "/", &[][..], "all"),
        ("GET", "http://up.example.org/up", &[], "all"),
        ("OPTIONS", "*", &[], "404"),
        ("GET", "/..", &[], "400"),
        ("GET", "/%zz", &[], "400"),
        ("get", "/", &[], "400"),
        ("CONNECT", "/", &[], "501"),
        ("GET", "/users/0123456789012345678901234567890123456789012345678901234567890", &[], "414"),
        ("GET", "http://a b/", &[], "400"),
        ("GET", "/", &["a b: c"], "400"),
        ("GET", "/", &["Host: up.example.org", "Host: x"], "all"),
    ] {
        assert_eq!(status(ask(method, url, fields)), expected, "{method} {url}");
    }
    let config = TABLE.replace("[routes.all]\nservice", "[routes.all]\nhosts = [\"nowhere.example\"]\nservice");
    let config = Config::parse_in("table.toml", &config, &Environment::of([])).unwrap();
    let snapshot = Snapshot::compile(&config).unwrap();
    let ask = |method: &str, url: &str| {
        let question = Question { method: method.into(), url: url.into(), ..Question::default() };
        explain(&config, &snapshot, &question).unwrap()
    };
    assert_eq!(status(ask("GET", "http://up.example.org/up")), "405 POST");
    let missed = ask("POST", "http://up.example.org/up/");
    assert_eq!(reasons(&missed.elsewhere)[0], "upload: would take the path /up");
    assert_eq!(status(missed), "404");
    let other = ask("GET", "http://old.example.com/a");
    assert_eq!(reasons(&other.elsewhere)[0], "moved: would take it for the host old.example.org");
}

#[test]
fn what_the_request_says_of_itself() {
    let large = ask("POST", "http://up.example.org/up", &["Content-Length: 5000"]);
    assert_eq!(taken(&large).notes, ["its body of 5000 bytes is too large, and is refused with 413"]);
    let post = ["Connection: upgrade", "Upgrade: websocket"];
    let switched = ask("POST", "http://up.example.org/up", &post);
    assert_eq!(taken(&switched).notes, ["the service is asked to switch to websocket"]);
    assert!(taken(&ask("GET", "http://a.example/", &post)).notes[0].starts_with("its Upgrade is not sent on"));
}

#[test]
fn what_nobody_could_send() {
    for (url, fields, listener, words) in [
        ("ftp://a/", &[][..], None, "`ftp` is not a scheme of HTTP"),
        ("api.example.com/x", &[], None, "write http://api.example.com/x or /api.example.com/x"),
        ("/", &["no colon"], None, "`no colon` is not a field"),
        ("/", &["a: b\r\nc: d"], None, "`a: b\\r\\nc: d` is not a field"),
        ("/", &[], Some("publik"), "there is no listener `publik`; did you mean `public`?"),
    ] {
        let problem = ask_with("GET", url, fields, listener).unwrap_err();
        assert!(problem.contains(words), "{url}: {problem}");
    }
}

#[test]
fn people_and_programs_are_told_the_same() {
    let explanation = ask("GET", "http://api.example.com/users/7?a=b", &[]);
    let text = explanation.to_string();
    for line in [
        "GET /users/7?a=b, host api.example.com, listener public\n\nroute `user` takes it (table.toml:17)\n  id = 7\n",
        "  sent on to service `users` (66.7%), `next` (33.3%) as /people/7?a=b\n",
        "\n  user     takes it (table.toml:17)\n",
        "\nWhat holds with service `users`:\n",
        "  timeout = \"9s\"                              # service users, table.toml:12\n",
        "  targets = [\"127.0.0.1:2\"]                   # table.toml:14\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("hush"));
    let json = explanation.to_json();
    assert_eq!((&json["outcome"], &json["route"]["name"]), (&"taken".into(), &"user".into()));
    assert_eq!((&json["route"]["target"], &json["route"]["captures"]["id"]), (&"/people/7?a=b".into(), &"7".into()));
    assert_eq!(json["candidates"].as_array().unwrap().len(), explanation.candidates.len());
    let refused = ask("GET", "/%zz", &[]).to_json();
    assert_eq!(
        (&refused["outcome"], &refused["status"], &refused["route"]),
        (&"refused".into(), &400.into(), &serde_json::Value::Null)
    );
    assert!(ask("GET", "/%zz", &[]).to_string().contains("refused with 400: "));
}
