//! The list of all that the admin listener can be asked: what it is routed by, and what its OpenAPI document says.

use axum::routing::MethodFilter;
use serde_json::{Value, json};

use super::answer::Answer;
use super::{Answered, Asked, Later, Views, metrics, process, targets, upstreams};
use crate::base::time::Instant;

/// One operation.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) method: Method,
    /// In the style of both OpenAPI and the router: `/health/{service}`.
    pub(super) path: &'static str,
    /// What its body is, if it has one: the name of a schema.
    pub(super) body: Option<&'static str>,
    pub(super) run: Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
}

/// What makes the answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// At once.
    Now(fn(&Views, &Asked) -> Answered),
    /// In its time.
    Later(for<'a> fn(&'a Views, &'a Asked) -> Later<'a>),
}

impl Method {
    /// What the router goes by.
    pub(super) const fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
        }
    }

    /// What an Allow field says.
    pub(super) const fn names(self) -> &'static [&'static str] {
        match self {
            Method::Get => &["GET", "HEAD"],
            Method::Post => &["POST"],
            Method::Put => &["PUT"],
        }
    }
}

impl Endpoint {
    /// Whether this path is its own.
    pub(super) fn is_at(&self, path: &str) -> bool {
        let (mut own, mut parts) = (self.path.split('/'), path.split('/'));
        loop {
            match (own.next(), parts.next()) {
                (None, None) => return true,
                (Some(own), Some(part)) if own == part || own.starts_with('{') => {}
                _ => return false,
            }
        }
    }
}

const fn get(path: &'static str, run: fn(&Views, &Asked) -> Answered) -> Endpoint {
    Endpoint { method: Method::Get, path, body: None, run: Run::Now(run) }
}

const fn post(path: &'static str, run: fn(&Views, &Asked) -> Answered) -> Endpoint {
    Endpoint { method: Method::Post, path, body: None, run: Run::Now(run) }
}

/// All of them; those of one path stand together.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    get("/health", process::health),
    get("/ready", process::ready),
    get("/health/{service}", process::service_health),
    get("/upstreams", all_upstreams),
    get("/metrics", all_metrics),
    Endpoint { method: Method::Post, path: "/reload", body: None, run: Run::Later(process::reload) },
    post("/drain", process::drain),
    post("/targets/{service}/{target}/drain", targets::drain),
    post("/targets/{service}/{target}/enable", targets::enable),
    get("/log-level", process::log_level),
    Endpoint { method: Method::Put, path: "/log-level", body: Some("LogLevel"), run: Run::Now(process::set_log_level) },
];

fn all_upstreams(views: &Views, _: &Asked) -> Answered {
    let now = Instant::from_clock();
    let services: Vec<Value> = views.board.services().iter().map(|service| upstreams::service(service, now)).collect();
    Ok(Answer::json(&json!({ "services": services })))
}

fn all_metrics(views: &Views, _: &Asked) -> Answered {
    let text = metrics::render(&views.shared, &views.board, Instant::from_clock());
    Ok(Answer::text("text/plain; version=0.0.4; charset=utf-8", text))
}
