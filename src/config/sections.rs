//! What the user wrote, section by section, with the default of every key.
//!
//! A field that is inherited from a wider scope is an `Option`, and `None` where it was not written; all other fields
//! have their default. What a check can later find fault with keeps its place in the file (`Spanned`).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_spanned::Spanned;

use super::dns::DnsConfig;
use crate::base::decode::Diagnostic;
use crate::base::units::{Rate, Setting, Size};
use crate::policy::access_log::ScopeConfig;
use crate::policy::forwarded::ForwardedConfig;
use crate::policy::headers::RulesConfig;
use crate::policy::limits::LimitsConfig;
use crate::policy::redirect::RedirectConfig;
use crate::policy::request_id::RequestIdConfig;
use crate::policy::respond::RespondConfig;
use crate::policy::upgrade::UpgradeConfig;
use crate::policy::via::ViaConfig;
use crate::router::path::Slashes;
use crate::router::{ForwardConfig, MatchConfig};
use crate::upstream::affinity::AffinityConfig;
use crate::upstream::balance::{HashBy, Method};
use crate::upstream::ejection::EjectionConfig;
use crate::upstream::fallback::FallbackConfig;
use crate::upstream::health::HealthConfig;
use crate::upstream::mirror::MirrorConfig;
use crate::upstream::retry::RetriesConfig;
use crate::upstream::settings::{PoolConfig, ProxyProtocol};
use crate::upstream::split::SplitConfig;
use crate::upstream::targets::TargetConfig;

/// `[gateway]`: the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// `workers`: worker threads; 0 is one per core.
    pub workers: usize,
    /// `driver`: how workers speak to the kernel.
    pub driver: Driver,
    /// `pin`: whether each worker stays on a core of its own.
    pub pin: Pin,
    /// `sync_interval`: how often workers look at what the others have running.
    pub sync_interval: Duration,
    /// `drain_delay`: how long the process serves on after SIGTERM, while `/ready` tells load balancers to go elsewhere.
    pub drain_delay: Setting<Duration>,
    /// `drain_timeout`: how long what runs may take after SIGTERM; then it is answered with 503, or cut.
    pub drain_timeout: Duration,
    /// `watch`: whether a change of the file reloads it.
    pub watch: bool,
    /// `connections_per_worker`: how many client connections one worker holds at a time.
    pub connections_per_worker: usize,
    /// `merge_slashes`: whether slashes in a row are one in a path.
    pub merge_slashes: bool,
    /// `[gateway.limits]`: what one client connection may do.
    pub limits: ConnectionLimitsConfig,
    /// `[gateway.dns]`: how the names of targets are resolved.
    pub dns: DnsConfig,
    /// `trusted_proxies` and `forwarded`: whom requests come from, and what services are told of it.
    pub forwarded: ForwardedConfig,
    /// `via`: the gateway's name in Via.
    pub via: Setting<ViaConfig>,
    /// `request_id`: the id of each request.
    pub request_id: RequestIdConfig,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            driver: Driver::Auto,
            pin: Pin::Auto,
            sync_interval: Duration::from_millis(20),
            drain_delay: Setting::Off,
            drain_timeout: Duration::from_secs(30),
            watch: true,
            connections_per_worker: 16_384,
            merge_slashes: false,
            limits: ConnectionLimitsConfig::default(),
            dns: DnsConfig::default(),
            forwarded: ForwardedConfig::default(),
            via: Setting::On(ViaConfig::default()),
            request_id: RequestIdConfig::default(),
        }
    }
}

impl GatewayConfig {
    /// What slashes in a row are in a path.
    #[must_use]
    pub const fn slashes(&self) -> Slashes {
        if self.merge_slashes { Slashes::Merged } else { Slashes::Kept }
    }
}

/// How workers speak to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// `"auto"`: io_uring where the kernel has what is needed, else epoll.
    Auto,
    /// `"io_uring"`, and no start without it.
    IoUring,
    /// `"epoll"`.
    Epoll,
}

impl fmt::Display for Driver {
    /// As it is written in the file, with its quotes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.name())
    }
}

