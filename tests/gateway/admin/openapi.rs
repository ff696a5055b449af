//! The document of the admin listener: it names all that there is, and every answer is what it says.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::control::operations::LogLevel;

use super::schema::faults;
use super::{exchange, json, request};
use crate::harness::{Client, Driver, Gateway, Origin, Response, eventually, on_both_drivers};
use crate::health::{ask, ask_json};

/// A configuration that has something of everything that is shown.
const RICH: &str = r#"
[gateway]
dns = { servers = ["127.0.0.1"], attempts = 1, timeout = "10ms" }
[admin]
address = "127.0.0.1:0"
token = "a-token-that-nobody-may-see"
hosts = ["gateway.internal"]
[listeners.public]
address = "127.0.0.1:0"
[listeners.more]
address = "127.0.0.1:0"
[services.app]
targets = ["127.0.0.1:0"]
balance = { method = "consistent_hash", by = "ip" }
slow_start = "10s"
affinity = { cookie = "backend", secret = "a-secret-that-nobody-may-see" }
health = { path = "/health", interval = "10ms", headers = { authorization = "Bearer a-secret-that-nobody-may-see" } }
ejection = { failure_rate = 0.5 }
fallback = { status = 200, body = "closed" }
[services.spare]
targets = ["unix:/nowhere/spare.sock", { address = "nobody.invalid:80", weight = 3 }]
health = { tcp = true }
ejection = false
fallback = { service = "app" }
balance = "p2c_ewma"
pool = { max_connections = 3 }
[routes.app]
path = "/app/{id}/*"
hosts = ["a.example", "*.example.org"]
methods = ["GET", "PUT"]
headers = { x-key = "a-secret-that-nobody-may-see", x-any = true }
query = { page = "~ ^[0-9]+$" }
listeners = ["public"]
priority = -7
service = [{ name = "app", weight = 9 }, { name = "spare", weight = 1 }]
sticky = "ip"
mirror = { service = "app2", share = 0.5 }
rewrite = "/{id}"
upgrade = { lifetime = "24h" }
retries = { on = ["timeout", "5xx"] }
request_headers = { set = { Authorization = "Bearer a-secret-that-nobody-may-see" } }
[services.app2]
targets = ["127.0.0.1:0"]
[routes.all]
path = "/*"
service = "app2"
retries = false
limits = false
timeout = "30s"
[routes.moved]
path = "/moved"
redirect = "https://www.example.com/"
[routes.fixed]
path = "/fixed"
respond = { status = 200, body = "fixed" }
"#;

