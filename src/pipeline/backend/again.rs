//! Whether a request that failed goes out once more, and when.

use std::cell::{Cell, Ref, RefCell};
use std::pin::pin;

use super::Stage;
use super::attempt::{Failure, Progress};
use crate::base::time::Instant;
use crate::http::message::Method;
use crate::observe::counters::Counter;
use crate::pipeline::account::nanos;
use crate::pipeline::{Exchange, Reject};
use crate::snapshot::ServiceId;
use crate::upstream::balance::TargetId;
use crate::upstream::retry::{Cause, Decision, Facts, Sent};

/// What one request may still do.
pub(super) struct Again<'a> {
    stage: &'a Stage<'a>,
    idempotent: bool,
    /// How often it has gone out again.
    retries: Cell<u32>,
    /// When it may go out the next time.
    next: Cell<Instant>,
    /// The targets that it has been to.
    tried: RefCell<Vec<TargetId>>,
}

impl<'a> Again<'a> {
    /// A request that goes out for the first time, with storage for the targets that it goes to.
    pub(super) fn new(stage: &'a Stage<'a>, method: Method, mut tried: Vec<TargetId>) -> Again<'a> {
        stage.backend.budget.borrow_mut().request(stage.shard.handle.now());
        tried.clear();
        let (retries, next) = (Cell::new(0), Cell::new(Instant::ZERO));
        Again { stage, idempotent: method.is_idempotent(), retries, next, tried: RefCell::new(tried) }
    }

    /// Takes note of a target that it goes to.
    pub(super) fn goes_to(&self, target: TargetId) {
        let mut tried = self.tried.borrow_mut();
        if !tried.contains(&target) {
            tried.push(target);
        }
    }

    /// The targets that it has been to.
    pub(super) fn tried(&self) -> Ref<'_, Vec<TargetId>> {
        self.tried.borrow()
    }

    /// Its storage.
    pub(super) fn into_tried(self) -> Vec<TargetId> {
        self.tried.into_inner()
    }

    /// How much of its body is worth keeping.
    pub(super) fn worth_recording(&self) -> usize {
        match &self.stage.route.retries {
            Some(policy) if policy.keeps_body(0, self.idempotent) => usize::try_from(policy.body).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    /// Whether sending it twice is as good as sending it once, or taken to be.
    fn may_repeat(&self) -> bool {
        self.idempotent || self.stage.route.retries.as_ref().is_some_and(|policy| policy.non_idempotent)
    }

    /// Whether it may be sent again although some of it has been sent.
    pub(super) fn is_safe(&self, progress: &Progress) -> bool {
        self.may_repeat() && !progress.lost.get()
    }

    /// Whether an answer with this status is dropped, and another target asked.
    pub(super) fn status(&self, status: u16, progress: &Progress) -> bool {
        self.ask(Cause::Status(status), progress)
    }

    /// Whether the request goes out again after `failure`; waits until it may.
    pub(super) async fn after(&self, failure: Failure, progress: &Progress, x: &mut Exchange) -> bool {
        let again = match failure {
            // That was decided when the answer was seen.
            Failure::Status(_) => true,
            Failure::Closed => self.ask(Cause::Reset, progress),
            Failure::Refused(reject) => cause(reject).is_some_and(|cause| self.ask(cause, progress)),
            Failure::Cut(_) | Failure::ClientGone => false,
        };
        let handle = &self.stage.shard.handle;
        let from = handle.now();
        x.account.retries += u32::from(again);
        if again && self.next.get() > from {
            // Who is broken off meanwhile does not get far.
            let _ = self.stage.shard.unless_over(pin!(handle.sleep_until(self.next.get()))).await;
            x.account.times.pause += nanos(from, handle.now());
        }
        again
    }

    /// Asks for leave to go out again, and spends it. There is none for a request whose time would be over before.
    fn ask(&self, cause: Cause, progress: &Progress) -> bool {
        let Some(policy) = &self.stage.route.retries else { return false };
        let facts = Facts {
            cause,
            attempts: self.retries.get() + 1,
            sent: if cause == Cause::Connect { Sent::Nothing } else { Sent::Something },
            idempotent: self.idempotent,
            replayable: !progress.lost.get(),
        };
        let now = self.stage.shard.handle.now();
        if policy.may_retry(facts) != Decision::Retry {
            return false;
        }
        // Whoever has just failed is not asked again: it would be the same, or too much for it.
        if !self.stage.backend.balancer.borrow_mut().has_other(now, &self.tried.borrow()) {
            return false;
        }
        let retries = self.retries.get() + 1;
        let next = now + policy.backoff(retries, fastrand::u64(..));
        if next >= self.stage.deadline {
            return false;
        }
        let counters = self.stage.shard.counters();
        if !self.stage.backend.budget.borrow_mut().allow(now, policy.budget) {
            self.count_over_budget();
            return false;
        }
        counters.count(Counter::Retries);
        self.retries.set(retries);
        self.next.set(next);
        true
    }

    /// Counts a request that is not sent again because too many others were.
    fn count_over_budget(&self) {
        let Stage { shard, view, route, .. } = self.stage;
        shard.counters().count(Counter::RetriesOverBudget);
        let service = route.action.service().map(ServiceId::index);
        view.edition().service_series.at(service).of(shard.index()).count_over_budget();
    }
}

/// What a refusal is to the rules of retrying; nothing for one that another attempt would not change.
fn cause(reject: Reject) -> Option<Cause> {
    match reject {
        Reject::ConnectFailed | Reject::ConnectTimeout => Some(Cause::Connect),
        Reject::FirstByteTimeout | Reject::SendTimeout => Some(Cause::Timeout),
        Reject::BackendClosed => Some(Cause::Reset),
        Reject::BadResponse(_) | Reject::BadResponseBody(_) | Reject::TooManyInterim | Reject::WrongUpgrade => {
            Some(Cause::Malformed)
        }
        _ => None,
    }
}
