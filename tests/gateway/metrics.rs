//! What `/metrics` says: exact sums over workers and reloads, both text formats, and that the dashboard and the alert
//! rules ask for nothing that is not there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate::control::operations::LostLines;
use tidegate::observe::counters::Counter;

use crate::harness::{
    Boot, Client, Driver, Gate, Gateway, Origin, Response, eventually, on_both_drivers, unused_address,
};

const ROUTES: &str = "[gateway]\n[listeners.public]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
    [services.app]\ntargets = [\"unix:/nowhere.sock\"]\n\
    [routes.users]\npath = \"/users/*\"\nservice = \"app\"\n\
    [routes.orders]\npath = \"/orders/*\"\nservice = \"app\"\n\
    [routes.fixed]\npath = \"/fixed\"\nrespond = { status = 200, body = \"fixed\" }\n";

fn boot(text: &str, origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(text).services(origin.address()).driver(driver).workers(2)
}

fn reload(gateway: &Gateway, boot: Boot) {
    gateway.reload(boot).unwrap_or_else(|refused| panic!("{refused}"));
}

/// The answer to a scrape that accepts this.
fn scrape(gateway: &Gateway, accept: &str) -> Response {
    let mut client = Client::connect(gateway.admin());
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{accept}\r\n"));
    client.response()
}

/// Every series and its value.
fn series(gateway: &Gateway) -> BTreeMap<String, f64> {
    let text = scrape(gateway, "").text().to_owned();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = series.map(|line| line.rsplit_once(' ').expect("a name and a value"));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

/// Of all series whose names begin so: the rest of the name, and the value.
fn beginning(gateway: &Gateway, start: &str) -> Vec<(String, u64)> {
    let all = series(gateway);
    all.iter().filter_map(|(name, value)| Some((name.strip_prefix(start)?.to_owned(), *value as u64))).collect()
}

/// Five, three, two and one of four kinds, on connections that both workers get.
fn send(gateway: &Gateway) {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let post = "POST /orders/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_owned();
    let [users, fixed, nowhere] = ["/users/a", "/fixed", "/nowhere"].map(get);
    for (count, request, status) in [(5, users, 200), (3, post, 404), (2, fixed, 200), (1, nowhere, 404)] {
        for _ in 0..count {
            assert_eq!(gateway.request(&request).status, status);
        }
    }
}

fn expected(rounds: u64) -> Vec<(String, u64)> {
    [
        ("{route=\"(none)\",method=\"GET\",status=\"4xx\"}", 1),
        ("{route=\"fixed\",method=\"GET\",status=\"2xx\"}", 2),
        ("{route=\"orders\",method=\"POST\",status=\"4xx\"}", 3),
        ("{route=\"users\",method=\"GET\",status=\"2xx\"}", 5),
    ]
    .map(|(labels, count)| (labels.to_owned(), count * rounds))
    .to_vec()
}

#[test]
fn requests_add_up_over_workers_and_reloads() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/users/a", 200, "hello");
        let gateway = boot(ROUTES, &origin, driver).start();
        let requests = "tidegate_route_requests_total";
        for round in 1..=3 {
            send(&gateway);
            // A response is there a moment before it is counted.
            eventually("all are counted", || beginning(&gateway, requests) == expected(round));
            reload(&gateway, boot(ROUTES, &origin, driver));
        }
        let expected_statuses = [
            ("{service=\"(none)\",status=\"200\"}", 6),
            ("{service=\"(none)\",status=\"404\"}", 3),
            ("{service=\"app\",status=\"200\"}", 15),
            ("{service=\"app\",status=\"404\"}", 9),
        ];
        let expected_statuses = expected_statuses.map(|(labels, count)| (labels.to_owned(), count));
        let mut statuses = beginning(&gateway, "tidegate_service_requests_total");
        statuses.retain(|(_, count)| *count > 0);
        assert_eq!(statuses, expected_statuses);
        let all = series(&gateway);
        // A rate needs what was before the first failure.
        assert_eq!(all["tidegate_service_requests_total{service=\"app\",status=\"503\"}"], 0.0);
        assert_eq!(all["tidegate_service_attempts_total{service=\"app\"}"], 24.0);
        assert_eq!(all["tidegate_service_retries_total{service=\"app\"}"], 0.0);
        for time in ["gateway", "first_byte", "backend", "duration"] {
            let name = format!("tidegate_service_{time}_seconds");
            assert_eq!(all[&format!("{name}_count{{service=\"app\"}}")], 24.0);
            assert_eq!(all[&format!("{name}_bucket{{service=\"app\",le=\"+Inf\"}}")], 24.0);
            assert!(all[&format!("{name}_sum{{service=\"app\"}}")] > 0.0);
        }
        assert!(!all.contains_key("tidegate_service_queue_seconds_count{service=\"app\"}"), "nobody has waited");
        assert_eq!(all["tidegate_route_duration_seconds_count{route=\"users\"}"], 15.0);
        let received = "POST /orders/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".len() * 9;
        assert_eq!(all["tidegate_route_received_bytes_total{route=\"orders\"}"] as usize, received);
        assert_eq!(all["tidegate_config_edition"], 4.0);
        // A route that goes takes its series with it.
        let without = ROUTES.replace("[routes.orders]", "[routes.other]");
        reload(&gateway, boot(&without, &origin, driver));
        assert!(!beginning(&gateway, requests).iter().any(|(labels, _)| labels.contains("orders")));
        assert!(beginning(&gateway, requests).contains(&expected(3)[3]));
    });
}

