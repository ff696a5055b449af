//! How many lines one message may have in a second.
//!
//! A message is a place in the code. Whoever logs looks here without a lock, for a worker that panics does, too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ahash::RandomState;
use crossbeam_queue::ArrayQueue;
use tracing::Metadata;

/// Lines of one message in one second.
pub(super) const PER_SECOND: u32 = 50;

/// Places in the code that are told apart; those beyond share the last one.
const PLACES: usize = 512;

/// All messages.
#[derive(Debug)]
pub(super) struct Limits {
    places: Box<[Place]>,
    suppressed: AtomicU64,
}

/// One place in the code.
#[derive(Debug)]
pub(super) struct Place {
    /// A hash of what identifies it; 0 while this is free.
    key: AtomicU64,
    /// The second that is counted.
    second: AtomicU64,
    lines: AtomicU32,
    /// Lines that were left out and are still to be told.
    left_out: AtomicU32,
    /// One of these lines, for who is told.
    sample: ArrayQueue<Vec<u8>>,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Admission<'a> {
    /// It is written.
    Written,
    /// It is left out, and is the one that the others are told by.
    Sample(&'a Place),
    /// It is left out.
    LeftOut,
}

/// Lines of one message that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) count: u64,
    /// One of them, as it would have been written.
    pub(super) sample: Option<Vec<u8>>,
}

impl Default for Place {
    fn default() -> Self {
        let (key, second, lines, left_out) = Default::default();
        Place { key, second, lines, left_out, sample: ArrayQueue::new(1) }
    }
}

impl Place {
    /// Keeps a line to tell the others by, in the place of the one before.
    pub(super) fn keep(&self, line: Vec<u8>) {
        self.sample.force_push(line);
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { places: (0..PLACES).map(|_| Place::default()).collect(), suppressed: AtomicU64::new(0) }
    }
}

impl Limits {
    /// Whether the message of `metadata` may have a line in this second.
    pub(super) fn admit(&self, metadata: &Metadata<'_>, second: u64) -> Admission<'_> {
        let key = RandomState::with_seeds(1, 2, 3, 4).hash_one(metadata.callsite());
        self.admit_key(key | 1, second)
    }

    fn admit_key(&self, key: u64, second: u64) -> Admission<'_> {
        let place = self.place(key);
        if place.second.swap(second, Ordering::AcqRel) != second {
            place.lines.store(0, Ordering::Release);
        }
        // Two threads may begin a second at once, which admits a few lines more.
        let lines = place.lines.fetch_add(1, Ordering::AcqRel);
        if lines < PER_SECOND {
            return Admission::Written;
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        place.left_out.fetch_add(1, Ordering::AcqRel);
        if lines == PER_SECOND { Admission::Sample(place) } else { Admission::LeftOut }
    }

    /// What was left out of seconds before `second`, and nobody has been told of; it is taken for told.
    pub(super) fn settle(&self, second: u64) -> Vec<LeftOut> {
        let over = self.used().filter(|place| place.second.load(Ordering::Acquire) < second);
        let settled = over.map(|place| {
            let count = u64::from(place.left_out.swap(0, Ordering::AcqRel));
            LeftOut { count, sample: if count > 0 { place.sample.pop() } else { None } }
        });
        settled.filter(|left_out| left_out.count > 0).collect()
    }

    /// Whether there is something to settle, now or later.
    pub(super) fn is_owing(&self) -> bool {
        self.used().any(|place| place.left_out.load(Ordering::Acquire) > 0)
    }

    /// Lines that were left out in all.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    fn used(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().take_while(|place| place.key.load(Ordering::Acquire) != 0)
    }

    /// The place with this key, which is never zero.
    fn place(&self, key: u64) -> &Place {
        let (last, others) = self.places.split_last().expect("there are some");
        let free_or_same = |place: &&Place| {
            let taken = place.key.compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire);
            taken.is_ok() || taken == Err(key)
        };
        others.iter().find(free_or_same).unwrap_or_else(|| {
            last.key.store(key, Ordering::Release);
            last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_written(admission: Admission<'_>) -> bool {
        matches!(admission, Admission::Written)
    }

    #[test]
    fn a_flood_of_one_message_is_counted_and_others_are_not_touched() {
        let limits = Limits::default();
        let flood = |count: u32, second| {
            let mut admitted = 0;
            for number in 0..count {
                match limits.admit_key(1, second) {
                    Admission::Written => admitted += 1,
                    Admission::Sample(place) => place.keep(number.to_string().into_bytes()),
                    Admission::LeftOut => {}
                }
            }
            admitted
        };
        let told = |count| vec![LeftOut { count, sample: Some(PER_SECOND.to_string().into_bytes()) }];
        assert_eq!(flood(1000, 7), PER_SECOND);
        assert!(is_written(limits.admit_key(2, 7)), "another message");
        assert!(limits.is_owing());
        assert_eq!(limits.settle(7), [], "the second is not over");
        assert_eq!((limits.settle(8), limits.is_owing(), limits.suppressed()), (told(950), false, 950));
        assert_eq!((flood(60, 9), limits.settle(10), limits.is_owing()), (50, told(10), false));
    }

    #[test]
    fn places_beyond_all_bounds_share_one() {
        let limits = Limits::default();
        for key in 1..2 * PLACES as u64 {
            assert!(is_written(limits.admit_key(key, 1)) || key > PLACES as u64);
        }
        assert_eq!(limits.used().count(), PLACES);
        assert!(is_written(limits.admit_key(1, 1)));
    }
}
