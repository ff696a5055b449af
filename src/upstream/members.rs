//! The targets of one service, as the whole process sees them.
//!
//! The control thread writes the list: from the configuration, or from the
//! answers of name servers. Workers read it when its version has changed, and
//! never wait for anybody. The state of a target stays for as long as the target
//! does: an [`Endpoint`] that is in the old list and in the new one is the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::balance::Ring;
use super::ejection::Turn;
use super::endpoint::{Endpoint, EndpointSpec, Health};
use super::queue::Waiting;
use crate::base::time::Instant;

/// One list of targets; ArcSwap holds an Arc of a sized type.
pub type Endpoints = Arc<Vec<Arc<Endpoint>>>;

/// Names of targets; ArcSwap holds an Arc of a sized type.
pub type Drained = Arc<Vec<Box<str>>>;

/// The targets of one service.
#[derive(Debug)]
pub struct Members {
    service: Box<str>,
    workers: usize,
    /// Counts every change that matters to who picks a target.
    version: AtomicU64,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    /// What operators have drained, by the names that they have used: it holds also for targets that come later.
    drained: ArcSwap<Vec<Box<str>>>,
    ring: ArcSwapOption<Ring>,
    turn: Turn,
    waiting: Waiting,
}

impl Members {
    /// The members of `service`, none yet.
    #[must_use]
    pub fn new(service: &str, workers: usize) -> Members {
        let (version, endpoints, drained, ring, turn) = Default::default();
        let waiting = Waiting::new(workers);
        Members { service: service.into(), workers, version, endpoints, drained, ring, turn, waiting }
    }

