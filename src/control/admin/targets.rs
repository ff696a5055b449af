//! Takes single targets out and puts them back: `POST /targets/{service}/{target}/drain` and `.../enable`.
//!
//! A target is called by its address, or as it is written in the configuration: the latter means all addresses of a
//! name, also those that it gets later. A drained target gets no new requests; those that run finish, and idle
//! connections close within a second. It stays drained until it is enabled, whatever name servers say meanwhile.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Problem};
use super::schema::{list, object, refer, text};
use super::{Answered, Asked, Views, upstreams};
use crate::base::time::Instant;
use crate::control::board::Service;

/// More names than this are not remembered.
const DRAINED_MOST: usize = 1024;

pub(super) fn drain(views: &Views, asked: &Asked) -> Answered {
    let (service, name) = target(views, asked)?;
    let now = Instant::from_clock();
    if service.members.drained().len() >= DRAINED_MOST {
        let detail = format!("{DRAINED_MOST} targets of this service are drained already; enable those that are gone.");
        return Err(Problem::new(StatusCode::CONFLICT, "too_many_drained", detail));
    }
    if service.members.drain(&name, now) {
        tracing::info!(service = service.name(), endpoint = name, "an operator has drained a target");
    }
    Ok(Answer::json(&view(&service, &name, now)))
}

pub(super) fn enable(views: &Views, asked: &Asked) -> Answered {
    let (service, name) = target(views, asked)?;
    let now = Instant::from_clock();
    if service.members.enable(&name, now) {
        tracing::info!(service = service.name(), endpoint = name, "an operator has enabled a target");
    }
    let endpoints = service.members.endpoints();
    if let Some(still) = endpoints.iter().find(|endpoint| endpoint.is_called(&name) && endpoint.is_drained()) {
        let other = if *still.address().to_string() == name {
            still.authority().to_owned()
        } else {
            still.address().to_string()
        };
        let detail = format!("`{name}` was drained as `{other}` and stays so; enable that.");
        return Err(Problem::new(StatusCode::CONFLICT, "drained_by_another_name", detail));
    }
    Ok(Answer::json(&view(&service, &name, now)))
}

/// The service, and what the target is called.
fn target(views: &Views, asked: &Asked) -> Result<(Arc<Service>, String), Problem> {
    let service = views.service(asked.parameter("service"))?;
    let written = asked.parameter("target");
    let name = written.parse().map_or_else(|_| written.to_owned(), |address: std::net::SocketAddr| address.to_string());
    let endpoints = service.members.endpoints();
    let is_known = endpoints.iter().any(|endpoint| endpoint.is_called(&name))
        || service.members.drained().iter().any(|drained| **drained == *name);
    if is_known {
        return Ok((service, name));
    }
    let names: Vec<String> = endpoints.iter().take(8).map(|endpoint| endpoint.address().to_string()).collect();
    let there = if names.is_empty() {
        "It has none now.".to_owned()
    } else {
        format!("It has, for example: {}.", names.join(", "))
    };
    let detail = format!("Service `{}` has no target `{written}`. {there}", service.name());
    Err(Problem::new(StatusCode::NOT_FOUND, "no_target", detail))
}

/// What was meant, as it is now.
fn view(service: &Service, name: &str, now: Instant) -> Value {
    let endpoints = service.members.endpoints();
    let meant = endpoints.iter().filter(|endpoint| endpoint.is_called(name));
    let targets: Vec<Value> = meant.map(|endpoint| upstreams::target(service, endpoint, now)).collect();
    json!({ "service": service.name(), "target": name, "targets": targets })
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let targets = object(&[
        ("service", text("its name")),
        ("target", text("what was asked for")),
        ("targets", list(refer("Target"))),
    ]);
    vec![("Targets", targets)]
}
