//! The timers of one worker: a hierarchical timing wheel.
//!
//! Requests put off timers that almost never fire, and arm and disarm others
//! when they wait, so all of that must cost a few instructions and no
//! allocation. Six levels of 64 slots (Varghese and Lauck, "Hashed and
//! hierarchical timing wheels", 1987) give constant cost at a resolution of
//! about a millisecond. A timer never fires early; it fires at most one tick
//! late.

use std::task::Waker;

use crate::base::slab::{Key, Slab};
use crate::base::time::Instant;

/// Nanoseconds of a tick, as a shift: 2^20 ns, about 1.05 ms.
const TICK_SHIFT: u32 = 20;
/// A tick, for tests that mean to meet one.
#[cfg(test)]
pub(crate) const TICK: std::time::Duration = std::time::Duration::from_nanos(1 << TICK_SHIFT);
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// The farthest tick that the wheel can hold, relative to its own time: 834 days.
const HORIZON: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;

const _: () = assert!(SLOTS == u64::BITS as usize, "a level's occupancy is one word");

/// The wheel.
#[derive(Debug)]
pub(super) struct Wheel {
    entries: Slab<Entry>,
    levels: [Level; LEVELS],
    /// The tick up to which everything has fired.
    elapsed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    occupied: u64,
    heads: [Key; SLOTS],
}

#[derive(Debug)]
struct Entry {
    deadline: Instant,
    /// The deadline by which it has its place: no later than `deadline`.
    linked: Instant,
    waker: Waker,
    place: Place,
    previous: Key,
    next: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Slot { level: u8, slot: u8 },
    Fired,
}

impl Wheel {
    /// An empty wheel at the time `now`.
    pub(super) fn new(now: Instant) -> Wheel {
        let level = Level { occupied: 0, heads: [Key::NONE; SLOTS] };
        Wheel { entries: Slab::default(), levels: [level; LEVELS], elapsed: now.as_nanos() >> TICK_SHIFT }
    }

    /// Arms a timer that wakes `waker` at `deadline`.
    pub(super) fn insert(&mut self, deadline: Instant, waker: Waker) -> Key {
        let (place, previous, next) = (Place::Fired, Key::NONE, Key::NONE);
        let key = self.entries.insert(Entry { deadline, linked: deadline, waker, place, previous, next });
        self.link(key);
        key
    }

