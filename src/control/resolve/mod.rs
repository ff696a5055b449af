//! Resolves the names of targets, again and again, and keeps the members of each service up to date.
//!
//! One task a service asks for each of its names when the last answer no longer holds. Whatever comes, the members are
//! replaced as a whole, and only if they are others than before; workers see the old list or the new one.

mod answers;
mod client;
mod counts;
mod system;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::task::{Id, JoinError, JoinSet};

pub(super) use answers::Source;
use answers::{Bounds, SourceReply, endpoints};
pub(super) use client::{Client, QUESTIONS_MOST};
pub(super) use counts::{Counts, Failure};

use super::board::Service;
use crate::base::time::Instant;
use crate::config::DnsConfig;
use crate::upstream::endpoint::{Endpoint, EndpointSpec};

/// A name that goes on failing is told of once in this time.
const REMINDER: Duration = Duration::from_secs(60);

/// How long the answers for some names wait for those for the others, once, at the beginning.
const PATIENCE: Duration = Duration::from_secs(1);

/// Changed targets that are named in the log.
const NAMED_MOST: usize = 20;

/// What keeps one service up to date.
pub(super) struct Keeper {
    service: Arc<Service>,
    client: Arc<Client>,
    bounds: Bounds,
    asking: JoinSet<SourceReply>,
    /// Which source each question is for.
    places: HashMap<Id, usize>,
    /// What was last published.
    published: Vec<EndpointSpec>,
    /// Until then, nothing is published before every name was asked for: the first list should be a whole one.
    patience: Instant,
    /// What was last said of each source, and when.
    said: HashMap<usize, (String, Instant)>,
}

/// Whether a service has a name to be resolved.
pub(super) fn has_names(service: &Service) -> bool {
    service.sources().iter().any(|source| source.name().is_some())
}

impl Keeper {
    pub(super) fn new(service: Arc<Service>, client: Arc<Client>, config: &DnsConfig) -> Keeper {
        let bounds = Bounds { min: config.min_ttl, max: config.max_ttl };
        // Not what should have been: a task that has crashed may have left something undone.
        let published = service.members.endpoints().iter().map(|endpoint| spec_of(endpoint)).collect();
        let patience = Instant::from_clock() + PATIENCE;
        let (asking, places, said) = Default::default();
        Keeper { service, client, bounds, asking, places, published, patience, said }
    }