/// A gateway that serves on for `delay` when it is told to end.
fn start(driver: Driver, origin: &Origin, delay: Duration) -> Gateway {
    // A target has a port; the origin's is put in below.
    let port = origin.address().port();
    let (head, targets) = RICH.split_once("[services.app]").expect("it is there");
    let text = format!("{head}[services.app]{}", targets.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    let written = tidegate::config::Config::parse("test.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    let gateway = Gateway::from(&text)
        .with(|config| {
            config.gateway.drain_delay = tidegate::base::units::Setting::On(delay);
            for (service, written) in config.services.iter_mut().zip(&written.services) {
                service.targets.clone_from(&written.targets);
            }
        })
        .driver(driver)
        .workers(2)
        .start();
    let level = Mutex::new("info".to_owned());
    let level: &'static Mutex<String> = Box::leak(Box::new(level));
    gateway.running().operations().on_log_level(LogLevel {
        get: Box::new(|| level.lock().expect("no panic").clone()),
        set: Box::new(|wanted| match wanted {
            "loud" => Err("There is no level `loud`".to_owned()),
            _ => {
                *level.lock().expect("no panic") = wanted.to_owned();
                Ok(())
            }
        }),
    });
    gateway
}

const TOKEN: &str = "Authorization: Bearer a-token-that-nobody-may-see\r\n";

fn call(gateway: &Gateway, method: &str, path: &str, body: &str) -> Response {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    exchange(gateway, request(&method.to_uppercase(), path, &format!("{TOKEN}{kind}"), body))
}

/// Asserts that an answer is one of those that the document has for `operation`.
#[track_caller]
fn fits(document: &Value, operation: &Value, response: &Response) {
    let status = response.status.to_string();
    let (what, text) = (&operation["operationId"], response.text());
    let described = operation["responses"].get(&status).unwrap_or_else(|| panic!("{what} answers {status}: {text}"));
    let kind = response.field("content-type").expect("a media type");
    let content = described["content"].get(kind).unwrap_or_else(|| panic!("{what} answers {status} with {kind}"));
    let schema = &content["schema"];
    let value = if kind.starts_with("text/") { text.into() } else { json(response) };
    let faults = faults(document, schema, &value);
    assert!(faults.is_empty(), "{what} answers {status} with {value}:\n{faults:#?}");
}

/// The answer to each operation, and to what is wrong in each way that its parameters can be.
fn calls(gateway: &Gateway, path: &str, method: &str, target: &str) -> Vec<Response> {
    let body = if method == "put" { "{\"level\":\"debug\"}" } else { "" };
    let filled = |service: &str, target: &str| path.replace("{service}", service).replace("{target}", target);
    let mut all = vec![call(gateway, method, &filled("app2", target), body)];
    for (service, target) in [("spare", target), ("nobody", target), ("app", "nothing"), ("%ff", "%ff")] {
        if path.contains('{') {
            all.push(call(gateway, method, &filled(service, target), body));
        }
    }
    for query in ["limit=0", "limit=1&offset=1", "limit=-1", "limit=1&limit=1", "more=1", "limit=99999999999999999999"]
    {
        all.push(call(gateway, method, &format!("{}?{query}", filled("app2", target)), body));
    }
    for wrong in ["{\"level\":\"loud\"}", "{}", "[", &"x".repeat(100_000)] {
        if method == "put" {
            all.push(call(gateway, method, path, wrong));
        }
    }
    if method == "put" {
        all.push(exchange(gateway, request("PUT", path, TOKEN, "{}")));
    }
    all.push(exchange(gateway, request(&method.to_uppercase(), &filled("app2", target), "", body)));
    let elsewhere = format!("{} {} HTTP/1.1\r\nHost: elsewhere\r\n\r\n", method.to_uppercase(), filled("a", "b"));
    all.push(exchange(gateway, elsewhere));
    if method != "get" {
        let page = format!("{TOKEN}Origin: http://localhost\r\n");
        all.push(exchange(gateway, request(&method.to_uppercase(), &filled("app2", target), &page, body)));
    }
    all
}

#[test]
fn every_answer_of_every_operation_is_as_described() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/health", 200, "ok").reply("/x", 200, "hello");
        let gateway = start(driver, &origin, Duration::from_secs(60));
        let mut client = gateway.connect();
        client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
        let upstreams = || json(&call(&gateway, "get", "/upstreams", ""));
        eventually("a check", || upstreams()["services"][0]["targets"][0]["health"] == "up");
        let workers = || json(&call(&gateway, "get", "/workers", ""));
        let said = |worker: &Value| worker["busy"].is_number();
        eventually("a word of each worker", || workers()["workers"].as_array().is_some_and(|all| all.iter().all(said)));

        let document = json(&call(&gateway, "get", "/openapi.json", ""));
        let target = origin.address().to_string();
        let mut seen = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                for response in calls(&gateway, path, method, &target) {
                    fits(&document, operation, &response);
                    let text = format!("{}{}", response.head, response.text());
                    assert!(!text.contains("-that-nobody-may-see"), "{method} {path} shows a secret: {text}");
                    seen.insert((operation["operationId"].as_str().expect("a name").to_owned(), response.status));
                }
            }
        }
        let good = seen.iter().filter(|(_, status)| *status < 300).count();
        assert_eq!(good, 15, "all but the reload of a gateway without a file, and /ready after /drain: {seen:?}");
        for expected in [
            ("reload", 503),
            ("ready", 503),
            ("service_health", 503),
            ("set_log_level", 413),
            ("drain", 403),
            ("routes", 400),
            ("config", 421),
        ] {
            assert!(seen.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} is missing in {seen:?}");
        }
        gateway.running().drain_handle().drain_at_once();
    });
}

