//! Least connections: the target with the fewest running requests for its weight.
//!
//! What runs from this worker is known at every moment, what runs from the others was looked at some milliseconds ago.
//! Among equals chance decides, by weight: without it all workers would send to the same one until they look again, and
//! a service that is asked for one thing at a time would always ask its first target.

use std::rc::Rc;

use fastrand::Rng;

use super::target::{Target, TargetId};

/// The place in `usable` of a target that has the least to do and is not in `tried`.
pub(super) fn pick(usable: &[Rc<Target>], tried: &[TargetId], random: &mut Rng) -> Option<usize> {
    let mut best: Option<Best> = None;
    for (index, target) in usable.iter().enumerate().filter(|(_, target)| !tried.contains(&target.id())) {
        let this =
            Best { index, load: u64::from(target.load()), share: target.share.get(), equals: target.share.get() };
        best = match best {
            None => Some(this),
            Some(best) => Some(best.or(this, random)),
        };
    }
    best.map(|best| best.index)
}

/// The best so far.
struct Best {
    index: usize,
    load: u64,
    share: u64,
    /// The shares of all that were as good.
    equals: u64,
}

impl Best {
    fn or(self, other: Best, random: &mut Rng) -> Best {
        // Requests for each share, compared without dividing.
        let (own, others) = (self.load * other.share, other.load * self.share);
        if own != others {
            return if own < others { self } else { other };
        }
        let equals = self.equals + other.share;
        let next = if random.u64(..equals) < other.share { other } else { self };
        Best { equals, ..next }
    }
}
