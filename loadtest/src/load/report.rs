//! What a run has come to, and how it is told.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest time that is told apart: a minute.
const LONGEST: u64 = 60_000_000_000;

/// Why a request, or a connection, has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The connection could not be made.
    Connect,
    /// It was reset.
    Reset,
    /// It was closed before the response had ended.
    Closed,
    /// The response took too long.
    Timeout,
    /// A status other than 200.
    Status(u16),
    /// A body of another length than was asked for.
    Length,
    /// No response that could be read.
    Malformed,
    /// In the open loop: no connection was free for it until the end.
    Unsent,
}

impl Failure {
    fn name(self) -> String {
        match self {
            Self::Connect => "connect".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Status(status) => format!("status_{status}"),
            Self::Length => "length".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::Unsent => "unsent".to_owned(),
        }
    }
}

pub(crate) struct Report {
    /// Responses that were complete within the measured time, good ones only.
    pub(crate) requests: u64,
    /// Bytes of their bodies.
    pub(crate) received: u64,
    pub(crate) measured: Duration,
    /// Of the whole run, with the time before and after the measured one.
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// Connections that the server closed in good order, between requests.
    pub(crate) reopened: u64,
    /// Nanoseconds from the moment at which a request should have been sent to the end of its response, of requests
    /// whose moment was within the measured time.
    latency: Histogram<u64>,
}

impl Report {
    pub(crate) fn new(measured: Duration) -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            requests: 0,
            received: 0,
            measured,
            failures: BTreeMap::new(),
            reopened: 0,
            latency: Histogram::new_with_bounds(1, LONGEST, 3)?,
        })
    }

    pub(crate) fn fail(&mut self, failure: Failure, times: u64) {
        if times > 0 {
            *self.failures.entry(failure).or_default() += times;
        }
    }

    pub(crate) fn took(&mut self, time: Duration) {
        self.latency.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST));
    }

    /// The time within which such a share of the requests was answered.
    #[cfg(test)]
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
    }

    pub(crate) fn json(&self) -> Value {
        let seconds = self.measured.as_secs_f64();
        let failures: BTreeMap<_, _> = self.failures.iter().map(|(failure, times)| (failure.name(), times)).collect();
        let microseconds = |share| self.latency.value_at_quantile(share) as f64 / 1000.0;
        json!({
            "requests": self.requests,
            "seconds": seconds,
            "requests_per_second": self.requests as f64 / seconds,
            "bytes": self.received,
            "errors": self.failures.values().sum::<u64>(),
            "errors_by_kind": failures,
            "reopened": self.reopened,
            "latency_us": {
                "count": self.latency.len(),
                "mean": self.latency.mean() / 1000.0,
                "p50": microseconds(0.5),
                "p90": microseconds(0.9),
                "p99": microseconds(0.99),
                "p999": microseconds(0.999),
                "max": self.latency.max() as f64 / 1000.0,
            },
        })
    }
}
