//! How many questions were asked of name servers, and how many failed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a question has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(in crate::control) enum Failure {
    /// There is no such name.
    NxDomain,
    /// The name has no such records.
    NoRecords,
    /// Nobody has answered in time.
    Timeout,
    /// The server has answered with an error, or with nonsense.
    Server,
    /// There is no way to the server.
    Network,
    /// Asking ended in a panic.
    Internal,
}

impl Failure {
    /// Every failure, with its label in metrics.
    pub(in crate::control) const ALL: [(Failure, &'static str); 6] = [
        (Failure::NxDomain, "nxdomain"),
        (Failure::NoRecords, "no_records"),
        (Failure::Timeout, "timeout"),
        (Failure::Server, "server"),
        (Failure::Network, "network"),
        (Failure::Internal, "internal"),
    ];
}

/// The counters.
#[derive(Debug, Default)]
pub(in crate::control) struct Counts {
    queries: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
}

impl Counts {
    /// Counts a question.
    pub(super) fn query(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failure.
    pub(super) fn failure(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Questions so far.
    pub(in crate::control) fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Failures of one kind so far.
    pub(in crate::control) fn failures(&self, failure: Failure) -> u64 {
        self.failures[failure as usize].load(Ordering::Relaxed)
    }
}