#[test]
fn routes_beyond_the_bound_share_their_series() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/users/a", 200, "hello");
        let bound = |config: &mut tidegate::config::Config| (config.metrics.routes, config.metrics.services) = (1, 0);
        let gateway = boot(ROUTES, &origin, driver).with(bound).start();
        send(&gateway);
        let routes = [
            ("{route=\"(none)\",method=\"GET\",status=\"4xx\"}", 1),
            ("{route=\"(other)\",method=\"GET\",status=\"2xx\"}", 2),
            ("{route=\"(other)\",method=\"POST\",status=\"4xx\"}", 3),
            ("{route=\"users\",method=\"GET\",status=\"2xx\"}", 5),
        ];
        let routes = routes.map(|(labels, count)| (labels.to_owned(), count));
        eventually("all are counted", || beginning(&gateway, "tidegate_route_requests_total") == routes);
        let all = series(&gateway);
        assert_eq!(all["tidegate_service_requests_total{service=\"(other)\",status=\"200\"}"], 5.0);
    });
}

#[test]
fn connections_are_told_by_what_they_do() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let origin = Origin::holding("held", &gate);
        let gateway = boot(ROUTES, &origin, driver).start();
        let states = |idle: u64, request: u64| {
            let states = [("ending", 0), ("idle", idle), ("request", request), ("tunnel", 0)];
            let states = states.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count));
            eventually("the states", || beginning(&gateway, "tidegate_connections_by_state") == states);
        };
        let (mut asking, idle) = (gateway.connect(), gateway.connect());
        states(2, 0);
        asking.send("GET /users/long HTTP/1.1\r\nHost: h\r\n\r\n");
        states(1, 1);
        gate.open();
        assert_eq!(asking.response().status, 200);
        states(2, 0);
        eventually("the kept connection is told of", || {
            beginning(&gateway, "tidegate_service_idle_connections").contains(&("{service=\"app\"}".into(), 1))
        });
        drop((asking, idle));
        states(0, 0);
    });
}

