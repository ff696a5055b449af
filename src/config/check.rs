//! The checks of one section against another: names that must exist, and things that must not be there twice.
//!
//! They run on what could be read of a file that has faults, so that all its faults are shown at once, and again when a
//! configuration is compiled.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use serde_spanned::Spanned;

use super::{Config, RouteConfig, ServiceConfig};
use crate::base::decode::{Diagnostic, closest};
use crate::base::units::Setting;
use crate::net::Address;
use crate::router::{RouteId, RouteInput, Router, Surroundings};
use crate::upstream::balance::HashBy;
use crate::upstream::fallback::FallbackConfig;
use crate::upstream::targets::TargetAddress;

/// Adds what is wrong between the sections of `config`. The router of its routes comes back, if there is one.
pub(super) fn config(config: &Config, workers: usize, faults: &mut Vec<Diagnostic>) -> Option<Router> {
    addresses(config, faults);
    proxies(config, faults);
    loops(config, faults);
    services(config, faults);
    mirrors(config, faults);
    match router(config, workers) {
        Ok(router) => {
            keys(config, &router, faults);
            for (route, index) in config.routes.iter().zip(0..) {
                let captures: Vec<&str> = router.capture_names(RouteId(index)).iter().map(|name| &**name).collect();
                faults.extend(route.action.check(&captures));
                faults.extend(route.headers.check(&captures));
            }
            Some(router)
        }
        Err(wrong) => {
            faults.extend(wrong);
            None
        }
    }
}

/// A header of the PROXY protocol is taken from trusted proxies alone, so there must be some.
fn proxies(config: &Config, faults: &mut Vec<Diagnostic>) {
    if !config.gateway.forwarded.trusted_proxies.is_empty() {
        return;
    }
    for listener in config.listeners.iter().filter(|listener| *listener.proxy_protocol.get_ref()) {
        let name = listener.name.get_ref();
        let message = format!("listener `{name}` waits for PROXY headers, and nobody is trusted to send one");
        let fault = Diagnostic::new(listener.proxy_protocol.span(), message, "every connection would be closed");
        faults.push(fault.help("name the proxies in [gateway], such as trusted_proxies = [\"10.0.0.0/8\"]"));
    }
}

/// No two listeners may wait at one address.
fn addresses(config: &Config, faults: &mut Vec<Diagnostic>) {
    let listeners = config.listeners.iter().map(|listener| (listener.name.get_ref().as_str(), &listener.address));
    let mut seen: Vec<(&str, &Spanned<SocketAddr>)> = Vec::new();
    for (name, address) in listeners {
        match seen.iter().find(|(_, other)| overlap(address.get_ref(), other.get_ref())) {
            Some((other, place)) => faults.push(
                Diagnostic::new(
                    address.span(),
                    format!("listeners `{other}` and `{name}` use the same address"),
                    "this address is taken",
                )
                .related(place.span(), format!("by `{other}`, here")),
            ),
            None => seen.push((name, address)),
        }
    }
    let Setting::On(admin) = &config.admin else { return };
    let admin = &admin.address;
    let Address::Tcp(own) = admin.get_ref() else { return };
    if let Some((name, place)) = seen.iter().find(|(_, other)| overlap(own, other.get_ref())) {
        let message = format!("listener `{name}` and the admin listener use the same address");
        faults.push(match admin.span() {
            // The default address of the admin listener has no place in the file.
            span if span.is_empty() => Diagnostic::new(place.span(), message, "the admin listener has this address")
                .help("choose another port, or move the admin listener with `[admin] address`"),
            span => Diagnostic::new(span, message, "this address is taken")
                .related(place.span(), format!("by `{name}`, here")),
        });
    }
}

/// Whether two sockets cannot be told apart, one of them perhaps by waiting at all addresses of its family. Port 0 is a
/// free port each time.
fn overlap(a: &SocketAddr, b: &SocketAddr) -> bool {
    let any = |address: &SocketAddr| address.ip().is_unspecified();
    let ips = a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (any(a) || any(b)));
    ips && a.port() == b.port() && a.port() != 0
}

