//! Retries: which requests are sent a second time, when, and how many at most.
//!
//! ```toml
//! [services.users.retries]
//! attempts = 2                 # how often a request is sent in all; 1 for never again
//! on = ["connect", "reset"]    # also "timeout", and statuses such as "502" or "5xx"
//! budget = 0.2                 # retries for each request, over ten seconds; 100 in ten seconds are always free
//! backoff = "25ms"             # before the first retry at most; twice as much before each further one,
//! backoff_max = "250ms"        # up to this
//! non_idempotent = false       # true: also POST and PATCH that may have been carried out already
//! body = "64KiB"               # the largest request body that is kept, to be sent again
//!
//! [routes.search]
//! path = "/search"
//! service = "users"
//! retries = { attempts = 3 }   # the other keys are the service's; `retries = false` for none
//! ```
//!
//! Without a word about it a request is sent again once, when the connection was not made or was cut.
//!
//! | what happened | condition | sent again |
//! |---|---|---|
//! | no connection was made (refused, or too late), so nothing was sent | `connect` | whatever the method |
//! | the connection was cut before a response | `reset` | if idempotent |
//! | the target took too long to take the request or to begin its response | `timeout` | if idempotent |
//! | it answered with a status that is named | `"502"`, `"5xx"` | if idempotent |
//! | its answer is no HTTP, which the client would see as 502 | `"502"` | if idempotent |
//!
//! Idempotent methods are GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110 section 9.2.2); `non_idempotent = true`
//! takes any method for one. What was sent is sent again only while its body, if any, is still there as a whole. A
//! response of which the client has seen anything is never begun again.
//!
//! A status counts against its target only if `statuses` of `ejection` has it as well. Interim answers (1xx) of a target
//! that fails afterwards have gone to the client; they bind nobody (RFC 9110 section 15.2). A retry whose wait would
//! reach the end of the request's time is not made: the client gets what there is at once.
//!
//! # The budget
//! A retry costs the service as much as a request; when all of them fail, retries would multiply the load in the very
//! moment when there is too much of it. So each worker allows each service, over the last ten seconds, one retry for
//! every `1 / budget` requests, and ten a second besides, so that a quiet service has its retries too.
//!
//! The wait before a retry is drawn evenly between nothing and the backoff of its turn ("full jitter"), so that what
//! failed together does not come back together.

mod budget;
mod config;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use budget::RetryBudget;
pub use config::{Conditions, RetriesConfig};

use crate::base::statuses::StatusSet;

/// What is sent again. Made by [`RetriesConfig::compile`].
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// How often a request is sent in all; at least one.
    pub attempts: u32,
    /// When no connection was made.
    pub on_connect: bool,
    /// When the connection was cut.
    pub on_reset: bool,
    /// When the target took too long.
    pub on_timeout: bool,
    /// When it answered with one of these.
    pub on_statuses: StatusSet,
    /// How many retries there may be for each request, from 0 to 1.
    pub budget: f64,
    /// The longest wait before the first retry.
    pub backoff: Duration,
    /// The longest wait before any.
    pub backoff_max: Duration,
    /// Whether every method is taken for an idempotent one.
    pub non_idempotent: bool,
    /// The largest request body that is kept, in bytes.
    pub body: u64,
}

/// Why an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection was made in time, or at all.
    Connect,
    /// The connection was cut before the response's head was there.
    Reset,
    /// The target did not take the request, or not begin its response, in time.
    Timeout,
    /// Its answer is no HTTP.
    Malformed,
    /// It has answered with this status.
    Status(u16),
}

/// What the target may have seen of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte.
    Nothing,
    /// Something, perhaps all: it may have been carried out.
    Something,
}

/// What a decision goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Why the last attempt has failed.
    pub cause: Cause,
    /// How often the request was sent so far, that attempt included; at least one.
    pub attempts: u32,
    /// What the target may have seen.
    pub sent: Sent,
    /// Whether the method is idempotent (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// Whether the request can be sent as a whole once more: it has no body, or the body was kept.
    pub replayable: bool,
}

/// Whether a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be, if the budget allows it.
    Retry,
    /// It must not be, and this is why.
    Stop(Reason),
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody asked for it in this case.
    NotAsked,
    /// It was sent often enough.
    Attempts,
    /// It may have been carried out, and doing so twice may do harm.
    NotIdempotent,
    /// Its body is gone.
    NotReplayable,
}

impl Retries {
    /// Whether a request may be sent again. The budget is asked after that, with [`RetryBudget::allow`].
    #[must_use]
    pub fn may_retry(&self, facts: Facts) -> Decision {
        let asked = match facts.cause {
            Cause::Connect => self.on_connect,
            Cause::Reset => self.on_reset,
            Cause::Timeout => self.on_timeout,
            Cause::Malformed => self.on_statuses.contains(502),
            Cause::Status(status) => self.on_statuses.contains(status),
        };
        let sent = facts.sent == Sent::Something;
        if !asked {
            Decision::Stop(Reason::NotAsked)
        } else if facts.attempts >= self.attempts {
            Decision::Stop(Reason::Attempts)
        } else if sent && !facts.idempotent && !self.non_idempotent {
            Decision::Stop(Reason::NotIdempotent)
        } else if sent && !facts.replayable {
            Decision::Stop(Reason::NotReplayable)
        } else {
            Decision::Retry
        }
    }

    /// Whether a body of `length` bytes is worth keeping: it may be wanted again, and is not too large.
    #[must_use]
    pub fn keeps_body(&self, length: u64, idempotent: bool) -> bool {
        let after_sending = self.on_reset || self.on_timeout || !self.on_statuses.is_empty();
        self.attempts > 1 && after_sending && (idempotent || self.non_idempotent) && length <= self.body
    }

    /// How long to wait before a request is sent again that was sent `attempts` times; `random` is any number.
    #[must_use]
    pub fn backoff(&self, attempts: u32, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let most = self.backoff.saturating_mul(factor).min(self.backoff_max).as_nanos().min(u64::MAX.into());
        // The upper half of the product spreads 64 random bits evenly from 0 to `most`.
        let nanos = (u128::from(random) * (most + 1)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
