//! Active health checks: what is asked of each target of a service, how often, and what the answers are worth.
//!
//! ```toml
//! [services.users]
//! targets = ["127.0.0.1:3001", "127.0.0.1:3002"]
//! health = { path = "/health", interval = "5s", timeout = "1s", healthy = 2, unhealthy = 3 }
//!
//! [services.files]
//! targets = ["10.0.0.7:9000"]
//! health = { tcp = true }                      # a connection that is accepted will do
//!
//! [services.users.health]                      # all of it
//! path = "/health"                             # asked with GET; the query may be part of it
//! method = "GET"                               # or HEAD or OPTIONS
//! host = "users.internal"                      # the Host field; without it, the target as it is written
//! headers = { authorization = "Bearer 1234" }  # more fields
//! statuses = ["2xx", 301]                      # what counts as well; default ["2xx"]
//! body = "ok"                                  # must be in the first 64 KiB; "~ ^ok$" is a regular expression
//! port = 8081                                  # where the service answers for its health; default: the target's port
//! interval = "5s"                              # from one check to the next
//! jitter = 0.1                                 # each interval is longer or shorter by up to this share
//! timeout = "1s"                               # connecting, the answer and its body
//! healthy = 2                                  # so many in a row, and a target that was down is used again
//! unhealthy = 3                                # so many failures in a row, and it is not used
//! ```
//!
//! A target that has never been checked is used, and its first check decides alone: there is nothing else to go by, and
//! an instance that has just appeared and is not ready should not have to fail three times. After that it takes
//! `unhealthy` failures in a row to take a target out, and `healthy` successes in a row to bring it back.
//!
//! Where the service's `proxy_protocol` is on, a check begins with a header that says that it is the gateway's own
//! (`LOCAL` in version 2, `UNKNOWN` in version 1), for its targets take no connection without one. A `port` of its own
//! is asked without it.

mod read;

use std::time::Duration;

use regex::bytes::Regex;

use super::endpoint::Health;
use crate::base::statuses::StatusSet;
use crate::net::proxy_protocol::{self, Endpoints, Version};

/// How much of a body is read.
pub const BODY_MOST: usize = 64 * 1024;

/// What the user wrote in one `health` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// `tcp = true`: a connection will do.
    pub tcp: bool,
    /// `path`: what is asked for; there unless `tcp` is set.
    pub path: Option<String>,
    /// `method`.
    pub method: &'static str,
    /// `host`: the Host field, if it is not the target.
    pub host: Option<String>,
    /// `headers`: more fields, by name.
    pub headers: Vec<(String, String)>,
    /// `statuses`: what counts as well.
    pub statuses: StatusSet,
    /// `body`: what must be in it; a regular expression after `~ `.
    pub body: Option<String>,
    /// `port`: another than the target's.
    pub port: Option<u16>,
    /// `interval`.
    pub interval: Duration,
    /// `jitter`.
    pub jitter: Jitter,
    /// `timeout`; one second, or less where the interval is shorter.
    pub timeout: Option<Duration>,
    /// `healthy`.
    pub healthy: usize,
    /// `unhealthy`.
    pub unhealthy: usize,
}

/// A share of an interval, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter(pub u16);

impl Default for HealthConfig {
    fn default() -> HealthConfig {
        let mut statuses = StatusSet::default();
        statuses.parse_and_add("2xx");
        HealthConfig {
            tcp: false,
            path: None,
            method: "GET",
            host: None,
            headers: Vec::new(),
            statuses,
            body: None,
            port: None,
            interval: Duration::from_secs(5),
            jitter: Jitter(100),
            timeout: None,
            healthy: 2,
            unhealthy: 3,
        }
    }
}

/// The checks of one service, as they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// What is asked.
    pub probe: Probe,
    /// The port to ask at, if it is not the target's.
    pub port: Option<u16>,
    /// From the start of one check to the start of the next, before jitter.
    pub interval: Duration,
    /// By which share of itself an interval may differ.
    pub jitter: Jitter,
    /// The longest a check may take, from connecting to the end of the body.
    pub timeout: Duration,
    /// When the mind is changed.
    pub thresholds: Thresholds,
    /// What a connection begins with: a header of the PROXY protocol, or nothing.
    pub preface: Box<[u8]>,
}

/// What one check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Connects.
    Tcp,
    /// Asks over HTTP/1.1.
    Http(Box<Question>),
}

/// A request, and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `GET`, `HEAD` or `OPTIONS`.
    pub method: &'static str,
    /// Path and query.
    pub path: Box<str>,
    /// The Host field, if it is not the target.
    pub host: Option<Box<str>>,
    /// More fields.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The statuses that count as well.
    pub statuses: StatusSet,
    /// What the body must have.
    pub body: Option<BodyRule>,
}

