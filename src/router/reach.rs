//! Which routes never win, or never at a host or with a method that they name.
//!
//! ```toml
//! [routes.all]
//! path = "/api/*"
//! priority = 10
//! service = "old"
//!
//! [routes.admin]
//! path = "/api/admin"       # never: whatever it takes, `all` takes before it
//! service = "admin"
//! ```
//!
//! Only a route of a higher priority can take all that another takes: without priorities the more specific one goes
//! first, and two that are equally specific are refused or exclude each other. That one route takes what several others
//! take together is not looked for, nor whether one expression takes what another does.

use std::collections::HashMap;

use super::conditions::{Conditions, Methods, Test};
use super::host::{Host, parse};
use super::path::Slashes;
use super::pattern::{Pattern, Segment, Segments};
use super::{RouteId, RouteInput, Router};

/// Of so many routes with a higher priority, it is asked whether they take all of another.
const ASKED_MOST: usize = 64;

/// What a route never gets, and who gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The route that does not get it.
    pub route: RouteId,
    /// The one that does.
    pub by: RouteId,
    /// Of what.
    pub part: ShadowedPart,
}

/// What a route never gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShadowedPart {
    /// Anything.
    All,
    /// Requests for one of its hosts, by its place.
    Host(usize),
    /// Requests with one of its methods, by its place.
    Method(usize),
}

/// The routes of a higher priority than some other one, by their paths.
#[derive(Default)]
struct Above {
    nodes: Vec<Node>,
    expressions: HashMap<String, Vec<RouteId>>,
}

#[derive(Default)]
struct Node {
    literals: HashMap<String, usize>,
    capture: Option<usize>,
    exact: Vec<RouteId>,
    prefix: Vec<RouteId>,
}

impl Router {
    /// What routes never get. `routes` are those that the router was compiled from, with these `slashes`.
    #[must_use]
    pub fn shadowed(&self, routes: &[RouteInput<'_>], slashes: Slashes) -> Vec<Shadowed> {
        let priorities = || self.rules.iter().map(|rule| rule.priority);
        let Some(lowest) = priorities().min().filter(|lowest| priorities().any(|other| other > *lowest)) else {
            return Vec::new();
        };
        let pattern = |route: &RouteInput<'_>| match &route.matches.path {
            None => Some(Pattern::any()),
            // Without a copy for each worker, which nobody needs here.
            Some(path) => Pattern::parse(path, slashes, 1).ok(),
        };
        let patterns: Vec<Option<Pattern>> = routes.iter().map(pattern).collect();
        let hosts: Vec<Vec<Host>> = routes.iter().map(hosts).collect();
        let mut above = Above { nodes: vec![Node::default()], ..Above::default() };
        for (pattern, id) in patterns.iter().zip((0..).map(RouteId)) {
            if let Some(pattern) = pattern.as_ref().filter(|_| self.rule(id).priority > lowest) {
                above.add(pattern, id);
            }
        }
        let mut found = Vec::new();
        for (pattern, id) in patterns.iter().zip((0..).map(RouteId)) {
            let Some(pattern) = pattern else { continue };
            let mut over = above.over(pattern);
            over.retain(|other| self.rule(*other).priority > self.rule(id).priority);
            over.sort_by_key(|other| (std::cmp::Reverse(self.rule(*other).priority), *other));
            over.truncate(ASKED_MOST);
            self.shadows(id, &routes[id.index()], &over, &hosts, &mut found);
        }
        found
    }

    /// What a route never gets for those that are `over` it, whose paths are all of its paths.
    fn shadows(
        &self,
        id: RouteId,
        route: &RouteInput<'_>,
        over: &[RouteId],
        hosts: &[Vec<Host>],
        found: &mut Vec<Shadowed>,
    ) {
        let own = &self.rule(id).conditions;
        let taker = |host: Option<&Host>, methods: Option<&Methods>| {
            over.iter().copied().find(|other| {
                covers_host(&hosts[other.index()], host) && follows(&self.rule(*other).conditions, own, methods)
            })
        };
        let shadowed = |part, by| Shadowed { route: id, by, part };
        let named = &hosts[id.index()];
        let by_host: Vec<Option<RouteId>> = match named.as_slice() {
            [] => vec![taker(None, own.methods.as_ref())],
            named => named.iter().map(|host| taker(Some(host), own.methods.as_ref())).collect(),
        };
        if let Some(by) = by_host[0].filter(|_| by_host.iter().all(Option::is_some)) {
            found.push(shadowed(ShadowedPart::All, by));
            return;
        }
        let at = by_host.iter().enumerate().filter_map(|(place, by)| Some(shadowed(ShadowedPart::Host(place), (*by)?)));
        found.extend(at);
        for (place, method) in route.matches.methods.iter().enumerate() {
            let mut one = Methods::default();
            one.add(method.get_ref());
            let everywhere = |methods: &Methods| match named.as_slice() {
                [] => taker(None, Some(methods)),
                named => {
                    let all = named.iter().map(|host| taker(Some(host), Some(methods))).collect::<Option<Vec<_>>>();
                    all.and_then(|all| all.first().copied())
                }
            };
            if let Some(by) = everywhere(&one) {
                found.push(shadowed(ShadowedPart::Method(place), by));
            }
        }
    }
}

