//! What runs: `/config`.
//!
//! The gateway's own settings are there key by key, as they are written and with the place where that was; listeners,
//! services and routes with the defaults and what they inherit filled in.
//!
//! Nothing here is a secret, whatever stands in the file: a token is `***`; of health checks the names of their fields
//! are shown and no values, and no query, of conditions the names, of rules over fields whether there are any, and of the
//! gateway's own answers the status.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Answer;
use super::routes::{
    action, balance, balance_schema, fallback, fallback_schema, match_schema, services_of, shown, tests,
};
use super::schema::{duration, flag, list, object, or_null, refer, share, text, whole, word};
use super::{Answered, Asked, Views};
use crate::base::secret::MASK;
use crate::base::units::display_duration;
use crate::config::Pin;
use crate::config::effective::Row;
use crate::net::proxy_protocol::Version;
use crate::policy::access_log::Sampling;
use crate::policy::upgrade::Upgrade;
use crate::router::path::Slashes;
use crate::snapshot::outline::Outline;
use crate::snapshot::{Route, Service, Snapshot};
use crate::upstream::health::{Checks, Probe};
use crate::upstream::retry::Retries;

pub(super) fn config(views: &Views, _: &Asked) -> Answered {
    let edition = views.published.current();
    let snapshot = &edition.snapshot;
    let listeners = snapshot.listeners.iter().zip(&edition.doorways).map(|(listener, doorway)| {
        json!({
            "name": listener.name,
            "address": doorway.address().to_string(),
            "proxy_protocol": listener.proxy_protocol,
        })
    });
    let listeners: Vec<Value> = listeners.collect();
    let routes = snapshot.routes.iter().zip(&snapshot.outlines).map(|(of, outline)| route(snapshot, of, outline));
    let routes: Vec<Value> = routes.collect();
    let services: Vec<Value> = snapshot.services.iter().map(|of| service(snapshot, of)).collect();
    Ok(Answer::json(&json!({
        "edition": edition.number,
        "settings": snapshot.settings.iter().map(setting).collect::<Vec<_>>(),
        "gateway": gateway(snapshot),
        "listeners": listeners,
        "admin": admin(snapshot),
        "metrics": { "routes": snapshot.metrics.routes, "services": snapshot.metrics.services },
        "services": services,
        "routes": routes,
    })))
}

fn setting(row: &Row) -> Value {
    json!({ "key": row.path.join("."), "value": row.value, "source": row.source.to_string() })
}

fn gateway(snapshot: &Snapshot) -> Value {
    let (gateway, limits) = (&snapshot.gateway, &snapshot.limits);
    let servers: Vec<String> = gateway.dns.servers.iter().map(ToString::to_string).collect();
    json!({
        "workers": gateway.workers,
        "driver": gateway.driver.name(),
        "pin": match gateway.pin {
            Pin::Auto => "auto",
            Pin::On => "true",
            Pin::Off => "false",
        },
        "sync_interval": display_duration(gateway.sync_interval),
        "drain_delay": gateway.drain_delay.map(display_duration),
        "drain_timeout": display_duration(gateway.drain_timeout),
        "connections_per_worker": gateway.connections_per_worker,
        "watch": gateway.watch,
        "merge_slashes": snapshot.slashes == Slashes::Merged,
        "via": snapshot.fields.via.is_some(),
        "request_id_header": String::from_utf8_lossy(snapshot.fields.request_ids.name().as_bytes()),
        "limits": {
            "head": limits.head,
            "fields": limits.fields,
            "target": limits.target,
            "head_timeout": display_duration(limits.head_timeout),
            "idle_timeout": display_duration(limits.idle_timeout),
            "body_rate": limits.body_rate.map(|rate| rate.bytes_per_second.get()),
            "body_rate_grace": limits.body_rate.map(|rate| display_duration(rate.grace)),
            "requests_per_connection": limits.requests_per_connection.map(std::num::NonZero::get),
        },
        "dns": {
            "servers": servers,
            "min_ttl": display_duration(gateway.dns.min_ttl),
            "max_ttl": display_duration(gateway.dns.max_ttl),
            "timeout": display_duration(gateway.dns.timeout),
            "attempts": gateway.dns.attempts,
        },
    })
}

fn admin(snapshot: &Snapshot) -> Value {
    let Some(admin) = &snapshot.admin else { return Value::Null };
    json!({
        "address": admin.address.to_string(),
        "token": admin.token.as_ref().map(ToString::to_string),
        "hosts": shown(snapshot, &admin.hosts),
    })
}

