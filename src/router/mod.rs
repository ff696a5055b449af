//! Which route a request takes, and the path that is sent on.
//!
//! ```toml
//! [routes.users]
//! hosts = ["api.example.com", "*.example.org"]   # any of; without it, any host
//! path = "/api/users/{id}/*"                     # without it, any path
//! methods = ["GET", "POST"]
//! headers = { x-api-version = "v2" }
//! query = { region = "eu" }
//! listeners = ["public"]
//! priority = 0                                   # the higher wins, whatever else
//! service = "users"
//! strip_prefix = "/api"                          # or: rewrite = "/people/{id}/*"
//! ```
//!
//! The order of precedence, of which the first that differs decides:
//!
//! 1. the higher `priority`;
//! 2. the host: an exact name, then the longest wildcard, then any;
//! 3. the path: exact, then with captures (from the left, a literal segment before a capture), then a regular
//!    expression, then the longest prefix (in segments; of two as long, from the left, a literal segment before a
//!    capture);
//! 4. the number of conditions: `methods` is one, each header and each query key is one.
//!
//! The first route in this order whose conditions all hold takes the request; so a route whose conditions do not hold
//! leaves it to one for less specific hosts or paths. Where that order does not decide between two routes, they must
//! exclude each other, or they are refused when the file is read (`compile`). If no route takes the request, and some
//! would with another method, the answer is 405 with the methods of those.
//!
//! A path is matched in its normal form ([`path`]), and the path that was matched is the one that is sent on: what the
//! gateway decides about and what the backend sees are the same bytes. `OPTIONS *` has no path, and no route takes it.
//!
//! For each host there is a tree of segments, so a look-up costs one walk over the path, however many routes there are,
//! and a path made of thousands of slashes costs no more than any other of its length. Priorities cost a look at the
//! hosts whose routes have a higher one, and expressions are tried one after the other.

mod captures;
mod compile;
mod conditions;
pub mod config;
pub mod explain;
mod expression;
mod forward;
mod host;
pub mod path;
mod pattern;
mod reach;
mod ties;
mod tree;

use crate::base::decode::Diagnostic;
use crate::http::h1::parse::RequestHead;
pub use captures::Captures;
pub use compile::{RouteInput, Surroundings};
use conditions::{Conditions, Fit, Methods};
pub use config::{ForwardConfig, MatchConfig};
use expression::Expression;
use forward::Forward;
use host::Hosts;
use path::PathError;
use pattern::Pattern;
pub use reach::{Shadowed, ShadowedPart};
use tree::Tree;

/// A route of one [`Router`], its place among the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The place of this route among the routes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A listener, its place among the listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

impl ListenerId {
    /// One that is no more: no condition names it.
    pub const GONE: ListenerId = ListenerId(u16::MAX);
}

/// A request that looks for its route.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// Its path, in normal form (see [`path::normalize`]) and without the query.
    pub path: &'a [u8],
    /// The listener by which its connection came.
    pub listener: ListenerId,
    /// The worker that asks: each has copies of all expressions.
    pub worker: usize,
}

/// Why no route takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing takes it, whatever its method (404).
    NoRoute,
    /// Some route would take it with another method (405); [`Router::allowed`] has the list.
    MethodNotAllowed,
}

/// All routes, compiled. Immutable, and without interior state but the scratch memory of expressions, of which each
/// worker has its own: any thread may look up at any time.
#[derive(Debug, Default)]
pub struct Router {
    hosts: Hosts,
    sites: Vec<Site>,
    /// The site of routes that name no host.
    any: Option<u32>,
    tree: Tree,
    /// By the ids of the routes.
    rules: Vec<Rule>,
}

/// All routes of one host, one wildcard, or any host.
#[derive(Debug)]
struct Site {
    /// Where its tree begins.
    root: u32,
    /// The routes whose paths are expressions, best first.
    expressions: Box<[RouteId]>,
    /// The highest priority of its routes.
    top: i32,
}

/// What is known of one route.
#[derive(Debug)]
struct Rule {
    priority: i32,
    conditions: Conditions,
    /// What its captures are called.
    names: Box<[Box<str>]>,
    paths: Paths,
    forward: Forward,
}

/// Where the captures of a route come from.
#[derive(Debug)]
enum Paths {
    /// From these segments.
    Segments(Box<[u32]>),
    /// From named groups.
    Expression(Expression),
}

impl Default for Paths {
    fn default() -> Self {
        Self::Segments(Box::default())
    }
}

/// Below every priority.
const NONE: i64 = i64::MIN;

