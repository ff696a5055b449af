//! Passive ejection: a target that fails requests is left out for a while.
//!
//! ```toml
//! [services.users]
//! targets = ["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"]
//!
//! [services.users.ejection]
//! consecutive_failures = 5    # after so many failures in a row, counted over all workers
//! failure_rate = 0.5          # or when this share of the requests of a window has failed; off unless it is written
//! minimum = 20                # of fewer requests in a window, the rate says nothing
//! window = "10s"
//! statuses = ["502", "503", "504"]
//! ejected_for = "10s"         # the first time; each time in a row it is twice as long,
//! longest = "5m"              # up to this
//! most = 0.5                  # the share of the targets that may be out at once
//! ```
//!
//! It is on, with these values but for `failure_rate`, unless `ejection = false` is written. A failure is a connection
//! that is refused, reset or timed out, an answer that is no HTTP, or one of `statuses`. No other status counts, also not
//! 500, which many services give for a single bad request; and none is asked for again because it stands here: that is
//! what `on` of `retries` says.
//!
//! What is known of a target is kept in its [`Endpoint`], for the whole process; a success writes there only where a
//! failure has written before. An ejection ends by time alone: nobody has to be there to end it. A target sheds one
//! doubling for each stretch that it was well for as long as the ejection of that doubling had lasted.
//!
//! The floor: of a service's targets no more than `most` may be out at once, whether they are ejected or found down by
//! health checks or drained, but always one if there are two or more; the only target is never ejected. The floor is exact when
//! workers race: one thread ejects at a time, and who finds another at it leaves it to the next failure. It is looked
//! at when a target is ejected, so a list that becomes shorter, or checks that find more targets down, may lie below
//! it; what is done when no target is left is the balancer's part.

mod config;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

pub use config::EjectionConfig;

use super::endpoint::Endpoint;
use super::members::Members;
use crate::base::statuses::StatusSet;
use crate::base::time::Instant;

/// When targets of one service are ejected, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// How many failures in a row; at least one.
    pub consecutive_failures: u32,
    /// The share of failures in a window, with what else it takes; `None` where it is switched off.
    pub failure_rate: Option<FailureRate>,
    /// Answers that are failures.
    pub statuses: StatusSet,
    /// How long the first ejection lasts.
    pub ejected_for: Duration,
    /// How long any ejection may last.
    pub longest: Duration,
    /// The share of the targets that may be out at once, from 0 to 1.
    pub most: f64,
}

/// Which share of failures in a window is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailureRate {
    /// This share or more, above 0 and up to 1.
    pub rate: f64,
    /// Of fewer requests nothing is concluded; at least one.
    pub minimum: u64,
    /// Windows follow one another; what has failed in one does not count in the next.
    pub window: Duration,
}

/// How often the failure rate is looked at in one window.
const LOOKS_PER_WINDOW: u32 = 10;

/// More doublings than this reach any `longest`.
const DOUBLINGS_MAX: u32 = 32;

impl Ejection {
    /// How many of `targets` may be out at once.
    #[must_use]
    pub fn floor(&self, targets: usize) -> usize {
        match targets {
            0 | 1 => 0,
            // A share of at most 1 of so many; what is cut off is the fraction. The small sum makes 0.07 of 100 seven,
            // whatever the binary form of 0.07 is.
            _ => ((targets as f64 * self.most + 1e-9) as usize).clamp(1, targets),
        }
    }

    /// How long an ejection lasts after `doublings` others in a row.
    #[must_use]
    pub fn length(&self, doublings: u32) -> Duration {
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.ejected_for.saturating_mul(factor).min(self.longest)
    }

    /// How many of `doublings` are left after a target was well for `well`.
    fn shed(&self, mut doublings: u32, mut well: Duration) -> u32 {
        while doublings > 0 {
            let Some(left) = well.checked_sub(self.length(doublings - 1)) else { break };
            well = left;
            doublings -= 1;
        }
        doublings
    }
}

/// What passive ejection knows of one target, for the whole process.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Failures in a row.
    failures: AtomicU32,
    /// Ejections in a row: how often the next one's length is doubled.
    doublings: AtomicU32,
    /// Until when it is ejected, in nanoseconds of the monotonic clock.
    until: AtomicU64,
    /// Answered and failed requests before the window, by its tallies.
    before: [AtomicU64; 2],
    /// When the window began, in nanoseconds of the monotonic clock.
    window_since: AtomicU64,
}

impl Record {
    /// Until when it is ejected; not after now if it is not.
    pub(super) fn until(&self) -> Instant {
        Instant::from_nanos(self.until.load(Ordering::Acquire))
    }

    /// Takes note of a success.
    pub(super) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a failure; true when there are enough of them. Those of a target that is ejected say nothing new.
    pub(super) fn failed(&self, now: Instant, policy: &Ejection) -> bool {
        now >= self.until() && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= policy.consecutive_failures
    }

