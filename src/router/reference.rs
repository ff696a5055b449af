//! The router against a plain list: random routes and requests, tried one after the other in the order of precedence,
//! in the plainest words.
//!
//! It also holds the promise that is made when a table is accepted: for no request does the order leave two routes.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_spanned::Spanned;

use super::config::TestConfig;
use super::path::Slashes;
use super::tests::with;
use super::*;

/// A request as the reference sees it.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    host: Option<&'static str>,
    path: String,
    fields: Vec<(&'static str, &'static str)>,
    query: Vec<(&'static str, &'static str)>,
    listener: u16,
}

impl Request {
    fn text(&self) -> String {
        let pairs: Vec<String> = self.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let version = if self.host.is_some() { "1.1" } else { "1.0" };
        let mut text = format!("{} {}?{} HTTP/{version}", self.method, self.path, pairs.join("&"));
        text.extend(self.host.map(|host| format!("\r\nHost: {host}")));
        text.extend(self.fields.iter().map(|(name, value)| format!("\r\n{name}: {value}")));
        text
    }
}

/// The order of precedence: the smallest first.
type Rank = (Reverse<i32>, (u8, Reverse<usize>), PathRank, Reverse<usize>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    /// For each segment whether it is captured: none for an exact path.
    Whole(Vec<bool>),
    Expression,
    Prefix(Reverse<usize>, Vec<bool>),
}

/// How a host of a route takes the host of a request.
fn host_rank(hosts: &[Spanned<String>], request: Option<&str>) -> Option<(u8, Reverse<usize>)> {
    if hosts.is_empty() {
        return Some((2, Reverse(0)));
    }
    let lower = request?.to_ascii_lowercase();
    let name = match lower.as_str() {
        "[0:0::1]:80" => "[::1]",
        other => other.split(':').next().filter(|name| !name.starts_with('[')).unwrap_or(other),
    };
    let rank = |host: &str| match host.strip_prefix('*') {
        Some(end) => (name.len() > end.len() && name.ends_with(end)).then_some((1, Reverse(end.len()))),
        None => (name == host).then_some((0, Reverse(0))),
    };
    hosts.iter().filter_map(|host| rank(host.get_ref())).min()
}

/// How the path of a route takes the path of a request, and what it captures.
fn path_rank(path: Option<&str>, request: &str) -> Option<(PathRank, Vec<String>)> {
    let path = path.unwrap_or("/*");
    if let Some(text) = path.strip_prefix("~ ") {
        let expression = regex::Regex::new(text).unwrap();
        let found = expression.captures(request)?;
        let names = expression.capture_names().flatten();
        let parts = names.map(|name| found.name(name).map_or(String::new(), |part| part.as_str().into()));
        return Some((PathRank::Expression, parts.collect()));
    }
    let (path, open) = path.strip_suffix("/*").map_or((path, false), |path| (path, true));
    let ours: Vec<&str> = path.split('/').skip(1).collect();
    let theirs: Vec<&str> = request.split('/').skip(1).collect();
    let fits = |(ours, theirs): (&&str, &&str)| if ours.starts_with('{') { !theirs.is_empty() } else { ours == theirs };
    let long_enough = if open { theirs.len() >= ours.len() } else { theirs.len() == ours.len() };
    if !long_enough || !ours.iter().zip(&theirs).all(fits) {
        return None;
    }
    let captured: Vec<bool> = ours.iter().map(|part| part.starts_with('{')).collect();
    let parts = theirs.iter().zip(&captured).filter(|(_, captured)| **captured).map(|(part, _)| (*part).to_owned());
    let parts = parts.collect();
    Some((if open { PathRank::Prefix(Reverse(ours.len()), captured) } else { PathRank::Whole(captured) }, parts))
}

fn passes(test: &TestConfig, value: &str) -> bool {
    match test {
        TestConfig::Present => true,
        TestConfig::Text(text) => match text.strip_prefix("~ ") {
            Some(expression) => regex::Regex::new(expression).unwrap().is_match(value),
            None => value == text,
        },
    }
}

fn conditions_hold(route: &MatchConfig, request: &Request) -> bool {
    let listeners = ["public", "private"];
    let here = listeners[usize::from(request.listener)];
    let fields = route.headers.iter().all(|(name, test)| {
        let lines = request.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.get_ref()));
        let values: Vec<&str> = lines.map(|(_, value)| *value).collect();
        !values.is_empty() && passes(test.get_ref(), &values.join(", "))
    });
    let query = route.query.iter().all(|(key, test)| {
        let mut values = request.query.iter().filter(|(other, _)| other == key.get_ref());
        values.next().is_some_and(|(_, value)| passes(test.get_ref(), value))
    });
    let listener = route.listeners.is_empty() || route.listeners.iter().any(|name| name.get_ref() == here);
    fields && query && listener
}

