//! What is not wrong between sections, but perhaps not what was meant: routes that never win, services and listeners that
//! nothing uses, expressions that match more than they seem to.
//!
//! A warning must be worth reading: what somebody may well have written on purpose is none.

use std::collections::{HashMap, HashSet};

use super::check::{inputs, services_of};
use super::{Config, RouteConfig};
use crate::base::decode::Diagnostic;
use crate::router::{RouteId, Router, ShadowedPart};

/// Adds what there is to warn of in a configuration without errors.
pub(super) fn config(config: &Config, router: &Router, faults: &mut Vec<Diagnostic>) {
    let mut warn = |warning: Diagnostic| faults.push(warning.warning());
    if config.routes.is_empty() {
        let warning = Diagnostic::of_file("there is no route, so every request is answered with 404");
        warn(warning.help("add a section [routes.NAME] with a path and a service"));
    } else {
        services(config, &mut warn);
        listeners(config, &mut warn);
    }
    timeouts(config, &mut warn);
    shadowed(config, router, &mut warn);
    expressions(config, router, &mut warn);
}

/// Services that no route leads to.
fn services(config: &Config, warn: &mut impl FnMut(Diagnostic)) {
    let used: HashSet<&str> = config.routes.iter().flat_map(|route| services_of(config, route)).collect();
    for service in &config.services {
        let name = service.name.get_ref();
        if !used.contains(name.as_str()) {
            let message = format!("no route leads to service `{name}`");
            let warning = Diagnostic::new(service.name.span(), message, "nothing is ever sent to it");
            warn(warning.help(format!("write a route with service = \"{name}\", or remove it")));
        }
    }
}

/// Listeners at which no route serves.
fn listeners(config: &Config, warn: &mut impl FnMut(Diagnostic)) {
    for listener in &config.listeners {
        let name = listener.name.get_ref();
        let serves = |route: &RouteConfig| {
            let names = &route.matches.listeners;
            names.is_empty() || names.iter().any(|other| other.get_ref() == name)
        };
        if !config.routes.iter().any(serves) {
            let message = format!("no route serves at listener `{name}`");
            let warning = Diagnostic::new(listener.name.span(), message, "every request here is answered with 404");
            warn(warning.help(format!("add \"{name}\" to the `listeners` of a route, or remove the listener")));
        }
    }
}

/// Timeouts that never end anything. Those of a service are no mistake if a route has a `timeout` of its own.
fn timeouts(config: &Config, warn: &mut impl FnMut(Diagnostic)) {
    let mut used = HashSet::new();
    for route in &config.routes {
        route.timeouts.in_vain.iter().cloned().for_each(&mut *warn);
        if route.timeouts.total.is_some() {
            used.extend(route.action.services().map(|service| service.get_ref().as_str()));
        }
    }
    for service in config.services.iter().filter(|service| !used.contains(service.name.get_ref().as_str())) {
        service.timeouts.in_vain.iter().cloned().for_each(&mut *warn);
    }
}

/// Of the routes that one route leaves nothing to, so many are told of one by one.
const EACH_MOST: usize = 3;

/// Routes that never win.
fn shadowed(config: &Config, router: &Router, warn: &mut impl FnMut(Diagnostic)) {
    let all = router.shadowed(&inputs(config), config.gateway.slashes());
    let mut victims: HashMap<RouteId, Vec<RouteId>> = HashMap::new();
    for shadowed in all.iter().filter(|shadowed| shadowed.part == ShadowedPart::All) {
        victims.entry(shadowed.by).or_default().push(shadowed.route);
    }
    let route = |id: RouteId| &config.routes[id.index()];
    for shadowed in &all {
        let of_all = victims.get(&shadowed.by).filter(|_| shadowed.part == ShadowedPart::All);
        match of_all {
            Some(victims) if takes_everything(route(shadowed.by)) || victims.len() > EACH_MOST => {
                if victims[0] == shadowed.route && !has_exceptions(config, shadowed.by) {
                    warn(shadows_many(config, shadowed.by, victims));
                }
            }
            _ => warn(shadows_one(route(shadowed.route), route(shadowed.by), &shadowed.part)),
        }
    }
}

/// Whether it has no condition at all.
fn takes_everything(route: &RouteConfig) -> bool {
    let matches = &route.matches;
    let any_path = matches.path.as_ref().is_none_or(|path| path.get_ref() == "/*");
    let conditions = matches.methods.len() + matches.headers.len() + matches.query.len() + matches.listeners.len();
    any_path && matches.hosts.is_empty() && conditions == 0
}

/// Whether it takes everything but what others take at the same height: somebody has thought of it, as of a notice while
/// a site is being worked on.
fn has_exceptions(config: &Config, by: RouteId) -> bool {
    let own = &config.routes[by.index()];
    let others = config.routes.iter().zip((0..).map(RouteId)).filter(|(_, id)| *id != by);
    takes_everything(own) && others.into_iter().any(|(other, _)| other.matches.priority >= own.matches.priority)
}

fn shadows_many(config: &Config, by: RouteId, victims: &[RouteId]) -> Diagnostic {
    let (by, count) = (&config.routes[by.index()], victims.len());
    let names = victims.iter().map(|id| config.routes[id.index()].name.get_ref().as_str());
    let mut list = names.take(EACH_MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if count > EACH_MOST {
        list += &format!(" and {} more", count - EACH_MOST);
    }
    let (name, priority) = (by.name.get_ref(), by.matches.priority);
    let message = format!("route `{name}` takes all requests of {list}, with priority {priority}");
    let label = if count == 1 { "the other is never reached" } else { "the others are never reached" };
    let help = "the higher priority wins: leave it out for a route that takes what the others leave over";
    Diagnostic::new(by.name.span(), message, label).help(help)
}

fn shadows_one(route: &RouteConfig, by: &RouteConfig, part: &ShadowedPart) -> Diagnostic {
    let (name, other) = (route.name.get_ref(), by.name.get_ref());
    let over = format!("`{other}` takes all of that before it, with priority {}", by.matches.priority);
    let (span, message) = match part {
        ShadowedPart::All => (route.name.span(), format!("route `{name}` is never reached: {over}")),
        ShadowedPart::Host(place) => {
            let host = &route.matches.hosts[*place];
            (host.span(), format!("route `{name}` is never reached at `{}`: {over}", host.get_ref()))
        }
        ShadowedPart::Method(place) => {
            let method = &route.matches.methods[*place];
            (method.span(), format!("route `{name}` is never reached with {}: {over}", method.get_ref()))
        }
    };
    let help = format!(
        "give `{name}` a higher priority, give `{other}` a condition that leaves something over, or remove what is in \
         vain"
    );
    Diagnostic::new(span, message, "in vain").related(by.name.span(), format!("`{other}`")).help(help)
}

/// Expressions that match anywhere in a path.
fn expressions(config: &Config, router: &Router, warn: &mut impl FnMut(Diagnostic)) {
    for (route, id) in config.routes.iter().zip((0..).map(RouteId)) {
        if let Some(path) = route.matches.path.as_ref().filter(|_| router.matches_anywhere(id)) {
            let expression = path.get_ref().trim_start_matches('~').trim_start();
            let message =
                format!("the expression of route `{}` may match in the middle of a path", route.name.get_ref());
            let warning = Diagnostic::new(path.span(), message, "nothing says where the path begins");
            warn(warning.help(format!(
                "write \"~ ^{expression}\" for paths that begin like this, or \"~ ^.*{expression}\" if it may stand anywhere"
            )));
        }
    }
}
