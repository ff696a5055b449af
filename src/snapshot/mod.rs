//! What runs: the compiled, immutable form of one configuration.
//!
//! Every default is applied, every name is an index and every inherited value is copied to where it is used, so that a
//! worker has nothing left to decide. Where an `Option` is left, `None` means that the thing is switched off.

mod compile;
pub mod doorway;
pub mod outline;
pub mod publish;
mod routes;

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::secret::{Hidden, Secret};
use crate::config::effective::Row;
use crate::config::{Config, Diagnostics, DnsConfig, Driver, Pin};
use crate::net::Address;
use crate::observe::series::MetricsConfig;
use crate::policy::access_log::{AccessLog, Sampling};
use crate::policy::forwarded::Forwarding;
use crate::policy::headers::Rules;
use crate::policy::limits::Limits;
use crate::policy::redirect::Redirect;
use crate::policy::request_id::RequestIds;
use crate::policy::respond::Respond;
use crate::policy::upgrade::Upgrade;
use crate::policy::via::Via;
use crate::router::Router;
use crate::router::path::Slashes;
pub use crate::router::{ListenerId, RouteId};
use crate::upstream::balance::HashBy;
use crate::upstream::fallback::FixedResponse;
use crate::upstream::health::Checks;
use crate::upstream::mirror::Mirror;
use crate::upstream::retry::Retries;
use crate::upstream::settings::Settings;
use crate::upstream::split::Split;
use crate::upstream::targets::TargetSpec;
use outline::Outline;

/// One version of the configuration, shared by all threads.
#[derive(Debug)]
pub struct Snapshot {
    /// The process.
    pub gateway: Gateway,
    /// What one client connection may do.
    pub limits: ConnectionLimits,
    /// What the gateway says of itself and of clients, in the heads that it sends on.
    pub fields: Fields,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Where operators connect, and who of them is let in; `None` where nobody is.
    pub admin: Option<Admin>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
    /// How many routes and services have series of their own.
    pub metrics: MetricsConfig,
    /// All services, in the order of the file.
    pub services: Vec<Service>,
    /// All routes, in the order of the file.
    pub routes: Vec<Route>,
    /// What each of them looks like, for people.
    pub outlines: Vec<Outline>,
    /// Which of the routes a request takes.
    pub router: Router,
    /// What slashes in a row are in a path.
    pub slashes: Slashes,
    /// What was written for the gateway as a whole, key by key, for people.
    pub settings: Vec<Row>,
    /// Texts of the configuration that may be secrets: they are not shown.
    pub hidden: Hidden,
    /// The patterns of `include` that named files when it was read.
    pub patterns: Vec<PathBuf>,
    /// What it was read from: files, and directories in which others may appear.
    pub files: Vec<PathBuf>,
}

/// The settings of the process.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Worker threads, at least one.
    pub workers: usize,
    /// How workers speak to the kernel; `Auto` is decided by probing it.
    pub driver: Driver,
    /// Whether workers are pinned; `Auto` is decided by what cores the process may run on.
    pub pin: Pin,
    /// How often workers look at what the others have running.
    pub sync_interval: Duration,
    /// How long the gateway serves on when it is told to stop, and says so.
    pub drain_delay: Option<Duration>,
    /// How long requests that run may take to finish when the gateway stops.
    pub drain_timeout: Duration,
    /// How many client connections one worker holds at a time, at least one.
    pub connections_per_worker: usize,
    /// Whether a change of the files reloads them.
    pub watch: bool,
    /// How the names of targets are resolved.
    pub dns: DnsConfig,
}

/// What the gateway says of itself and of clients, in the heads that it sends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Whom requests come from, and what services are told of it.
    pub forwarding: Forwarding,
    /// Its line in Via.
    pub via: Option<Via>,
    /// The ids of requests.
    pub request_ids: RequestIds,
}

/// What one client connection may do before any route is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Bytes of a request's head, start line included (431).
    pub head: usize,
    /// Fields of a request's head (431).
    pub fields: usize,
    /// Bytes of a request's target (414); no more than `head`.
    pub target: usize,
    /// From a request's first byte to its whole head (408).
    pub head_timeout: Duration,
    /// Between two requests, and before the first (close).
    pub idle_timeout: Duration,
    /// The slowest a request body may arrive (408).
    pub body_rate: Option<BodyRate>,
    /// After this many requests the connection is closed in good order.
    pub requests_per_connection: Option<NonZeroUsize>,
}

