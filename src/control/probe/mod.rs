//! Asks after the health of targets: one task for each, for as long as it is in its service's list.
//!
//! First checks are spread out, so that a thousand targets are not asked at once, and no more than [`OPEN_MOST`] checks
//! run at a time: where all of a thousand targets hang for a second each, a round takes 16 of them.

mod check;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant as Moment;

use super::board::{CheckResult, Service};
use crate::base::time::Instant;
use crate::upstream::endpoint::{Endpoint, Health};
use crate::upstream::health::{Checks, Verdict};
use check::{Outcome, check};

/// Checks that run at a time.
pub(super) const OPEN_MOST: usize = 64;

/// From one first check to the next.
const SPACING: Duration = Duration::from_millis(5);

/// What the checks of all services share.
#[derive(Debug)]
pub(super) struct Crowd {
    permits: Semaphore,
    /// When the next first check may begin.
    next: Mutex<Moment>,
    /// Tasks that panicked.
    panics: Arc<AtomicU64>,
}

impl Crowd {
    pub(super) fn new(panics: Arc<AtomicU64>) -> Crowd {
        Crowd { permits: Semaphore::new(OPEN_MOST), next: Mutex::new(Moment::now()), panics }
    }

    /// When a first check begins: after those before it, but within an interval.
    fn turn(&self, interval: Duration) -> Moment {
        let now = Moment::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now);
        if turn > now + interval {
            return now + interval.mul_f64(fastrand::f64());
        }
        *next = turn + SPACING;
        turn
    }
}

/// The task of one target.
struct Probing {
    endpoint: Arc<Endpoint>,
    task: AbortHandle,
}

/// Keeps a task running for each target of `service`, until it is dropped.
pub(super) async fn watch(service: Arc<Service>, checks: Arc<Checks>, crowd: Arc<Crowd>) {
    let mut tasks = JoinSet::new();
    let mut running: HashMap<Id, Probing> = HashMap::new();
    let mut begin = None;
    loop {
        let endpoints = service.members.endpoints();
        running.retain(|_, probing| {
            let stays = endpoints.iter().any(|endpoint| Arc::ptr_eq(endpoint, &probing.endpoint));
            if !stays {
                probing.task.abort();
            }
            stays
        });
        service.results().retain(|address, _| endpoints.iter().any(|endpoint| endpoint.address() == address));
        for endpoint in endpoints.iter() {
            if running.values().all(|probing| !Arc::ptr_eq(&probing.endpoint, endpoint)) {
                let begin = begin.take().unwrap_or_else(|| crowd.turn(checks.interval));
                let probe = probe(service.clone(), checks.clone(), crowd.clone(), endpoint.clone(), begin);
                let task = tasks.spawn(probe);
                running.insert(task.id(), Probing { endpoint: endpoint.clone(), task });
            }
        }
        tokio::select! {
            () = service.changed.notified() => {}
            Some(Err(error)) = tasks.join_next_with_id() => {
                if let Some(probing) = running.remove(&error.id()) {
                    crowd.panics.fetch_add(1, Ordering::Relaxed);
                    let (service, target) = (service.name(), probing.endpoint.authority());
                    tracing::error!(service, endpoint = target, "a health check has crashed and is begun anew, which is a fault of Tidegate: {error}; please report it");
                    begin = Some(Moment::now() + checks.interval);
                }
            }
        }
    }
}

/// Checks one target again and again.
async fn probe(service: Arc<Service>, checks: Arc<Checks>, crowd: Arc<Crowd>, endpoint: Arc<Endpoint>, begin: Moment) {
    let mut verdict = Verdict::new(endpoint.health());
    let mut since = endpoint.since();
    tokio::time::sleep_until(begin).await;
    loop {
        // It is never closed.
        let permit = crowd.permits.acquire().await;
        let begun = Moment::now();
        let outcome = check(&checks, endpoint.address(), endpoint.authority()).await;
        drop(permit);
        let now = Instant::from_clock();
        let news = verdict.note(outcome.error.is_none(), checks.thresholds);
        if let Some(health) = news {
            since = now;
            tell(&service, &checks, &endpoint, health, &outcome);
            service.members.set_health(&endpoint, health, now);
            service.count_transition();
        }
        service.count_check(outcome.error.is_none());
        let Outcome { status, error } = outcome;
        let result = CheckResult { at: now, took: begun.elapsed(), status, error, against: verdict.against(), since };
        service.results().insert(endpoint.address().clone(), result);
        tokio::time::sleep_until(begun + checks.pause(fastrand::f64())).await;
    }
}

/// Writes a change of mind to the log.
fn tell(service: &Service, checks: &Checks, endpoint: &Endpoint, health: Health, outcome: &Outcome) {
    let (service, target, address) = (service.name(), endpoint.authority(), endpoint.address());
    match health {
        Health::Down => {
            let reason = outcome.error.as_deref().unwrap_or("it has failed");
            let healthy = checks.thresholds.healthy;
            let effect = format!("it is used again after {healthy} good checks in a row");
            tracing::warn!(service, endpoint = target, %address, "a target is down: {reason}; {effect}");
        }
        // Before its first check it was used already.
        _ if endpoint.health() == Health::Unknown => {
            tracing::debug!(service, endpoint = target, %address, "a target is up")
        }
        _ => tracing::info!(service, endpoint = target, %address, "a target is up again"),
    }
}

#[cfg(test)]
mod tests;
