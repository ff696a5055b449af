//! What is written of all routes into a [`Router`], and what is wrong with it.
//!
//! Two routes between which the order of precedence does not decide, though a request can fulfil both, are an error: the
//! order of the file means nothing.

use std::collections::{HashMap, HashSet};

use serde_spanned::Spanned;

use super::conditions::{Condition, Conditions, Methods, Test};
use super::config::{ForwardConfig, MatchConfig, TestConfig};
use super::forward::Forward;
use super::host::{Host, Hosts, parse};
use super::path::Slashes;
use super::pattern::{self, Pattern};
use super::ties::{sort, tie, ties_in};
use super::tree::TreeBuilder;
use super::{ListenerId, Paths, RouteId, Router, Rule, Site};
use crate::base::decode::{Diagnostic, closest};
use crate::http::fields::{Known, NameShape, is_value, name_shape};
use crate::http::message::Method;

/// What is written of one route.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'c> {
    /// Its name.
    pub name: &'c Spanned<String>,
    /// Which requests it takes.
    pub matches: &'c MatchConfig,
    /// What path it sends on.
    pub forward: &'c ForwardConfig,
}

/// What routes are compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'c> {
    /// The names of the listeners; the place of each is its [`ListenerId`].
    pub listeners: &'c [&'c str],
    /// What slashes in a row are.
    pub slashes: Slashes,
    /// How many workers look up routes.
    pub workers: usize,
}

/// Compiles all routes, whose ids are their places, or says what is wrong with them.
pub(super) fn router(routes: &[RouteInput<'_>], around: &Surroundings<'_>) -> Result<Router, Vec<Diagnostic>> {
    let mut builder = Builder::default();
    let mut faults = Vec::new();
    for (route, id) in routes.iter().zip(0..) {
        let before = faults.len();
        let compiled = rule(route, around, &mut faults);
        let hosts = hosts(&route.matches.hosts, &mut faults);
        builder.add(RouteId(id), compiled.filter(|_| faults.len() == before), &hosts);
    }
    builder.finish(routes, &mut faults).ok_or(faults)
}

/// Compiles one route by itself. `None` where something is wrong with it, which is a fault by then.
fn rule(route: &RouteInput<'_>, around: &Surroundings<'_>, faults: &mut Vec<Diagnostic>) -> Option<(Rule, Pattern)> {
    let conditions = conditions(route.matches, around, faults);
    let pattern = match &route.matches.path {
        None => Ok(Pattern::any()),
        Some(path) => Pattern::parse(path, around.slashes, around.workers),
    };
    let pattern = pattern.map_err(|fault| faults.push(*fault)).ok()?;
    let place = route.matches.place(route.name);
    let forward = Forward::compile(route.forward, &pattern, place, around.slashes);
    let forward = forward.map_err(|fault| faults.push(*fault)).ok()?;
    let names = pattern.names().into_iter().map(Box::from).collect();
    Some((Rule { priority: route.matches.priority, conditions, names, forward, paths: Paths::default() }, pattern))
}

/// Reads the hosts of a route, each once.
fn hosts(written: &[Spanned<String>], faults: &mut Vec<Diagnostic>) -> Vec<Host> {
    let mut hosts: Vec<(Host, &Spanned<String>)> = Vec::new();
    for text in written {
        match parse(text.get_ref()) {
            Err((problem, help)) => {
                let message = format!("wrong value for `hosts`: {problem}");
                faults.push(Diagnostic::new(text.span(), message, "this host").help(help));
            }
            Ok(host) => match hosts.iter().find(|(other, _)| *other == host) {
                Some((_, first)) => {
                    let message = format!("the host `{}` is there twice", text.get_ref());
                    let fault = Diagnostic::new(text.span(), message, "here for the second time");
                    faults.push(fault.related(first.span(), "here for the first").help("remove one of them"));
                }
                None => hosts.push((host, text)),
            },
        }
    }
    hosts.into_iter().map(|(host, _)| host).collect()
}

fn conditions(config: &MatchConfig, around: &Surroundings<'_>, faults: &mut Vec<Diagnostic>) -> Conditions {
    let listeners = config.listeners.iter().filter_map(|name| {
        let place = around.listeners.iter().position(|known| known == name.get_ref());
        if place.is_none() {
            let message = format!("there is no listener `{}`", name.get_ref());
            let help = match closest(name.get_ref(), around.listeners) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add a section [listeners.{}], or use one that is there", name.get_ref()),
            };
            faults.push(Diagnostic::new(name.span(), message, "no listener has this name").help(help));
        }
        Some(ListenerId(u16::try_from(place?).expect("fewer listeners than ports")))
    });
    Conditions {
        listeners: listeners.collect(),
        methods: methods(&config.methods, faults),
        headers: tests("headers", &config.headers, around.workers, field_name, faults),
        query: tests("query", &config.query, around.workers, query_key, faults),
    }
}