/// The slowest a request body may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyRate {
    /// On average since the body's first byte was waited for.
    pub bytes_per_second: NonZeroU64,
    /// For so long, the average does not count.
    pub grace: Duration,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in the file.
    pub name: Box<str>,
    /// What to bind; port 0 is a free port of the kernel's choice.
    pub address: SocketAddr,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// Where operators connect, and who of them is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// What to bind; port 0 is a free port of the kernel's choice.
    pub address: Address,
    /// What a request must show; `None` for nothing.
    pub token: Option<Secret>,
    /// Names that it may be asked by, in lower case, beside `localhost` and its address.
    pub hosts: Box<[Box<str>]>,
}

impl Admin {
    /// What holds when `running` runs and `wanted` is reloaded: all of it, or nothing where that takes another socket. To
    /// take the token alone away could leave a public socket without one.
    #[must_use]
    pub fn reloaded(running: Option<&Admin>, wanted: Option<&Admin>) -> Option<Admin> {
        let address = |admin: Option<&Admin>| admin.map(|admin| admin.address.clone());
        if address(running) == address(wanted) { wanted.cloned() } else { running.cloned() }
    }
}

/// A service of one [`Snapshot`], an index into [`Snapshot::services`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

impl ServiceId {
    /// The place of this service in [`Snapshot::services`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name in the file: what its state is keyed by from one snapshot to the next.
    pub name: Box<str>,
    /// Its targets as they are written; names among them are still to be resolved.
    pub targets: Vec<TargetSpec>,
    /// What its targets are asked to find out whether they are well; `None` where they are not.
    pub health: Option<Checks>,
    /// How its requests are spread and sent.
    pub settings: Arc<Settings>,
    /// What answers when all targets are down.
    pub fallback: Option<Fallback>,
}

/// What answers when all targets of a service are down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Another service.
    Service(ServiceId),
    /// Always the same.
    Response(FixedResponse),
}

/// Which requests go to which service, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in the file.
    pub name: Box<str>,
    /// Its path as it is written in the file, for people to read; `/*` where there is none.
    pub path: Box<str>,
    /// What becomes of its requests.
    pub action: Action,
    /// How long its requests may take: its own timeouts, else its service's.
    pub timeouts: Timeouts,
    /// Which of its requests are sent again: its own retries, else its service's, key by key; `None` for none.
    pub retries: Option<Retries>,
    /// What it admits: its own limits, else the defaults'.
    pub limits: Limits,
    /// Whether its requests may switch protocols.
    pub upgrade: Upgrade,
    /// The rules over the fields of its requests and responses.
    pub rules: Rules,
    /// Whether the client's Host is sent on, and not the target's own.
    pub preserve_host: bool,
    /// How its requests are shared between its lanes; `None` where the first has all.
    pub split: Option<Split>,
    /// What keeps the requests of one client in one lane.
    pub sticky: Option<HashBy>,
    /// Where copies of its requests go.
    pub mirror: Option<Mirror>,
    /// Which of its requests have a line in the access log; `None` for none.
    pub access_log: Option<Sampling>,
    /// The lane for requests that this one's service cannot take.
    pub fallback: Option<usize>,
    /// The lanes but the first, which is the route itself. They have none of their own.
    pub lanes: Box<[Route]>,
}

impl Route {
    /// The lane at `place`: this route with the service that is meant, and all that depends on it.
    #[must_use]
    pub fn lane(&self, place: usize) -> &Route {
        match place {
            0 => self,
            _ => &self.lanes[place - 1],
        }
    }
}

/// What becomes of the requests of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are sent to a service.
    Service(ServiceId),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// They are answered here.
    Respond(Respond),
}

impl Action {
    /// The service, if it is one.
    #[must_use]
    pub const fn service(&self) -> Option<ServiceId> {
        match self {
            Self::Service(id) => Some(*id),
            Self::Redirect(_) | Self::Respond(_) => None,
        }
    }
}

/// How long an exchange with a backend may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the backend has accepted a connection (504).
    pub connect: Duration,
    /// For each piece of the request that the backend is slow to take (504).
    pub send: Option<Duration>,
    /// From the last byte of the request to the first of the response (504).
    pub first_byte: Option<Duration>,
    /// From one piece of the response's body to the next (a cut response).
    pub between_bytes: Option<Duration>,
    /// The whole exchange, bodies included (504, or a cut response).
    pub total: Option<Duration>,
}

impl Snapshot {
    /// Compiles what the user wrote. `tidegate check` and a real start call this and nothing else.
    ///
    /// # Errors
    /// The faults between sections. There are none in a configuration just parsed, but its fields may have been changed.
    pub fn compile(config: &Config) -> Result<Self, Diagnostics> {
        let refused = |faults| Err(Diagnostics::new(Arc::clone(&config.source), faults));
        compile::snapshot(config).or_else(refused)
    }

    /// The route with this id.
    #[must_use]
    pub fn route(&self, id: RouteId) -> &Route {
        &self.routes[id.index()]
    }

    /// The service with this id.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[id.index()]
    }
}

/// Every thread reads it.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Snapshot>();
};