fn service(snapshot: &Snapshot, service: &Service) -> Value {
    let settings = &service.settings;
    let targets = service.targets.iter();
    let targets: Vec<Value> =
        targets.map(|target| json!({ "address": target.address.to_string(), "weight": target.weight })).collect();
    json!({
        "name": service.name,
        "targets": targets,
        "balance": balance(&settings.method),
        "slow_start": time(settings.slow_start),
        "ejection": settings.ejection.as_ref().map(|ejection| json!({
            "consecutive_failures": ejection.consecutive_failures,
            "failure_rate": ejection.failure_rate.map(|rate| rate.rate),
            "minimum": ejection.failure_rate.map(|rate| rate.minimum),
            "window": ejection.failure_rate.map(|rate| display_duration(rate.window)),
            "statuses": ejection.statuses.to_string(),
            "ejected_for": display_duration(ejection.ejected_for),
            "longest": display_duration(ejection.longest),
            "most": ejection.most,
        })),
        "affinity_cookie": settings.affinity.as_ref().map(|affinity| snapshot.hidden.show(affinity.cookie())),
        "pool": {
            "idle_connections": settings.pool.idle_connections,
            "idle_timeout": display_duration(settings.pool.idle_timeout),
            "max_connections": settings.pool.max_connections,
            "queue": settings.pool.queue,
            "queue_timeout": display_duration(settings.pool.queue_timeout),
        },
        "health": service.health.as_ref().map(|checks| health(snapshot, checks)),
        "fallback": fallback(snapshot, service),
        "proxy_protocol": settings.proxy_protocol.map(|version| match version {
            Version::V1 => "v1",
            Version::V2 => "v2",
        }),
    })
}

fn health(snapshot: &Snapshot, checks: &Checks) -> Value {
    let question = match &checks.probe {
        Probe::Tcp => None,
        Probe::Http(question) => Some(question),
    };
    let headers = question.map(|question| question.headers.iter().map(|(name, _)| name).collect::<Vec<_>>());
    json!({
        "method": question.map(|question| question.method),
        "path": question.map(|question| without_query(snapshot.hidden.show(&question.path))),
        "headers": headers.unwrap_or_default(),
        "statuses": question.map(|question| question.statuses.to_string()),
        "port": checks.port,
        "interval": display_duration(checks.interval),
        "timeout": display_duration(checks.timeout),
        "healthy": checks.thresholds.healthy,
        "unhealthy": checks.thresholds.unhealthy,
    })
}

/// A path with its query masked, which may have a key in it.
fn without_query(path: &str) -> String {
    path.split_once('?').map_or_else(|| path.to_owned(), |(path, _)| format!("{path}?{MASK}"))
}

fn route(snapshot: &Snapshot, route: &Route, outline: &Outline) -> Value {
    let timeouts = &route.timeouts;
    json!({
        "name": route.name,
        "path": snapshot.hidden.show(&route.path),
        "hosts": shown(snapshot, &outline.hosts),
        "methods": outline.methods,
        "listeners": outline.listeners,
        "headers": tests(&outline.headers),
        "query": tests(&outline.query),
        "priority": outline.priority,
        "action": action(route),
        "services": services_of(snapshot, outline),
        "mirror": outline.mirror.as_ref().map(|(service, share)| json!({ "service": service, "share": share })),
        "strip_prefix": outline.strip_prefix.as_deref().map(|prefix| snapshot.hidden.show(prefix)),
        "rewrite": outline.rewrite.as_deref().map(|rewrite| snapshot.hidden.show(rewrite)),
        "forward_path": if outline.is_raw { "raw" } else { "normal" },
        "preserve_host": route.preserve_host,
        "sticky": route.sticky.is_some(),
        "timeouts": {
            "connect": display_duration(timeouts.connect),
            "send": time(timeouts.send),
            "first_byte": time(timeouts.first_byte),
            "between_bytes": time(timeouts.between_bytes),
            "total": time(timeouts.total),
        },
        "retries": route.retries.as_ref().map(retries),
        "body_limit": Some(route.limits.body).filter(|body| *body != u64::MAX),
        "upgrade": match &route.upgrade {
            Upgrade::Off => Value::Null,
            Upgrade::On(rules) => json!({
                "idle_timeout": time(rules.idle),
                "lifetime": time(rules.lifetime),
                "send_timeout": time(rules.stall),
            }),
        },
        "access_log": route.access_log.as_ref().map(sampling),
        "request_headers": route.rules.request.is_some(),
        "response_headers": route.rules.response.is_some(),
    })
}

fn sampling(sampling: &Sampling) -> Value {
    json!({
        "share": sampling.share(),
        "always": sampling.always().to_string(),
        "slower_than": time(sampling.slower_than()),
    })
}

