//! The checks of one section against another: names that must exist, and things that must not be there twice.
//!
//! They run on what could be read of a file that has faults, so that all its faults are shown at once, and again when a
//! configuration is compiled.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Range;

use serde_spanned::Spanned;

use super::{Config, RouteConfig};
use crate::base::decode::{Diagnostic, closest};
use crate::router::Pattern;
use crate::router::path::normalize;

/// Adds what is wrong between the sections of `config`.
pub(super) fn config(config: &Config, faults: &mut Vec<Diagnostic>) {
    addresses(config, faults);
    loops(config, faults);
    services(config, faults);
    paths(&config.routes, faults);
    for route in &config.routes {
        faults.extend(route.headers.check(&[]));
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
