//! What the tasks of the control thread know of each service: written by those that resolve and check, read by the
//! admin listener.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::resolve::{Counts, Source};
use crate::base::time::Instant;
use crate::net::Address;
use crate::upstream::health::Checks;
use crate::upstream::members::Members;
use crate::upstream::targets::TargetSpec;

/// All services, in the order of the file.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) services: Vec<Arc<Service>>,
    pub(super) dns: Arc<Counts>,
    /// Tasks of the control thread that panicked.
    pub(super) panics: Arc<AtomicU64>,
}

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) members: Arc<Members>,
    pub(super) checks: Option<Checks>,
    /// Told when the list of targets has changed.
    pub(super) changed: Notify,
    sources: Mutex<Vec<Source>>,
    results: Mutex<HashMap<Address, CheckResult>>,
    passed: AtomicU64,
    failed: AtomicU64,
    transitions: AtomicU64,
}

/// How the last check of a target went.
#[derive(Clone, Debug)]
pub(super) struct CheckResult {
    /// When it ended.
    pub(super) at: Instant,
    /// How long it took.
    pub(super) took: Duration,
    /// The status of the answer, where there was one.
    pub(super) status: Option<u16>,
    /// Why it has failed, if it has.
    pub(super) error: Option<String>,
    /// How many in a row have spoken against what is held of the target.
    pub(super) against: u32,
    /// When what is held of it has last changed.
    pub(super) since: Instant,
}

impl Service {
    pub(super) fn new(members: Arc<Members>, targets: Vec<TargetSpec>, checks: Option<Checks>) -> Service {
        Service {
            members,
            checks,
            changed: Notify::new(),
            sources: Mutex::new(targets.into_iter().map(Source::new).collect()),
            results: Mutex::default(),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            transitions: AtomicU64::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.members.service()
    }

    /// Its targets as they are configured, and what is known of each.
    pub(super) fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        lock(&self.sources)
    }

    /// The last check of each target.
    pub(super) fn results(&self) -> MutexGuard<'_, HashMap<Address, CheckResult>> {
        lock(&self.results)
    }

    /// Counts a check.
    pub(super) fn count_check(&self, passed: bool) {
        let count = if passed { &self.passed } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a change of what is held of a target.
    pub(super) fn count_transition(&self) {
        self.transitions.fetch_add(1, Ordering::Relaxed);
    }

    /// Checks that passed, checks that failed, and changes of mind.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.passed, &self.failed, &self.transitions].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Only tasks of one thread meet here, and none holds it while it waits; after a panic the data is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
