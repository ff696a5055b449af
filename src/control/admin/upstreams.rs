//! Services and their targets, as JSON: for `/upstreams` and `/health/NAME`.
//!
//! Times are in milliseconds: `..._ago_ms` since something was, `..._in_ms` until something will be.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Answer;
use super::schema::{flag, list, object, or_null, refer, text, whole};
use super::{Answered, Asked, Views};
use crate::base::time::Instant;
use crate::control::board::{CheckResult, Service};
use crate::control::resolve::Source;
use crate::upstream::endpoint::{Endpoint, Health};

/// All services.
pub(super) fn all(views: &Views, _: &Asked) -> Answered {
    let now = Instant::from_clock();
    let services: Vec<Value> = views.board.services().iter().map(|of| service(of, now)).collect();
    Ok(Answer::json(&json!({ "services": services })))
}

/// Whether a target gets requests, as long as another one does.
pub(super) fn is_usable(endpoint: &Endpoint, now: Instant) -> bool {
    endpoint.is_in_service() && !is_ejected(endpoint, now)
}

/// Whether what requests have met has taken a target out.
pub(super) fn is_ejected(endpoint: &Endpoint, now: Instant) -> bool {
    endpoint.ejected_until() > now
}

/// What becomes of the requests to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Some of its targets are usable.
    Ok,
    /// None is, but some are only ejected: all of these get requests.
    Panic,
    /// It has no target, or each is down by its checks or drained by an operator.
    Down,
}

/// What becomes of the requests to `service`.
pub(super) fn state(service: &Service, now: Instant) -> State {
    let endpoints = service.members.endpoints();
    if endpoints.iter().any(|endpoint| is_usable(endpoint, now)) {
        State::Ok
    } else if endpoints.iter().any(|endpoint| endpoint.is_in_service()) {
        State::Panic
    } else {
        State::Down
    }
}

/// How many targets of a service get requests.
pub(super) fn usable(service: &Service, now: Instant) -> usize {
    service.members.endpoints().iter().filter(|endpoint| is_usable(endpoint, now)).count()
}

/// Requests that run, that were answered, and that failed: of all workers.
pub(super) fn requests(endpoint: &Endpoint) -> [u64; 3] {
    let active = endpoint.tallies().iter().map(|tally| u64::from(tally.active.load(Ordering::Relaxed))).sum();
    let [succeeded, failed] = endpoint.totals();
    [active, succeeded, failed]
}

/// What checks say of a target, in a word.
pub(super) const fn word(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "down",
    }
}

/// One service.
pub(super) fn service(service: &Service, now: Instant) -> Value {
    let endpoints = service.members.endpoints();
    let results = service.results();
    let targets = endpoints.iter().map(|endpoint| show(endpoint, results.get(endpoint.address()), now));
    let targets: Vec<Value> = targets.collect();
    let drained = service.members.drained();
    // Those that are there say so themselves.
    let absent = drained.iter().filter(|name| !endpoints.iter().any(|endpoint| endpoint.is_called(name)));
    let absent: Vec<&str> = absent.map(|name| &**name).collect();
    let names: Vec<Value> = service.sources().iter().filter_map(|source| name(source, now)).collect();
    json!({
        "name": service.name(),
        "usable": endpoints.iter().filter(|endpoint| is_usable(endpoint, now)).count(),
        "health_checks": service.checks().is_some(),
        "targets": targets,
        "drained_and_gone": absent,
        "names": names,
    })
}

/// One target of a service.
pub(super) fn target(service: &Service, endpoint: &Endpoint, now: Instant) -> Value {
    show(endpoint, service.results().get(endpoint.address()), now)
}

fn show(endpoint: &Endpoint, result: Option<&CheckResult>, now: Instant) -> Value {
    let [active, succeeded, failed] = requests(endpoint);
    let ejected = is_ejected(endpoint, now).then(|| millis(endpoint.ejected_until().since(now)));
    json!({
        "address": endpoint.address().to_string(),
        "authority": endpoint.authority(),
        "weight": endpoint.weight(),
        "usable": is_usable(endpoint, now),
        "drained": endpoint.is_drained(),
        "health": word(endpoint.health()),
        "health_since_ago_ms": result.map(|result| millis(now.since(result.since))),
        "last_check": result.map(|result| check(result, now)),
        // One that was there from the start needs none.
        "in_use_since_ago_ms": (endpoint.since() > Instant::ZERO).then(|| millis(now.since(endpoint.since()))),
        "ejected_ends_in_ms": ejected,
        "connections": endpoint.connections(),
        "active": active,
        "succeeded": succeeded,
        "failed": failed,
    })
}

fn check(result: &CheckResult, now: Instant) -> Value {
    json!({
        "ago_ms": millis(now.since(result.at)),
        "took_ms": millis(result.took),
        "passed": result.error.is_none(),
        "status": result.status,
        "error": result.error,
        "in_a_row_against": result.against,
    })
}

/// How a name fares, where a target has one.
fn name(source: &Source, now: Instant) -> Option<Value> {
    let (name, state) = (source.name()?, source.state());
    Some(json!({
        "name": name,
        "answered_ago_ms": state.answered.map(|at| millis(now.since(at))),
        "asked_again_in_ms": millis(state.due.since(now)),
        "failures_in_a_row": state.failures,
        "error": state.error,
    }))
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The members of one service, those of `/health/NAME` besides.
fn service_schema(more: &[(&str, Value)]) -> Value {
    let name = object(&[
        ("name", text("that is asked for")),
        ("answered_ago_ms", or_null(whole("since its last good answer"), "none has come yet")),
        ("asked_again_in_ms", whole("until it is asked for again")),
        ("failures_in_a_row", whole("since then")),
        ("error", or_null(text("why the last question has failed"), "it has not")),
    ]);
    let mut members = vec![
        ("name", text("its name")),
        ("usable", whole("targets that get requests")),
        ("health_checks", flag("whether its targets are asked")),
        ("targets", list(refer("Target"))),
        ("drained_and_gone", list(text("a target that is drained, and not in the list now"))),
        ("names", list(name)),
    ];
    members.extend_from_slice(more);
    object(&members)
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let check = object(&[
        ("ago_ms", whole("since its end")),
        ("took_ms", whole("how long it took")),
        ("passed", flag("whether it found the target well")),
        ("status", or_null(whole("of the answer"), "there was none")),
        ("error", or_null(text("why it has failed"), "it has not")),
        ("in_a_row_against", whole("checks that speak against what is held of the target")),
    ]);
    let target = object(&[
        ("address", text("where it is")),
        ("authority", text("as it is written")),
        ("weight", whole("its share beside the others'")),
        ("usable", flag("whether it gets requests, as long as another one does")),
        ("drained", flag("whether an operator has taken it out")),
        ("health", super::schema::word(&["unknown", "up", "down"])),
        ("health_since_ago_ms", or_null(whole("since that has changed"), "it was not checked")),
        ("last_check", or_null(check, "it was not checked")),
        ("in_use_since_ago_ms", or_null(whole("since it joined or was well again"), "from the start")),
        ("ejected_ends_in_ms", or_null(whole("until its ejection ends"), "it is not ejected")),
        ("connections", whole("open or being opened")),
        ("active", whole("requests that run there")),
        ("succeeded", whole("requests that it has answered")),
        ("failed", whole("requests that failed because of it")),
    ]);
    vec![
        ("Target", target),
        ("Upstreams", object(&[("services", list(service_schema(&[])))])),
        ("ServiceHealth", service_schema(&[("status", super::schema::word(&["ok", "panic", "down"]))])),
    ]
}
