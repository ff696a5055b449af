//! `balance`, as it is written.

use std::time::Duration;

use super::Method;
use crate::base::decode::{FromValue, Section, TableOr, Value, Wrong, closest, text};
use crate::base::units::Setting;

/// How long latencies are remembered where nothing else is written.
pub(super) const DECAY: Duration = Duration::from_secs(10);

/// `load` where nothing else is written.
const LOAD: f64 = 1.25;

/// What consistent hashing goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// `"ip"`: the client's address.
    Ip,
    /// `"header:NAME"`: a field of the request.
    Header(Box<str>),
    /// `"cookie:NAME"`: a cookie of the request.
    Cookie(Box<str>),
    /// `"query:NAME"`: the first value of this key in the query.
    Query(Box<str>),
    /// `"path:NAME"`: a capture of the route's path.
    Path(Box<str>),
}

/// The names of the methods.
const METHODS: [&str; 4] = ["round_robin", "least_connections", "p2c_ewma", "consistent_hash"];

/// Reads `balance` of a service.
pub fn read(section: &mut Section<'_, '_>) -> Method {
    let mut method = Method::RoundRobin;
    match section.table_or_value("balance", "`balance`") {
        None => {}
        Some(TableOr::Table(mut table)) => {
            let name = table.require("method", "\"consistent_hash\"", named);
            match name {
                Some("p2c_ewma") => {
                    let mut decay = DECAY;
                    table.read("decay", &mut decay);
                    method = Method::TwoChoices { decay };
                }
                Some("consistent_hash") => {
                    let (mut by, mut load) = (HashBy::Ip, Setting::On(Load(LOAD)));
                    table.read("by", &mut by);
                    table.read("load", &mut load);
                    method = Method::ConsistentHash { by, load: load.value().map(|load| load.0) };
                }
                Some(name) => method = plain(name),
                // Which other keys there may be depends on what is not known.
                None => return method,
            }
            table.finish(&[]);
        }
        Some(TableOr::Value(value)) => {
            if let Some(name) = section.convert("balance", value, named) {
                method = plain(name);
            }
        }
    }
    method
}

/// The method of this name, without any further word.
fn plain(name: &str) -> Method {
    match name {
        "least_connections" => Method::LeastConnections,
        "p2c_ewma" => Method::TwoChoices { decay: DECAY },
        "consistent_hash" => Method::ConsistentHash { by: HashBy::Ip, load: Some(LOAD) },
        _ => Method::RoundRobin,
    }
}

/// The name of a method.
fn named(value: &Value<'_>) -> Result<&'static str, Wrong> {
    let text = text(value, "the name of a method, such as \"round_robin\", or a table")?;
    METHODS.into_iter().find(|name| *name == text).ok_or_else(|| {
        let help = match closest(text, &METHODS) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write one of: {}", METHODS.map(|name| format!("\"{name}\"")).join(", ")),
        };
        Wrong::content(format!("there is no method `{text}`"), help)
    })
}

impl FromValue for HashBy {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        const KINDS: [&str; 5] = ["ip", "header", "cookie", "query", "path"];
        const HELP: &str = "write \"ip\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\" or \"path:NAME\"";
        let text = text(value, "\"ip\", or such as \"header:X-User\"")?;
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        let is_token = |name: &str| !name.is_empty() && name.bytes().all(is_token_character);
        let of = |by: fn(Box<str>) -> HashBy| match name {
            Some(name) if is_token(name) => Ok(by(name.into())),
            Some("") | None => {
                Err(Wrong::content(format!("`{text}` has no name"), format!("add it, such as \"{kind}:user\"")))
            }
            Some(name) => Err(Wrong::content(
                format!("`{name}` has characters that the name of a {kind} cannot have"),
                "a name is made of letters, digits, `-`, `_` and other characters of a token",
            )),
        };
        match (kind, name) {
            ("ip", None) => Ok(HashBy::Ip),
            ("header", _) => of(HashBy::Header),
            ("cookie", _) => of(HashBy::Cookie),
            ("query", Some(name)) if !name.is_empty() => Ok(HashBy::Query(name.into())),
            ("query", _) => of(HashBy::Query),
            ("path", _) => of(HashBy::Path),
            ("ip", Some(_)) => Err(Wrong::content("`ip` has no name after it", "write \"ip\"")),
            _ => Err(Wrong::content(
                format!("nothing can be hashed by `{text}`"),
                closest(kind, &KINDS).map_or(HELP.into(), |meant| format!("did you mean \"{meant}\"? {HELP}")),
            )),
        }
    }
}

/// What names of fields and cookies are made of (RFC 9110 section 5.6.2).
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// How many times its part a target may have.
#[derive(Clone, Copy, Debug)]
struct Load(f64);

impl FromValue for Load {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let load = f64::from_value(value)?;
        if (1.0..=100.0).contains(&load) {
            return Ok(Self(load));
        }
        let problem = format!("`{load}` times its part is no bound for a target's load");
        Err(Wrong::content(problem, "write a number from 1 to 100, such as 1.25"))
    }
}
