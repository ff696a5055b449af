//! How long things took, counted in buckets.
//!
//! The upper bounds are fixed: 1, 2 and 5 in every decade from 10 microseconds to 10 seconds, then 30 seconds and a
//! minute. So all histograms of all gateways can be added up, and every bucket that Prometheus is told of is exact. To
//! record a time takes its binary logarithm, one look into a table and one comparison, for no two bounds are closer
//! together than a factor of two.

use std::sync::atomic::AtomicU64;

use super::counters::{bump, read};

/// Upper bounds in nanoseconds; a time that is equal to a bound is below it.
pub const BOUNDS: [u64; 21] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Buckets of a histogram: one for each bound, and one for all that is above.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// Which of [`BOUNDS`] a [`Coarse`] histogram has: 1, 5, 20, 50, 100, 200 and 500 ms, 1, 2, 5 and 10 s.
pub const COARSE_BOUNDS: [u64; 11] = {
    let picked = [6, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18];
    let mut bounds = [0; 11];
    let mut at = 0;
    while at < bounds.len() {
        bounds[at] = BOUNDS[picked[at]];
        at += 1;
    }
    bounds
};

/// Buckets of a coarse histogram.
pub const COARSE_BUCKETS: usize = COARSE_BOUNDS.len() + 1;

/// How many of the bounds are below each power of two.
const BELOW: [u8; 64] = {
    let mut below = [0; 64];
    let mut log = 0;
    while log < 64 {
        below[log] = count_below(&BOUNDS, 1 << log);
        log += 1;
    }
    below
};

/// The bounds, and one that nothing is above.
const LIMITS: [u64; BUCKETS] = {
    let mut limits = [u64::MAX; BUCKETS];
    let mut at = 0;
    while at < BOUNDS.len() {
        limits[at] = BOUNDS[at];
        at += 1;
    }
    limits
};

/// The coarse bucket that each bucket is in.
const COARSE: [u8; BUCKETS] = {
    let mut coarse = [0; BUCKETS];
    let mut at = 0;
    while at < BUCKETS {
        coarse[at] = count_below(&COARSE_BOUNDS, LIMITS[at]);
        at += 1;
    }
    coarse
};

const fn count_below(bounds: &[u64], value: u64) -> u8 {
    let (mut at, mut count) = (0, 0);
    while at < bounds.len() {
        if bounds[at] < value {
            count += 1;
        }
        at += 1;
    }
    count
}

/// Two bounds between two powers of two would need two comparisons.
const _: () = {
    let mut at = 1;
    while at < BOUNDS.len() {
        assert!(BOUNDS[at] >= 2 * BOUNDS[at - 1]);
        at += 1;
    }
};

/// The bucket of a time in nanoseconds.
#[must_use]
#[inline]
pub const fn bucket(nanos: u64) -> usize {
    let below = BELOW[(nanos | 1).ilog2() as usize] as usize;
    below + (nanos > LIMITS[below]) as usize
}

/// A histogram that one thread writes and others read.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    counts: [AtomicU64; N],
    /// In nanoseconds.
    sum: AtomicU64,
}

/// One with all bounds.
pub type Fine = Histogram<BUCKETS>;

/// One with few of them.
pub type Coarse = Histogram<COARSE_BUCKETS>;

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram { counts: [const { AtomicU64::new(0) }; N], sum: AtomicU64::new(0) }
    }
}

impl Fine {
    /// Counts a time in nanoseconds. Only the owner may call this.
    #[inline]
    pub fn record(&self, nanos: u64) {
        bump(&self.counts[bucket(nanos)], 1);
        bump(&self.sum, nanos);
    }
}

impl Coarse {
    /// Counts a time in nanoseconds. Only the owner may call this.
    #[inline]
    pub fn record(&self, nanos: u64) {
        bump(&self.counts[usize::from(COARSE[bucket(nanos)])], 1);
        bump(&self.sum, nanos);
    }
}

/// What several histograms have counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<const N: usize> {
    /// In each bucket, not those below it.
    pub counts: [u64; N],
    /// All times together, in nanoseconds.
    pub sum: u64,
}

impl<const N: usize> Default for Counted<N> {
    fn default() -> Self {
        Counted { counts: [0; N], sum: 0 }
    }
}

impl<const N: usize> Counted<N> {
    /// Adds what one has counted so far. What is counted meanwhile may be missing in a part of it.
    pub fn add(&mut self, histogram: &Histogram<N>) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum = sum.wrapping_add(read(count));
        }
        self.sum = self.sum.wrapping_add(read(&histogram.sum));
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bucket by looking at all bounds.
    fn naive(bounds: &[u64], nanos: u64) -> usize {
        bounds.iter().position(|bound| nanos <= *bound).unwrap_or(bounds.len())
    }

    #[test]
    fn a_bound_is_in_its_own_bucket() {
        for (at, bound) in BOUNDS.into_iter().enumerate() {
            assert_eq!([bucket(bound - 1), bucket(bound), bucket(bound + 1)], [at, at, at + 1], "{bound}");
        }
        assert_eq!([bucket(0), bucket(1), bucket(u64::MAX)], [0, 0, BOUNDS.len()]);
    }

    proptest! {
        #[test]
        fn histograms_are_those_of_the_naive_model(
            times in prop::collection::vec((any::<u64>(), 0..64_u32).prop_map(|(time, shift)| time >> shift), 0..200),
        ) {
            let (first, second) = (Fine::default(), Fine::default());
            let coarse = Coarse::default();
            let (mut fine_model, mut coarse_model) = (Counted::<BUCKETS>::default(), Counted::<COARSE_BUCKETS>::default());
            for (at, time) in times.iter().enumerate() {
                if at % 2 == 0 { first.record(*time) } else { second.record(*time) }
                coarse.record(*time);
                fine_model.counts[naive(&BOUNDS, *time)] += 1;
                coarse_model.counts[naive(&COARSE_BOUNDS, *time)] += 1;
                fine_model.sum = fine_model.sum.wrapping_add(*time);
                coarse_model.sum = coarse_model.sum.wrapping_add(*time);
            }
            let (mut fine, mut few) = (Counted::default(), Counted::default());
            fine.add(&first);
            fine.add(&second);
            few.add(&coarse);
            prop_assert_eq!(fine, fine_model);
            prop_assert_eq!(few, coarse_model);
            prop_assert_eq!(fine.count(), times.len() as u64);
        }
    }
}