    /// Arms a timer anew, whether it has fired or not: it wakes `waker` at `deadline`.
    ///
    /// One that is to fire later than it was stays where it is, and moves when its place is due: a connection puts its
    /// timer off with each request, and moves it but once in a while.
    pub(super) fn rearm(&mut self, key: Key, deadline: Instant, waker: &Waker) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.waker.clone_from(waker);
        entry.deadline = deadline;
        if entry.place == Place::Fired || deadline < entry.linked {
            self.unlink(key);
            self.link(key);
        }
    }

    /// Whether the timer of `key` has fired; otherwise `waker` is the one it will wake.
    pub(super) fn poll(&mut self, key: Key, waker: &Waker) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return true };
        if entry.place == Place::Fired {
            return true;
        }
        entry.waker.clone_from(waker);
        false
    }

    /// Disarms a timer.
    pub(super) fn remove(&mut self, key: Key) {
        self.unlink(key);
        self.entries.remove(key);
    }

    /// How many timers there are, fired ones that nobody has dropped included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A time at or before the next firing, if any timer is armed.
    ///
    /// For a timer far away this is when it must move to a finer level.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let (_, _, tick) = self.next_slot()?;
        Some(Instant::from_nanos(tick << TICK_SHIFT))
    }

    /// Fires what is due at `now`, moving the wakers to `due`.
    pub(super) fn expire(&mut self, now: Instant, due: &mut Vec<Waker>) {
        let target = now.as_nanos() >> TICK_SHIFT;
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.elapsed = tick;
            let mut key = std::mem::replace(&mut self.levels[level].heads[slot], Key::NONE);
            self.levels[level].occupied &= !(1 << slot);
            while let Some(entry) = self.entries.get_mut(key) {
                let next = entry.next;
                entry.place = Place::Fired;
                (entry.previous, entry.next) = (Key::NONE, Key::NONE);
                if entry.deadline <= now {
                    due.push(entry.waker.clone());
                } else {
                    self.link(key);
                }
                key = next;
            }
        }
        self.elapsed = self.elapsed.max(target);
    }

    /// The occupied slot that comes first, and the tick at which it is due.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        (0..LEVELS).find_map(|level| {
            let occupied = self.levels[level].occupied;
            if occupied == 0 {
                return None;
            }
            let shift = SLOT_BITS * level as u32;
            let current = (self.elapsed >> shift) as u32 & (SLOTS as u32 - 1);
            // The current slot is empty, or, on the top level, a whole turn ahead.
            let ahead = occupied.rotate_right((current + 1) % SLOTS as u32).trailing_zeros() + 1;
            let slot = (current + ahead) as usize % SLOTS;
            let tick = ((self.elapsed >> shift) + u64::from(ahead)) << shift;
            Some((level, slot, tick))
        })
    }

    fn link(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.linked = entry.deadline;
        // Rounded up: firing a tick late is allowed, firing early is not.
        let due = entry.deadline.as_nanos().div_ceil(1 << TICK_SHIFT);
        let tick = due.clamp(self.elapsed + 1, self.elapsed + HORIZON);
        let distance = (self.elapsed ^ tick).min(HORIZON) | (SLOTS as u64 - 1);
        let level = ((u64::BITS - 1 - distance.leading_zeros()) / SLOT_BITS) as usize;
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let head = std::mem::replace(&mut self.levels[level].heads[slot], key);
        self.levels[level].occupied |= 1 << slot;
        entry.place = Place::Slot { level: level as u8, slot: slot as u8 };
        (entry.previous, entry.next) = (Key::NONE, head);
        if let Some(second) = self.entries.get_mut(head) {
            second.previous = key;
        }
    }

    fn unlink(&mut self, key: Key) {
        let Some(entry) = self.entries.get(key) else { return };
        let Place::Slot { level, slot } = entry.place else { return };
        let (previous, next) = (entry.previous, entry.next);
        if let Some(entry) = self.entries.get_mut(next) {
            entry.previous = previous;
        }
        if let Some(entry) = self.entries.get_mut(previous) {
            entry.next = next;
            return;
        }
        let level = &mut self.levels[level as usize];
        level.heads[slot as usize] = next;
        if next == Key::NONE {
            level.occupied &= !(1 << slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Fired(AtomicU64);
    impl Wake for Fired {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Rearm(usize, u64),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let span = prop_oneof![0..5_000_000u64, 0..2_000_000_000u64, 0..5_000_000_000_000u64, Just(u64::MAX / 2)];
        prop_oneof![
            span.clone().prop_map(Step::Insert),
            (0..64usize).prop_map(Step::Remove),
            (0..64usize, span.clone()).prop_map(|(at, after)| Step::Rearm(at, after)),
            span.prop_map(Step::Advance)
        ]
    }

    proptest! {
        /// Against a list of deadlines: nothing fires early, twice, after its
        /// removal, or later than one tick; and `next_event` never oversleeps.
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec(step(), 1..120), start in 0..u64::MAX / 4) {
            let mut now = Instant::from_nanos(start);
            let mut wheel = Wheel::new(now);
            let mut model: Vec<(Key, Instant, Arc<Fired>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(after) => {
                        let fired = Arc::new(Fired::default());
                        let deadline = Instant::from_nanos(now.as_nanos().saturating_add(after));
                        model.push((wheel.insert(deadline, Waker::from(fired.clone())), deadline, fired));
                    }
                    Step::Remove(at) if !model.is_empty() => {
                        let (key, _, _) = model.swap_remove(at % model.len());
                        wheel.remove(key);
                    }
                    Step::Rearm(at, after) if !model.is_empty() => {
                        let at = at % model.len();
                        let (key, deadline, fired) = &mut model[at];
                        *deadline = Instant::from_nanos(now.as_nanos().saturating_add(after));
                        *fired = Arc::new(Fired::default());
                        wheel.rearm(*key, *deadline, &Waker::from(fired.clone()));
                    }
                    Step::Remove(_) | Step::Rearm(..) => {}
                    Step::Advance(by) => {
                        now = Instant::from_nanos(now.as_nanos().saturating_add(by).min(u64::MAX / 2));
                        let mut due = Vec::new();
                        wheel.expire(now, &mut due);
                        due.into_iter().for_each(Waker::wake);
                    }
                }
                for (key, deadline, fired) in &model {
                    let times = fired.0.load(Ordering::Relaxed);
                    prop_assert!(times <= 1);
                    if times == 1 {
                        prop_assert!(*deadline <= now, "early");
                        prop_assert!(wheel.poll(*key, Waker::noop()));
                    } else {
                        let late = deadline.as_nanos().saturating_add(2 << TICK_SHIFT);
                        prop_assert!(now.as_nanos() < late, "late");
                        prop_assert!(wheel.next_event().unwrap().as_nanos() < late, "oversleeps");
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
            }
            model.iter().for_each(|(key, _, _)| wheel.remove(*key));
            prop_assert!(wheel.next_event().is_none() && wheel.len() == 0);
        }
    }
}
