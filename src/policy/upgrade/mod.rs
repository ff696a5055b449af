//! Whether a route lets a request switch protocols, as WebSocket does (RFC 9110 section 7.8), and for how long.
//!
//! ```toml
//! [routes.chat]
//! path = "/chat"
//! service = "chat"
//! upgrade = true                   # or false, the default; `true` is this, with any protocol:
//!
//! [routes.chat.upgrade]
//! protocols = ["websocket"]        # these alone; a name stands for all versions of its protocol
//! idle_timeout = "5m"              # without a byte in either direction; false for no end
//! lifetime = false                 # in all, such as "24h"
//! send_timeout = "1m"              # for one side to take a piece (up to 128 KiB) of what the other has sent
//! tunnels = 1000                   # at the same time, in the whole process; one more is refused with 503
//! ```
//!
//! The backend is asked only for what the route allows, and only by a request without a body; anything else is sent on
//! as an ordinary request, without its Upgrade. Protocols that carry HTTP again (`h2c`, `TLS`) are never passed on: what
//! came through them would meet no route and no policy. A request counts as one of `tunnels` from before it is sent, so
//! that a backend is never asked for more than there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use toml::de::DeValue;

use crate::base::decode::{FromValue, Section, TableOr, Value, Wrong, text};
use crate::base::units::Setting;
use crate::http::fields::{Known, is_token, trim};
use crate::http::h1::parse::{RequestHead, ResponseHead};

/// Protocols in which HTTP would come again.
const HTTP_AGAIN: [&str; 4] = ["h2c", "h2", "http", "tls"];

/// What the user wrote as a table, or what `upgrade = true` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeConfig {
    /// `protocols`: those that may be switched to; `None` for any.
    pub protocols: Option<Vec<String>>,
    /// `idle_timeout`: how long a tunnel may be without a byte in either direction.
    pub idle_timeout: Setting<Duration>,
    /// `lifetime`: how long a tunnel may last.
    pub lifetime: Setting<Duration>,
    /// `send_timeout`: how long one side may take over a piece of what the other has sent.
    pub send_timeout: Setting<Duration>,
    /// `tunnels`: how many there may be at the same time, in the whole process.
    pub tunnels: Setting<usize>,
}

impl Default for UpgradeConfig {
    fn default() -> Self {
        Self {
            protocols: None,
            idle_timeout: Setting::On(Duration::from_secs(300)),
            lifetime: Setting::Off,
            send_timeout: Setting::On(Duration::from_secs(60)),
            tunnels: Setting::On(1000),
        }
    }
}

impl UpgradeConfig {
    /// Reads the key `upgrade` of a route; `None` where it is not there.
    pub fn read(section: &mut Section<'_, '_>) -> Option<Setting<Self>> {
        let value = match section.table_or_value("upgrade", "`upgrade`")? {
            TableOr::Table(mut section) => return Some(Setting::On(Self::read_table(&mut section))),
            TableOr::Value(value) => value,
        };
        section.convert("upgrade", value, |value| match value.get_ref() {
            DeValue::Boolean(true) => Ok(Setting::On(Self::default())),
            DeValue::Boolean(false) => Ok(Setting::Off),
            _ => Err(Wrong::Type("`true`, `false`, or a table such as { protocols = [\"websocket\"] }".into())),
        })
    }

    fn read_table(section: &mut Section<'_, '_>) -> Self {
        let mut config = Self::default();
        let mut protocols: Option<Protocols> = None;
        section.inherit("protocols", &mut protocols);
        config.protocols = protocols.map(|protocols| protocols.0);
        section.read("idle_timeout", &mut config.idle_timeout);
        section.read("lifetime", &mut config.lifetime);
        section.read("send_timeout", &mut config.send_timeout);
        section.read("tunnels", &mut config.tunnels);
        section.finish(&[]);
        config
    }
}

/// The list under `protocols`.
struct Protocols(Vec<String>);

impl FromValue for Protocols {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let DeValue::Array(list) = value.get_ref() else {
            return Err(Wrong::Type("a list, such as [\"websocket\"]".into()));
        };
        if list.is_empty() {
            return Err(Wrong::content("the list is empty", "write a protocol, or `upgrade = false` for none"));
        }
        list.iter().map(protocol).collect::<Result<_, _>>().map(Self)
    }
}

/// One protocol: `name` or `name/version`.
fn protocol(value: &Value<'_>) -> Result<String, Wrong> {
    let text = text(value, "a protocol such as \"websocket\"")?;
    let Some(Protocol { name, .. }) = Protocol::parse(text.as_bytes()) else {
        let help = "write its name as it stands in the Upgrade field, such as \"websocket\" or \"foo/2\"";
        return Err(Wrong::content(format!("`{text}` is not a protocol"), help));
    };
    if HTTP_AGAIN.iter().any(|again| name.eq_ignore_ascii_case(again.as_bytes())) {
        let problem = format!("`{text}` carries HTTP again, which no route and no policy would see");
        return Err(Wrong::content(problem, "leave it out; clients can speak such a protocol to a listener"));
    }
    Ok(text.to_owned())
}

/// What a route does with requests to switch protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// It takes no notice of them.
    #[default]
    Off,
    /// It passes them on.
    On(Rules),
}