/// A backend that is not there answers none quickly.
#[test]
fn times_and_retries_are_those_of_a_backend() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            // A kept connection dies under its second request.
            conversation.request();
            conversation.send("HTTP/1.1 204 No\r\n\r\n");
            conversation.request();
        });
        let gateway = boot(ROUTES, &origin, driver).workers(1).start();
        let get = "GET /users/a HTTP/1.1\r\nHost: h\r\n\r\n";
        for _ in 0..2 {
            assert_eq!(gateway.request(get).status, 204);
        }
        assert_eq!(gateway.count(Counter::UpstreamReplaced), 1);
        let counted = series(&gateway);
        assert_eq!(counted["tidegate_service_retries_total{service=\"app\"}"], 0.0, "to replace is not to retry");
        assert_eq!(counted["tidegate_retries_total"], 0.0);

        let gateway = boot(ROUTES, &origin, driver).targets("app", &[unused_address()]).start();
        assert_eq!(gateway.request(get).status, 502);
        // A request is counted for its service once its answer has gone.
        eventually("it is counted", || {
            series(&gateway)["tidegate_service_requests_total{service=\"app\",status=\"502\"}"] == 1.0
        });
        let counted = series(&gateway);
        for part in ["first_byte", "backend"] {
            let count = counted.get(&format!("tidegate_service_{part}_seconds_count{{service=\"app\"}}"));
            assert!(count.is_none_or(|count| *count == 0.0), "{part}: {count:?}");
        }
    });
}

#[test]
fn waits_and_timeouts_are_told_by_kind() {
    const SLOW: &str = "[routes.slow]\npath = \"/slow/*\"\nservice = \"app\"\nfirst_byte_timeout = \"20ms\"\n";
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let origin = Origin::holding("held", &gate);
        let text =
            format!("{ROUTES}{SLOW}").replace("[routes.users]", "pool = { max_connections = 1 }\n[routes.users]");
        let gateway = boot(&text, &origin, driver).start();
        assert_eq!(series(&gateway)["tidegate_upstream_connections_limit{service=\"app\"}"], 1.0);
        assert_eq!(gateway.request("GET /slow/long HTTP/1.1\r\nHost: h\r\n\r\n").status, 504);
        let expected = [("first_byte", 1), ("queue", 0), ("connect", 0), ("head", 0), ("body", 0), ("total", 0)];
        let kinds = beginning(&gateway, "tidegate_timeouts_total");
        for (kind, count) in expected {
            assert!(kinds.contains(&(format!("{{kind=\"{kind}\"}}"), count)), "{kind} in {kinds:?}");
        }
        assert_eq!(series(&gateway)["tidegate_refusals_total{code=\"first_byte_timeout\"}"], 1.0);
        let (mut first, mut second) = (gateway.connect(), gateway.connect());
        let waiting = |count: f64| {
            eventually("one waits", || {
                series(&gateway)["tidegate_upstream_waiting_requests{service=\"app\"}"] == count
            });
        };
        first.send("GET /users/long HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("it has the connection", || {
            beginning(&gateway, "tidegate_upstream_connections{").iter().any(|(_, count)| *count == 1)
                && beginning(&gateway, "tidegate_upstream_active_requests").iter().any(|(_, count)| *count == 1)
        });
        second.send("GET /users/b HTTP/1.1\r\nHost: h\r\n\r\n");
        waiting(1.0);
        gate.open();
        assert_eq!((first.response().status, second.response().status), (200, 200));
        waiting(0.0);
        eventually("the wait is counted", || {
            series(&gateway).get("tidegate_service_queue_seconds_count{service=\"app\"}") == Some(&1.0)
        });
    });
}