    /// Who waits for a connection to one of them.
    #[must_use]
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Changes whenever the list or what may be used of it has changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The targets now. Read [`Members::version`] before, not after.
    #[must_use]
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints.load_full()
    }

    /// Replaces the list; targets that were in it before keep their state. If they are the same as before, in whatever
    /// order, nothing is changed. Only the control thread may call this.
    pub fn update(&self, wanted: Vec<EndpointSpec>, now: Instant) {
        let (before, drained) = (self.endpoints(), self.drained());
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::with_capacity(wanted.len());
        let mut news = false;
        for spec in wanted {
            if endpoints.iter().any(|endpoint| *endpoint.address() == spec.address) {
                continue;
            }
            let same = |endpoint: &&Arc<Endpoint>| {
                *endpoint.address() == spec.address && *endpoint.authority() == *spec.authority
            };
            endpoints.push(match before.iter().find(same) {
                Some(endpoint) => {
                    news |= endpoint.set_weight(spec.weight);
                    endpoint.clone()
                }
                None => {
                    news = true;
                    let endpoint = Endpoint::new(spec, self.workers, now);
                    endpoint.set_drained(drained.iter().any(|name| endpoint.is_called(name)), now);
                    // The first targets of all have nobody to take the load for them while they start slowly.
                    Arc::new(if before.is_empty() { endpoint.settled() } else { endpoint })
                }
            });
        }
        // Name servers turn their answers around to spread the load, which is not their business here.
        if !news && endpoints.len() == before.len() {
            return;
        }
        let endpoints = Arc::new(endpoints);
        // Once a worker has needed a ring, this thread makes the next ones: it has the time.
        if self.ring.load().is_some() {
            self.ring.store(Some(Arc::new(Ring::new(endpoints.clone()))));
        }
        self.endpoints.store(endpoints);
        self.changed();
    }

    /// The ring of the list for consistent hashing. If there is none yet, it is made here.
    #[must_use]
    pub fn ring(&self) -> Arc<Ring> {
        let endpoints = self.endpoints();
        match self.ring.load_full() {
            Some(ring) if ring.is_of(&endpoints) => ring,
            _ => {
                let ring = Arc::new(Ring::new(endpoints));
                self.ring.store(Some(ring.clone()));
                ring
            }
        }
    }

    /// Takes note of what the active checks say of `endpoint`; true if that is news.
    pub fn set_health(&self, endpoint: &Endpoint, health: Health, now: Instant) -> bool {
        let news = endpoint.set_health(health, now);
        if news {
            self.changed();
        }
        news
    }

    /// What operators have drained: addresses, and targets as they are written.
    #[must_use]
    pub fn drained(&self) -> Drained {
        self.drained.load_full()
    }

    /// Takes the targets that are called `name` out, those that are there and those that come later: they get no new
    /// requests, running ones finish, and idle connections are closed. True if that is news. Only the control thread may
    /// call this.
    pub fn drain(&self, name: &str, now: Instant) -> bool {
        let mut drained = Vec::clone(&self.drained());
        if !drained.iter().any(|known| **known == *name) {
            drained.push(name.into());
        }
        self.set_drained(drained, now)
    }

    /// Takes back what [`Members::drain`] has done with `name`; what was drained by another name stays so. True if that
    /// is news. Only the control thread may call this.
    pub fn enable(&self, name: &str, now: Instant) -> bool {
        let mut drained = Vec::clone(&self.drained());
        drained.retain(|known| **known != *name);
        self.set_drained(drained, now)
    }

    fn set_drained(&self, drained: Vec<Box<str>>, now: Instant) -> bool {
        let mut news = drained.len() != self.drained().len();
        for endpoint in self.endpoints().iter() {
            news |= endpoint.set_drained(drained.iter().any(|name| endpoint.is_called(name)), now);
        }
        self.drained.store(Arc::new(drained));
        if news {
            self.changed();
        }
        news
    }

    /// What ejections have to share.
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Makes every worker look again, also for those who wait.
    pub(super) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
        // Who waits for a connection may find one now, or learn that there will be none.
        self.waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(port: u16, weight: u32) -> EndpointSpec {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        EndpointSpec { address: address.into(), authority: address.to_string().into(), weight }
    }

    #[test]
    fn a_target_that_stays_keeps_its_state_and_one_that_comes_back_is_new() {
        let members = Members::new("users", 2);
        let now = Instant::from_nanos(5);
        members.update(vec![spec(1, 1), spec(2, 1), spec(2, 9)], now);
        let first = members.endpoints();
        assert_eq!(first.len(), 2, "an address stands in the list once");
        assert!(members.set_health(&first[0], Health::Down, now));
        assert!(!members.set_health(&first[0], Health::Down, now));
        let version = members.version();
        members.update(vec![spec(1, 7)], now);
        assert_ne!(members.version(), version);
        let second = members.endpoints();
        assert!(Arc::ptr_eq(&first[0], &second[0]) && second.len() == 1);
        assert_eq!((second[0].health(), second[0].weight()), (Health::Down, 7));
        members.update(vec![], now);
        members.update(vec![spec(1, 1)], now);
        assert_eq!(members.endpoints()[0].health(), Health::Unknown);
    }

    #[test]
    fn what_is_drained_stays_so_when_it_goes_and_comes_back() {
        let members = Members::new("users", 1);
        let named = |port| EndpointSpec { authority: "users.internal:80".into(), ..spec(port, 1) };
        members.update(vec![spec(1, 1), spec(2, 1), named(3)], Instant::ZERO);
        let out = || -> Vec<u16> {
            let is_out = |endpoint: &&Arc<Endpoint>| endpoint.is_drained();
            let port = |endpoint: &Arc<Endpoint>| endpoint.address().to_string().rsplit(':').next()?.parse().ok();
            members.endpoints().iter().filter(is_out).filter_map(port).collect()
        };
        let (first, later) = (members.version(), Instant::from_nanos(7));
        assert!(members.drain("127.0.0.1:1", later) && !members.drain("127.0.0.1:1", later));
        assert_eq!((out(), members.version()), (vec![1], first + 1));
        members.update(vec![spec(2, 1)], later);
        members.update(vec![spec(1, 1), spec(2, 1), named(3)], later);
        assert_eq!(out(), [1], "it has gone and come back");
        // By what is written, all addresses of a name are meant, also those that it gets later.
        assert!(members.drain("users.internal:80", later));
        members.update(vec![spec(1, 1), spec(2, 1), named(3), named(4)], later);
        assert_eq!(out(), [1, 3, 4]);
        assert!(!members.enable("127.0.0.1:3", later), "it is out by another name");
        assert!(members.enable("users.internal:80", later) && members.enable("127.0.0.1:1", later));
        assert!(out().is_empty() && members.drained().is_empty());
        assert_eq!(members.endpoints()[0].since(), later, "it starts slowly");
    }

    #[test]
    fn a_ring_is_that_of_the_list() {
        let members = Members::new("users", 1);
        members.update(vec![spec(1, 1)], Instant::ZERO);
        let old = members.ring();
        assert!(old.is_of(&members.endpoints()) && Arc::ptr_eq(&old, &members.ring()));
        members.update(vec![spec(1, 1), spec(2, 1)], Instant::ZERO);
        assert!(
            members.ring.load().as_ref().is_some_and(|ring| ring.is_of(&members.endpoints())),
            "made by the update"
        );
        // A worker that made one of the old list may come late.
        members.ring.store(Some(old));
        assert!(members.ring().is_of(&members.endpoints()));
    }

    #[test]
    fn connections_are_leased_up_to_their_limit() {
        let endpoint = Endpoint::new(spec(1, 1), 1, Instant::ZERO);
        assert!(endpoint.lease_connection(2) && endpoint.lease_connection(2) && !endpoint.lease_connection(2));
        endpoint.release_connection();
        assert_eq!(endpoint.connections(), 1);
        assert!(endpoint.lease_connection(2));
    }
}
