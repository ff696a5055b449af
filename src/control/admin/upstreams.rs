//! Services and their targets, as JSON: for `/upstreams` and `/health/NAME`.
//!
//! Times are in milliseconds: `..._ago_ms` since something was, `..._in_ms` until something will be.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::time::Instant;
use crate::control::board::{CheckResult, Service};
use crate::control::resolve::Source;
use crate::upstream::endpoint::{Endpoint, Health};

/// Whether a target gets requests, as long as another one does.
pub(super) fn is_usable(endpoint: &Endpoint, now: Instant) -> bool {
    endpoint.health() != Health::Down && !is_ejected(endpoint, now)
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
    /// It has no target, or checks have found all down.
    Down,
}

/// What becomes of the requests to `service`.
pub(super) fn state(service: &Service, now: Instant) -> State {
    let endpoints = service.members.endpoints();
    if endpoints.iter().any(|endpoint| is_usable(endpoint, now)) {
        State::Ok
    } else if endpoints.iter().any(|endpoint| endpoint.health() != Health::Down) {
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
    let targets = endpoints.iter().map(|endpoint| target(endpoint, results.get(endpoint.address()), now));
    let targets: Vec<Value> = targets.collect();
    let names: Vec<Value> = service.sources().iter().filter_map(|source| name(source, now)).collect();
    json!({
        "name": service.name(),
        "usable": endpoints.iter().filter(|endpoint| is_usable(endpoint, now)).count(),
        "health_checks": service.checks().is_some(),
        "targets": targets,
        "names": names,
    })
}

fn target(endpoint: &Endpoint, result: Option<&CheckResult>, now: Instant) -> Value {
    let [active, succeeded, failed] = requests(endpoint);
    let ejected = is_ejected(endpoint, now).then(|| millis(endpoint.ejected_until().since(now)));
    json!({
        "address": endpoint.address().to_string(),
        "authority": endpoint.authority(),
        "weight": endpoint.weight(),
        "usable": is_usable(endpoint, now),
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