fn methods(written: &[Spanned<String>], faults: &mut Vec<Diagnostic>) -> Option<Methods> {
    let mut methods = Methods::default();
    let mut seen: HashMap<&str, &Spanned<String>> = HashMap::new();
    for method in written {
        let text = method.get_ref().as_str();
        let fault = |message: String, label: &str| Diagnostic::new(method.span(), message, label);
        let fit = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if text.bytes().any(|b| b.is_ascii_lowercase()) {
            let message = format!("the method `{text}` is not in upper case, and methods are compared with their case");
            faults.push(fault(message, "this method").help(format!("write \"{}\"", text.to_ascii_uppercase())));
        } else if !fit || text.starts_with('-') {
            let fault = fault(format!("`{text}` is not a method"), "this method");
            faults.push(fault.help("write 1 to 32 upper-case letters, such as \"GET\""));
        } else if Method::classify(text.as_bytes()) == Method::Connect {
            let fault = fault("no route takes CONNECT".into(), "the gateway refuses this method");
            faults.push(fault.help("leave it out; WebSockets begin with GET"));
        } else if let Some(first) = seen.insert(text, method) {
            let fault = fault(format!("the method `{text}` is there twice"), "here for the second time");
            faults.push(fault.related(first.span(), "here for the first").help("remove one of them"));
        }
        methods.add(text);
    }
    (!written.is_empty()).then_some(methods)
}

/// What is wrong, and what to write instead.
type Problem = (String, String);

/// Compiles the conditions of `headers` or of `query`. `read` brings a name to the form in which it is compared.
fn tests(
    key: &str,
    written: &[(Spanned<String>, Spanned<TestConfig>)],
    workers: usize,
    read: fn(&str) -> Result<String, Problem>,
    faults: &mut Vec<Diagnostic>,
) -> Box<[Condition]> {
    let mut seen: HashMap<String, &Spanned<String>> = HashMap::new();
    let mut conditions = Vec::new();
    for (name, value) in written {
        let text = match read(name.get_ref()) {
            Ok(text) => text,
            Err((problem, help)) => {
                faults.push(Diagnostic::new(name.span(), problem, "this name").help(help));
                continue;
            }
        };
        if let Some(first) = seen.insert(text.clone(), name) {
            let message = format!("`{}` is there twice in `{key}`", name.get_ref());
            let fault = Diagnostic::new(name.span(), message, "here for the second time");
            faults.push(fault.related(first.span(), "here for the first").help("remove one of them"));
        }
        let test = match value.get_ref() {
            TestConfig::Present => Test::Present,
            TestConfig::Text(text) => match text.strip_prefix('~') {
                Some(text) => match pattern::expression(&format!("{key}.{}", name.get_ref()), text, workers) {
                    Ok(expression) => Test::Matches(expression),
                    Err((message, label, help)) => {
                        faults.push(Diagnostic::new(value.span(), message, label).help(help));
                        continue;
                    }
                },
                None => Test::Exact(text.as_bytes().into()),
            },
        };
        if let (Test::Exact(exact), "headers") = (&test, key)
            && (!is_value(exact) || exact.trim_ascii() != &**exact)
        {
            let message = format!("no field has the value of `headers.{}`", name.get_ref());
            let fault = Diagnostic::new(value.span(), message, "this value");
            faults.push(fault.help("a value has no control characters, and no spaces around it"));
        }
        conditions.push(Condition { known: Known::classify(text.as_bytes()), name: text.into_bytes().into(), test });
    }
    conditions.into()
}

