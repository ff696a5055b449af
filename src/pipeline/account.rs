//! What there is to say of a request once it is over: where it went, how it ended, and who took how long.
//!
//! Everything here is written down while the request runs and read once, at its end, by the one place that counts and
//! logs. Most times are those of the wake-ups in which things were seen ([`Handle::now`]), which cost nothing; the clock
//! itself is read only where work of our own ends: when the request has begun to go to its backend, and when the
//! response has begun to go to the client.
//!
//! ```text
//! head complete                                                                                        last byte sent
//!   | route, ... | queue | connect | encode, send | upload | backend's first byte | encode, send | rest of the body |
//!   |  gateway   |       |         |   gateway    |        |                      |   gateway    |                  |
//!   |------------------------------------------- total -------------------------------------------------------------|
//! ```
//!
//! - `queue`: the wait for a connection, where the service has as many as it may.
//! - `connect`: until new connections were there, or failed.
//! - `pause`: between an attempt that failed and the next.
//! - `upload`: from the first byte sent to a backend to the last, of all attempts together. It goes as fast as the slower
//!   of the client and the backend; of a request without a body, it is nothing.
//! - `first_byte`: from there to the head of the backend's response; the timeout of that name counts from there, too. A
//!   response that comes before the last byte is sent ends the upload.
//! - `backend`: the same to the end of the response. Its body goes no faster than the client takes it.
//! - `gateway`: what is left of the time until the first byte of the response has gone to the client: the work of the
//!   gateway itself, and the wait for its turn on a worker that is busy.
//! - `total`: from the complete head of the request to the last byte of the response.
//!
//! [`Handle::now`]: crate::net::Handle::now

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::{Cut, Reject};
use crate::base::time::Instant;
use crate::net::Address;
use crate::snapshot::ServiceId;
use crate::upstream::balance::Target;

/// How a request ended, for who counts and logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The response of a backend was sent whole.
    Replied,
    /// The answer was made here, as a route says.
    Local,
    /// It was refused.
    Refused(Reject),
    /// The response was cut.
    Cut(Cut),
    /// The client left before the response was there.
    ClientGone,
    /// The connection has become a tunnel.
    Switched,
}

impl End {
    /// A stable name in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            End::Replied => "replied",
            End::Local => "local",
            End::Refused(_) => "refused",
            End::Cut(_) => "cut",
            End::ClientGone => "client_gone",
            End::Switched => "switched",
        }
    }

    /// Why it was refused or cut: a stable name in snake case; empty where it was neither.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            End::Refused(reject) => reject.answer().code,
            End::Cut(cut) => cut.code(),
            End::Replied | End::Local | End::ClientGone | End::Switched => "",
        }
    }
}

/// What there is to say of a request.
#[derive(Debug, Default)]
pub struct Account {
    /// When its head was complete: microseconds since 1970 (UTC).
    pub unix_micros: u64,
    /// How long who took.
    pub times: Times,
    /// The service that it was sent to at last.
    pub service: Option<ServiceId>,
    /// The target that it was sent to at last.
    pub target: Option<Rc<Target>>,
    /// How often it was sent, or was to be sent to a target that could not be connected to.
    pub attempts: u32,
    /// How many of these were retries, and not for a kept connection that had died.
    pub retries: u32,
    /// The status that the client got; 0 if it got none.
    pub status: u16,
    /// Bytes that the client sent, with head and framing.
    pub received: u64,
    /// Bytes that were sent to the client, with head and framing.
    pub sent: u64,
}

impl Account {
    /// Takes note of a target that the request goes to.
    pub fn goes_to(&mut self, target: &Rc<Target>) {
        self.attempts += 1;
        self.target = Some(target.clone());
    }

    /// Where the request was sent at last, if that is an IP address.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self.address() {
            Some(Address::Tcp(address)) => Some(*address),
            Some(Address::Unix(_)) | None => None,
        }
    }

    /// Where the request was sent at last.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.target.as_ref().map(|target| target.endpoint.address())
    }
}

/// When a new connection began to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The wake-up in which that was: until then, there was a wait for leave to do so.
    pub woken: Instant,
    /// By the clock.
    pub began: Instant,
}

/// How long who took; see the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// When the head was complete.
    pub began: Instant,
    /// When the response began to go to the client; `None` where it went in one piece, at the end.
    pub replied: Option<Instant>,
    /// When all was over.
    pub ended: Instant,
    /// Nanoseconds of waiting for a connection.
    pub queue: u64,
    /// Nanoseconds of connecting.
    pub connect: u64,
    /// Nanoseconds between attempts.
    pub pause: u64,
    /// Nanoseconds of sending requests.
    pub upload: u64,
    /// Nanoseconds from the end of a request to its response's head.
    pub first_byte: u64,
    /// Nanoseconds from the end of a request to its response's end.
    pub backend: u64,
    /// Whether a backend had the whole request, or answered before.
    pub asked: bool,
}

/// When what of an attempt was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The request had begun to go out.
    pub began: Instant,
    /// Its last byte went out, or the backend took no more of it.
    pub sent: Option<Instant>,
    /// The head of the response was there.
    pub answered: Option<Instant>,
    /// All was over.
    pub ended: Instant,
}

