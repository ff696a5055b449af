//! Routes and services as they are configured, in short: `/routes` and `/services`.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::answer::Answer;
use super::schema::{flag, integer, list, object, or_null, text, whole, word};
use super::{Answered, Asked, Views};
use crate::snapshot::outline::Outline;
use crate::snapshot::{Action, Fallback, Route, RouteId, Service, Snapshot};
use crate::upstream::balance::Method;

/// A piece of the list of routes.
pub(super) fn routes(views: &Views, asked: &Asked) -> Answered {
    let edition = views.published.current();
    let snapshot = &edition.snapshot;
    let place = |name: &str| usize::try_from(asked.number(name)).unwrap_or(usize::MAX);
    let all = snapshot.routes.iter().zip(&snapshot.outlines).zip(0..);
    let some = all.skip(place("offset")).take(place("limit")).map(|((route, outline), id)| {
        let tunnels = edition.open_tunnels(RouteId(id)).count();
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
            "open_tunnels": tunnels,
        })
    });
    let some: Vec<Value> = some.collect();
    Ok(Answer::json(&json!({ "total": snapshot.routes.len(), "routes": some })))
}

/// Texts of the configuration, but for those that may be secrets.
pub(super) fn shown<'t>(snapshot: &'t Snapshot, texts: &'t [Box<str>]) -> Vec<&'t str> {
    texts.iter().map(|text| snapshot.hidden.show(text)).collect()
}

/// What a header or a query key must be.
pub(super) fn tests(tests: &[(Box<str>, crate::snapshot::outline::Test)]) -> Vec<Value> {
    tests.iter().map(|(name, test)| json!({ "name": name, "test": test.name() })).collect()
}

/// What becomes of the requests of a route, in a word.
pub(super) const fn action(route: &Route) -> &'static str {
    match &route.action {
        Action::Service(_) => "service",
        Action::Redirect(_) => "redirect",
        Action::Respond(_) => "respond",
    }
}

/// The services of a route, each with its weight.
pub(super) fn services_of(snapshot: &Snapshot, outline: &Outline) -> Vec<Value> {
    let show = |(id, weight): &(_, u32)| json!({ "name": snapshot.service(*id).name, "weight": weight });
    outline.services.iter().map(show).collect()
}

/// All services.
pub(super) fn services(views: &Views, _: &Asked) -> Answered {
    let snapshot = views.snapshot();
    let mut routes: HashMap<usize, Vec<&str>> = HashMap::new();
    for (route, outline) in snapshot.routes.iter().zip(&snapshot.outlines) {
        for (service, _) in &outline.services {
            routes.entry(service.index()).or_default().push(&route.name);
        }
    }
    let show = |(index, service): (usize, &Service)| {
        let targets: Vec<String> = service.targets.iter().map(|target| target.address.to_string()).collect();
        json!({
            "name": service.name,
            "targets": targets,
            "balance": balance(&service.settings.method),
            "health_checks": service.health.is_some(),
            "ejection": service.settings.ejection.is_some(),
            "fallback": fallback(&snapshot, service),
            "routes": routes.get(&index).map_or(&[][..], Vec::as_slice),
        })
    };
    let services: Vec<Value> = snapshot.services.iter().enumerate().map(show).collect();
    Ok(Answer::json(&json!({ "services": services })))
}

/// The name of a method.
pub(super) const fn balance(method: &Method) -> &'static str {
    match method {
        Method::RoundRobin => "round_robin",
        Method::LeastConnections => "least_connections",
        Method::TwoChoices { .. } => "p2c_ewma",
        Method::ConsistentHash { .. } => "consistent_hash",
    }
}

/// What answers when all targets of a service are down: the name of another service, or a status.
pub(super) fn fallback(snapshot: &Snapshot, service: &Service) -> Value {
    match &service.fallback {
        None => Value::Null,
        Some(Fallback::Service(other)) => json!({ "service": snapshot.service(*other).name, "status": null }),
        Some(Fallback::Response(response)) => json!({ "service": null, "status": response.status }),
    }
}

/// What [`fallback`] looks like.
pub(super) fn fallback_schema() -> Value {
    let fallback = object(&[
        ("service", or_null(text("another service"), "a response of its own")),
        ("status", or_null(whole("of a response"), "another service")),
    ]);
    or_null(fallback, "503")
}

/// What [`balance`] can be.
pub(super) fn balance_schema() -> Value {
    word(&["round_robin", "least_connections", "p2c_ewma", "consistent_hash"])
}

/// What of a route stands both here and in `/config`.
pub(super) fn match_schema() -> Vec<(&'static str, Value)> {
    let test = || object(&[("name", text("its name")), ("test", word(&["present", "exact", "matches"]))]);
    let share = object(&[("name", text("its name")), ("weight", whole("its share beside the others'"))]);
    vec![
        ("name", text("its name")),
        ("path", text("as it is written")),
        ("hosts", list(text("any of these; none: any host"))),
        ("methods", list(text("any of these; none: any method"))),
        ("listeners", list(text("any of these; none: any listener"))),
        ("headers", list(test())),
        ("query", list(test())),
        ("priority", integer("the higher wins")),
        ("action", word(&["service", "redirect", "respond"])),
        ("services", list(share)),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let mut route = match_schema();
    route.push(("open_tunnels", whole("connections of it that were switched to another protocol")));
    let service = object(&[
        ("name", text("its name")),
        ("targets", list(text("as it is written"))),
        ("balance", balance_schema()),
        ("health_checks", flag("whether its targets are asked")),
        ("ejection", flag("whether targets that fail are left out")),
        ("fallback", fallback_schema()),
        ("routes", list(text("that send requests to it"))),
    ]);
    vec![
        ("Routes", object(&[("total", whole("how many there are")), ("routes", list(object(&route)))])),
        ("Services", object(&[("services", list(service))])),
    ]
}
