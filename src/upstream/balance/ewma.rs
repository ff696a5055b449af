//! How long a target's answers take: a moving average that is quick to rise and slow to fall.
//!
//! Peak EWMA, as Finagle has it: an answer that takes longer than the average is the new average at once, one that
//! takes less draws it down, the more the longer the last answer is ago. Without answers the average falls too, so that
//! a target that was slow once is tried again.

use std::cell::Cell;
use std::time::Duration;

use crate::base::time::Instant;

/// What a failure counts as at least, and at most unless it took longer.
const FAILURE: (f64, f64) = (1e6, 1e10);

/// The average, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct PeakEwma {
    average: Cell<f64>,
    since: Cell<Instant>,
}

impl PeakEwma {
    /// Begins anew, with the average of others.
    pub(super) fn begin(&self, average: f64, now: Instant) {
        self.average.set(average);
        self.since.set(now);
    }

    /// Takes note of an answer.
    pub(super) fn observe(&self, latency: Duration, now: Instant, decay: Duration) {
        self.add(latency.as_nanos() as f64, now, decay);
    }

    /// Takes note of a failure: it counts as an answer that took twice as long as others do. What fails at once must not
    /// look like what answers at once, and what fails always must look worse every time; but one failure among many
    /// answers is forgotten before long.
    pub(super) fn observe_failure(&self, latency: Duration, now: Instant, decay: Duration) {
        let twice = (self.at(now, decay) * 2.0).clamp(FAILURE.0, FAILURE.1);
        self.add(twice.max(latency.as_nanos() as f64), now, decay);
    }

    fn add(&self, latency: f64, now: Instant, decay: Duration) {
        let kept = self.kept(now, decay);
        let average = self.average.get();
        let next = if latency > average * kept { latency } else { average * kept + latency * (1.0 - kept) };
        self.average.set(next);
        // An answer may be told of late.
        self.since.set(now.max(self.since.get()));
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

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn milliseconds(ewma: &PeakEwma, second: u64) -> f64 {
        (ewma.at(at(second), DECAY) / 1e5).round() / 10.0
    }

    fn at(second: u64) -> Instant {
        Instant::from_nanos(second * 1_000_000_000)
    }

    fn answer(ewma: &PeakEwma, milliseconds: u64, second: u64) {
        ewma.observe(Duration::from_millis(milliseconds), at(second), DECAY);
    }

    #[test]
    fn it_rises_at_once_and_falls_by_the_decay() {
        let ewma = PeakEwma::default();
        answer(&ewma, 10, 100);
        answer(&ewma, 200, 100);
        assert_eq!(milliseconds(&ewma, 100), 200.0);
        // A third is left after ten seconds without an answer.
        assert_eq!(milliseconds(&ewma, 110), 73.6);
        // With one, it falls towards that.
        answer(&ewma, 10, 110);
        assert_eq!(milliseconds(&ewma, 110), 79.9);
        answer(&ewma, 10, 1110);
        assert_eq!(milliseconds(&ewma, 1110), 10.0);
    }

    #[test]
    fn steady_answers_are_their_own_average() {
        let ewma = PeakEwma::default();
        (100..200).for_each(|second| answer(&ewma, 30, second));
        assert_eq!(milliseconds(&ewma, 199), 30.0);
    }

    #[test]
    fn each_failure_doubles_it_within_bounds() {
        let ewma = PeakEwma::default();
        let fail = || ewma.observe_failure(Duration::from_micros(3), at(100), DECAY);
        fail();
        assert_eq!(milliseconds(&ewma, 100), 1.0);
        answer(&ewma, 5, 100);
        fail();
        fail();
        assert_eq!(milliseconds(&ewma, 100), 20.0);
        (0..100).for_each(|_| fail());
        assert_eq!(milliseconds(&ewma, 100), 10_000.0);
        ewma.observe_failure(Duration::from_secs(30), at(100), DECAY);
        assert_eq!(milliseconds(&ewma, 100), 30_000.0);
    }

    #[test]
    fn answers_told_of_late_do_not_turn_time_back() {
        let ewma = PeakEwma::default();
        answer(&ewma, 10, 100);
        answer(&ewma, 10, 50);
        assert_eq!(milliseconds(&ewma, 100), 10.0);
    }
}