impl Times {
    /// Takes note of a wait for a connection, from `from` to `to`, in which a new one was made, or tried to.
    pub fn add_connection(&mut self, from: Instant, opened: Option<Opened>, to: Instant) {
        self.queue += nanos(from, opened.map_or(to, |opened| opened.woken));
        self.connect += opened.map_or(0, |opened| nanos(opened.began, to));
    }

    /// Takes note of an attempt.
    pub fn add_attempt(&mut self, seen: Seen) {
        let Seen { began, sent, answered, ended } = seen;
        let asked = match (sent, answered) {
            (Some(sent), Some(answered)) => Some(sent.min(answered)),
            (sent, answered) => sent.or(answered),
        };
        // What is sent at once is sent in the wake-up before the clock was read.
        let asked_at = asked.unwrap_or(ended).max(began);
        self.upload += nanos(began, asked_at);
        self.first_byte += nanos(asked_at, answered.unwrap_or(ended));
        self.backend += nanos(asked_at, ended);
        self.asked |= asked.is_some();
    }

    /// Nanoseconds from the head of the request to the last byte of the response.
    #[must_use]
    pub const fn total(&self) -> u64 {
        nanos(self.began, self.ended)
    }

    /// Nanoseconds of the gateway's own work until the response began to go to the client.
    #[must_use]
    pub fn gateway(&self) -> u64 {
        let replied = self.replied.unwrap_or(self.ended);
        let waited = self.queue + self.connect + self.pause + self.upload + self.first_byte;
        nanos(self.began, replied).saturating_sub(waited)
    }

    /// The total as a duration.
    #[must_use]
    pub const fn total_duration(&self) -> Duration {
        Duration::from_nanos(self.total())
    }
}

/// Nanoseconds from `start` to `end`; zero if it is not after it.
#[must_use]
pub const fn nanos(start: Instant, end: Instant) -> u64 {
    end.as_nanos().saturating_sub(start.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_waited_for_is_the_gateway_s() {
        let at = Instant::from_nanos;
        let mut times = Times { began: at(100), ended: at(1_100), ..Times::default() };
        assert_eq!((times.total(), times.gateway()), (1_000, 1_000), "an answer of our own");
        (times.queue, times.connect, times.pause, times.first_byte, times.backend) = (100, 200, 50, 600, 640);
        assert_eq!((times.total(), times.gateway()), (1_000, 50));
        times.replied = Some(at(1_080));
        assert_eq!((times.total(), times.gateway()), (1_000, 30), "the rest of the body is not the gateway's");
        times.upload = 10;
        assert_eq!(times.gateway(), 20);
        // Wake-ups and the clock do not agree to the last nanosecond.
        times.first_byte = 5_000;
        assert_eq!(times.gateway(), 0);
    }

    #[test]
    fn waits_add_up() {
        let at = Instant::from_nanos;
        let mut times = Times::default();
        times.add_connection(at(10), None, at(30));
        times.add_connection(at(40), Some(Opened { woken: at(45), began: at(48) }), at(63));
        // The clock is read after the wake-up in which the connection was there at once.
        times.add_connection(at(70), Some(Opened { woken: at(70), began: at(75) }), at(70));
        let expected = Times { queue: 25, connect: 15, ..Times::default() };
        assert_eq!(times, expected);
    }

    #[test]
    fn an_attempt_is_parted_where_its_request_is_sent() {
        let at = |nanos: u64| Instant::from_nanos(nanos);
        // When it had begun to go out, its last byte went out, the answer came and all was over; what that makes of
        // upload, first byte and backend; and whether the backend was asked.
        for (began, sent, answered, ended, expected, asked) in [
            (80, Some(80), Some(90), 95, [0, 10, 15], true),
            (80, Some(79), Some(90), 95, [0, 10, 15], true),
            (80, Some(86), Some(90), 95, [6, 4, 9], true),
            (80, Some(92), Some(90), 95, [10, 0, 5], true),
            (80, None, Some(90), 95, [10, 0, 5], true),
            (80, Some(82), None, 95, [2, 13, 13], true),
            (80, None, None, 95, [15, 0, 0], false),
        ] {
            let mut times = Times::default();
            let seen = Seen { began: at(began), sent: sent.map(at), answered: answered.map(at), ended: at(ended) };
            times.add_attempt(seen);
            let parts = [times.upload, times.first_byte, times.backend];
            assert_eq!((parts, times.asked), (expected, asked), "{seen:?}");
            times.add_attempt(seen);
            assert_eq!(times.backend, 2 * expected[2], "all attempts together");
        }
    }

    #[test]
    fn ends_have_names_and_reasons() {
        let ends = [
            (End::Replied, "replied", ""),
            (End::Local, "local", ""),
            (End::Refused(Reject::NoRoute), "refused", "no_route"),
            (End::Cut(Cut::Stalled), "cut", "between_bytes_timeout"),
            (End::ClientGone, "client_gone", ""),
            (End::Switched, "switched", ""),
        ];
        for (end, name, code) in ends {
            assert_eq!((end.name(), end.code()), (name, code));
        }
    }
}
