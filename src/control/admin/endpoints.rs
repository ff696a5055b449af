//! The list of all that the admin listener can be asked: what it is routed by, and what its OpenAPI document says.

use axum::routing::MethodFilter;

use super::{Answered, Asked, Later, Views, config, metrics, openapi, process, routes, targets, upstreams, workers};

/// One operation.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) method: Method,
    /// In the style of both OpenAPI and the router: `/health/{service}`.
    pub(super) path: &'static str,
    /// Its name for programs.
    pub(super) name: &'static str,
    /// What it is for, in a sentence.
    pub(super) summary: &'static str,
    /// The numbers that may stand in its query.
    pub(super) query: &'static [Number],
    /// What its body is, if it has one: the name of a schema.
    pub(super) body: Option<&'static str>,
    /// Its answers: the status, what it looks like and when it comes.
    pub(super) answers: &'static [(u16, Shape, &'static str)],
    pub(super) run: Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
}

/// A whole number in a query.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) default: u64,
    pub(super) most: u64,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// JSON of the schema of this name.
    Json(&'static str),
    /// Any JSON.
    Any,
    /// Text of this media type.
    Text(&'static str),
    /// Problem details.
    Problem,
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
    const fn new(method: Method, path: &'static str, name: &'static str, summary: &'static str, run: Run) -> Endpoint {
        Endpoint { method, path, name, summary, query: &[], body: None, answers: &[], run }
    }

    const fn answers(self, answers: &'static [(u16, Shape, &'static str)]) -> Endpoint {
        Endpoint { answers, ..self }
    }

    const fn query(self, query: &'static [Number]) -> Endpoint {
        Endpoint { query, ..self }
    }

    const fn body(self, schema: &'static str) -> Endpoint {
        Endpoint { body: Some(schema), ..self }
    }

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

    /// The parameters in its path.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

use Method::{Get, Post, Put};
use Run::{Later as InTime, Now};
use Shape::{Any, Json, Problem, Text};

const NO_SERVICE: (u16, Shape, &str) = (404, Problem, "there is no such service");
const NO_TARGET: (u16, Shape, &str) = (404, Problem, "there is no such service or target");
const NOT_AVAILABLE: (u16, Shape, &str) = (501, Problem, "this gateway cannot");

/// Pieces of long lists.
const PAGE: &[Number] = &[
    Number { name: "offset", meaning: "how many to leave out", default: 0, most: 1_000_000 },
    Number { name: "limit", meaning: "how many to show", default: 1000, most: 10_000 },
];
const LIMIT: &[Number] = &[Number { name: "limit", meaning: "how many to list", default: 100, most: 1000 }];

/// All of them; those of one path stand together.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(Get, "/health", "health", "Whether the process lives", Now(process::health)).answers(&[(
        200,
        Json("Health"),
        "it does",
    )]),
    Endpoint::new(Get, "/ready", "ready", "Whether to send clients here", Now(process::ready))
        .answers(&[(200, Json("Ready"), "yes"), (503, Json("Ready"), "it is starting, leaving or draining")]),
    Endpoint::new(
        Get,
        "/health/{service}",
        "service_health",
        "Whether a service can take requests, and its targets",
        Now(process::service_health),
    )
    .answers(&[
        (200, Json("ServiceHealth"), "it can"),
        (503, Json("ServiceHealth"), "none of its targets can be used"),
        NO_SERVICE,
    ]),
    Endpoint::new(Get, "/routes", "routes", "The routes, in the order of the file", Now(routes::routes))
        .query(PAGE)
        .answers(&[(200, Json("Routes"), "a piece of the list")]),
    Endpoint::new(Get, "/services", "services", "The services, as they are configured", Now(routes::services))
        .answers(&[(200, Json("Services"), "all of them")]),
    Endpoint::new(Get, "/upstreams", "upstreams", "The targets of all services, as they are", Now(upstreams::all))
        .answers(&[(200, Json("Upstreams"), "all of them")]),
    Endpoint::new(Get, "/config", "config", "What runs, with every default and no secret", Now(config::config))
        .answers(&[(200, Json("Config"), "all of it")]),
    Endpoint::new(Get, "/connections", "connections", "The open client connections", InTime(workers::connections))
        .query(LIMIT)
        .answers(&[(200, Json("Connections"), "how many there are, and some of them")]),
    Endpoint::new(Get, "/workers", "workers", "How the workers are doing", Now(workers::workers)).answers(&[(
        200,
        Json("Workers"),
        "all of them",
    )]),
    Endpoint::new(Get, "/metrics", "metrics", "All that was counted, for Prometheus", InTime(metrics::metrics))
        .answers(&[
            (
                200,
                Text(metrics::Format::Classic.kind()),
                "the text format of Prometheus, or OpenMetrics for who accepts it",
            ),
            (200, Text(metrics::Format::OpenMetrics.kind()), "OpenMetrics"),
            (500, Problem, "the text could not be made"),
        ]),
    Endpoint::new(Post, "/reload", "reload", "Read the configuration again and make it run", InTime(process::reload))
        .answers(&[
            (200, Json("Reloaded"), "it runs"),
            (409, Problem, "an address cannot be listened at; the old one runs on"),
            (422, Problem, "it is wrong; the old one runs on"),
            (503, Problem, "there is no file, or too many ask"),
        ]),
    Endpoint::new(Post, "/drain", "drain", "Finish what runs, and end the process", Now(process::drain)).answers(&[(
        202,
        Json("Ready"),
        "it has begun",
    )]),
    Endpoint::new(
        Post,
        "/targets/{service}/{target}/drain",
        "drain_target",
        "Send no new requests to a target",
        Now(targets::drain),
    )
    .answers(&[(200, Json("Targets"), "it is drained"), NO_TARGET, (409, Problem, "too many are drained already")]),
    Endpoint::new(
        Post,
        "/targets/{service}/{target}/enable",
        "enable_target",
        "Send requests to a target again",
        Now(targets::enable),
    )
    .answers(&[
        (200, Json("Targets"), "it is enabled"),
        NO_TARGET,
        (409, Problem, "it was drained by another name"),
    ]),
    Endpoint::new(Get, "/log-level", "log_level", "How much is logged", Now(process::log_level))
        .answers(&[(200, Json("LogLevel"), "the filter"), NOT_AVAILABLE]),
    Endpoint::new(Put, "/log-level", "set_log_level", "Log more or less", Now(process::set_log_level))
        .body("LogLevel")
        .answers(&[(200, Json("LogLevel"), "the filter now"), (422, Problem, "it is no filter"), NOT_AVAILABLE]),
    Endpoint::new(Get, "/openapi.json", "openapi", "This document", Now(openapi::document)).answers(&[(
        200,
        Any,
        "an OpenAPI document",
    )]),
];
