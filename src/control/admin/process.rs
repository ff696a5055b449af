//! What is said of the process as a whole, and what it can be told to do: `/health`, `/ready`, `/reload`, `/drain` and
//! `/log-level`.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Problem};
use super::schema::{list, object, text, whole, word};
use super::{Answered, Asked, Later, Views, upstreams};
use crate::base::time::Instant;
use crate::control::reload::{Refused, Reloaded};

/// The process lives, or nobody would answer.
pub(super) fn health(_: &Views, _: &Asked) -> Answered {
    Ok(Answer::json(&json!({ "status": "ok" })))
}

/// Whether to send clients here.
pub(super) fn ready(views: &Views, _: &Asked) -> Answered {
    let (shared, unavailable) = (&views.shared, StatusCode::SERVICE_UNAVAILABLE);
    let (status, word) = match (shared.is_up(), shared.is_leaving(), shared.is_draining()) {
        (_, _, true) => (unavailable, "draining"),
        (_, true, false) => (unavailable, "leaving"),
        (false, false, false) => (unavailable, "starting"),
        (true, false, false) => (StatusCode::OK, "serving"),
    };
    Ok(Answer::json(&json!({ "status": word })).status(status))
}

/// Whether a service can take requests.
pub(super) fn service_health(views: &Views, asked: &Asked) -> Answered {
    let service = views.service(asked.parameter("service"))?;
    let now = Instant::from_clock();
    let (status, word) = match upstreams::state(&service, now) {
        upstreams::State::Down => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        upstreams::State::Panic => (StatusCode::OK, "panic"),
        upstreams::State::Ok => (StatusCode::OK, "ok"),
    };
    let mut view = upstreams::service(&service, now);
    view["status"] = word.into();
    Ok(Answer::json(&view).status(status))
}

/// Reads the configuration again and makes it run.
pub(super) fn reload<'a>(views: &'a Views, _: &'a Asked) -> Later<'a> {
    Box::pin(async {
        let reloaded = views.reload.reload("POST /reload").await.map_err(|refused| why_not(&refused))?;
        let Reloaded { number, routes, services, opened, closed, needs_restart, warnings } = &*reloaded;
        Ok(Answer::json(&json!({
            "edition": number,
            "routes": routes,
            "services": services,
            "listeners_added": opened,
            "listeners_removed": closed,
            "needs_restart": needs_restart,
            "warnings": warnings,
        })))
    })
}

/// Why a reload was refused, without excerpts of the file: there may be secrets in it.
fn why_not(refused: &Refused) -> Problem {
    let (status, code, errors) = match refused {
        Refused::Config(faults) => (StatusCode::UNPROCESSABLE_ENTITY, "config_refused", faults.to_json()),
        Refused::Listen(_) => (StatusCode::CONFLICT, "listen_refused", Vec::new()),
        Refused::AccessLog(_) => (StatusCode::CONFLICT, "access_log_unusable", Vec::new()),
        Refused::Impossible(_) => (StatusCode::SERVICE_UNAVAILABLE, "reload_impossible", Vec::new()),
    };
    Problem::new(status, code, refused.to_string()).member("errors", errors.into())
}

/// Begins to drain.
pub(super) fn drain(views: &Views, _: &Asked) -> Answered {
    tracing::info!("an operator has asked for a drain");
    views.drain.drain();
    Ok(Answer::json(&json!({ "status": "leaving" })).status(StatusCode::ACCEPTED))
}

/// How much is logged.
pub(super) fn log_level(views: &Views, _: &Asked) -> Answered {
    let log = views.operations.log_level().ok_or_else(|| unavailable("logs nothing of its own"))?;
    Ok(Answer::json(&json!({ "level": (log.get)() })))
}

/// Logs more or less.
pub(super) fn set_log_level(views: &Views, asked: &Asked) -> Answered {
    let log = views.operations.log_level().ok_or_else(|| unavailable("logs nothing of its own"))?;
    let example = "Write an object such as {\"level\": \"debug\"}.";
    let body: Value = serde_json::from_slice(&asked.body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_json", format!("This is no JSON: {error}. {example}"))
    })?;
    let members = body.as_object().filter(|members| members.len() == 1);
    let Some(level) = members.and_then(|members| members.get("level")).and_then(Value::as_str) else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_body", example));
    };
    (log.set)(level).map_err(|problem| {
        let detail = format!(
            "{problem}. Write error, warn, info, debug or trace, or a filter such as info,tidegate::control=debug."
        );
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_level", detail)
    })?;
    let level = (log.get)();
    tracing::info!(level, "an operator has set the level of the log");
    Ok(Answer::json(&json!({ "level": level })))
}

/// What this process cannot do, and why.
fn unavailable(why: &str) -> Problem {
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not_available", format!("This gateway cannot: it {why}."))
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let reloaded = object(&[
        ("edition", whole("the number of what runs now")),
        ("routes", whole("how many there are now")),
        ("services", whole("how many there are now")),
        ("listeners_added", list(text("its name and address"))),
        ("listeners_removed", list(text("its name and address"))),
        ("needs_restart", list(text("what has changed in the file, and holds from the next start"))),
        ("warnings", list(text("what is perhaps not what was meant, with its place"))),
    ]);
    vec![
        ("Health", object(&[("status", word(&["ok"]))])),
        ("Ready", object(&[("status", word(&["starting", "serving", "leaving", "draining"]))])),
        ("LogLevel", object(&[("level", log_filter())])),
        ("Reloaded", reloaded),
    ]
}

/// A filter of the log, as [`LogHandle::set_level`](crate::control::log::LogHandle::set_level) takes it.
fn log_filter() -> Value {
    let level = "(off|error|warn|info|debug|trace)";
    let part = format!("([A-Za-z_][A-Za-z0-9_]*(::[A-Za-z0-9_]+)*=)?{level}");
    let mut filter = text("a level, or a filter such as info,tidegate::control=debug");
    filter["pattern"] = format!("^{part}(,{part})*$").into();
    filter
}