/// What a body must have.
#[derive(Clone, Debug)]
pub enum BodyRule {
    /// These bytes.
    Contains(Box<str>),
    /// A match of this expression.
    Matches(Regex),
}

/// How many checks in a row change the mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes that bring a target back.
    pub healthy: u32,
    /// Failures that take a target out.
    pub unhealthy: u32,
}

impl Checks {
    /// What runs of what was written. A configuration that was read has a path or `tcp`, and an expression that is one.
    #[must_use]
    pub fn compile(config: &HealthConfig) -> Checks {
        let probe = match &config.path {
            Some(path) if !config.tcp => Probe::Http(Box::new(Question {
                method: config.method,
                path: path.as_str().into(),
                host: config.host.as_deref().map(Into::into),
                headers: config
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                    .collect(),
                statuses: config.statuses,
                body: config.body.as_deref().and_then(|body| BodyRule::new(body).ok()),
            })),
            _ => Probe::Tcp,
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Checks {
            probe,
            port: config.port,
            interval: config.interval,
            jitter: config.jitter,
            timeout: config.timeout.unwrap_or(Duration::from_secs(1).min(config.interval)),
            thresholds: Thresholds { healthy: count(config.healthy), unhealthy: count(config.unhealthy) },
            preface: Box::default(),
        }
    }

    /// The same checks of a service that is spoken to in this version of the PROXY protocol, if in any.
    #[must_use]
    pub fn with_proxy_protocol(self, version: Option<Version>) -> Checks {
        let mut preface = Vec::new();
        if let (Some(version), None) = (version, self.port) {
            proxy_protocol::encode(version, &Endpoints::Local, &mut preface);
        }
        Checks { preface: preface.into(), ..self }
    }

    /// The time from one check to the next; `random` is from 0 to 1.
    #[must_use]
    pub fn pause(&self, random: f64) -> Duration {
        let share = f64::from(self.jitter.0) / 1000.0 * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        self.interval.mul_f64(1.0 + share)
    }
}

impl BodyRule {
    /// The rule as it is written: text that must be there, or an expression after `~ `.
    ///
    /// # Errors
    /// When the expression is none.
    pub fn new(text: &str) -> Result<BodyRule, regex::Error> {
        match text.strip_prefix('~') {
            Some(expression) => Regex::new(expression.trim_start()).map(BodyRule::Matches),
            None => Ok(BodyRule::Contains(text.into())),
        }
    }

    /// Whether `body` obeys it.
    #[must_use]
    pub fn admits(&self, body: &[u8]) -> bool {
        match self {
            BodyRule::Contains(text) => memchr::memmem::find(body, text.as_bytes()).is_some(),
            BodyRule::Matches(expression) => expression.is_match(body),
        }
    }
}

impl std::fmt::Display for BodyRule {
    /// As it is written.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BodyRule::Contains(text) => f.write_str(text),
            BodyRule::Matches(expression) => write!(f, "~ {expression}"),
        }
    }
}

impl PartialEq for BodyRule {
    /// Rules are the same if they are written the same.
    fn eq(&self, other: &BodyRule) -> bool {
        match (self, other) {
            (BodyRule::Contains(one), BodyRule::Contains(other)) => one == other,
            (BodyRule::Matches(one), BodyRule::Matches(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for BodyRule {}

/// What the checks have made of one target so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    health: Health,
    /// How many checks in a row have spoken against it.
    against: u32,
}

impl Verdict {
    /// Begins with what is known of a target.
    #[must_use]
    pub const fn new(health: Health) -> Verdict {
        Verdict { health, against: 0 }
    }

    /// What is held of the target now.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// How many checks in a row have spoken against that.
    #[must_use]
    pub const fn against(&self) -> u32 {
        self.against
    }

    /// Takes note of a check; says what is held now, if that is news.
    pub fn note(&mut self, passed: bool, thresholds: Thresholds) -> Option<Health> {
        let (heard, needed) = match (self.health, passed) {
            (Health::Unknown, true) => (Health::Up, 1),
            (Health::Unknown, false) => (Health::Down, 1),
            (Health::Down, true) => (Health::Up, thresholds.healthy),
            (Health::Up, false) => (Health::Down, thresholds.unhealthy),
            (Health::Up, true) | (Health::Down, false) => {
                self.against = 0;
                return None;
            }
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        *self = Verdict::new(heard);
        Some(heard)
    }
}

#[cfg(test)]
mod tests;
