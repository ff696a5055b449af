//! One target of a service, as the whole process sees it.
//!
//! Everything in here is read by every worker for every request, so it is
//! written only when something happens: a check that changes its mind, an
//! ejection, a connection that opens or closes. What changes with every
//! request is in a [`Tally`] for each worker, on cache lines of its own.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::base::time::Instant;
use crate::net::Address;

/// What the active checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Nothing yet, or there are no checks: it is used.
    Unknown = 0,
    /// It is well.
    Up = 1,
    /// It is not, and is not used.
    Down = 2,
}

/// What is wanted of a target: where it is, and for how much of the load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where to connect.
    pub address: Address,
    /// What requests without a Host are sent with, and what people know it by: the target as it is written.
    pub authority: Box<str>,
    /// Its share of the load beside that of the others, at least 1.
    pub weight: u32,
}

/// A target.
#[derive(Debug)]
pub struct Endpoint {
    address: Address,
    authority: Box<str>,
    weight: AtomicU32,
    health: AtomicU8,
    /// Since when it is in the list or up again, in nanoseconds of the monotonic clock: a slow start begins there.
    since: AtomicU64,
    /// Until when it is ejected, in nanoseconds of the monotonic clock.
    ejected_until: AtomicU64,
    /// Connections open or being opened, of all workers.
    connections: AtomicU32,
    tallies: Box<[Tally]>,
}

/// What one worker has seen of a target. Only that worker writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// Requests that run.
    pub active: AtomicU32,
    /// Requests that were answered, without those in `failed`.
    pub succeeded: AtomicU64,
    /// Requests that failed for a reason that lies with the target.
    pub failed: AtomicU64,
}

impl Endpoint {
    /// A target that nobody has used yet.
    #[must_use]
    pub fn new(spec: EndpointSpec, workers: usize, now: Instant) -> Endpoint {
        Endpoint {
            address: spec.address,
            authority: spec.authority,
            weight: AtomicU32::new(spec.weight),
            health: AtomicU8::new(Health::Unknown as u8),
            since: AtomicU64::new(now.as_nanos()),
            ejected_until: AtomicU64::new(0),
            connections: AtomicU32::new(0),
            tallies: (0..workers).map(|_| Tally::default()).collect(),
        }
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The target as it is written.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Its share of the load beside that of the others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// What the active checks say.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// Takes note of what the active checks say; true if that is news.
    pub(super) fn set_health(&self, health: Health, now: Instant) -> bool {
        let before = self.health.swap(health as u8, Ordering::Relaxed);
        if health == Health::Up && before == Health::Down as u8 {
            self.since.store(now.as_nanos(), Ordering::Relaxed);
        }
        before != health as u8
    }

    /// Since when it may be used.
    #[must_use]
    pub fn since(&self) -> Instant {
        Instant::from_nanos(self.since.load(Ordering::Relaxed))
    }

    /// Until when it is ejected; not after now if it is not.
    #[must_use]
    pub fn ejected_until(&self) -> Instant {
        Instant::from_nanos(self.ejected_until.load(Ordering::Relaxed))
    }

    /// What worker `index` has seen of it.
    #[must_use]
    pub fn tally(&self, index: usize) -> &Tally {
        &self.tallies[index]
    }

    /// What each worker has seen of it.
    #[must_use]
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// Connections open or being opened, of all workers.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a connection that is about to be opened, unless there are `most` already.
    #[must_use]
    pub fn lease_connection(&self, most: u32) -> bool {
        let more = |open: u32| (open < most).then(|| open + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives back what [`Endpoint::lease_connection`] has taken.
    pub fn release_connection(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