/// What may be switched to, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Empty for any.
    protocols: Box<[Box<str>]>,
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// In all.
    pub lifetime: Option<Duration>,
    /// For one side to take a piece of what the other has sent.
    pub stall: Option<Duration>,
    /// At the same time, in the whole process.
    most: usize,
}

impl Upgrade {
    /// Resolves what a route wrote.
    #[must_use]
    pub fn compile(written: Option<&Setting<UpgradeConfig>>) -> Self {
        let Some(Setting::On(config)) = written else { return Self::Off };
        let protocols = config.protocols.iter().flatten();
        Self::On(Rules {
            protocols: protocols.map(|protocol| protocol.as_str().into()).collect(),
            idle: config.idle_timeout.value(),
            lifetime: config.lifetime.value(),
            stall: config.send_timeout.value(),
            most: config.tunnels.value().unwrap_or(usize::MAX),
        })
    }

    /// What the request asks for and the route allows, appended to `offer` as the value of the Upgrade field to send on;
    /// `None` where nothing is left, or the request cannot be a switch: because it has a body, which would have to be
    /// over first, or is of HTTP/1.0. It is an ordinary request then.
    pub fn offer(&self, head: &RequestHead, offer: &mut Vec<u8>) -> Option<&Rules> {
        let Self::On(rules) = self else { return None };
        let asked = head.upgrade().filter(|_| !head.framing().may_have_body())?;
        let start = offer.len();
        for wanted in list(asked).filter(|wanted| rules.allows(wanted)) {
            offer.extend_from_slice(if offer.len() > start { b", " } else { b"" });
            offer.extend_from_slice(wanted.text);
        }
        (offer.len() > start).then_some(rules)
    }

    /// Whether the route lets a request switch to all of these protocols, the value of an Upgrade field.
    #[must_use]
    pub fn allows(&self, protocols: &[u8]) -> bool {
        let Self::On(rules) = self else { return false };
        let mut all = members(protocols).peekable();
        all.peek().is_some() && all.all(|member| Protocol::parse(member).is_some_and(|wanted| rules.allows(&wanted)))
    }
}

impl Rules {
    fn allows(&self, wanted: &Protocol<'_>) -> bool {
        let is = |name: &str| wanted.name.eq_ignore_ascii_case(name.as_bytes());
        if HTTP_AGAIN.into_iter().any(is) {
            return false;
        }
        let fits = |text: &str| Protocol::parse(text.as_bytes()).is_some_and(|allowed| allowed.covers(wanted));
        self.protocols.is_empty() || self.protocols.iter().any(|text| fits(text))
    }

    /// Takes one of the tunnels that may be open at the same time, if there is one left.
    #[must_use]
    pub fn admit(&self, open: &Arc<OpenTunnels>) -> Option<Permit> {
        let more = |open: usize| (open < self.most).then_some(open + 1);
        // Nothing else is published by it: the count alone has to be right.
        open.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Permit { open: Arc::clone(open) })
    }
}

/// Whether a 101 switches to what it was asked for: it has one Upgrade field, and each protocol in it is in `offer`, the
/// value that was sent.
#[must_use]
pub fn answers(head: &ResponseHead, offer: &[u8]) -> bool {
    let mut fields = head.fields().filter(|field| field.known == Known::Upgrade);
    let (Some(answer), None) = (fields.next(), fields.next()) else { return false };
    let mut switched = members(answer.value).peekable();
    let offered = |wanted: &Protocol<'_>| list(offer).any(|offered| offered.covers(wanted));
    switched.peek().is_some() && switched.all(|member| Protocol::parse(member).is_some_and(|wanted| offered(&wanted)))
}

/// How many tunnels of one route are open, in the whole process. It lives as long as the process does, so that a new
/// configuration finds those that are open.
#[derive(Debug, Default)]
pub struct OpenTunnels(AtomicUsize);

impl OpenTunnels {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One open tunnel; dropping it makes room for another.
#[derive(Debug)]
pub struct Permit {
    open: Arc<OpenTunnels>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A member of an Upgrade field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Protocol<'a> {
    /// All of it.
    text: &'a [u8],
    name: &'a [u8],
    version: Option<&'a [u8]>,
}

impl<'a> Protocol<'a> {
    /// `token ["/" token]` (RFC 9110 section 7.8).
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (name, version) = match memchr::memchr(b'/', text) {
            Some(slash) => (&text[..slash], Some(&text[slash + 1..])),
            None => (text, None),
        };
        (is_token(name) && version.is_none_or(is_token)).then_some(Self { text, name, version })
    }

    /// Whether the other is the same protocol, and of the same version if this has one.
    fn covers(&self, other: &Protocol<'_>) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
            && self.version.is_none_or(|own| other.version.is_some_and(|version| own.eq_ignore_ascii_case(version)))
    }
}

/// The members of a list, those that are empty left out (RFC 9110 section 5.6.1).
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// The protocols of a list; what is none is left out.
fn list(value: &[u8]) -> impl Iterator<Item = Protocol<'_>> {
    members(value).filter_map(Protocol::parse)
}

#[cfg(test)]
mod tests;
