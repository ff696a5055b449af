//! The targets of a service, as they are written.
//!
//! ```toml
//! [services.users]
//! targets = [
//!     "127.0.0.1:3001",                                # an IP address and a port
//!     "[::1]:3001",
//!     "unix:/run/users.sock",                          # a Unix socket
//!     "users.internal:8080",                           # a name, and all addresses that it has
//!     "srv:_http._tcp.users.internal",                 # an SRV record: names, ports and weights
//!     { address = "127.0.0.1:3002", weight = 3 },      # three times the load of the others
//! ]
//! ```
//!
//! A weight is from 1 to 1000, and 1 where nothing is written; for a name it is that of each of its addresses. An SRV
//! record has weights of its own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::endpoint::EndpointSpec;
use crate::base::decode::{Diagnostic, Section, Value, Wrong, text};
use crate::net::Address;

/// The largest weight.
pub const WEIGHT_MAX: u32 = 1000;

/// One target, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Where it is.
    pub address: TargetAddress,
    /// `weight`, from 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Its place in the file.
    pub span: Range<usize>,
}

/// Where a target is, or who knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetAddress {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A name to be resolved to addresses (A and AAAA records).
    Name {
        /// The name, in lower case.
        host: Box<str>,
        /// The port at each of its addresses.
        port: u16,
    },
    /// A name to be resolved to names, ports and weights (SRV records, RFC 2782), in lower case.
    Srv(Box<str>),
}

impl fmt::Display for TargetAddress {
    /// As it is written.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Name { host, port } => write!(formatter, "{host}:{port}"),
            Self::Srv(name) => write!(formatter, "srv:{name}"),
        }
    }
}

/// One target, as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// Where it is, or who knows it.
    pub address: TargetAddress,
    /// Its share of the load beside that of the others, from 1 to [`WEIGHT_MAX`].
    pub weight: u32,
}

impl TargetSpec {
    /// The endpoint, where nobody has to be asked for its address.
    #[must_use]
    pub fn endpoint(&self) -> Option<EndpointSpec> {
        let address = match &self.address {
            TargetAddress::Ip(address) => Address::Tcp(*address),
            TargetAddress::Unix(path) => Address::Unix(path.as_path().into()),
            TargetAddress::Name { .. } | TargetAddress::Srv(_) => return None,
        };
        Some(EndpointSpec { address, authority: self.address.to_string().into(), weight: self.weight })
    }
}

impl TargetConfig {
    /// The target at `address`, with the weight of 1.
    #[must_use]
    pub fn at(address: SocketAddr, span: Range<usize>) -> TargetConfig {
        TargetConfig { address: TargetAddress::Ip(address), weight: 1, span }
    }

    /// What runs.
    #[must_use]
    pub fn compile(&self) -> TargetSpec {
        TargetSpec { address: self.address.clone(), weight: self.weight }
    }
}

/// Reads `targets` of a service; empty where it is missing or wrong, which is a fault by then.
pub fn read(section: &mut Section<'_, '_>) -> Vec<TargetConfig> {
    let example = "[\"127.0.0.1:3001\"]";
    let Some(value) = section.require_value("targets", example) else { return Vec::new() };
    let list = section.convert("targets", value, |value| match value.get_ref() {
        DeValue::Array(list) if list.is_empty() => {
            Err(Wrong::content("the list is empty", format!("write a target, such as {example}")))
        }
        DeValue::Array(list) => Ok(list.iter().collect::<Vec<_>>()),
        _ => Err(Wrong::Type(format!("a list, such as {example}"))),
    });
    let mut targets: Vec<TargetConfig> = Vec::new();
    for value in list.unwrap_or_default() {
        let Some(target) = read_one(section, value) else { continue };
        if let Some(other) = targets.iter().find(|other| other.address == target.address) {
            let message = format!("`{}` is a target twice", target.address);
            let fault = Diagnostic::new(target.span, message, "here for the second time");
            let help = "leave one of them; for more load, give it a `weight`";
            section.fault(fault.related(other.span.clone(), "it is here already").help(help));
            continue;
        }
        targets.push(target);
    }
    targets
}

fn read_one<'t>(section: &mut Section<'t, '_>, value: &'t Value<'t>) -> Option<TargetConfig> {
    let DeValue::Table(table) = value.get_ref() else {
        let address = section.convert("targets", value, address)?;
        return Some(TargetConfig { address, weight: 1, span: value.span() });
    };
    let mut section = section.element("a target", value.span(), table);
    let address = section.require("address", "\"127.0.0.1:3001\"", address);
    let mut weight = None;
    section.inherit_within("weight", 1..=WEIGHT_MAX, &mut weight);
    section.finish(&[]);
    if matches!(address, Some(TargetAddress::Srv(_)))
        && let Some(place) = section.place("weight")
    {
        let fault = Diagnostic::new(place, "an SRV record has weights of its own", "this has nothing to say");
        section.fault(fault.help("leave it out"));
    }
    Some(TargetConfig { address: address?, weight: weight.unwrap_or(1), span: value.span() })
}

/// Where a target is.
fn address(value: &Value<'_>) -> Result<TargetAddress, Wrong> {
    parse(text(value, "an address such as \"127.0.0.1:3001\"")?)
}