#[test]
fn retries_and_those_over_budget_are_told_by_service() {
    on_both_drivers(|driver| {
        let bad = || Origin::start().reply("/users/a", 503, "no");
        let origins = [bad(), bad()];
        let retries = "ejection = false\nretries = { attempts = 2, on = [\"503\"], budget = 0.0, backoff = \"1ms\" }\n";
        let text = ROUTES.replace("[routes.users]", &format!("{retries}[routes.users]"));
        let targets = origins.each_ref().map(Origin::address);
        let gateway = Gateway::from(&text).targets("app", &targets).driver(driver).workers(1).start();
        let count = |name: &str| series(&gateway).get(&format!("{name}{{service=\"app\"}}")).copied().unwrap_or(0.0);
        let mut client = gateway.connect();
        let mut sent = 0.0;
        // A hundred in ten seconds are free, so that it takes at least as many.
        while count("tidegate_service_retries_over_budget_total") == 0.0 {
            client.send("GET /users/a HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(client.response().status, 503);
            sent += 1.0;
        }
        eventually("all are counted", || count("tidegate_service_duration_seconds_count") == sent);
        let [attempts, again, over] =
            ["attempts", "retries", "retries_over_budget"].map(|name| count(&format!("tidegate_service_{name}_total")));
        assert_eq!((attempts, again + over, over), (sent + again, sent, 1.0));
        let all = series(&gateway);
        assert_eq!((all["tidegate_retries_total"], all["tidegate_retries_over_budget_total"]), (again, over));
        assert!(again >= 100.0, "{again}");
    });
}

const PROMETHEUS: &str = "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
    text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";

#[test]
fn openmetrics_is_for_who_asks_for_it() {
    let origin = Origin::start().reply("/users/a", 200, "hello");
    let gateway = boot(ROUTES, &origin, Driver::Epoll).start();
    send(&gateway);
    let plain = scrape(&gateway, "");
    assert_eq!(plain.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.text().contains("# EOF"));
    let open = scrape(&gateway, PROMETHEUS);
    assert_eq!(open.field("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.text().ends_with("\n# EOF\n") && open.text().contains("\n# UNIT process_cpu_seconds "));
    let mut families = BTreeSet::new();
    let (mut family, mut suffixes): (String, &[&str]) = (String::new(), &[]);
    for line in open.text().lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["#", "TYPE", name, kind] => {
                assert!(families.insert(name.to_owned()), "{name} stands twice");
                family = name.to_owned();
                suffixes = match kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "info" => &["_info"],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => panic!("{line}"),
                };
            }
            ["#", ..] => {}
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "{line} after {family}");
            }
        }
    }
}

/// The names of series in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| ["tidegate_", "tidegate:", "process_"].iter().any(|start| word.starts_with(start)))
}

/// The names of all families that there are, with what a histogram makes of its own.
fn known() -> BTreeSet<String> {
    let origin = Origin::start();
    let gateway = boot(ROUTES, &origin, Driver::Epoll).start();
    gateway.running().operations().on_lost_lines(|| LostLines { dropped: 3, suppressed: 5 });
    let text = scrape(&gateway, "").text().to_owned();
    for line in ["{reason=\"queue_full\"} 3", "{reason=\"same_message\"} 5"] {
        assert!(text.contains(&format!("\ntidegate_log_dropped_total{line}\n")), "{text}");
    }
    let mut known = BTreeSet::new();
    for line in text.lines() {
        if let ["#", "TYPE", name, kind] = line.split(' ').collect::<Vec<_>>()[..] {
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            known.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
        }
    }
    known
}