fn hosts(route: &RouteInput<'_>) -> Vec<Host> {
    route.matches.hosts.iter().filter_map(|host| parse(host.get_ref()).ok()).collect()
}

/// Whether a route with `hosts` takes every request for `host`, or for any host.
fn covers_host(hosts: &[Host], host: Option<&Host>) -> bool {
    let below = |name: &str, above: &str| name.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'));
    let covers = |wide: &Host, narrow: &Host| match (wide, narrow) {
        (Host::Exact(wide), Host::Exact(narrow)) => wide == narrow,
        (Host::Below(wide), Host::Exact(narrow)) => below(narrow, wide),
        (Host::Below(wide), Host::Below(narrow)) => wide == narrow || below(narrow, wide),
        (Host::Exact(_), Host::Below(_)) => false,
    };
    hosts.is_empty() || host.is_some_and(|narrow| hosts.iter().any(|wide| covers(wide, narrow)))
}

/// Whether all of `wide` holds where `narrow` does, and the method is one of `methods`.
fn follows(wide: &Conditions, narrow: &Conditions, methods: Option<&Methods>) -> bool {
    let all = |wide: &[super::conditions::Condition], narrow: &[super::conditions::Condition]| {
        wide.iter()
            .all(|wide| narrow.iter().any(|narrow| narrow.name == wide.name && implies(&narrow.test, &wide.test)))
    };
    let listeners = wide.listeners.is_empty()
        || (!narrow.listeners.is_empty() && narrow.listeners.iter().all(|one| wide.listeners.contains(one)));
    let methods = match (&wide.methods, methods) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => wide.has_all(narrow),
        (Some(_), None) => false,
    };
    listeners && methods && all(&wide.headers, &narrow.headers) && all(&wide.query, &narrow.query)
}

/// Whether every value that passes `narrow` passes `wide`, as far as can be said.
fn implies(narrow: &Test, wide: &Test) -> bool {
    match (narrow, wide) {
        (_, Test::Present) => true,
        (Test::Exact(narrow), Test::Exact(wide)) => narrow == wide,
        (Test::Exact(narrow), Test::Matches(wide)) => wide.is_match(narrow, 0),
        (Test::Matches(narrow), Test::Matches(wide)) => narrow.text() == wide.text(),
        (Test::Matches(_) | Test::Present, Test::Exact(_)) | (Test::Present, Test::Matches(_)) => false,
    }
}