fn parse(text: &str) -> Result<TargetAddress, Wrong> {
    if text.starts_with("unix:") {
        return unix_path(text).map(TargetAddress::Unix);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(Wrong::content(
            format!("`{text}` is a URL, and a target is only an address"),
            of_url(scheme, rest),
        ));
    }
    if let Some(name) = text.strip_prefix("srv:") {
        return srv(text, name);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(Wrong::content(format!("`{text}` has port 0, which cannot be connected to"), "write a port")),
            _ => Ok(TargetAddress::Ip(address)),
        };
    }
    let without_port = |help| Err(Wrong::content(format!("`{text}` is not an address with a port"), help));
    if let Ok(address) = text.parse::<IpAddr>() {
        return without_port(format!("add a port: \"{}\"", SocketAddr::new(address, 3001)));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return match host_name(text) {
            Ok(host) => without_port(format!("add a port: \"{host}:3001\"")),
            Err(_) => without_port("write an IP address or a name, and a port, such as \"127.0.0.1:3001\"".into()),
        };
    };
    if host.is_empty() {
        let help = format!("for this machine write \"127.0.0.1:{port}\"");
        return Err(Wrong::content(format!("`{text}` does not say which host"), help));
    }
    let host = host_name(host)?;
    match port.parse() {
        // A sign is none of a port's digits, though the standard library reads it.
        Ok(port @ 1..) if !text.contains('+') => Ok(TargetAddress::Name { host, port }),
        _ => without_port(format!("a port is a number from 1 to 65535, such as \"{host}:3001\"")),
    }
}

/// The longest path of a Unix socket, of `sockaddr_un` on Linux without its last zero.
const UNIX_PATH_MAX: usize = 107;

/// The path of a Unix socket that is written as `unix:/run/app.sock`.
///
/// # Errors
/// It is no path from the root, or too long for a socket.
pub fn unix_path(text: &str) -> Result<PathBuf, Wrong> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if !path.starts_with('/') || path.starts_with("//") {
        let path = match path.trim_start_matches(['/', '.']) {
            "" => "run/app.sock",
            path => path,
        };
        let help = format!("write the whole path after one colon: \"unix:/{path}\"");
        return Err(Wrong::content(format!("`{text}` is not the path of a socket from the root"), help));
    }
    if path.len() > UNIX_PATH_MAX {
        let problem = format!("the path of `{text}` has {} bytes", path.len());
        return Err(Wrong::content(problem, format!("a socket's path can have {UNIX_PATH_MAX}; make it shorter")));
    }
    if path.contains('\0') {
        return Err(Wrong::content("a path cannot have a zero byte", "leave it out"));
    }
    Ok(Path::new(path).to_owned())
}

fn srv(text: &str, name: &str) -> Result<TargetAddress, Wrong> {
    if name.contains(':') {
        let help = format!("leave the port out: \"srv:{}\"", name.split(':').next().unwrap_or(name));
        return Err(Wrong::content(format!("`{text}` has a port, which the SRV record says"), help));
    }
    let name = host_name(name)?;
    let mut labels = name.split('.');
    let mut service = || labels.next().is_some_and(|label| label.len() > 1 && label.starts_with('_'));
    if service() && service() && labels.next().is_some_and(|label| !label.is_empty()) {
        return Ok(TargetAddress::Srv(name));
    }
    let help = format!("it begins with a service and a protocol: \"srv:_http._tcp.{}\"", name.trim_start_matches('_'));
    Err(Wrong::content(format!("`{text}` is not the name of an SRV record"), help))
}

/// A name as name servers know it, in lower case (RFC 1123 section 2.1, with the underscores of RFC 2782).
fn host_name(host: &str) -> Result<Box<str>, Wrong> {
    let wrong = |problem: &str, help: &str| Err(Wrong::content(format!("`{host}` {problem}"), help));
    let labels = || host.strip_suffix('.').unwrap_or(host).split('.');
    if !host.is_ascii() {
        return wrong("has letters that names in DNS do not have", "write the name as DNS has it, beginning with xn--");
    }
    if host.contains(['[', ']', ':']) {
        return wrong("is not an IPv6 address", "write it in brackets, and the port behind: \"[::1]:3001\"");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if host.len() > 254 || !labels().all(|label| (1..=63).contains(&label.len()) && label.bytes().all(plain)) {
        return wrong("is not the name of a host", "write an IP address or a name, such as \"users.internal\"");
    }
    if labels().next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong("is not an IP address", "an IPv4 address is four numbers up to 255, such as \"127.0.0.1\"");
    }
    Ok(host.to_ascii_lowercase().into())
}

/// What to write instead of a URL.
fn of_url(scheme: &str, rest: &str) -> String {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let host = match authority.rsplit_once(':') {
        Some((host, _)) if !authority.ends_with(']') => host,
        _ => authority,
    };
    let is_target = |text: &str| !text.contains("://") && parse(text).is_ok();
    let with_port = format!("{host}:80");
    if matches!(scheme.to_ascii_lowercase().as_str(), "https" | "wss") {
        let target = if is_target(&with_port) { &with_port } else { "users.internal:80" };
        return format!(
            "TLS to targets is not built yet; write an address and a port where the service speaks plain HTTP, such as \
             \"{target}\""
        );
    }
    if is_target(authority) {
        format!("leave out `{scheme}://`, and what follows the port: \"{authority}\"")
    } else if host == authority && is_target(&with_port) {
        format!("write the address and the port alone: \"{with_port}\"")
    } else {
        "write an IP address or a name, and a port, such as \"127.0.0.1:3001\"".to_owned()
    }
}