impl Driver {
    /// The driver as it is written in the file, without its quotes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Whether each worker stays on a core of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// `"auto"`: where there is exactly one worker for each core that the process may run on.
    Auto,
    /// `true`.
    On,
    /// `false`.
    Off,
}

impl fmt::Display for Pin {
    /// As it is written in the file.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "\"auto\"",
            Self::On => "true",
            Self::Off => "false",
        })
    }
}

/// `[gateway.limits]`: what one client connection may do before any route is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimitsConfig {
    /// `head`: bytes of a request's head, start line included (431).
    pub head: Size,
    /// `fields`: fields of a request's head (431).
    pub fields: usize,
    /// `target`: bytes of a request's target (414).
    pub target: Size,
    /// `head_timeout`: from a request's first byte to its whole head (408).
    pub head_timeout: Duration,
    /// `idle_timeout`: between two requests, and before the first (close).
    pub idle_timeout: Duration,
    /// `body_rate`: the slowest a request body may arrive (408).
    pub body_rate: Setting<Rate>,
    /// `body_rate_grace`: how long a body may be slower than that.
    pub body_rate_grace: Duration,
    /// `requests_per_connection`: after this many, the connection is closed in good order.
    pub requests_per_connection: Setting<usize>,
}

/// The largest `head` and the largest `target` that can be written; buffers can rely on it.
pub const HEAD_MAX: Size = Size::kib(63);

/// The largest `fields` that can be written.
pub const FIELDS_MAX: usize = 256;

impl Default for ConnectionLimitsConfig {
    fn default() -> Self {
        Self {
            head: Size::kib(32),
            fields: 100,
            target: Size::kib(8),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_rate: Setting::On(Rate { bytes_per_second: 100 }),
            body_rate_grace: Duration::from_secs(10),
            requests_per_connection: Setting::On(10_000),
        }
    }
}

/// `[listeners.NAME]`: where clients connect.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// The name of the table.
    pub name: Spanned<String>,
    /// `address`; port 0 is a free port of the kernel's choice.
    pub address: Spanned<SocketAddr>,
    /// `proxy_protocol`: whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: Spanned<bool>,
}

/// `[defaults]`: policies that every route inherits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefaultsConfig {
    /// `limits`.
    pub limits: Option<Setting<LimitsConfig>>,
    /// `request_headers` and `response_headers`.
    pub headers: RulesConfig,
    /// `retries`.
    pub retries: Option<Setting<RetriesConfig>>,
    /// `access_log`.
    pub access_log: Option<Setting<ScopeConfig>>,
}

/// `[services.NAME]`: a backend.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// The name of the table.
    pub name: Spanned<String>,
    /// `targets`, at least one.
    pub targets: Vec<TargetConfig>,
    /// `connect_timeout` and the other timeouts.
    pub timeouts: TimeoutsConfig,
    /// `balance`.
    pub balance: Method,
    /// `slow_start`.
    pub slow_start: Option<Duration>,
    /// `ejection`.
    pub ejection: Setting<EjectionConfig>,
    /// `affinity`.
    pub affinity: Option<AffinityConfig>,
    /// `retries`.
    pub retries: Option<Setting<RetriesConfig>>,
    /// `pool`.
    pub pool: PoolConfig,
    /// `health`, where it is not `false`.
    pub health: Option<HealthConfig>,
    /// `request_headers` and `response_headers`.
    pub headers: RulesConfig,
    /// `fallback`.
    pub fallback: Option<FallbackConfig>,
    /// `proxy_protocol`.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// The timeouts of a service, or of a route that overrides its service's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeoutsConfig {
    /// `connect_timeout`: until the backend has accepted a connection (504).
    pub connect: Option<Duration>,
    /// `send_timeout`: for each piece of the request that the backend is slow to take (504).
    pub send: Option<Setting<Duration>>,
    /// `first_byte_timeout`: from the last byte of the request to the first of the response (504).
    pub first_byte: Option<Setting<Duration>>,
    /// `between_bytes_timeout`: from one piece of the response's body to the next (a cut response).
    pub between_bytes: Option<Setting<Duration>>,
    /// `timeout`: the whole exchange, bodies included (504, or a cut response).
    pub total: Option<Setting<Duration>>,
    /// What to warn of: timeouts that never end anything beside this `timeout`.
    pub in_vain: Vec<Diagnostic>,
}