fn retries(retries: &Retries) -> Value {
    let mut on = Vec::new();
    for (cause, is_on) in
        [("connect", retries.on_connect), ("reset", retries.on_reset), ("timeout", retries.on_timeout)]
    {
        on.extend(is_on.then_some(cause));
    }
    json!({
        "attempts": retries.attempts,
        "on": on,
        "statuses": retries.on_statuses.to_string(),
        "budget": retries.budget,
        "backoff": display_duration(retries.backoff),
        "backoff_max": display_duration(retries.backoff_max),
        "non_idempotent": retries.non_idempotent,
        "body": retries.body,
    })
}

fn time(duration: Option<Duration>) -> Option<String> {
    duration.map(display_duration)
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let listener = object(&[
        ("name", text("its name")),
        ("address", text("where it is, with its real port")),
        ("proxy_protocol", flag("whether connections begin with a PROXY header")),
    ]);
    let admin = object(&[
        ("address", text("as it is written")),
        ("token", or_null(word(&["***"]), "it asks for none")),
        ("hosts", list(text("a name that it may be asked by"))),
    ]);
    let setting = object(&[
        ("key", text("such as `gateway.drain_timeout`")),
        ("value", text("as it would be written")),
        ("source", text("where it comes from: a file and a line, and what was written for `${...}`; or `built-in`")),
    ]);
    let metrics = object(&[
        ("routes", whole("how many have series of their own")),
        ("services", whole("how many have series of their own")),
    ]);
    vec![
        (
            "Config",
            object(&[
                ("edition", whole("grows with each reload")),
                ("settings", list(setting)),
                ("gateway", refer("GatewayConfig")),
                ("listeners", list(listener)),
                ("admin", or_null(admin, "there is none")),
                ("metrics", metrics),
                ("services", list(refer("ServiceConfig"))),
                ("routes", list(refer("RouteConfig"))),
            ]),
        ),
        ("GatewayConfig", gateway_schema()),
        ("ServiceConfig", service_schema()),
        ("RouteConfig", route_schema()),
    ]
}

fn gateway_schema() -> Value {
    let off = |schema: Value| or_null(schema, "switched off");
    let limits = object(&[
        ("head", whole("bytes of a request's head")),
        ("fields", whole("fields of a request's head")),
        ("target", whole("bytes of a request's target")),
        ("head_timeout", duration("for a head")),
        ("idle_timeout", duration("without a request")),
        ("body_rate", off(whole("bytes in a second, the slowest that a body may arrive"))),
        ("body_rate_grace", off(duration("for so long, it may be slower"))),
        ("requests_per_connection", off(whole("then it is closed"))),
    ]);
    let dns = object(&[
        ("servers", list(text("a name server; none: those of the system"))),
        ("min_ttl", duration("the least that an answer holds")),
        ("max_ttl", duration("the longest that an answer holds")),
        ("timeout", duration("for an attempt")),
        ("attempts", whole("before it has failed")),
    ]);
    object(&[
        ("workers", whole("threads")),
        ("driver", word(&["auto", "io_uring", "epoll"])),
        ("pin", word(&["auto", "true", "false"])),
        ("sync_interval", duration("from one look at the other workers to the next")),
        ("drain_delay", or_null(duration("from the order to end to the end of the listeners"), "they end at once")),
        ("drain_timeout", duration("for what runs when it ends; then it is answered with 503, or cut")),
        ("connections_per_worker", whole("that a worker holds at a time")),
        ("watch", flag("whether a change of its files reloads them")),
        ("merge_slashes", flag("whether slashes in a row are one")),
        ("via", flag("whether it names itself in Via")),
        ("request_id_header", text("the field of the id")),
        ("limits", limits),
        ("dns", dns),
    ])
}

fn service_schema() -> Value {
    let off = |schema: Value| or_null(schema, "switched off");
    let ejection = object(&[
        ("consecutive_failures", whole("that eject a target")),
        ("failure_rate", off(share("of the requests of a window"))),
        ("minimum", off(whole("requests in a window"))),
        ("window", off(duration("of the rate"))),
        ("statuses", text("that are failures")),
        ("ejected_for", duration("the first time")),
        ("longest", duration("at most")),
        ("most", share("of the targets that may be out")),
    ]);
    let pool = object(&[
        ("idle_connections", whole("kept by each worker for each target")),
        ("idle_timeout", duration("for so long")),
        ("max_connections", off(whole("to a target, of all workers"))),
        ("queue", whole("requests that may wait")),
        ("queue_timeout", duration("for so long")),
    ]);
    let tcp = |schema: Value| or_null(schema, "a connection will do");
    let health = object(&[
        ("method", tcp(text("of the question"))),
        ("path", tcp(text("of the question, its query masked"))),
        ("headers", list(text("the name of a field"))),
        ("statuses", tcp(text("that count as well"))),
        ("port", or_null(whole("to ask at"), "the target's")),
        ("interval", duration("from one to the next")),
        ("timeout", duration("for one")),
        ("healthy", whole("that bring a target back")),
        ("unhealthy", whole("that take a target out")),
    ]);
    let target = object(&[("address", text("as it is written")), ("weight", whole("its share beside the others'"))]);
    object(&[
        ("name", text("its name")),
        ("targets", list(target)),
        ("balance", balance_schema()),
        ("slow_start", off(duration("until a target has its share"))),
        ("ejection", off(ejection)),
        ("affinity_cookie", off(text("its name"))),
        ("pool", pool),
        ("health", off(health)),
        ("fallback", fallback_schema()),
        ("proxy_protocol", off(word(&["v1", "v2"]))),
    ])
}

