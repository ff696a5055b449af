//! How many retries one worker allows one service.

use std::time::Duration;

use crate::base::time::Instant;

/// So many slots make the window, each of this length.
const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);

/// Retries that are free in one slot.
const FREE_IN_SLOT: u64 = 10;

/// Requests and retries of the last ten seconds, in slots of one second.
#[derive(Debug, Default)]
pub struct RetryBudget {
    slots: [Slot; SLOTS],
    /// The number of the slot that is written, since the clock's start.
    newest: u64,
    /// The sum of all slots.
    sum: Slot,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    requests: u64,
    retries: u64,
}

impl RetryBudget {
    /// Counts a request that is sent for the first time.
    pub fn request(&mut self, now: Instant) {
        self.advance(now);
        self.sum.requests += 1;
        self.current().requests += 1;
    }

    /// Whether a request may be sent again, with so many retries for each request; if so, it is counted as one. Over the
    /// window there are never more than `budget` times the requests, and ten a second.
    #[must_use]
    pub fn allow(&mut self, now: Instant, budget: f64) -> bool {
        self.advance(now);
        let allowed = budget * self.sum.requests as f64 + (FREE_IN_SLOT * SLOTS as u64) as f64;
        if (self.sum.retries + 1) as f64 > allowed {
            return false;
        }
        self.sum.retries += 1;
        self.current().retries += 1;
        true
    }

    /// Forgets the slots that are too old. Time that goes back, as it cannot, stays where it is.
    fn advance(&mut self, now: Instant) {
        let slot = now.as_nanos() / SLOT.as_nanos() as u64;
        let passed = slot.saturating_sub(self.newest).min(SLOTS as u64);
        for step in 1..=passed {
            let old = std::mem::take(&mut self.slots[((slot - passed + step) % SLOTS as u64) as usize]);
            self.sum.requests -= old.requests;
            self.sum.retries -= old.retries;
        }
        self.newest = self.newest.max(slot);
    }

    fn current(&mut self) -> &mut Slot {
        &mut self.slots[(self.newest % SLOTS as u64) as usize]
    }
}