#[test]
fn the_document_is_one_of_openapi() {
    let gateway = start(Driver::Epoll, &Origin::start(), Duration::ZERO);
    let document = json(&call(&gateway, "get", "/openapi.json", ""));
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("methods").values() {
            assert!(names.insert(operation["operationId"].as_str().expect("a name").to_owned()), "{operation}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{operation}");
            let parameters = operation["parameters"].as_array().expect("a list").iter();
            let of_path = parameters.filter(|parameter| parameter["in"] == "path");
            let of_path: Vec<String> =
                of_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().expect("a name"))).collect();
            assert!(
                of_path.iter().all(|name| path.contains(name)) && of_path.len() == path.matches('{').count(),
                "{path}"
            );
            let is_open = matches!(path.as_str(), "/health" | "/ready");
            assert_eq!(operation["security"], if is_open { json!([]) } else { json!([{ "token": [] }]) }, "{path}");
        }
    }
    // Each schema is used, and each that is used is there.
    let text = document.to_string();
    for name in document["components"]["schemas"].as_object().expect("schemas").keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "nobody needs {name}");
    }
    let without = Gateway::from(include_str!("../../../config/examples/minimal.toml")).start();
    let document = ask_json(&without, "/openapi.json").1;
    assert_eq!(document["paths"]["/config"]["get"]["security"], json!([]));
}

#[test]
fn views_say_what_is_configured() {
    let origin = Origin::start().reply("/health", 200, "ok");
    let gateway = start(Driver::Epoll, &origin, Duration::ZERO);
    let get = |path: &str| json(&call(&gateway, "get", path, ""));
    let routes = get("/routes");
    assert_eq!((&routes["total"], routes["routes"].as_array().map(Vec::len)), (&4.into(), Some(4)));
    let app = json!({
        "name": "app", "path": "/app/{id}/*", "hosts": ["a.example", "*.example.org"], "methods": ["GET", "PUT"],
        "listeners": ["public"], "priority": -7, "action": "service", "open_tunnels": 0,
        "headers": [{ "name": "x-key", "test": "exact" }, { "name": "x-any", "test": "present" }],
        "query": [{ "name": "page", "test": "matches" }],
        "services": [{ "name": "app", "weight": 9 }, { "name": "spare", "weight": 1 }],
    });
    assert_eq!(routes["routes"][0], app);
    let page = get("/routes?offset=2&limit=1");
    assert_eq!((&page["total"], page["routes"].as_array().map(Vec::len)), (&4.into(), Some(1)));
    assert_eq!((&page["routes"][0]["name"], &page["routes"][0]["action"]), (&"moved".into(), &"redirect".into()));
    assert_eq!(get("/routes?offset=9")["routes"], json!([]));

    let services = get("/services");
    let spare = json!({
        "name": "spare", "targets": ["unix:/nowhere/spare.sock", "nobody.invalid:80"], "balance": "p2c_ewma",
        "health_checks": true, "ejection": false, "fallback": { "service": "app", "status": null }, "routes": ["app"],
    });
    assert_eq!(services["services"][1], spare);

    let config = get("/config");
    assert_eq!((&config["edition"], &config["gateway"]["workers"]), (&1.into(), &2.into()));
    assert_eq!(config["admin"], json!({ "address": "127.0.0.1:0", "token": "***", "hosts": ["gateway.internal"] }));
    assert_eq!(config["listeners"][0]["address"], gateway.address().to_string());
    let setting = |key: &str| {
        let mut settings = config["settings"].as_array().expect("settings").iter();
        settings.find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("no {key}")).clone()
    };
    assert_eq!(
        setting("gateway.trusted_proxies"),
        json!({ "key": "gateway.trusted_proxies", "value": "[]", "source": "built-in" })
    );
    assert_eq!(setting("admin.token")["value"], "\"***\"");
    let app = &config["services"][0];
    assert_eq!((&app["affinity_cookie"], &app["slow_start"]), (&"backend".into(), &"10s".into()));
    assert_eq!((&app["health"]["headers"], &app["health"]["interval"]), (&json!(["authorization"]), &"10ms".into()));
    assert_eq!(app["fallback"], json!({ "service": null, "status": 200 }));
    let route = &config["routes"][0];
    assert_eq!((&route["mirror"], &route["rewrite"]), (&json!({ "service": "app2", "share": 0.5 }), &"/{id}".into()));
    assert_eq!((&route["retries"]["on"], &route["retries"]["statuses"]), (&json!(["timeout"]), &"5xx".into()));
    assert_eq!((&route["request_headers"], &route["upgrade"]["lifetime"]), (&true.into(), &"24h".into()));
    let all = &config["routes"][1];
    assert_eq!(
        (&all["retries"], &all["body_limit"], &all["timeouts"]["total"]),
        (&Value::Null, &Value::Null, &"30s".into())
    );
}

