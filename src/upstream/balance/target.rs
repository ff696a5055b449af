//! One target as one worker sees it, and the requests that run there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Context;
use super::ewma::PeakEwma;
use crate::base::time::Instant;
use crate::upstream::affinity::Token;
use crate::upstream::endpoint::{Endpoint, Tally};
use crate::upstream::pool::Pool;

/// A target, by a number that its worker has given it and gives to no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(pub(super) u64);

/// A target of one worker. It lives on while requests run there, also when it is no longer in the list.
#[derive(Debug)]
pub struct Target {
    /// What the process knows of it.
    pub endpoint: Arc<Endpoint>,
    /// This worker's connections to it.
    pub pool: RefCell<Pool>,
    id: TargetId,
    context: Rc<Context>,
    /// What stands for it in cookies.
    pub(super) token: Cell<Option<Token>>,
    /// Requests of other workers that ran there when last looked.
    pub(super) others: Cell<u32>,
    /// Since when it is used.
    pub(super) since: Cell<Option<Instant>>,
    /// How long its answers take.
    pub(super) latency: PeakEwma,
    /// Its place in the smooth round.
    pub(super) turn: Cell<i64>,
    /// Its weight now, in [`SHARE`]s.
    pub(super) share: Cell<u64>,
}

/// The weight of 1 at its full: what a slow start divides.
pub(super) const SHARE: u64 = 100;

/// How a request to a target has ended, as far as the target is to blame or to praise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has answered, with whatever does not count as a failure.
    Succeeded,
    /// It has not, or with what counts as one.
    Failed,
}

impl Target {
    pub(super) fn new(endpoint: Arc<Endpoint>, id: TargetId, context: Rc<Context>) -> Target {
        let pool = context.settings.borrow().pool;
        let token = Cell::new(context.token(&endpoint));
        Target {
            endpoint,
            pool: RefCell::new(Pool::new(pool.idle_connections, pool.idle_timeout)),
            id,
            context,
            token,
            others: Cell::new(0),
            since: Cell::new(None),
            latency: PeakEwma::default(),
            turn: Cell::new(0),
            share: Cell::new(SHARE),
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> TargetId {
        self.id
    }

    /// What stands for it in the cookie of its service; `None` where there is no such cookie.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.token.get()
    }

    /// Requests of this worker that run there.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.tally().active.load(Ordering::Relaxed)
    }

    /// Requests that run there: this worker's now, and those of the others when last looked.
    #[must_use]
    pub fn load(&self) -> u32 {
        self.active().saturating_add(self.others.get())
    }

    /// Counts a request that begins. To be called when it is sent there, and before any wait.
    pub fn begin(self: &Rc<Target>) -> InFlight {
        self.tally().begin();
        self.context.active.set(self.context.active.get() + 1);
        InFlight { target: self.clone() }
    }

    /// Looks at what runs there from other workers; gives back how many.
    pub(super) fn look_at_others(&self) -> u32 {
        let all = self.endpoint.tallies().iter().enumerate().filter(|(index, _)| *index != self.context.worker);
        let others = all.fold(0_u32, |sum, (_, tally)| sum.saturating_add(tally.active.load(Ordering::Relaxed)));
        self.others.set(others);
        others
    }

    fn tally(&self) -> &Tally {
        self.endpoint.tally(self.context.worker)
    }
}

/// A request that runs at a target. Dropped before it has ended, as when the client goes away, it counts neither for
/// the target nor against it.
#[derive(Debug)]
#[must_use = "it counts for as long as it is kept"]
pub struct InFlight {
    target: Rc<Target>,
}

impl InFlight {
    /// Where it runs.
    #[must_use]
    pub fn target(&self) -> &Rc<Target> {
        &self.target
    }

    /// Ends it at `now`, when the whole response is there or will not come; `latency` is the time that its first byte,
    /// or the failure, took. True if this was the failure that ejects the target.
    pub fn end(self, outcome: Outcome, latency: Duration, now: Instant) -> bool {
        let Target { endpoint, context, .. } = &*self.target;
        if let Some(decay) = context.decay() {
            match outcome {
                Outcome::Succeeded => self.target.latency.observe(latency, now, decay),
                Outcome::Failed => self.target.latency.observe_failure(latency, now, decay),
            }
        }
        match outcome {
            Outcome::Succeeded => {
                self.target.tally().succeeded();
                endpoint.record().succeeded();
                false
            }
            Outcome::Failed => {
                self.target.tally().failed();
                let settings = context.settings.borrow();
                let Some(policy) = &settings.ejection else { return false };
                endpoint.record().failed(now, policy) && context.members.eject(endpoint, now, policy)
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.target.tally().end();
        let active = &self.target.context.active;
        active.set(active.get() - 1);
    }
}
