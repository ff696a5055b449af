//! What became of each route that came close, in words.

use serde_spanned::Spanned;

use super::{Near, place};
use crate::base::secret::sounds_secret;
use crate::config::{Config, RouteConfig};
use crate::http::query;
use crate::router::config::TestConfig;
use crate::router::explain::{Candidate, Condition};
use crate::router::{Lookup, RouteId};

/// What became of each candidate where `taken` takes the request.
pub(super) fn of(config: &Config, lookup: &Lookup<'_>, candidates: &[Candidate], taken: Option<RouteId>) -> Vec<Near> {
    let winner = candidates.iter().find(|candidate| Some(candidate.route) == taken);
    let near = candidates.iter().map(|candidate| {
        let route = &config.routes[candidate.route.index()];
        let reason = match (candidate.fails, winner) {
            (Some(condition), _) => failed(config, route, lookup, condition),
            (None, Some(winner)) if winner.route != candidate.route => {
                let first = &config.routes[winner.route.index()];
                let name = first.name.get_ref();
                format!("would take it, too, but `{name}` comes first: {}", decided(first, winner, route, candidate))
            }
            (None, _) => "takes it".into(),
        };
        Near { route: route.name.get_ref().clone(), place: place(config, &route.name), reason }
    });
    near.collect()
}

/// What makes one route come before another that would take the same request.
fn decided(first: &RouteConfig, winner: &Candidate, second: &RouteConfig, other: &Candidate) -> String {
    let host = |candidate: &Candidate| candidate.host.clone().unwrap_or_else(|| "any host".into());
    let path = |route: &RouteConfig| route.matches.path.as_ref().map_or("/*", |path| path.get_ref()).to_owned();
    if winner.priority != other.priority {
        return format!("its priority is higher ({} over {})", winner.priority, other.priority);
    }
    if winner.host != other.host {
        return format!("its host is more specific ({} over {})", host(winner), host(other));
    }
    let (one, two) = (path(first), path(second));
    if shape(&one) != shape(&two) {
        return format!("its path is more specific ({one} over {two})");
    }
    format!("it has more conditions ({} over {})", winner.conditions, other.conditions)
}

/// A path without the names of its captures. All expressions are of one kind.
fn shape(path: &str) -> String {
    if path.starts_with('~') {
        return "~".into();
    }
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Why a condition does not hold.
fn failed(config: &Config, route: &RouteConfig, lookup: &Lookup<'_>, condition: Condition) -> String {
    let list = |all: &mut dyn Iterator<Item = &str>| all.collect::<Vec<_>>().join(", ");
    match condition {
        Condition::Listener => {
            let own = list(&mut route.matches.listeners.iter().map(|name| name.get_ref().as_str()));
            let here = &config.listeners[usize::from(lookup.listener.0)].name;
            format!("listener: it serves at {own} alone, and this is {}", here.get_ref())
        }
        Condition::Method => {
            format!(
                "method: it takes {} alone",
                list(&mut route.matches.methods.iter().map(|name| name.get_ref().as_str()))
            )
        }
        Condition::Header(place) => {
            let (name, test) = &route.matches.headers[place];
            let same =
                |field: &crate::http::fields::Field<'_>| field.name.eq_ignore_ascii_case(name.get_ref().as_bytes());
            let values: Vec<String> =
                lookup.head.fields().filter(same).map(|field| super::lossy(field.value)).collect();
            let value = (!values.is_empty()).then(|| values.join(", "));
            format!("header `{}`: {}", name.get_ref(), unlike(config, name.get_ref(), test, value))
        }
        Condition::Query(place) => {
            let (name, test) = &route.matches.query[place];
            let found = lookup.head.query().and_then(|all| query::value(all.as_bytes(), name.get_ref().as_bytes()));
            let value = found.map(|value| super::lossy(&query::decoded(value).collect::<Vec<_>>()));
            format!("query `{}`: {}", name.get_ref(), unlike(config, name.get_ref(), test, value))
        }
    }
}

/// What a value is not.
fn unlike(config: &Config, name: &str, test: &Spanned<TestConfig>, value: Option<String>) -> String {
    let is_hidden = || config.source.substitution(&test.span()).is_some_and(|substitution| substitution.hidden);
    let is = value.map_or_else(|| "is not there".to_owned(), |value| format!("is \"{value}\""));
    match test.get_ref() {
        TestConfig::Present => format!("it must be there, and {is}"),
        TestConfig::Text(_) if sounds_secret(name) || is_hidden() => "it must have another value".into(),
        TestConfig::Text(text) => match text.strip_prefix('~') {
            Some(expression) => format!("it must match {}, and {is}", expression.trim_start()),
            None => format!("it must be \"{text}\", and {is}"),
        },
    }
}