    /// Runs until it is dropped. `first` is dropped once every name was asked for.
    pub(super) async fn run(mut self, mut first: Option<Sender<()>>) {
        loop {
            self.ask_due();
            let now = Instant::from_clock();
            let is_asked_once = self.is_asked_once();
            if is_asked_once || now >= self.patience {
                self.publish(now);
            }
            if is_asked_once {
                drop(first.take());
            }
            let until_patience = if is_asked_once { REMINDER } else { PATIENCE };
            let pause = self.pause().unwrap_or(REMINDER).min(until_patience);
            tokio::select! {
                Some(joined) = self.asking.join_next_with_id() => self.take(joined),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks for each name whose last answer no longer holds.
    fn ask_due(&mut self) {
        let now = Instant::from_clock();
        let sources = self.service.sources();
        for (place, source) in sources.iter().enumerate() {
            let is_open = self.places.values().any(|other| *other == place);
            if source.name().is_some() && !is_open && source.state().due <= now {
                let (client, address) = (self.client.clone(), source.target().address.clone());
                let question = self.asking.spawn(async move { client.ask(&address).await });
                self.places.insert(question.id(), place);
            }
        }
    }

    /// Whether every name was answered or has failed.
    fn is_asked_once(&self) -> bool {
        self.service.sources().iter().all(Source::is_asked_once)
    }

    /// How long until the next name has to be asked for, not counting those that are being asked for.
    fn pause(&self) -> Option<Duration> {
        let sources = self.service.sources();
        let open = |place: &usize| self.places.values().any(|other| other == place);
        let idle = sources.iter().enumerate().filter(|(place, source)| source.name().is_some() && !open(place));
        let due = idle.map(|(_, source)| source.state().due).min()?;
        Some(due.since(Instant::from_clock()))
    }

    /// Takes an answer.
    fn take(&mut self, joined: Result<(Id, SourceReply), JoinError>) {
        let now = Instant::from_clock();
        let id = match &joined {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(place) = self.places.remove(&id) else { return };
        let mut sources = self.service.sources();
        let Some(source) = sources.get_mut(place) else { return };
        match joined {
            Ok((_, reply)) => source.take(reply, self.bounds, now, fastrand::f64()),
            Err(error) => {
                self.client.count_panic();
                source.fail(format!("asking has crashed: {error}"), self.bounds, now, fastrand::f64());
            }
        }
        tell(&mut self.said, self.service.name(), place, source, now);
    }

    /// Makes what is known the members of the service, if it is other than before.
    fn publish(&mut self, now: Instant) {
        let specs = known_endpoints(&self.service.sources());
        if specs != self.published {
            tell_changes(self.service.name(), &self.published, &specs);
            self.service.members.update(specs.clone(), now);
            self.service.changed.notify_one();
            self.published = specs;
        }
    }
}

/// The endpoints that the sources of a service stand for, as far as is known.
pub(super) fn known_endpoints(sources: &[Source]) -> Vec<EndpointSpec> {
    endpoints(sources, &is_routed)
}

fn spec_of(endpoint: &Endpoint) -> EndpointSpec {
    let (address, authority) = (endpoint.address().clone(), endpoint.authority().into());
    EndpointSpec { address, authority, weight: endpoint.weight() }
}

/// Writes to the log that a name has failed, or is answered again.
fn tell(said: &mut HashMap<usize, (String, Instant)>, service: &str, place: usize, source: &Source, now: Instant) {
    let (Some(name), state) = (source.name(), source.state()) else { return };
    let Some(error) = &state.error else {
        if said.remove(&place).is_some() {
            tracing::info!(service, name, "the name of a target is resolved again");
        }
        return;
    };
    let is_known = said.get(&place).is_some_and(|(other, at)| other == error && now.since(*at) < REMINDER);
    if is_known {
        return;
    }
    let failures = state.failures;
    let effect = match state.answered {
        None => "it is not used until it is",
        Some(_) => "the last known addresses stay in use",
    };
    tracing::warn!(service, name, failures, "the name of a target cannot be resolved: {error}; {effect}");
    said.insert(place, (error.clone(), now));
}

/// Writes to the log which targets have come and gone.
fn tell_changes(service: &str, before: &[EndpointSpec], after: &[EndpointSpec]) {
    let missing = |one: &[EndpointSpec], other: &[EndpointSpec]| {
        let gone = one.iter().filter(|spec| other.iter().all(|same| same.address != spec.address));
        let all: Vec<String> = gone.map(|spec| spec.address.to_string()).collect();
        let more = if all.len() > NAMED_MOST { format!(" and {} more", all.len() - NAMED_MOST) } else { String::new() };
        (all.len(), format!("{}{more}", all[..all.len().min(NAMED_MOST)].join(" ")))
    };
    let ((added, come), (removed, gone)) = (missing(after, before), missing(before, after));
    let targets = after.len();
    match (added, removed) {
        (0, 0) => tracing::info!(service, targets, "the weights of targets have changed"),
        _ => tracing::info!(service, targets, added = come, removed = gone, "the targets have changed"),
    }
}

/// Whether this machine has a way to an address: one to connect from. Nothing is sent for that.
///
/// It is what getaddrinfo(3) does (RFC 6724 section 5, rule 1), so that a machine without IPv6 does not lose every
/// second request to a name that has addresses of both families.
fn is_routed(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The discard port: no datagram is ever sent there.
    let connected = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(SocketAddr::new(ip, 9)));
    connected.err().is_none_or(|error| !is_no_route(&error))
}

/// Whether an error says that there is no way to an address. Others, as when descriptors have run out, say nothing of it.
fn is_no_route(error: &io::Error) -> bool {
    const NO_ROUTE: &[i32] =
        &[libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT, libc::EACCES, libc::EINVAL];
    error.raw_os_error().is_some_and(|errno| NO_ROUTE.contains(&errno))
}

#[cfg(test)]
mod named_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_routed_and_a_broadcast_is_not() {
        assert!(is_routed(Ipv4Addr::LOCALHOST.into()));
        // Connecting there needs a leave that the socket does not have.
        assert!(!is_routed(Ipv4Addr::BROADCAST.into()));
        // Without descriptors nothing is known, and what was known holds.
        assert!(!is_no_route(&io::Error::from_raw_os_error(libc::EMFILE)));
    }
}
