//! The power of two choices, on latency: of two targets that are drawn, the one that is likely to answer sooner.
//!
//! The cost of a target is the average time that its answers take ([`super::ewma`]) times one more than the requests
//! that wait there from this worker. Drawing two at random and taking the better one avoids the worst, while no worker
//! has to know what the others do, and not all of them run to the same best one.
//!
//! Targets are drawn by weight. Where weights are equal the two are different targets. Where they are not, they are
//! drawn apart and may be the same one: so targets that are equally quick get exactly their shares. The price is that
//! the slowest keeps the square of its share instead of nothing. Requests that wait count for less at a heavier target.

use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use super::target::{Target, TargetId};
use crate::base::time::Instant;

/// What a target costs that has never answered while it has been asked already, in nanoseconds: more than any that has.
const UNKNOWN: f64 = 1e15;

/// What is drawn from.
#[derive(Debug)]
pub(super) struct TwoChoices {
    decay: Duration,
    even: bool,
    /// For each target the shares of all up to it.
    sums: Vec<u64>,
}

impl TwoChoices {
    pub(super) fn new(decay: Duration) -> TwoChoices {
        TwoChoices { decay, even: true, sums: Vec::new() }
    }

    /// Goes on with other targets or weights.
    pub(super) fn rebuild(&mut self, usable: &[Rc<Target>]) {
        self.even = usable.windows(2).all(|pair| pair[0].share.get() == pair[1].share.get());
        self.sums.clear();
        self.sums.extend(usable.iter().scan(0, |sum, target| {
            *sum += target.share.get();
            Some(*sum)
        }));
    }

    /// The place in `usable` of the better of two that are not in `tried`.
    pub(super) fn pick(
        &self,
        usable: &[Rc<Target>],
        tried: &[TargetId],
        now: Instant,
        random: &mut Rng,
    ) -> Option<usize> {
        let first = self.draw(usable, tried, None, random)?;
        let other_than = self.even.then_some(first);
        let Some(second) = self.draw(usable, tried, other_than, random) else { return Some(first) };
        if first == second {
            return Some(first);
        }
        let cost = |index: usize| self.cost(&usable[index], usable.len(), now);
        Some(if cost(second) < cost(first) { second } else { first })
    }

    /// One at random, by share.
    fn draw(
        &self,
        usable: &[Rc<Target>],
        tried: &[TargetId],
        other_than: Option<usize>,
        random: &mut Rng,
    ) -> Option<usize> {
        if tried.is_empty() && self.even {
            let count = usable.len() - usize::from(other_than.is_some());
            let drawn = if count == 0 { return None } else { random.usize(..count) };
            return Some(drawn + usize::from(other_than.is_some_and(|other| drawn >= other)));
        }
        if tried.is_empty() {
            let drawn = random.u64(..*self.sums.last()?);
            return Some(self.sums.partition_point(|&sum| sum <= drawn));
        }
        let left = || {
            let is_left = move |(index, target): &(usize, &Rc<Target>)| {
                other_than != Some(*index) && !tried.contains(&target.id())
            };
            usable.iter().enumerate().filter(is_left)
        };
        let sum: u64 = left().map(|(_, target)| target.share.get()).sum();
        let mut drawn = if sum == 0 { return None } else { random.u64(..sum) };
        let mut all = left();
        all.find_map(|(index, target)| match drawn.checked_sub(target.share.get()) {
            Some(rest) => {
                drawn = rest;
                None
            }
            None => Some(index),
        })
    }

    fn cost(&self, target: &Target, count: usize, now: Instant) -> f64 {
        let waiting = f64::from(target.active());
        let average = target.latency.at(now, self.decay);
        if average == 0.0 && waiting > 0.0 {
            return UNKNOWN + waiting;
        }
        let even_share = self.sums.last().map_or(1.0, |sum| *sum as f64 / count as f64);
        average * (waiting * even_share / target.share.get() as f64 + 1.0)
    }
}
