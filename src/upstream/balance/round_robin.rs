//! Smooth weighted round robin: each target in its turn, with the turns of a heavy one spread between those of others.
//!
//! nginx's algorithm: at each pick every target earns its weight, and the one that has most pays the sum of all. Weights
//! 5, 1, 1 give a, a, b, a, c, a, a: exactly 5, 1 and 1 in any seven picks from the start. With equal weights that is
//! each in the order of the list, so that a place in the list is all there is to remember.
//!
//! Every worker starts at a random place: a hundred workers would otherwise all begin with the first target, after a
//! start as after a reload.

use std::rc::Rc;

use fastrand::Rng;

use super::target::{Target, TargetId};

/// The places from which an uneven round may start; a cycle may be as long as the sum of the weights.
const STARTS: u64 = 1024;

/// What is remembered from one pick to the next; for uneven weights also [`Target::turn`].
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// Who is next, where all weights are equal.
    next: usize,
    even: bool,
    started: bool,
}

impl RoundRobin {
    /// Goes on with other targets or weights.
    pub(super) fn rebuild(&mut self, usable: &[Rc<Target>], random: &mut Rng) {
        self.even = usable.windows(2).all(|pair| pair[0].share.get() == pair[1].share.get());
        if self.even {
            // What the uneven round owed to whom is settled with it.
            usable.iter().for_each(|target| target.turn.set(0));
        }
        if self.started || usable.is_empty() {
            return;
        }
        self.started = true;
        if self.even {
            self.next = random.usize(..usable.len());
            return;
        }
        let cycle: u64 = usable.iter().map(|target| target.share.get()).sum();
        for _ in 0..random.u64(..cycle.min(STARTS)) {
            uneven(usable);
        }
    }

    /// The place of the next target in `usable`; for a request that has been to some already, of any that is not in
    /// `tried`. That is nobody's turn: if it were, each failure of one target would bring the next request to it again.
    pub(super) fn pick(&mut self, usable: &[Rc<Target>], tried: &[TargetId], random: &mut Rng) -> Option<usize> {
        if !tried.is_empty() {
            return any_other(usable, tried, random);
        }
        if !self.even {
            return uneven(usable);
        }
        // The list may have become shorter.
        let at = if self.next < usable.len() { self.next } else { 0 };
        self.next = at + 1;
        (at < usable.len()).then_some(at)
    }
}

/// One by chance, by weight, that is not in `tried`.
fn any_other(usable: &[Rc<Target>], tried: &[TargetId], random: &mut Rng) -> Option<usize> {
    let others = || usable.iter().enumerate().filter(|(_, target)| !tried.contains(&target.id()));
    let sum: u64 = others().map(|(_, target)| target.share.get()).sum();
    let mut left = if sum > 0 { random.u64(..sum) } else { return None };
    for (index, target) in others() {
        let share = target.share.get();
        if left < share {
            return Some(index);
        }
        left -= share;
    }
    None
}

/// One pick by weight.
fn uneven(usable: &[Rc<Target>]) -> Option<usize> {
    let mut sum = 0;
    let mut most: Option<(usize, i64)> = None;
    for (index, target) in usable.iter().enumerate() {
        let share = target.share.get() as i64;
        let turn = target.turn.get() + share;
        target.turn.set(turn);
        sum += share;
        if most.is_none_or(|(_, other)| turn > other) {
            most = Some((index, turn));
        }
    }
    let (index, turn) = most?;
    usable[index].turn.set(turn - sum);
    Some(index)
}
