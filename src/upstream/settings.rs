//! What a service's configuration says to the worker that sends requests to it.
//!
//! ```toml
//! [services.users]
//! targets = ["127.0.0.1:3001"]
//! proxy_protocol = "v2"           # begin each connection with who the client is; off by default
//!
//! [services.users.pool]
//! idle_connections = 1024         # kept open for the next request, by each worker and for each target
//! idle_timeout = "50s"
//! max_connections = false         # the most connections to one target, of all workers together
//! queue = 128                     # requests that may wait for one of them, in all workers together
//! queue_timeout = "1s"            # and how long
//! ```

use std::time::Duration;

use super::affinity::Affinity;
use super::balance::Method;
use super::ejection::Ejection;
use crate::base::decode::{Diagnostic, Section};
use crate::base::units::Setting;
pub use crate::net::proxy_protocol::Version as ProxyProtocol;

/// How requests of one service are spread over its targets, and sent there.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How a target is chosen.
    pub method: Method,
    /// How long a target that is new or has recovered gets less than its share; `None` for its share at once.
    pub slow_start: Option<Duration>,
    /// When a target is left out for its failures; `None` for never.
    pub ejection: Option<Ejection>,
    /// The cookie that keeps a client at its target; `None` for no cookie.
    pub affinity: Option<Affinity>,
    /// How connections are kept.
    pub pool: PoolSettings,
    /// With which version of the PROXY protocol connections begin; `None` for without.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// How the connections to a target are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How many idle ones each worker keeps; 0 closes each connection after its request.
    pub idle_connections: usize,
    /// How long an idle one is kept.
    pub idle_timeout: Duration,
    /// How many there may be to one target, of all workers; `None` for any number.
    pub max_connections: Option<u32>,
    /// How many requests may wait for one of these, in all workers together.
    pub queue: u32,
    /// How long one waits.
    pub queue_timeout: Duration,
}

/// `[services.NAME] pool`: the connections to a service's targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// `idle_connections`: how many idle ones each worker keeps to each target; 0 closes each after its request.
    pub idle_connections: usize,
    /// `idle_timeout`: how long one is kept.
    pub idle_timeout: Duration,
    /// `max_connections`: how many there may be to one target, of all workers.
    pub max_connections: Setting<u32>,
    /// `queue`: how many requests may wait for one of these, in all workers together.
    pub queue: u32,
    /// `queue_timeout`: how long one waits.
    pub queue_timeout: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            idle_connections: 1024,
            idle_timeout: Duration::from_secs(50),
            max_connections: Setting::Off,
            queue: 128,
            queue_timeout: Duration::from_secs(1),
        }
    }
}

impl PoolConfig {
    /// Reads `pool` of a service.
    pub fn read(section: &mut Section<'_, '_>) -> PoolConfig {
        let mut config = PoolConfig::default();
        let Some(mut section) = section.table("pool", "`pool`") else { return config };
        section.read_within("idle_connections", 0..=65_536, &mut config.idle_connections);
        section.read("idle_timeout", &mut config.idle_timeout);
        section.read("max_connections", &mut config.max_connections);
        section.read_within("queue", 0..=65_536, &mut config.queue);
        section.read("queue_timeout", &mut config.queue_timeout);
        section.finish(&[]);
        if config.max_connections == Setting::On(0) {
            config.max_connections = Setting::Off;
        }
        let plain = PoolConfig::default();
        let keys =
            [("queue", config.queue != plain.queue), ("queue_timeout", config.queue_timeout != plain.queue_timeout)];
        if config.max_connections == Setting::Off
            && let Some((key, place)) =
                keys.into_iter().find_map(|(key, own)| Some((key, section.place(key).filter(|_| own)?)))
        {
            let message = format!("`{key}` has no effect without `max_connections`");
            let warning = Diagnostic::new(place, message, "no request ever waits for a connection");
            section.warn(warning.help("write how many connections a target may have, such as max_connections = 100"));
        }
        config
    }

    /// What runs.
    #[must_use]
    pub fn compile(&self) -> PoolSettings {
        PoolSettings {
            idle_connections: self.idle_connections,
            idle_timeout: self.idle_timeout,
            max_connections: self.max_connections.value(),
            queue: self.queue,
            queue_timeout: self.queue_timeout,
        }
    }
}