#[test]
fn connections_are_counted_and_listed() {
    on_both_drivers(|driver| {
        let text = include_str!("../../../config/examples/listeners.toml");
        let origin = Origin::named("app");
        let gateway = Gateway::from(text).services(origin.address()).driver(driver).workers(2).start();
        let view = |query: &str| ask_json(&gateway, &format!("/connections{query}")).1;
        assert_eq!(view("")["open"], 0);
        let names: Vec<String> = gateway.running().addresses().iter().map(|(name, _)| name.to_string()).collect();
        let (first, second) = (gateway.listener(&names[0]), gateway.listener(&names[1]));
        let mut clients: Vec<Client> = [first, first, first, second].map(Client::connect).into();
        for client in &mut clients {
            client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
            client.response();
        }
        eventually("all of them are there, and idle", || {
            let all = view("");
            let listed = all["connections"].as_array().expect("a list").clone();
            all["open"] == 4 && listed.iter().all(|one| one["activity"] == "idle")
        });
        let all = view("");
        let of = |name: &str| -> u64 {
            let workers = all["workers"].as_array().expect("a list").iter();
            let each = workers.flat_map(|worker| worker["by_listener"].as_array().expect("a list"));
            each.filter(|entry| entry["listener"] == name).filter_map(|entry| entry["open"].as_u64()).sum()
        };
        assert_eq!((of(&names[0]), of(&names[1])), (3, 1), "{all}");
        assert!(
            all["workers"].as_array().is_some_and(|workers| workers.iter().all(|worker| worker["answered"] == true))
        );
        let listed = all["connections"].as_array().expect("a list");
        assert_eq!(listed.len(), 4);
        assert!(listed.iter().all(|one| one["requests"] == 1 && one["peer"].is_string()), "{all}");
        assert_eq!(view("?limit=2")["connections"].as_array().map(Vec::len), Some(2));
        assert_eq!((&view("?limit=0")["open"], &view("?limit=0")["connections"]), (&4.into(), &json!([])));
        drop(clients);
        eventually("none is left", || view("")["open"] == 0);
        assert_eq!(ask(&gateway, "/connections?limit=1001").status, 400);
    });
}

#[test]
fn connections_say_what_they_do() {
    on_both_drivers(|driver| {
        let gate = crate::harness::Gate::default();
        let origin = Origin::holding("slow", &gate);
        let text = include_str!("../../../config/examples/minimal.toml");
        let gateway = Gateway::from(text).service("app", origin.address()).driver(driver).start();
        let first = || ask_json(&gateway, "/connections").1["connections"][0].clone();
        let mut client = gateway.connect();
        eventually("it is there", || first()["activity"] == "idle");
        assert_eq!((&first()["requests"], &first()["worker"]), (&0.into(), &0.into()));
        client.send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("its request runs", || first()["activity"] == "request");
        // Its listener goes, and it is still there.
        let elsewhere =
            Gateway::from(&text.replace("[listeners.", "[listeners.other-")).service("app", origin.address());
        gateway.reload(elsewhere).expect("it is right");
        eventually("nobody knows how it has come", || first()["listener"].is_null());
        assert_eq!(first()["requests"], 1);
        gate.open();
        assert_eq!(client.response().text(), "slow");
    });
}

#[test]
fn workers_say_how_they_are() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "hello");
        let text = include_str!("../../../config/examples/minimal.toml");
        let gateway = Gateway::from(text).service("app", origin.address()).driver(driver).workers(2).start();
        let workers = || ask_json(&gateway, "/workers").1["workers"].as_array().expect("a list").clone();
        for _ in 0..10 {
            assert_eq!(gateway.get("/a").status, 200);
        }
        eventually("a word of each", || workers().iter().all(|worker| worker["said_ago_ms"].is_number()));
        let all = workers();
        assert_eq!(all.len(), 2);
        let name = if driver == Driver::Epoll { "epoll" } else { "io_uring" };
        for (index, worker) in all.iter().enumerate() {
            assert_eq!(
                (&worker["worker"], &worker["driver"], &worker["panics"]),
                (&index.into(), &name.into(), &0.into())
            );
            assert!(worker["wake_ups"].as_u64() > Some(0) && worker["sockets"].as_u64() > Some(0), "{worker}");
            assert!(worker["busy"].as_f64().is_some_and(|busy| (0.0..=1.0).contains(&busy)), "{worker}");
        }
        let requests: u64 = all.iter().filter_map(|worker| worker["requests"].as_u64()).sum();
        assert_eq!(requests, 10);
    });
}