/// A request must not come back to the gateway: it would go round until the descriptors have run out.
fn loops(config: &Config, faults: &mut Vec<Diagnostic>) {
    for service in &config.services {
        for target in &service.targets {
            let own = config.listeners.iter().find(|own| is_at(own.address.get_ref(), &target.address));
            let Some(listener) = own else { continue };
            let (service, name) = (service.name.get_ref(), listener.name.get_ref());
            let message = format!("service `{service}` is the gateway itself: listener `{name}` has this address");
            faults.push(
                Diagnostic::new(target.span.clone(), message, "requests sent here come back to the gateway")
                    .related(listener.address.span(), format!("listener `{name}`"))
                    .help("write the address of the service"),
            );
        }
    }
}

/// Whether what is sent to `target` arrives at `listener`, as far as that can be told.
fn is_at(listener: &SocketAddr, target: &TargetAddress) -> bool {
    let here = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.is_unspecified();
    match target {
        TargetAddress::Ip(target) => {
            let same = listener.ip() == target.ip() || (listener.ip().is_unspecified() && here(target.ip()));
            target.port() == listener.port() && same
        }
        TargetAddress::Name { host, port } => {
            matches!(&**host, "localhost" | "localhost.") && *port == listener.port() && here(listener.ip())
        }
        TargetAddress::Unix(_) | TargetAddress::Srv(_) => false,
    }
}

/// A service must not get its own requests again as copies: each POST would be carried out twice.
fn mirrors(config: &Config, faults: &mut Vec<Diagnostic>) {
    for route in &config.routes {
        let Some(mirror) = &route.mirror else { continue };
        let name = mirror.service.get_ref();
        let Some(own) = route.action.services().find(|service| service.get_ref() == name) else { continue };
        let message = format!("route `{}` mirrors to `{name}`, which gets its requests already", route.name.get_ref());
        let fault = Diagnostic::new(mirror.service.span(), message, "each request would be carried out here twice");
        faults
            .push(fault.related(own.span(), "the route's service").help("name another service, or leave `mirror` out"));
    }
}

/// A key of which a request can have none is a mistake: the capture that it names must be there.
fn keys(config: &Config, router: &Router, faults: &mut Vec<Diagnostic>) {
    let mut captures_of: HashMap<&str, Vec<&[Box<str>]>> = HashMap::new();
    for (route, index) in config.routes.iter().zip(0..) {
        let captures = router.capture_names(RouteId(index));
        for service in services_of(config, route) {
            captures_of.entry(service).or_default().push(captures);
        }
        if let Some(by) = &route.sticky
            && let HashBy::Path(name) = by.get_ref()
            && !captures.contains(name)
        {
            let message = format!("route `{}` has no capture `{name}` to be sticky by", route.name.get_ref());
            let fault = Diagnostic::new(by.span(), message, "no part of the path has this name");
            faults.push(fault.help(instead(name, captures)));
        }
    }
    for service in &config.services {
        let (Some(HashBy::Path(wanted)), name) = (service.balance.hash_by(), service.name.get_ref()) else { continue };
        let Some(captures) = captures_of.get(name.as_str()) else { continue };
        if !captures.iter().any(|captures| captures.contains(wanted)) {
            let message = format!("service `{name}` is balanced by `path:{wanted}`, and no route to it captures that");
            let fault = Diagnostic::new(service.name.span(), message, "its targets would be chosen at random");
            let all: Vec<Box<str>> = captures.iter().flat_map(|captures| captures.iter().cloned()).collect();
            faults.push(fault.help(instead(wanted, &all)));
        }
    }
}

/// What to write instead of a capture that is not there.
fn instead(wanted: &str, captures: &[Box<str>]) -> String {
    let names: Vec<&str> = captures.iter().map(|name| &**name).collect();
    match (closest(wanted, &names), names.as_slice()) {
        (Some(meant), _) => format!("did you mean `path:{meant}`?"),
        (None, []) => format!("give a part of the path this name, such as \"/users/{{{wanted}}}\""),
        (None, names) => format!("give a part of the path this name, or use one of: {}", some(names)),
    }
}