/// All methods that a route takes; `None` for any.
fn methods(route: &MatchConfig) -> Option<BTreeSet<String>> {
    let mut methods: BTreeSet<String> = route.methods.iter().map(|method| method.get_ref().clone()).collect();
    if methods.contains("GET") {
        methods.insert("HEAD".into());
    }
    (!methods.is_empty()).then_some(methods)
}

/// What the reference says: the route and its captures, or the methods to allow (none for no route).
type Answer = Result<(usize, Vec<String>), BTreeSet<String>>;

fn find(routes: &[MatchConfig], request: &Request) -> Answer {
    let mut takes: Vec<(Rank, usize, Vec<String>)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let path = route.path.as_ref().map(|path| path.get_ref().as_str());
        let host = host_rank(&route.hosts, request.host);
        let (Some(host), Some((path, parts))) = (host, path_rank(path, &request.path)) else { continue };
        let count = usize::from(!route.methods.is_empty()) + route.headers.len() + route.query.len();
        takes.push(((Reverse(route.priority), host, path, Reverse(count)), index, parts));
    }
    takes.sort();
    takes.retain(|(_, index, _)| conditions_hold(&routes[*index], request));
    let by_method = |index: usize| methods(&routes[index]).is_none_or(|methods| methods.contains(request.method));
    let mut allowed = takes.iter().filter(|(_, index, _)| by_method(*index));
    match (allowed.next(), allowed.next()) {
        (Some((rank, first, parts)), second) => {
            let tie = second.filter(|(other, ..)| other == rank);
            assert!(tie.is_none(), "nothing decides between {first} and {tie:?}");
            Ok((*first, parts.clone()))
        }
        (None, _) => Err(takes.iter().filter_map(|(_, index, _)| methods(&routes[*index])).flatten().collect()),
    }
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn texts(all: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<Spanned<String>>> {
    let some = subsequence(all, 0..=most);
    some.prop_map(|texts| texts.into_iter().map(|text| spanned(text.to_owned())).collect())
}

fn a_path() -> impl Strategy<Value = Option<Spanned<String>>> {
    let part = prop_oneof![3 => Just("a"), 2 => Just("b"), 2 => Just("{}")];
    let parts = (vec(part, 0..4), select(&["", "/", "/*", "/*"][..])).prop_map(|(parts, end)| {
        let part = |(place, part): (usize, &&str)| part.replace("{}", &format!("{{p{place}}}"));
        let path: String = parts.iter().enumerate().map(|pair| format!("/{}", part(pair))).collect();
        if path.is_empty() && end.is_empty() { "/".to_owned() } else { path + end }
    });
    const EXPRESSIONS: &[&str] = &["~ ^/a", "~ ^/b/", "~ b$", "~ ^/(?<x>a|b)/(?<y>.*)$", "~ ^/c/?(?<z>a)?"];
    let written = prop_oneof![6 => parts, 1 => select(EXPRESSIONS).prop_map(str::to_owned)];
    proptest::option::weighted(0.9, written).prop_map(|path| path.map(spanned))
}

type Tests = Vec<(Spanned<String>, Spanned<TestConfig>)>;

fn tests(names: &'static [&'static str]) -> impl Strategy<Value = Tests> {
    let text = |text: &str| TestConfig::Text(text.into());
    let test = select(vec![text("1"), text("2"), text("~ ^1"), text("~ 2"), text("~ ^2"), TestConfig::Present]);
    (subsequence(names, 0..=names.len()), vec(test, names.len())).prop_map(|(names, tests)| {
        names.into_iter().map(|name| spanned(name.to_owned())).zip(tests.into_iter().map(spanned)).collect()
    })
}

/// A route with conditions, of which some may be left out.
fn a_route(
    hosts: impl Strategy<Value = Vec<Spanned<String>>>,
    path: impl Strategy<Value = Option<Spanned<String>>>,
) -> impl Strategy<Value = MatchConfig> {
    let some = |of: &'static [&'static str]| prop_oneof![2 => Just(Vec::new()), 1 => tests(of)];
    let listeners = prop_oneof![3 => Just(Vec::new()), 1 => texts(&["public", "private"], 2)];
    let priority = prop_oneof![4 => Just(0), 1 => -1..=1];
    let methods = texts(&["GET", "HEAD", "POST", "BAN"], 2);
    (hosts, path, methods, some(&["x", "Y"]), some(&["q", "r"]), listeners, priority).prop_map(
        |(hosts, path, methods, headers, query, listeners, priority)| MatchConfig {
            hosts,
            path,
            methods,
            headers,
            query,
            listeners,
            priority,
        },
    )
}

/// Routes of all kinds.
fn wide() -> impl Strategy<Value = MatchConfig> {
    a_route(texts(&["a.x", "*.x", "*.a.x", "b", "[::1]"], 2), a_path())
}

