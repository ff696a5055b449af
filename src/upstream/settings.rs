//! What a service's configuration says to the worker that sends requests to it.

use std::time::Duration;

use super::balance::Method;
use super::ejection::Ejection;

/// How requests of one service are spread over its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How a target is chosen.
    pub method: Method,
    /// How long a target that is new or has recovered gets less than its share; `None` for its share at once.
    pub slow_start: Option<Duration>,
    /// When a target is left out for its failures; `None` for never.
    pub ejection: Option<Ejection>,
    /// How connections are kept.
    pub pool: PoolSettings,
}

/// How the connections to a target are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How many idle ones each worker keeps; 0 closes each connection after its request.
    pub idle_connections: usize,
    /// How long an idle one is kept.
    pub idle_timeout: Duration,
}
