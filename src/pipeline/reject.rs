//! Every refusal, and how a client is told.
//!
//! All refusals go through the one match in [`Reject::answer`], so they are
//! shaped, counted and logged alike. They are problem details (RFC 9457) with
//! two members of ours, `code` for machines and `request_id` for the log.

use std::fmt::Write;

use crate::http::error::{BodyError, HeadError};
use crate::router::path::PathError;

/// Why a request is refused, or could not be answered by its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The request's head is malformed or too large.
    Head(HeadError),
    /// The request's body is malformed.
    Body(BodyError),
    /// The request's path cannot be brought to normal form.
    Path(PathError),
    /// The head did not arrive in time.
    HeadTimeout,
    /// The body came slower than the minimum rate.
    BodyTimeout,
    /// The body is larger than its route admits.
    BodyTooLarge,
    /// No route takes the request.
    NoRoute,
    /// Routes take the request with other methods only.
    MethodNotAllowed,
    /// The worker has as many connections as it may.
    TooManyConnections,
    /// The gateway itself has run out of something, such as descriptors.
    Exhausted,
    /// The route has as many tunnels as it may.
    TooManyTunnels,
    /// The service has no target that may be used.
    NoTarget,
    /// All connections that the service may have are in use, and too many wait for one.
    QueueFull,
    /// All connections that the service may have were in use for too long.
    QueueTimeout,
    /// The backend could not be connected to.
    ConnectFailed,
    /// The backend did not accept a connection in time.
    ConnectTimeout,
    /// The backend closed or reset the connection instead of answering.
    BackendClosed,
    /// The backend's response head is malformed.
    BadResponse(HeadError),
    /// The backend's response has a malformed body, which was seen before anything of it was sent on.
    BadResponseBody(BodyError),
    /// The backend sent one interim response after the other.
    TooManyInterim,
    /// The backend switches protocols in a way that it was not asked for.
    WrongUpgrade,
    /// The backend stopped taking the request.
    SendTimeout,
    /// The backend did not begin to answer in time.
    FirstByteTimeout,
    /// The whole exchange took too long.
    TotalTimeout,
    /// The gateway stops, and the time for what still ran is over.
    DrainTimeout,
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// A stable name in snake case.
    pub code: &'static str,
    /// What is wrong, in a sentence for people.
    pub detail: &'static str,
    /// Whether the connection must end, because nobody knows where the next request begins.
    pub closes: bool,
}

/// Where the codes of heads and bodies begin in the numbering of causes.
const HEADS: usize = 32;
const BODIES: usize = HEADS + HeadError::ALL.len();
const CAUSES: usize = BODIES + BodyError::ALL.len();
const _: () = assert!(CAUSES <= crate::observe::counters::REFUSALS, "every cause has a counter");

impl Reject {
    /// The refusals without a cause of their own behind them.
    const PLAIN: &[Reject] = &[
        Reject::Path(PathError::NotAbsolute),
        Reject::HeadTimeout,
        Reject::BodyTimeout,
        Reject::BodyTooLarge,
        Reject::NoRoute,
        Reject::MethodNotAllowed,
        Reject::TooManyConnections,
        Reject::Exhausted,
        Reject::TooManyTunnels,
        Reject::NoTarget,
        Reject::QueueFull,
        Reject::QueueTimeout,
        Reject::ConnectFailed,
        Reject::ConnectTimeout,
        Reject::BackendClosed,
        Reject::BadResponse(HeadError::BadStatusLine),
        Reject::BadResponseBody(BodyError::ChunkSize),
        Reject::TooManyInterim,
        Reject::WrongUpgrade,
        Reject::SendTimeout,
        Reject::FirstByteTimeout,
        Reject::TotalTimeout,
        Reject::DrainTimeout,
    ];