/// The services that requests of `route`, or copies of them, may come to.
pub(super) fn services_of<'a>(config: &'a Config, route: &'a RouteConfig) -> HashSet<&'a str> {
    let mirror = route.mirror.iter().map(|mirror| &mirror.service);
    let mut left: Vec<&str> = route.action.services().chain(mirror).map(|name| name.get_ref().as_str()).collect();
    let mut found = HashSet::new();
    while let Some(name) = left.pop() {
        if found.insert(name)
            && let Some(FallbackConfig::Service(other)) = config.service(name).and_then(|found| found.fallback.as_ref())
        {
            left.push(other.get_ref());
        }
    }
    found
}

/// The services that routes and fallbacks name must be there, and fallbacks must not lead in a circle.
fn services(config: &Config, faults: &mut Vec<Diagnostic>) {
    let names: Vec<&str> = config.services.iter().map(|service| service.name.get_ref().as_str()).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    let of_routes = config.routes.iter().flat_map(|route| {
        let name = route.name.get_ref();
        let services = route.action.services().map(move |service| (format!("route `{name}`"), service));
        let mirror = route.mirror.iter().map(move |mirror| (format!("the mirror of route `{name}`"), &mirror.service));
        services.chain(mirror)
    });
    let of_fallbacks = config.services.iter().filter_map(|service| match &service.fallback {
        Some(FallbackConfig::Service(other)) => {
            Some((format!("the fallback of service `{}`", service.name.get_ref()), other))
        }
        _ => None,
    });
    for (who, wanted) in of_routes.chain(of_fallbacks) {
        let name = wanted.get_ref();
        if known.contains(name.as_str()) {
            continue;
        }
        let help = match (closest(name, &names), names.as_slice()) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, []) => format!("add a section [services.{name}]"),
            (None, names) => format!("add a section [services.{name}], or use one of: {}", some(names)),
        };
        let message = format!("{who} goes to a service that is not there, `{name}`");
        faults.push(Diagnostic::new(wanted.span(), message, "there is no service of this name").help(help));
    }
    circles(config, faults);
}

/// Fallbacks must end somewhere.
fn circles(config: &Config, faults: &mut Vec<Diagnostic>) {
    let next = |service: &ServiceConfig| match &service.fallback {
        Some(FallbackConfig::Service(other)) => config.service(other.get_ref()),
        _ => None,
    };
    for service in &config.services {
        let name = service.name.get_ref();
        let way = std::iter::successors(next(service), |service| next(service)).take(config.services.len());
        let way: Vec<&str> = way.map(|service| service.name.get_ref().as_str()).collect();
        let Some(length) = way.iter().position(|other| other == name) else { continue };
        // A circle is told of once, by the first of its services.
        let first = way[..=length].iter().filter_map(|other| names_place(config, other)).min();
        if first == names_place(config, name)
            && let Some(FallbackConfig::Service(other)) = &service.fallback
        {
            let message =
                format!("the fallback of service `{name}` comes back to it: {name} -> {}", way[..=length].join(" -> "));
            let fault = Diagnostic::new(other.span(), message, "this leads in a circle");
            faults.push(fault.help("the last one can have a response of its own: fallback = { status = 503 }"));
        }
    }
}

fn names_place(config: &Config, name: &str) -> Option<usize> {
    config.services.iter().position(|service| service.name.get_ref() == name)
}

/// A list to choose from, of a length that can be read.
fn some(names: &[&str]) -> String {
    match names.get(..8) {
        Some(first) if names.len() > 8 => format!("{}, ...", first.join(", ")),
        _ => names.join(", "),
    }
}

/// What the router is made of.
pub(super) fn inputs(config: &Config) -> Vec<RouteInput<'_>> {
    let routes = config.routes.iter();
    routes.map(|route| RouteInput { name: &route.name, matches: &route.matches, forward: &route.forward }).collect()
}

/// The router of all routes, for so many workers, or what is wrong with them.
fn router(config: &Config, workers: usize) -> Result<Router, Vec<Diagnostic>> {
    let listeners: Vec<&str> = config.listeners.iter().map(|listener| listener.name.get_ref().as_str()).collect();
    Router::compile(
        &inputs(config),
        &Surroundings { listeners: &listeners, slashes: config.gateway.slashes(), workers },
    )
}
