//! The checks of one section against another: names that must exist, and things that must not be there twice.
//!
//! They run on what could be read of a file that has faults, so that all its faults are shown at once, and again when a
//! configuration is compiled.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use serde_spanned::Spanned;

use super::{Config, RouteConfig, ServiceConfig};
use crate::base::decode::{Diagnostic, closest};
use crate::router::Pattern;
use crate::router::path::normalize;
use crate::upstream::fallback::FallbackConfig;
use crate::upstream::targets::TargetAddress;

/// Adds what is wrong between the sections of `config`.
pub(super) fn config(config: &Config, faults: &mut Vec<Diagnostic>) {
    addresses(config, faults);
    loops(config, faults);
    services(config, faults);
    paths(&config.routes, faults);
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

/// The services that routes and fallbacks name must be there, and fallbacks must not lead in a circle.
fn services(config: &Config, faults: &mut Vec<Diagnostic>) {
    let names: Vec<&str> = config.services.iter().map(|service| service.name.get_ref().as_str()).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    let of_routes = config.routes.iter().map(|route| (format!("route `{}`", route.name.get_ref()), &route.service));
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

/// Every path must be one that the router can take, and only once; `strip_prefix` must be in front of it.
fn paths(routes: &[RouteConfig], faults: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<Pattern, (&str, Range<usize>)> = HashMap::new();
    for route in routes {
        let pattern = match pattern(&route.path) {
            Ok(pattern) => pattern,
            Err(fault) => {
                faults.push(*fault);
                continue;
            }
        };
        if let Some(prefix) = &route.strip_prefix {
            faults.extend(strip_prefix(prefix, &pattern, route.path.span()));
        }
        let name = route.name.get_ref().as_str();
        if let Some((other, place)) = seen.get(&pattern) {
            let message = format!("routes `{other}` and `{name}` have the same path");
            let fault = Diagnostic::new(route.path.span(), message, "this path is taken");
            faults.push(fault.related(place.clone(), format!("by `{other}`, here")));
        } else {
            seen.insert(pattern, (name, route.path.span()));
        }
    }
}

/// Reads the path of a route.
pub(crate) fn pattern(path: &Spanned<String>) -> Result<Pattern, Box<Diagnostic>> {
    let text = path.get_ref().as_str();
    let fault = |message: String, label: &str, help: String| {
        Err(Box::new(Diagnostic::new(path.span(), message, label).help(help)))
    };
    let unbuilt = |what: &str, label: &str| {
        let help = "write an exact path (\"/users\") or a prefix (\"/users/*\")";
        fault(format!("{what} in paths are not built yet"), label, help.into())
    };
    if text.starts_with('~') {
        return unbuilt("regular expressions", "this is a regular expression");
    }
    if !text.starts_with('/') {
        let message = format!("the path `{text}` does not begin with a slash");
        return fault(message, "the first character must be `/`", format!("write \"/{text}\""));
    }
    if text.contains(['{', '}']) {
        return unbuilt("captures", "`{...}` is a capture");
    }
    let (literal, star) = match text.strip_suffix("/*") {
        Some(prefix) => (prefix, "/*"),
        None => (text, ""),
    };
    if let Some(place) = literal.find('*') {
        let last = place + 1 == literal.len();
        let until = if last { place } else { literal[..place].rfind('/').unwrap_or(0) };
        let message = format!("the path `{text}` has a `*` that does not stand for whole segments");
        let help = format!("a `*` can only be the last segment, such as \"{}/*\"", &literal[..until]);
        return fault(message, "this path", help);
    }
    if let Some((message, label, help)) = odd_literal(literal, star) {
        return fault(message, label, help);
    }
    Ok(if star.is_empty() { Pattern::Exact(literal.into()) } else { Pattern::Prefix(literal.into()) })
}

/// What is wrong with a path that has no capture, the label and the help for it: it must be in the normal form that
/// requests are matched in, or it would never match. `star` is what was written after it.
fn odd_literal(literal: &str, star: &str) -> Option<(String, &'static str, String)> {
    if let Some(odd) = literal.chars().find(|c| matches!(c, '?' | '#')) {
        let help = format!("leave out what begins with `{odd}`");
        return Some((format!("a path has no `{odd}`"), "only the path is compared here", help));
    }
    if literal.chars().any(|c| !c.is_ascii_graphic()) {
        let message = format!("the path `{literal}{star}` has characters that a request cannot have");
        let help = format!("write them as percent escapes: \"{}{star}\"", escape(literal));
        return Some((message, "this path", help));
    }
    let mut buffer = Vec::new();
    // The prefix `/*` is the empty string here.
    let normal = if literal.is_empty() { Ok(&b""[..]) } else { normalize(literal.as_bytes(), &mut buffer) };
    match normal {
        Ok(normal) if normal == literal.as_bytes() => None,
        Ok(normal) => {
            let message = format!("the path `{literal}{star}` is not in its normal form");
            let help = format!("write \"{}{star}\", as which requests are compared", String::from_utf8_lossy(normal));
            Some((message, "no request would match this", help))
        }
        Err(error) => {
            let message = format!("{error}: `{literal}{star}`");
            Some((message, "requests for it are refused", "write the path of requests that can arrive".into()))
        }
    }
}

/// What is stripped must be whole segments at the front of the route's path.
fn strip_prefix(prefix: &Spanned<String>, pattern: &Pattern, path: Range<usize>) -> Option<Diagnostic> {
    let text = prefix.get_ref().as_str();
    let fault = |message: String, label: &str| Some(Diagnostic::new(prefix.span(), message, label));
    if text.is_empty() || text == "/" {
        let fault = fault(format!("`strip_prefix = \"{text}\"` strips nothing"), "there is nothing to strip");
        return fault.map(|fault| fault.help("leave it out"));
    }
    if let Some(plain) = text.strip_suffix("/*").or(text.strip_suffix('/')) {
        let fault = fault(format!("the prefix `{text}` does not end with a segment"), "this prefix");
        return fault.map(|fault| fault.help(format!("write \"{plain}\"")));
    }
    if pattern.is_under(text) {
        return None;
    }
    let fault = fault(format!("`{text}` is not a prefix of the path `{pattern}`"), "this does not lead the path");
    fault.map(|fault| {
        fault.related(path, "of this route").help("`strip_prefix` takes whole segments from the front of `path`")
    })
}

/// `text` with percent escapes for all that cannot stand in a path.
fn escape(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        _ if byte.is_ascii_graphic() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}