/// What there is to know, and the series that tell it.
const TOLD: [(&str, &[&str]); 23] = [
    ("requests by route, method and status", &["tidegate_route_requests_total"]),
    ("requests by service and status", &["tidegate_service_requests_total", "tidegate_requests_total"]),
    ("time of the gateway alone", &["tidegate_service_gateway_seconds_bucket"]),
    ("time of the backend", &["tidegate_service_backend_seconds_bucket", "tidegate_service_first_byte_seconds_bucket"]),
    ("time in all", &["tidegate_service_duration_seconds_bucket", "tidegate_route_duration_seconds_bucket"]),
    ("bytes", &["tidegate_client_received_bytes_total", "tidegate_client_sent_bytes_total"]),
    ("bytes by route", &["tidegate_route_received_bytes_total", "tidegate_route_sent_bytes_total"]),
    ("bytes by service", &["tidegate_service_received_bytes_total", "tidegate_service_sent_bytes_total"]),
    ("connections by state", &["tidegate_connections_by_state", "tidegate_connections_limit"]),
    (
        "pool use",
        &["tidegate_upstream_connections", "tidegate_service_idle_connections", "tidegate_upstream_reused_total"],
    ),
    ("queueing", &["tidegate_upstream_waiting_requests", "tidegate_service_queue_seconds_bucket"]),
    ("retries", &["tidegate_service_attempts_total", "tidegate_service_retries_total"]),
    ("the budget of retries", &["tidegate_service_retries_over_budget_total", "tidegate_retries_over_budget_total"]),
    ("ejections", &["tidegate_ejections_total", "tidegate_upstream_ejected"]),
    ("timeouts by kind", &["tidegate_timeouts_total"]),
    ("refusals by code", &["tidegate_refusals_total", "tidegate_cuts_total"]),
    ("reloads", &["tidegate_config_reloads_total", "tidegate_config_last_reload_successful"]),
    (
        "losses of mailboxes and logs",
        &["tidegate_events_dropped_total", "tidegate_access_log_dropped_total", "tidegate_log_dropped_total"],
    ),
    ("the share that workers are busy", &["tidegate_worker_busy_ratio", "tidegate_worker_cpu_seconds_total"]),
    ("wake-ups", &["tidegate_worker_wake_ups_total"]),
    ("descriptors", &["process_open_fds", "process_max_fds"]),
    ("memory", &["process_resident_memory_bytes", "process_virtual_memory_bytes"]),
    (
        "what runs",
        &["tidegate_build_info", "tidegate_config_edition", "tidegate_config_last_success_timestamp_seconds"],
    ),
];

#[test]
fn all_that_there_is_to_know_is_told() {
    let known = known();
    for (what, names) in TOLD {
        names.iter().for_each(|name| assert!(known.contains(*name), "{name}, for {what}"));
    }
    for (_, _, name, _) in Counter::ALL {
        assert!(known.contains(*name), "{name}");
    }
}

#[track_caller]
fn assert_known(expression: &str, known: &BTreeSet<String>) {
    let names: Vec<&str> = names(expression).collect();
    assert!(!names.is_empty() || expression.starts_with("up{"), "no series in {expression}");
    for name in names {
        assert!(known.contains(name), "there is no series {name}, but {expression} asks for it");
    }
}

#[test]
fn the_alert_rules_ask_for_series_that_are_there() {
    let mut known = known();
    let rules = include_str!("../../config/prometheus/rules.yml");
    known.extend(rules.lines().filter_map(|line| Some(line.trim().strip_prefix("- record: ")?.to_owned())));
    let mut expressions: Vec<String> = Vec::new();
    let mut within = None;
    for line in rules.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        if within.is_some_and(|outer| depth > outer) {
            let last = expressions.last_mut().expect("one has begun");
            last.push_str(line.trim());
            last.push('\n');
            continue;
        }
        within = None;
        if let Some(expression) = line.trim().strip_prefix("expr: ") {
            within = (expression == "|").then_some(depth);
            expressions.push(if expression == "|" { String::new() } else { expression.to_owned() });
        }
    }
    let wanted = rules.matches("- alert: ").count() + rules.matches("- record: ").count();
    assert_eq!(expressions.len(), wanted);
    assert!(wanted > 20);
    expressions.iter().for_each(|expression| assert_known(expression, &known));
}

/// Every value under one of these keys.
fn values<'v>(value: &'v Value, keys: &[&str], found: &mut Vec<&'v str>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => found.push(text),
                    _ => values(value, keys, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| values(value, keys, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_series_that_are_there() {
    let known = known();
    let board: Value = serde_json::from_str(include_str!("../../config/grafana/tidegate.json")).expect("JSON");
    let mut expressions = Vec::new();
    values(&board, &["expr", "definition"], &mut expressions);
    assert!(expressions.len() > 40, "{}", expressions.len());
    expressions.into_iter().for_each(|expression| assert_known(expression, &known));
}
