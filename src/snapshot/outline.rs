//! What people want to see of a route, and nobody needs for its requests.
//!
//! Of what a header or a query key is compared with, only the kind is kept: it may be a secret that clients show.

use std::collections::HashMap;

use serde_spanned::Spanned;

use super::ServiceId;
use super::compile::service_id;
use crate::config::{ActionConfig, Diagnostic, RouteConfig};
use crate::router::config::{ForwardPath, TestConfig};

/// A route as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// Any of these; empty for any host.
    pub hosts: Box<[Box<str>]>,
    /// Any of these; empty for any method.
    pub methods: Box<[Box<str>]>,
    /// Fields that the request must have.
    pub headers: Box<[(Box<str>, Test)]>,
    /// Keys of the query that the request must have.
    pub query: Box<[(Box<str>, Test)]>,
    /// Any of these; empty for any listener.
    pub listeners: Box<[Box<str>]>,
    /// The higher wins.
    pub priority: i32,
    /// The services that share its requests, each with its weight; empty where the gateway answers.
    pub services: Box<[(ServiceId, u32)]>,
    /// The service that gets copies, and of which share of the requests.
    pub mirror: Option<(Box<str>, f64)>,
    /// What is not sent on of the path.
    pub strip_prefix: Option<Box<str>>,
    /// The path that is sent on instead.
    pub rewrite: Option<Box<str>>,
    /// Whether the path is sent on as it was received.
    pub is_raw: bool,
}

/// What a header or a query key must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// There, with whatever value.
    Present,
    /// Exactly something.
    Exact,
    /// A match of an expression.
    Matches,
}

impl Test {
    /// The kind, in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Test::Present => "present",
            Test::Exact => "exact",
            Test::Matches => "matches",
        }
    }
}

/// The outline of a route.
pub(super) fn outline(written: &RouteConfig, services: &HashMap<&str, usize>) -> Result<Outline, Box<Diagnostic>> {
    let texts = |list: &[Spanned<String>]| list.iter().map(|text| text.get_ref().as_str().into()).collect();
    let tests = |list: &[(Spanned<String>, Spanned<TestConfig>)]| {
        let pair = |(name, test): &(Spanned<String>, Spanned<TestConfig>)| {
            let kind = match test.get_ref() {
                TestConfig::Present => Test::Present,
                TestConfig::Text(text) if text.starts_with("~ ") => Test::Matches,
                TestConfig::Text(_) => Test::Exact,
            };
            (name.get_ref().as_str().into(), kind)
        };
        list.iter().map(pair).collect()
    };
    let shares = match &written.action {
        ActionConfig::Service(split) => &split.shares[..],
        ActionConfig::Redirect(_) | ActionConfig::Respond(_) => &[],
    };
    let shares = shares.iter().map(|share| Ok((service_id(&share.name, services)?, share.weight)));
    let (matches, forward) = (&written.matches, &written.forward);
    let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().as_str().into());
    Ok(Outline {
        hosts: texts(&matches.hosts),
        methods: texts(&matches.methods),
        headers: tests(&matches.headers),
        query: tests(&matches.query),
        listeners: texts(&matches.listeners),
        priority: matches.priority,
        services: shares.collect::<Result<_, Box<Diagnostic>>>()?,
        mirror: written.mirror.as_ref().map(|mirror| (mirror.service.get_ref().as_str().into(), mirror.share)),
        strip_prefix: text(&forward.strip_prefix),
        rewrite: text(&forward.rewrite),
        is_raw: forward.forward_path.as_ref().is_some_and(|form| *form.get_ref() == ForwardPath::Raw),
    })
}