impl Router {
    /// Compiles all routes; their ids are their places in `routes`.
    ///
    /// # Errors
    /// All that is wrong with the routes, each by itself and between two of them.
    pub fn compile(routes: &[RouteInput<'_>], around: &Surroundings<'_>) -> Result<Self, Vec<Diagnostic>> {
        compile::router(routes, around)
    }

    /// The route that takes a request, with what it captures of the path.
    ///
    /// # Errors
    /// No route takes it.
    pub fn find(&self, lookup: &Lookup<'_>, captures: &mut Captures) -> Result<RouteId, Missed> {
        captures.spans.clear();
        let mut best: Option<(RouteId, i64)> = None;
        let mut missed = Missed::NoRoute;
        let Captures { walk, text, .. } = captures;
        self.visit(lookup, walk, |id| {
            let rule = self.rule(id);
            let floor = best.map_or(NONE, |(_, priority)| priority);
            if i64::from(rule.priority) <= floor {
                return floor;
            }
            match rule.conditions.fit(lookup, text) {
                Fit::Holds => best = Some((id, rule.priority.into())),
                Fit::ButMethod => missed = Missed::MethodNotAllowed,
                Fit::Fails => {}
            }
            best.map_or(NONE, |(_, priority)| priority)
        });
        let (id, _) = best.ok_or(missed)?;
        self.capture(id, lookup, captures);
        Ok(id)
    }

    /// Writes into `list` what an `Allow` field says (RFC 9110 section 10.2.1): the methods with which some route would
    /// take this request.
    pub fn allowed(&self, lookup: &Lookup<'_>, captures: &mut Captures, list: &mut Vec<u8>) {
        let mut all = Methods::default();
        let Captures { walk, text, .. } = captures;
        self.visit(lookup, walk, |id| {
            let conditions = &self.rule(id).conditions;
            if let (Fit::ButMethod, Some(methods)) = (conditions.fit(lookup, text), &conditions.methods) {
                all.extend(methods);
            }
            NONE
        });
        list.clear();
        all.list(list);
    }

    /// Appends the path that `route` sends on to `target`: for a request with this `path` in normal form, which it has
    /// `received` in this form, and of which `captures` are the captures. The query is part of none of them.
    ///
    /// # Errors
    /// What was put together is not in normal form any more.
    pub fn forward(
        &self,
        route: RouteId,
        path: &[u8],
        received: &[u8],
        captures: &mut Captures,
        target: &mut Vec<u8>,
    ) -> Result<(), PathError> {
        self.rule(route).forward.write(path, received, captures, target)
    }

    /// What the captures of `route` are called, in their order.
    #[must_use]
    pub fn capture_names(&self, route: RouteId) -> &[Box<str>] {
        &self.rule(route).names
    }

    /// Whether the path of `route` is an expression that may match anywhere in a path.
    #[must_use]
    pub fn matches_anywhere(&self, route: RouteId) -> bool {
        matches!(&self.rule(route).paths, Paths::Expression(expression) if !expression.is_anchored())
    }

    /// The place of the capture of `route` that is called `name`.
    #[must_use]
    pub fn capture_index(&self, route: RouteId, name: &str) -> Option<usize> {
        self.capture_names(route).iter().position(|known| **known == *name)
    }

    /// Calls `each` with every route that takes the host and the path of a request, in the order of precedence but for
    /// the priority. It answers with the priority that a route must exceed to be of interest.
    fn visit(&self, lookup: &Lookup<'_>, walk: &mut tree::Walk, mut each: impl FnMut(RouteId) -> i64) {
        let mut floor = NONE;
        self.visit_sites(lookup, |site| {
            let site = &self.sites[site as usize];
            if floor < site.top.into() {
                self.visit_site(site, lookup, walk, |id| {
                    floor = each(id);
                    floor >= site.top.into()
                });
            }
        });
    }

    /// Calls `visit` with every site that takes the host of a request, the most specific first.
    #[inline]
    fn visit_sites(&self, lookup: &Lookup<'_>, mut visit: impl FnMut(u32)) {
        if !self.hosts.is_empty()
            && let Some(authority) = lookup.head.host()
            && let Some(host) = host::normalize(authority, &mut [0; _])
        {
            self.hosts.find(host).for_each(&mut visit);
        }
        self.any.into_iter().for_each(visit);
    }

    /// Calls `enough` with every route of a site that takes the path, in the order of precedence, until it says so.
    fn visit_site(
        &self,
        site: &Site,
        lookup: &Lookup<'_>,
        walk: &mut tree::Walk,
        mut enough: impl FnMut(RouteId) -> bool,
    ) {
        if self.tree.walk(site.root, lookup.path, walk, &mut enough) {
            return;
        }
        let matches = |id: RouteId| match &self.rule(id).paths {
            Paths::Expression(expression) => expression.is_match(lookup.path, lookup.worker),
            Paths::Segments(_) => false,
        };
        if site.expressions.iter().any(|&id| matches(id) && enough(id)) {
            return;
        }
        self.tree.prefixes(walk, enough);
    }

    /// Notes what a route captures.
    fn capture(&self, id: RouteId, lookup: &Lookup<'_>, captures: &mut Captures) {
        let Captures { spans, slots, .. } = captures;
        match &self.rule(id).paths {
            Paths::Segments(places) => tree::segments(lookup.path, places, spans),
            Paths::Expression(expression) if !self.rule(id).names.is_empty() => {
                expression.capture(lookup.path, lookup.worker, slots, spans);
            }
            Paths::Expression(_) => {}
        }
    }

    fn rule(&self, id: RouteId) -> &Rule {
        &self.rules[id.index()]
    }
}

impl MatchConfig {
    /// What the captures of `path` are called; nothing where it is wrong, which is told elsewhere.
    #[must_use]
    pub fn capture_names(&self) -> Vec<String> {
        let pattern = self.path.as_ref().and_then(|path| Pattern::parse(path, path::Slashes::Kept, 1).ok());
        pattern.iter().flat_map(Pattern::names).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