fn field_name(name: &str) -> Result<String, Problem> {
    if !matches!(name_shape(name.as_bytes()), NameShape::Plain | NameShape::Underscore) {
        let help = "the name of a field is letters, digits, `-` and `_`; others are refused before any route";
        return Err((format!("`{name}` is not the name of a field"), help.into()));
    }
    if Known::classify(name.as_bytes()) == Known::Host {
        return Err(("the host is not a condition of `headers`".into(), "write it under `hosts`".into()));
    }
    Ok(name.to_ascii_lowercase())
}

fn query_key(name: &str) -> Result<String, Problem> {
    match name {
        "" => Err(("a key of the query cannot be empty".into(), "write the key, as it is after decoding".into())),
        name => Ok(name.into()),
    }
}

/// A site that grows.
struct Growing {
    root: u32,
    expressions: Vec<RouteId>,
    top: i32,
}

/// A router that grows.
#[derive(Default)]
struct Builder {
    hosts: Hosts,
    sites: Vec<Growing>,
    any: Option<u32>,
    tree: TreeBuilder,
    rules: Vec<Option<Rule>>,
}

impl Builder {
    /// Adds a route, or the gap where it would be.
    fn add(&mut self, id: RouteId, compiled: Option<(Rule, Pattern)>, hosts: &[Host]) {
        let Some((mut rule, pattern)) = compiled else { return self.rules.push(None) };
        let sites: Vec<u32> = match hosts.is_empty() {
            true => vec![self.any_site()],
            false => hosts.iter().map(|host| self.site(host)).collect(),
        };
        for site in sites {
            let site = &mut self.sites[site as usize];
            site.top = site.top.max(rule.priority);
            match &pattern {
                Pattern::Segments(segments) => self.tree.add(site.root, segments, id),
                Pattern::Expression(_) => site.expressions.push(id),
            }
        }
        rule.paths = match pattern {
            Pattern::Segments(segments) => Paths::Segments(segments.captures().map(|(place, _)| place).collect()),
            Pattern::Expression(expression) => Paths::Expression(expression),
        };
        self.rules.push(Some(rule));
    }

    fn site(&mut self, host: &Host) -> u32 {
        let Self { hosts, sites, tree, .. } = self;
        hosts.site(host, || grow(sites, tree))
    }

    fn any_site(&mut self) -> u32 {
        let Self { any, sites, tree, .. } = self;
        *any.get_or_insert_with(|| grow(sites, tree))
    }

    /// Brings routes of the same paths into order. `None` where a route is missing, or two cannot be told apart.
    fn finish(mut self, routes: &[RouteInput<'_>], faults: &mut Vec<Diagnostic>) -> Option<Router> {
        let mut ties = HashSet::new();
        let rules = &self.rules;
        for group in self.tree.groups() {
            sort(group, rules);
            ties.extend(ties_in(group, rules));
        }
        for site in &mut self.sites {
            sort(&mut site.expressions, rules);
            ties.extend(ties_in(&site.expressions, rules));
        }
        let mut ties: Vec<(RouteId, RouteId)> = ties.into_iter().collect();
        ties.sort_unstable();
        faults.extend(ties.iter().map(|&(first, second)| tie(routes, rules, first, second)));
        if !faults.is_empty() {
            return None;
        }
        let rules: Vec<Rule> = self.rules.into_iter().collect::<Option<_>>()?;
        let finish = |site: Growing| Site { root: site.root, expressions: site.expressions.into(), top: site.top };
        let sites = self.sites.into_iter().map(finish).collect();
        Some(Router { hosts: self.hosts, sites, any: self.any, tree: self.tree.finish(), rules })
    }
}

/// Makes a site.
fn grow(sites: &mut Vec<Growing>, tree: &mut TreeBuilder) -> u32 {
    sites.push(Growing { root: tree.node(), expressions: Vec::new(), top: i32::MIN });
    u32::try_from(sites.len() - 1).expect("fewer hosts than fit 32 bits")
}