impl TimeoutsConfig {
    /// `connect_timeout` where neither route nor service has one.
    pub const CONNECT: Duration = Duration::from_secs(5);
    /// `send_timeout` where neither route nor service has one.
    pub const SEND: Setting<Duration> = Setting::On(Duration::from_secs(30));
    /// `first_byte_timeout` where neither route nor service has one.
    pub const FIRST_BYTE: Setting<Duration> = Setting::On(Duration::from_secs(30));
    /// `between_bytes_timeout` where neither route nor service has one. Streams of events send a comment in quiet times
    /// (HTML section 9.2.7 proposes every 15 seconds), so that this tells a quiet one from a dead one.
    pub const BETWEEN_BYTES: Setting<Duration> = Setting::On(Duration::from_secs(60));
    /// `timeout` where neither route nor service has one. Off, for a large body or a stream of events may take hours and
    /// be well; what stalls is caught by the others.
    pub const TOTAL: Setting<Duration> = Setting::Off;
}

/// `[routes.NAME]`: which requests go to which service, and how.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// The name of the table.
    pub name: Spanned<String>,
    /// `hosts`, `path`, `methods`, `headers`, `query`, `listeners` and `priority`: which requests it takes.
    pub matches: MatchConfig,
    /// `service`, `redirect` or `respond`: what becomes of its requests.
    pub action: ActionConfig,
    /// `strip_prefix`, `rewrite` and `forward_path`: what path is sent on.
    pub forward: ForwardConfig,
    /// `connect_timeout`, `first_byte_timeout` and `timeout`, where they differ from the service's.
    pub timeouts: TimeoutsConfig,
    /// `retries`, where they differ from the service's.
    pub retries: Option<Setting<RetriesConfig>>,
    /// `limits`, where they differ from those of `[defaults]`.
    pub limits: Option<Setting<LimitsConfig>>,
    /// `upgrade`: whether requests may switch protocols.
    pub upgrade: Option<Setting<UpgradeConfig>>,
    /// `request_headers` and `response_headers`.
    pub headers: RulesConfig,
    /// `sticky`: what keeps the requests of one client at one of several services.
    pub sticky: Option<Spanned<HashBy>>,
    /// `mirror`: where copies of requests go.
    pub mirror: Option<MirrorConfig>,
    /// `access_log`: which of its requests have a line there, where that differs from `[defaults]`.
    pub access_log: Option<Setting<ScopeConfig>>,
    /// `preserve_host`: whether the client's Host is sent on, and not the target's own.
    pub preserve_host: bool,
}

/// What becomes of a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionConfig {
    /// `service`: the one to which they are sent, or those between which they are shared.
    Service(SplitConfig),
    /// `redirect`: the client is sent elsewhere.
    Redirect(RedirectConfig),
    /// `respond`: they are answered here.
    Respond(RespondConfig),
}

impl ActionConfig {
    /// The names of the services.
    pub fn services(&self) -> impl Iterator<Item = &Spanned<String>> {
        let shares = match self {
            Self::Service(split) => &split.shares[..],
            Self::Redirect(_) | Self::Respond(_) => &[],
        };
        shares.iter().map(|share| &share.name)
    }

    /// What is wrong with it on a route whose path captures these names.
    #[must_use]
    pub fn check(&self, captures: &[&str]) -> Vec<Diagnostic> {
        let faults = match self {
            Self::Service(_) => Vec::new(),
            Self::Redirect(redirect) => vec![redirect.compile(captures).err()],
            Self::Respond(respond) => vec![respond.compile(captures).err(), respond.steps(captures).err()],
        };
        faults.into_iter().flatten().map(|fault| *fault).collect()
    }
}
