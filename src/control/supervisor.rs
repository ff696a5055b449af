//! What the service manager is told: sd_notify(3), and the watchdog.
//!
//! Where nobody listens (`NOTIFY_SOCKET` is not set) all of this does nothing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::base::time::Instant;
use crate::shard::Shared;

/// A worker writes its pulse once a second; who has not for so long hangs.
const SILENCE: Duration = Duration::from_secs(5);

/// The process serves.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The configuration is being reloaded; [`ready`] ends that.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The process is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Another process is the service from now on.
pub fn main_process(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told; check NOTIFY_SOCKET and NotifyAccess");
    }
}

/// Tells the service manager's watchdog that the process lives, as long as each worker does. A process that drains has
/// a deadline of its own.
pub(super) async fn watchdog(shared: Arc<Shared>) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut was_silent = false;
    loop {
        let now = Instant::from_clock();
        let silent = (0..shared.counters.len()).find(|&worker| is_silent(&shared, worker, now));
        match silent.filter(|_| !shared.is_leaving()) {
            None => tell(&[NotifyState::Watchdog]),
            Some(worker) if !was_silent => {
                tracing::error!(
                    worker,
                    "a worker hangs: the watchdog is told no more, and the service manager will act"
                );
            }
            Some(_) => {}
        }
        was_silent = silent.is_some();
        tokio::time::sleep(interval / 3).await;
    }
}

/// Whether a worker that has begun to write its pulse has written none for too long.
fn is_silent(shared: &Shared, worker: usize, now: Instant) -> bool {
    shared.counters[worker].pulse.last().is_some_and(|said| now.since(said.at) > SILENCE)
}
