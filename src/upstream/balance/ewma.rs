//! How long a target's answers take: a moving average that is quick to rise and slow to fall.
//!
//! Peak EWMA, as Finagle has it: an answer that takes longer than the average is the new average at once, one that
//! takes less draws it down, the more the longer the last answer is ago. Without answers the average falls too, so that
//! a target that was slow once is tried again.

use std::cell::Cell;
use std::time::Duration;

use crate::base::time::Instant;

/// What a failure counts as, at least: what fails at once must not look like what answers at once.
const FAILURE: Duration = Duration::from_secs(1);

/// The average, in nanoseconds.
#[derive(Debug)]
pub(super) struct PeakEwma {
    average: Cell<f64>,
    since: Cell<Instant>,
}

impl PeakEwma {
    /// The average of a target that has not answered yet.
    pub(super) fn new(start: Duration) -> PeakEwma {
        PeakEwma { average: Cell::new(start.as_nanos() as f64), since: Cell::new(Instant::ZERO) }
    }

    /// Lets the average fall from `now` on.
    pub(super) fn begin(&self, now: Instant) {
        self.since.set(now);
    }

    /// Takes note of an answer.
    pub(super) fn observe(&self, latency: Duration, now: Instant, decay: Duration) {
        let latency = latency.as_nanos() as f64;
        let kept = self.kept(now, decay);
        let average = self.average.get();
        let next = if latency > average * kept { latency } else { average * kept + latency * (1.0 - kept) };
        self.average.set(next);
        // Workers' clocks are one clock, but an answer may be told of late.
        self.since.set(now.max(self.since.get()));
    }

    /// Takes note of a failure.
    pub(super) fn observe_failure(&self, latency: Duration, now: Instant, decay: Duration) {
        self.observe(latency.max(FAILURE), now, decay);
    }

    /// The average at `now`, in nanoseconds.
    pub(super) fn at(&self, now: Instant, decay: Duration) -> f64 {
        self.average.get() * self.kept(now, decay)
    }

    /// The share of the average that is left at `now`.
    fn kept(&self, now: Instant, decay: Duration) -> f64 {
        (-now.since(self.since.get()).as_secs_f64() / decay.as_secs_f64()).exp()
    }
}