/// Routes that only conditions keep apart, for the most part.
fn narrow() -> impl Strategy<Value = MatchConfig> {
    const PATHS: &[&str] = &["/a/*", "/a/*", "~ ^/a", "~ ^/(a|b)", "~ ^/b", "~ b$"];
    a_route(Just(Vec::new()), select(PATHS).prop_map(|path| Some(spanned(path.to_owned()))))
}

fn a_request() -> impl Strategy<Value = Request> {
    let pairs = |names: &'static [&'static str]| vec((select(names), select(&["1", "2", "12", ""][..])), 0..4);
    let host = select(&[Some("a.x"), Some("c.A.x:1"), Some("x"), Some("B:80"), Some("[0:0::1]:80"), None][..]);
    let path = vec(select(&["a", "b", "c", ""][..]), 1..5).prop_map(|parts| format!("/{}", parts.join("/")));
    let method = select(&["GET", "HEAD", "POST", "BAN", "PUT"][..]);
    (method, host, path, pairs(&["X", "y", "z"]), pairs(&["q", "r", "s"]), 0..2u16).prop_map(
        |(method, host, path, fields, query, listener)| Request { method, host, path, fields, query, listener },
    )
}

/// The routes of `all` that can be told apart from those before them, and their router.
fn accepted(all: Vec<MatchConfig>) -> (Vec<MatchConfig>, Router) {
    let (name, forward) = (spanned("r".to_owned()), ForwardConfig::default());
    let around = Surroundings { listeners: &["public", "private"], slashes: Slashes::Kept, workers: 2 };
    let (mut routes, mut router) = (Vec::new(), Router::default());
    for route in all {
        routes.push(route);
        let inputs: Vec<RouteInput<'_>> =
            routes.iter().map(|matches| RouteInput { name: &name, matches, forward: &forward }).collect();
        match Router::compile(&inputs, &around) {
            Ok(with) => router = with,
            Err(faults) => {
                let are_ties = faults.iter().all(|fault| fault.related.is_some());
                assert!(are_ties, "{faults:?}");
                routes.pop();
            }
        }
    }
    (routes, router)
}

/// What routes never get.
fn shadowed(routes: &[MatchConfig], router: &Router) -> Vec<Shadowed> {
    let (name, forward) = (spanned("r".to_owned()), ForwardConfig::default());
    let input = |matches| RouteInput { name: &name, matches, forward: &forward };
    router.shadowed(&routes.iter().map(input).collect::<Vec<_>>(), Slashes::Kept)
}

/// Whether a request is of the part that a route never gets.
fn is_part(shadowed: &Shadowed, routes: &[MatchConfig], request: &Request) -> bool {
    let route = &routes[shadowed.route.index()];
    match shadowed.part {
        ShadowedPart::All => true,
        // Of the hosts that a route names, the best one takes the request.
        ShadowedPart::Host(place) => {
            let rank = host_rank(&route.hosts[place..=place], request.host);
            rank.is_some() && rank == host_rank(&route.hosts, request.host)
        }
        ShadowedPart::Method(place) => route.methods[place].get_ref() == request.method,
    }
}

fn agree(all: Vec<MatchConfig>, requests: Vec<Request>) -> Result<(), TestCaseError> {
    let (routes, router) = accepted(all);
    let shadowed = shadowed(&routes, &router);
    let mut captures = Captures::default();
    for request in requests {
        let is: Answer = with(&request.text(), ListenerId(request.listener), |lookup| {
            let found = router.find(lookup, &mut captures);
            let first =
                router.candidates(lookup, &mut captures).into_iter().find(|candidate| candidate.fails.is_none());
            assert_eq!(first.map(|first| first.route), found.ok(), "what is explained is what is found");
            let found = router.find(lookup, &mut captures);
            let part = |index| Some(String::from_utf8(captures.get(index, lookup.path)?.to_vec()).unwrap());
            match found {
                Ok(id) => Ok((id.index(), (0..).map_while(part).collect())),
                Err(Missed::NoRoute) => Err(BTreeSet::new()),
                Err(Missed::MethodNotAllowed) => {
                    let mut list = Vec::new();
                    router.allowed(lookup, &mut captures, &mut list);
                    Err(String::from_utf8(list).unwrap().split(", ").map(str::to_owned).collect())
                }
            }
        });
        if let Ok((taken, _)) = &is {
            let never = |shadowed: &&Shadowed| shadowed.route.index() == *taken && is_part(shadowed, &routes, &request);
            prop_assert_eq!(shadowed.iter().find(never), None, "{:?}", request);
        }
        prop_assert_eq!(is, find(&routes, &request), "{:?}", request);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn agrees_with_a_plain_list(all in vec(wide(), 1..12), requests in vec(a_request(), 40)) {
        agree(all, requests)?;
    }

    #[test]
    fn agrees_where_conditions_decide(all in vec(narrow(), 1..12), requests in vec(a_request(), 40)) {
        agree(all, requests)?;
    }
}
