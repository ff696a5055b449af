//! The checks of one section against another: names that must exist, and things that must not be there twice.
//!
//! They run on what could be read of a file that has faults, so that all its faults are shown at once, and again when a
//! configuration is compiled.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde_spanned::Spanned;

use super::Config;
use crate::base::decode::{Diagnostic, closest};
use crate::router::{RouteId, RouteInput, Router, Surroundings};

/// Adds what is wrong between the sections of `config`.
pub(super) fn config(config: &Config, faults: &mut Vec<Diagnostic>) {
    addresses(config, faults);
    loops(config, faults);
    services(config, faults);
    match router(config, 1) {
        Ok(router) => {
            for (route, index) in config.routes.iter().zip(0..) {
                let captures: Vec<&str> = router.capture_names(RouteId(index)).iter().map(|name| &**name).collect();
                faults.extend(route.headers.check(&captures));
            }
        }
        Err(wrong) => faults.extend(wrong),
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
    let admin = &config.admin.address;
    if let Some((name, place)) = seen.iter().find(|(_, other)| overlap(admin.get_ref(), other.get_ref())) {
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
    let listens = |listener: &SocketAddr, target: &SocketAddr| {
        let here = listener.ip().is_unspecified() && target.ip().to_canonical().is_loopback();
        target.port() == listener.port() && (listener.ip() == target.ip() || here)
    };
    for service in &config.services {
        for target in &service.targets {
            let own = config.listeners.iter().find(|own| listens(own.address.get_ref(), target.get_ref()));
            let Some(listener) = own else { continue };
            let (service, name) = (service.name.get_ref(), listener.name.get_ref());
            let message = format!("service `{service}` is the gateway itself: listener `{name}` has this address");
            faults.push(
                Diagnostic::new(target.span(), message, "requests sent here come back to the gateway")
                    .related(listener.address.span(), format!("listener `{name}`"))
                    .help("write the address of the service"),
            );
        }
    }
}

/// The service of each route must be there.
fn services(config: &Config, faults: &mut Vec<Diagnostic>) {
    let names: Vec<&str> = config.services.iter().map(|service| service.name.get_ref().as_str()).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    for route in config.routes.iter().filter(|route| !known.contains(route.service.get_ref().as_str())) {
        let name = route.service.get_ref();
        let help = match (closest(name, &names), names.as_slice()) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, []) => format!("add a section [services.{name}]"),
            (None, names) => format!("add a section [services.{name}], or use one of: {}", some(names)),
        };
        let message = format!("route `{}` goes to a service that is not there, `{name}`", route.name.get_ref());
        faults.push(Diagnostic::new(route.service.span(), message, "there is no service of this name").help(help));
    }
}

/// A list to choose from, of a length that can be read.
fn some(names: &[&str]) -> String {
    match names.get(..8) {
        Some(first) if names.len() > 8 => format!("{}, ...", first.join(", ")),
        _ => names.join(", "),
    }
}

/// The router of all routes, for so many workers, or what is wrong with them.
pub(crate) fn router(config: &Config, workers: usize) -> Result<Router, Vec<Diagnostic>> {
    let listeners: Vec<&str> = config.listeners.iter().map(|listener| listener.name.get_ref().as_str()).collect();
    let routes = config.routes.iter();
    let routes: Vec<RouteInput<'_>> = routes
        .map(|route| RouteInput { name: &route.name, matches: &route.matches, forward: &route.forward })
        .collect();
    Router::compile(&routes, &Surroundings { listeners: &listeners, slashes: config.gateway.slashes(), workers })
}