impl Above {
    fn add(&mut self, pattern: &Pattern, id: RouteId) {
        let segments = match pattern {
            Pattern::Expression(expression) => {
                return self.expressions.entry(expression.text().to_owned()).or_default().push(id);
            }
            Pattern::Segments(segments) => segments,
        };
        let mut at = 0;
        for segment in &segments.list {
            let made = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(name) => *node.literals.entry(name.clone()).or_insert(made),
                Segment::Capture(_) => *node.capture.get_or_insert(made),
            };
            if at == made {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        if segments.open { node.prefix.push(id) } else { node.exact.push(id) }
    }

    /// The routes that take every path of `pattern`.
    fn over(&self, pattern: &Pattern) -> Vec<RouteId> {
        match pattern {
            Pattern::Expression(expression) => {
                let same = self.expressions.get(expression.text()).into_iter().flatten();
                same.chain(&self.nodes[0].prefix).copied().collect()
            }
            Pattern::Segments(segments) => self.over_segments(segments),
        }
    }

    fn over_segments(&self, segments: &Segments) -> Vec<RouteId> {
        let mut found = Vec::new();
        // The nodes whose segments take those so far.
        let mut here = vec![0];
        for segment in &segments.list {
            found.extend(here.iter().flat_map(|&node: &usize| &self.nodes[node].prefix));
            let next = here.iter().flat_map(|&node| {
                let node = &self.nodes[node];
                let literal = match segment {
                    Segment::Literal(name) => node.literals.get(name).copied(),
                    Segment::Capture(_) => None,
                };
                // A capture takes no empty segment.
                let capture = node.capture.filter(|_| *segment != Segment::Literal(String::new()));
                [literal, capture].into_iter().flatten()
            });
            here = next.take(ASKED_MOST).collect();
        }
        for &node in &here {
            found.extend(&self.nodes[node].prefix);
            if !segments.open {
                found.extend(&self.nodes[node].exact);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::inputs_of;
    use super::*;

    /// What is shadowed in a table: `route < by`, with the place of the host or method.
    fn shadowed(text: &str) -> Vec<String> {
        inputs_of(text, |router, inputs| {
            let name = |id: RouteId| inputs[id.index()].name.get_ref().as_str();
            let found = router.shadowed(inputs, Slashes::Kept).into_iter().map(|shadowed| {
                let part = match shadowed.part {
                    ShadowedPart::All => String::new(),
                    ShadowedPart::Host(place) => format!(" host {place}"),
                    ShadowedPart::Method(place) => format!(" method {place}"),
                };
                format!("{} < {}{part}", name(shadowed.route), name(shadowed.by))
            });
            found.collect()
        })
    }

    #[test]
    fn what_a_route_never_gets() {
        for (over, under, expected) in [
            ("path = \"/api/*\"", "path = \"/api/admin\"", &["b < a"][..]),
            ("path = \"/api/*\"", "path = \"/api\"", &["b < a"]),
            ("path = \"/api/*\"", "path = \"/apis\"", &[]),
            ("path = \"/api\"", "path = \"/api/*\"", &[]),
            ("path = \"/{x}/*\"", "path = \"/{y}/z/*\"", &["b < a"]),
            ("path = \"/{x}\"", "path = \"/\"", &[]),
            ("path = \"/a/{x}\"", "path = \"/{y}/b\"", &[]),
            ("", "path = \"~ ^/a\"", &["b < a"]),
            ("path = \"/*\"", "hosts = [\"a.x\"]", &["b < a"]),
            ("path = \"~ ^/a\"", "path = \"~ ^/a\"", &["b < a"]),
            ("path = \"~ ^/a\"", "path = \"/a\"", &[]),
            ("hosts = [\"*.x\"]", "hosts = [\"a.x\", \"*.b.x\"]", &["b < a"]),
            ("hosts = [\"*.x\"]", "hosts = [\"a.x\", \"x\"]", &["b < a host 0"]),
            ("hosts = [\"a.x\"]", "hosts = [\"*.x\"]", &[]),
            ("hosts = [\"a.x\"]", "", &[]),
            ("methods = [\"GET\"]", "methods = [\"POST\", \"HEAD\"]", &["b < a method 1"]),
            ("methods = [\"GET\", \"POST\"]", "methods = [\"POST\", \"HEAD\"]", &["b < a"]),
            ("methods = [\"GET\"]", "", &[]),
            ("headers = { a = true }", "headers = { A = \"1\", b = \"1\" }", &["b < a"]),
            ("headers = { a = \"1\" }", "headers = { a = \"2\" }", &[]),
            ("headers = { a = \"~ ^1\" }", "headers = { a = \"12\" }", &["b < a"]),
            ("headers = { a = \"12\" }", "headers = { a = \"~ ^1\" }", &[]),
            ("query = { q = \"1\" }", "headers = { q = \"1\" }", &[]),
            ("listeners = [\"public\"]", "listeners = [\"public\"]", &["b < a"]),
            ("listeners = [\"public\"]", "", &[]),
        ] {
            let table = format!("[routes.a]\npriority = 1\n{over}\n[routes.b]\n{under}\n");
            assert_eq!(shadowed(&table), expected, "{over} over {under}");
            let other = table.replace("priority = 1", "priority = -1");
            assert!(!shadowed(&other).iter().any(|found| found.starts_with("b <")), "{over} under {under}");
        }
        assert!(shadowed("[routes.a]\npath = \"/a/*\"\n[routes.b]\npath = \"/a/b\"\n").is_empty());
    }
}
