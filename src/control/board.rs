//! What the tasks of the control thread know of each service: written by those that resolve and check, read by the
//! admin listener.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use super::reload::Reloads;
use super::resolve::{self, Counts, Source};
use crate::base::time::Instant;
use crate::net::Address;
use crate::upstream::endpoint::Health;
use crate::upstream::health::Checks;
use crate::upstream::members::Members;
use crate::upstream::targets::TargetSpec;

/// The services of one edition; ArcSwap holds an Arc of a sized type.
pub(super) type Services = Arc<Vec<Arc<Service>>>;

/// What the tasks of the control thread share.
#[derive(Debug, Default)]
pub(super) struct Board {
    services: ArcSwap<Vec<Arc<Service>>>,
    pub(super) dns: Arc<Counts>,
    /// Tasks of the control thread that panicked.
    pub(super) panics: Arc<AtomicU64>,
    /// How reloads have gone.
    pub(super) reloads: Reloads,
    /// The files that the configuration was last read from, or would have been.
    files: Mutex<Vec<PathBuf>>,
}

impl Board {
    /// All services that run, in the order of the file.
    pub(super) fn services(&self) -> Services {
        self.services.load_full()
    }

    /// The files whose change may change the configuration.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        lock(&self.files).clone()
    }

    /// Takes these for them.
    pub(super) fn watch(&self, files: Vec<PathBuf>) {
        *lock(&self.files) = files;
    }

    /// Replaces them.
    pub(super) fn set_services(&self, services: Vec<Arc<Service>>) {
        self.services.store(Arc::new(services));
    }
}

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) members: Arc<Members>,
    checks: ArcSwapOption<Checks>,
    /// Told when the list of targets has changed.
    pub(super) changed: Notify,
    sources: Mutex<Vec<Source>>,
    results: Mutex<HashMap<Address, CheckResult>>,
    passed: AtomicU64,
    failed: AtomicU64,
    transitions: AtomicU64,
}

/// What another configuration changes of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) targets: bool,
    pub(super) checks: bool,
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
    /// A service of which nothing is configured yet.
    pub(super) fn new(members: Arc<Members>) -> Service {
        let (checks, changed, sources, results) = Default::default();
        let (passed, failed, transitions) = Default::default();
        Service { members, checks, changed, sources, results, passed, failed, transitions }
    }

    /// Takes this for what is configured from now on. Of targets that were configured before, what is known stays.
    pub(super) fn configure(&self, targets: &[TargetSpec], checks: Option<&Checks>) -> Changes {
        let mut sources = self.sources();
        let same_targets = sources.iter().map(Source::target).eq(targets);
        if !same_targets {
            let before = std::mem::take(&mut *sources);
            let known = |target: &TargetSpec| before.iter().find(|source| source.target().address == target.address);
            let adopt = |target: &TargetSpec| match known(target) {
                Some(source) => source.with_weight(target.weight),
                None => Source::new(target.clone()),
            };
            *sources = targets.iter().map(adopt).collect();
        }
        drop(sources);
        let same_checks = self.checks.load().as_deref() == checks;
        if !same_checks {
            self.checks.store(checks.cloned().map(Arc::new));
        }
        if !same_checks && checks.is_none() {
            // Nobody would ever find them well again.
            self.results().clear();
            for endpoint in self.members.endpoints().iter() {
                self.members.set_health(endpoint, Health::Unknown, Instant::from_clock());
            }
        }
        Changes { targets: !same_targets, checks: !same_checks }
    }

    /// Makes what is known of the targets the members, unless some name among them was not asked for yet: that is left to
    /// who asks.
    pub(super) fn use_what_is_known(&self, now: Instant) {
        let specs = {
            let sources = self.sources();
            sources.iter().all(Source::is_asked_once).then(|| resolve::known_endpoints(&sources))
        };
        if let Some(specs) = specs {
            self.members.update(specs, now);
            self.changed.notify_one();
        }
    }

    /// What its targets are asked, if they are.
    pub(super) fn checks(&self) -> Option<Arc<Checks>> {
        self.checks.load_full()
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
