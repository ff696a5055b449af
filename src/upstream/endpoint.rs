//! One target of a service, as the whole process sees it.
//!
//! Everything in here is read by every worker for every request, so it is
//! written only when something happens: a check that changes its mind, an
//! ejection, a connection that opens or closes. What changes with every
//! request is in a [`Tally`] for each worker, on cache lines of its own.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::ejection::Record;
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
    /// Whether an operator has taken it out.
    drained: AtomicBool,
    /// Since when it is in the list or up again, in nanoseconds of the monotonic clock: a slow start begins there. Zero
    /// where there is nothing to start slowly for.
    since: AtomicU64,
    record: Record,
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

impl Tally {
    /// Counts a request that begins. This and all that follows is for the worker whose tally it is: nobody else writes
    /// there, so that a load and a store do what would else take a locked instruction.
    pub(super) fn begin(&self) {
        self.active.store(self.active.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Counts a request that has ended, however it did.
    pub(super) fn end(&self) {
        self.active.store(self.active.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    /// Counts a request that was answered.
    pub(super) fn succeeded(&self) {
        self.succeeded.store(self.succeeded.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Counts a request that has failed.
    pub(super) fn failed(&self) {
        self.failed.store(self.failed.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
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
            drained: AtomicBool::new(false),
            since: AtomicU64::new(now.as_nanos()),
            record: Record::default(),
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

    /// What stands in a Host field for it: the target as it is written, or `localhost` for a Unix socket, whose path is
    /// no host.
    #[must_use]
    pub fn host(&self) -> &str {
        match self.address {
            Address::Tcp(_) => &self.authority,
            Address::Unix(_) => "localhost",
        }
    }

    /// Its share of the load beside that of the others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Changes it; true if that is news.
    pub(super) fn set_weight(&self, weight: u32) -> bool {
        self.weight.swap(weight, Ordering::Relaxed) != weight
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

    /// Whether an operator has taken it out.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Takes it out, or puts it back as if it had recovered; true if that is news.
    pub(super) fn set_drained(&self, drained: bool, now: Instant) -> bool {
        let before = self.drained.swap(drained, Ordering::Relaxed);
        if before && !drained {
            self.since.store(now.as_nanos(), Ordering::Relaxed);
        }
        before != drained
    }

    /// Whether requests may go there for all that is known for certain: it is neither down nor drained.
    #[must_use]
    pub fn is_in_service(&self) -> bool {
        self.health() != Health::Down && !self.is_drained()
    }

    /// Whether `name` is its address, or what it is written as.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        *self.authority == *name || self.address.to_string() == name
    }

    /// Makes it one that needs no slow start.
    pub(super) fn settled(self) -> Endpoint {
        Endpoint { since: AtomicU64::new(0), ..self }
    }

    /// Since when it may be used; [`Instant::ZERO`] when it was there from the start.
    #[must_use]
    pub fn since(&self) -> Instant {
        Instant::from_nanos(self.since.load(Ordering::Relaxed))
    }

    /// Until when it is ejected; not after now if it is not.
    #[must_use]
    pub fn ejected_until(&self) -> Instant {
        self.record.until()
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
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

    /// Requests that were answered and that failed, as all workers have seen it.
    #[must_use]
    pub fn totals(&self) -> [u64; 2] {
        let sum = |count: fn(&Tally) -> &AtomicU64| {
            let each = self.tallies.iter().map(|tally| count(tally).load(Ordering::Relaxed));
            each.fold(0, u64::wrapping_add)
        };
        [sum(|tally| &tally.succeeded), sum(|tally| &tally.failed)]
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
        self.connections.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Gives back what [`Endpoint::lease_connection`] has taken.
    pub fn release_connection(&self) {
        self.connections.fetch_sub(1, Ordering::SeqCst);
    }
}