    /// Ejects, from `now` on.
    fn eject(&self, now: Instant, policy: &Ejection) {
        let well = now.since(self.until());
        let doublings = policy.shed(self.doublings.load(Ordering::Relaxed), well);
        self.doublings.store((doublings + 1).min(DOUBLINGS_MAX), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.until.store((now + policy.length(doublings)).as_nanos(), Ordering::Release);
    }

    /// Begins a window.
    fn begin_window(&self, [succeeded, failed]: [u64; 2], now: Instant) {
        self.before[0].store(succeeded, Ordering::Relaxed);
        self.before[1].store(failed, Ordering::Relaxed);
        self.window_since.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Whether it was ejected in the window.
    fn was_ejected_in_window(&self) -> bool {
        self.until().as_nanos() > self.window_since.load(Ordering::Relaxed)
    }

    /// Answered and failed requests in the window, of those in all.
    fn in_window(&self, [succeeded, failed]: [u64; 2]) -> [u64; 2] {
        let before = |index: usize| self.before[index].load(Ordering::Relaxed);
        [succeeded.saturating_sub(before(0)), failed.saturating_sub(before(1))]
    }
}

/// What ejections of one service have to share: one thread ejects at a time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    taken: AtomicBool,
    /// When the failure rates are to be looked at again, in nanoseconds of the monotonic clock.
    next_look: AtomicU64,
    /// When the next window begins, in nanoseconds of the monotonic clock. Only who has the turn looks at it.
    next_window: AtomicU64,
}

impl Turn {
    /// Does `work`, unless another thread is at it; then nothing.
    fn take<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // Given back also when `work` panics, or nothing would ever be ejected again.
        let _taken = Taken(&self.taken);
        Some(work())
    }
}

/// A turn that is taken, until it is dropped.
struct Taken<'a>(&'a AtomicBool);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Members {
    /// Ejects `endpoint`, if the floor leaves room; true if it did. False too when it is ejected already, is no longer in
    /// the list, or another thread is ejecting at this moment: the next failure will ask again.
    pub fn eject(&self, endpoint: &Endpoint, now: Instant, policy: &Ejection) -> bool {
        let ejected = self.turn().take(|| self.eject_in_turn(endpoint, now, policy)).unwrap_or(false);
        if ejected {
            self.changed();
        }
        ejected
    }

    /// Looks at the failure rates, if it is time to and no other worker does; each target that is ejected for its rate
    /// is told to `ejected`. To be called by every worker every now and then.
    pub fn look(&self, now: Instant, policy: &Ejection, mut ejected: impl FnMut(&Endpoint)) {
        let Some(rate) = policy.failure_rate else { return };
        let turn = self.turn();
        if now.as_nanos() < turn.next_look.load(Ordering::Relaxed) {
            return;
        }
        let look = || {
            let next = now + rate.window / LOOKS_PER_WINDOW;
            turn.next_look.store(next.as_nanos(), Ordering::Relaxed);
            let new_window = now.as_nanos() >= turn.next_window.load(Ordering::Relaxed);
            if new_window {
                turn.next_window.store((now + rate.window).as_nanos(), Ordering::Relaxed);
            }
            let mut any = false;
            for endpoint in self.endpoints().iter() {
                let totals = endpoint.totals();
                let record = endpoint.record();
                let [succeeded, failed] = record.in_window(totals);
                let all = succeeded + failed;
                let is_too_much = all >= rate.minimum && failed as f64 >= rate.rate * all as f64;
                // What is still answered while a target is ejected says nothing about it afterwards.
                if record.was_ejected_in_window() {
                    record.begin_window(totals, now);
                } else if is_too_much && self.eject_in_turn(endpoint, now, policy) {
                    any = true;
                    ejected(endpoint);
                } else if new_window {
                    record.begin_window(totals, now);
                }
            }
            any
        };
        if turn.take(look) == Some(true) {
            self.changed();
        }
    }

    /// Only for who has the turn.
    fn eject_in_turn(&self, endpoint: &Endpoint, now: Instant, policy: &Ejection) -> bool {
        let endpoints = self.endpoints();
        let is_out = |endpoint: &Endpoint| !endpoint.is_in_service() || endpoint.ejected_until() > now;
        let is_listed = endpoints.iter().any(|listed| std::ptr::eq(&raw const **listed, endpoint));
        if !is_listed || endpoint.ejected_until() > now {
            return false;
        }
        // One that is down is counted as out already; it may as well be ejected.
        let others_out = endpoints.iter().filter(|other| !std::ptr::eq(&raw const ***other, endpoint) && is_out(other));
        if others_out.count() >= policy.floor(endpoints.len()) {
            return false;
        }
        endpoint.record().eject(now, policy);
        true
    }
}