fn route_schema() -> Value {
    let off = |schema: Value| or_null(schema, "switched off");
    let none = |schema: Value| or_null(schema, "none");
    let timeouts = object(&[
        ("connect", duration("until a target accepts")),
        ("send", off(duration("for a piece of the request"))),
        ("first_byte", off(duration("until the response begins"))),
        ("between_bytes", off(duration("from one piece of the response to the next"))),
        ("total", off(duration("in all"))),
    ]);
    let retries = object(&[
        ("attempts", whole("in all")),
        ("on", list(word(&["connect", "reset", "timeout"]))),
        ("statuses", text("that are tried again")),
        ("budget", share("of the requests")),
        ("backoff", duration("before the first, at most")),
        ("backoff_max", duration("before any")),
        ("non_idempotent", flag("whatever the method")),
        ("body", whole("bytes of a body that are kept")),
    ]);
    let upgrade = object(&[
        ("idle_timeout", off(duration("without a byte"))),
        ("lifetime", off(duration("in all"))),
        ("send_timeout", off(duration("for a piece to be taken"))),
    ]);
    let mirror = object(&[("service", text("that gets copies")), ("share", share("of the requests"))]);
    let sampling = object(&[
        ("share", share("of the requests that went well which have a line")),
        ("always", text("statuses that have one in any case")),
        ("slower_than", off(duration("requests that take so long have one in any case"))),
    ]);
    let mut members = match_schema();
    members.extend([
        ("mirror", none(mirror)),
        ("strip_prefix", none(text("what is not sent on"))),
        ("rewrite", none(text("the path that is sent on"))),
        ("forward_path", word(&["normal", "raw"])),
        ("preserve_host", flag("whether the client's Host is sent on")),
        ("sticky", flag("whether a client stays at one of several services")),
        ("timeouts", timeouts),
        ("retries", none(retries)),
        ("body_limit", or_null(whole("bytes of a request's body"), "any number")),
        ("upgrade", off(upgrade)),
        ("access_log", or_null(sampling, "its requests have no lines")),
        ("request_headers", flag("whether there are rules over the fields of requests")),
        ("response_headers", flag("whether there are rules over the fields of responses")),
    ]);
    object(&members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn parse(text: &str, environment: &Environment) -> Snapshot {
        let head = "[listeners.a]\naddress = \"127.0.0.1:8080\"\n[services.s]\ntargets = [\"unix:/s\"]\n";
        let config = Config::parse_in("s.toml", &format!("{head}{text}"), environment).unwrap();
        Snapshot::compile(&config).unwrap()
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let environment = Environment::of([("PATH_KEY", "/hush/*"), ("HOST_KEY", "hush.example"), ("KEY", "Hush")]);
        let text = "health = { path = \"/${KEY}\" }\naffinity = { cookie = \"${KEY}\" }\n\
                    [routes.r]\npath = \"${PATH_KEY}\"\nhosts = [\"${HOST_KEY}\", \"a.example\"]\n\
                    rewrite = \"/${KEY}/there\"\nservice = \"s\"\n";
        let snapshot = parse(text, &environment);
        let view = route(&snapshot, &snapshot.routes[0], &snapshot.outlines[0]);
        assert_eq!(
            (&view["path"], &view["rewrite"], &view["hosts"]),
            (&MASK.into(), &MASK.into(), &json!([MASK, "a.example"]))
        );
        let view = service(&snapshot, &snapshot.services[0]);
        assert_eq!((&view["health"]["path"], &view["affinity_cookie"]), (&MASK.into(), &MASK.into()));
    }

    #[test]
    fn the_query_of_a_health_check_is_masked() {
        for (path, expected) in [("/h?key=hush", "/h?***"), ("/h", "/h")] {
            let text = format!("health = {{ path = \"{path}\" }}\n[routes.r]\npath = \"/*\"\nservice = \"s\"\n");
            let snapshot = parse(&text, &Environment::of([]));
            assert_eq!(service(&snapshot, &snapshot.services[0])["health"]["path"], expected);
        }
    }
}
