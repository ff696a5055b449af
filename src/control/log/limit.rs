//! How many lines one message may have in a second.
//!
//! A message is a place in the code. Whoever logs looks here without a lock, for a worker that panics does, too.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ahash::RandomState;
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
#[derive(Debug, Default)]
struct Place {
    /// A hash of what identifies it; 0 while this is free.
    key: AtomicU64,
    /// The second that is counted.
    second: AtomicU64,
    lines: AtomicU32,
    /// Lines that were left out and are still to be told.
    left_out: AtomicU32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { places: (0..PLACES).map(|_| Place::default()).collect(), suppressed: AtomicU64::new(0) }
    }
}

impl Limits {
    /// Whether the message of `metadata` may have a line in this second.
    pub(super) fn admit(&self, metadata: &Metadata<'_>, second: u64) -> bool {
        let key = RandomState::with_seeds(1, 2, 3, 4).hash_one(metadata.callsite());
        self.admit_key(key | 1, second)
    }

    fn admit_key(&self, key: u64, second: u64) -> bool {
        let place = self.place(key);
        if place.second.swap(second, Ordering::AcqRel) != second {
            place.lines.store(0, Ordering::Release);
        }
        // Two threads may begin a second at once, which admits a few lines more.
        if place.lines.fetch_add(1, Ordering::AcqRel) < PER_SECOND {
            return true;
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        place.left_out.fetch_add(1, Ordering::AcqRel);
        false
    }

    /// How many lines were left out of seconds before `second` that nobody has been told of; they are taken for told.
    pub(super) fn settle(&self, second: u64) -> u64 {
        let over = self.used().filter(|place| place.second.load(Ordering::Acquire) < second);
        over.map(|place| u64::from(place.left_out.swap(0, Ordering::AcqRel))).sum()
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

    #[test]
    fn a_flood_of_one_message_is_counted_and_others_are_not_touched() {
        let limits = Limits::default();
        let admitted = (0..1000).filter(|_| limits.admit_key(1, 7)).count();
        assert_eq!(admitted, PER_SECOND as usize);
        assert!(limits.admit_key(2, 7), "another message");
        assert!(limits.is_owing());
        assert_eq!(limits.settle(7), 0, "the second is not over");
        assert_eq!((limits.settle(8), limits.is_owing(), limits.suppressed()), (950, false, 950));
        let admitted = (0..60).filter(|_| limits.admit_key(1, 9)).count();
        assert_eq!((admitted, limits.settle(10), limits.is_owing()), (50, 10, false));
    }

    #[test]
    fn places_beyond_all_bounds_share_one() {
        let limits = Limits::default();
        for key in 1..2 * PLACES as u64 {
            assert!(limits.admit_key(key, 1) || key > PLACES as u64);
        }
        assert_eq!(limits.used().count(), PLACES);
        assert!(limits.admit_key(1, 1));
    }
}