    /// What the client is told.
    #[must_use]
    pub fn answer(self) -> Answer {
        let answer = |status, code, detail, closes| Answer { status, code, detail, closes };
        match self {
            Reject::Head(error) => answer(error.status(), error.code(), error.detail(), true),
            Reject::Body(error) => answer(error.status(), error.code(), error.detail(), true),
            Reject::Path(error) => answer(400, "bad_path", error.detail(), false),
            Reject::HeadTimeout => answer(408, "head_timeout", "The request's head did not arrive in time.", true),
            Reject::BodyTimeout => answer(408, "body_timeout", "The request's body arrived too slowly.", true),
            Reject::BodyTooLarge => answer(413, "body_too_large", "The request's body is larger than allowed.", true),
            Reject::NoRoute => answer(404, "no_route", "No route takes this request.", false),
            Reject::MethodNotAllowed => {
                answer(405, "method_not_allowed", "No route takes this request with this method.", false)
            }
            Reject::TooManyConnections => {
                answer(503, "too_many_connections", "The gateway has as many connections as it may.", true)
            }
            Reject::Exhausted => {
                answer(503, "exhausted", "The gateway has run out of descriptors, ports or memory.", false)
            }
            Reject::TooManyTunnels => {
                answer(503, "too_many_tunnels", "The route has as many upgraded connections as it may.", false)
            }
            Reject::NoTarget => answer(503, "no_target", "The service has no target that is well.", false),
            Reject::QueueFull => answer(503, "queue_full", "Too many requests wait for a connection.", false),
            Reject::QueueTimeout => answer(503, "queue_timeout", "No connection became free in time.", false),
            Reject::ConnectFailed => answer(502, "connect_failed", "The backend could not be connected to.", false),
            Reject::ConnectTimeout => {
                answer(504, "connect_timeout", "The backend did not accept a connection in time.", false)
            }
            Reject::BackendClosed => {
                answer(502, "backend_closed", "The backend closed the connection instead of answering.", false)
            }
            Reject::BadResponse(error) => answer(502, "bad_response", error.detail(), false),
            Reject::BadResponseBody(error) => answer(502, "bad_response_body", error.detail(), false),
            Reject::TooManyInterim => {
                answer(502, "too_many_interim", "The backend sent too many interim responses.", false)
            }
            Reject::WrongUpgrade => {
                answer(502, "wrong_upgrade", "The backend switches to a protocol that it was not asked for.", false)
            }
            Reject::SendTimeout => answer(504, "send_timeout", "The backend did not take the request in time.", false),
            Reject::FirstByteTimeout => {
                answer(504, "first_byte_timeout", "The backend did not begin to answer in time.", false)
            }
            Reject::TotalTimeout => answer(504, "total_timeout", "The backend did not finish in time.", false),
            Reject::DrainTimeout => {
                answer(503, "drain_timeout", "The gateway stops, and the request was not over in time.", true)
            }
        }
    }

    /// Whether this is what a backend has done, or failed to do.
    #[must_use]
    pub fn is_by_backend(self) -> bool {
        match self {
            Reject::ConnectFailed
            | Reject::ConnectTimeout
            | Reject::BackendClosed
            | Reject::BadResponse(_)
            | Reject::BadResponseBody(_)
            | Reject::TooManyInterim
            | Reject::WrongUpgrade
            | Reject::SendTimeout
            | Reject::FirstByteTimeout => true,
            Reject::Head(_)
            | Reject::Body(_)
            | Reject::Path(_)
            | Reject::HeadTimeout
            | Reject::BodyTimeout
            | Reject::BodyTooLarge
            | Reject::NoRoute
            | Reject::MethodNotAllowed
            | Reject::TooManyConnections
            | Reject::Exhausted
            | Reject::TooManyTunnels
            | Reject::NoTarget
            | Reject::QueueFull
            | Reject::QueueTimeout
            | Reject::TotalTimeout
            | Reject::DrainTimeout => false,
        }
    }

    /// The number that this cause is counted by.
    #[must_use]
    pub fn cause(self) -> usize {
        match self {
            Reject::Head(error) => HEADS + HeadError::ALL.iter().position(|other| *other == error).unwrap_or(0),
            Reject::Body(error) => BODIES + BodyError::ALL.iter().position(|other| *other == error).unwrap_or(0),
            plain => {
                let same = |other: &&Reject| std::mem::discriminant(*other) == std::mem::discriminant(&plain);
                Reject::PLAIN.iter().position(|other| same(&other)).unwrap_or(HEADS - 1)
            }
        }
    }

    /// Every cause: its number and its code.
    pub fn causes() -> impl Iterator<Item = (usize, &'static str)> {
        let heads = HeadError::ALL.iter().map(|&error| Reject::Head(error));
        let bodies = BodyError::ALL.iter().map(|&error| Reject::Body(error));
        let all = Reject::PLAIN.iter().copied().chain(heads).chain(bodies);
        all.map(|reject| (reject.cause(), reject.answer().code))
    }
}

impl Answer {
    /// Writes the problem details into `body`.
    ///
    /// # Errors
    /// None that happens: writing to a string does not fail.
    pub fn describe(&self, request_id: &str, body: &mut String) -> std::fmt::Result {
        let Answer { status, code, detail, .. } = self;
        let title = crate::http::h1::encode::reason(*status);
        writeln!(
            body,
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":\"{detail}\",\
             \"code\":\"{code}\",\"request_id\":\"{request_id}\"}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_number_of_its_own_and_a_body_that_is_json() {
        let mut numbers: Vec<_> = Reject::causes().map(|(number, _)| number).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        assert!(Reject::PLAIN.len() < HEADS);
        for reject in Reject::PLAIN {
            let answer = reject.answer();
            assert!((400..600).contains(&answer.status) && !answer.detail.contains(['"', '\\']));
            let mut body = String::new();
            answer.describe("0", &mut body).unwrap();
            assert!(
                body.starts_with("{\"type\":\"about:blank\",\"title\":\"") && body.ends_with("\"request_id\":\"0\"}\n")
            );
            assert!(body.contains(&format!("\"status\":{},", answer.status)));
        }
        assert!(HeadError::ALL.iter().all(|error| !error.detail().contains(['"', '\\'])));
        assert!(BodyError::ALL.iter().all(|error| !error.detail().contains(['"', '\\'])));
    }
}
