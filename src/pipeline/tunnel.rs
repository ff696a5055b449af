//! The tunnel that an upgraded connection becomes: bytes both ways, until both sides have had enough.
//!
//! After a 101 the two connections speak a protocol that the gateway does not know, WebSocket as a rule, so all that
//! is kept are the promises of a connection:
//! - What came early, behind a head, goes first.
//! - Nothing is received from one side while the other does not take it. A piece that waits is in memory of its own,
//!   not in the pool's, and there is at most one for each direction.
//! - An end of one side becomes an end of the other, behind all bytes, and the other direction goes on. A reset
//!   becomes a reset, as far as sockets have them: on a Unix socket it is an end.
//! - A side that is gone altogether ends the tunnel as soon as that is known, but the other still gets what was sent
//!   before.
//!
//! What would last for ever is bounded: [`TunnelRules`]. A worker that drains leaves its tunnels alone until the
//! drain's time is over, and then they are cut: nobody but the two sides knows a better moment.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::Client;
use crate::base::time::Instant;
use crate::net::{Handle, Over, Reader, Sleep, Stream};
use crate::observe::counters::{Counter, Counters};
use crate::policy::upgrade::Permit;
use crate::shard::Shard;
use crate::upstream::balance::InFlight;
use crate::upstream::queue::Lease;

/// How long a tunnel may last, and how long it may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelRules {
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// In all.
    pub lifetime: Option<Duration>,
    /// For one side to take a piece of what the other has sent, of at most a receive buffer.
    pub stall: Option<Duration>,
}

/// Bytes that have gone through so far, and where they are counted while they go: a tunnel may last for days.
#[derive(Debug, Default)]
pub struct Traffic<'a> {
    up: Cell<u64>,
    down: Cell<u64>,
    counters: Option<&'a Counters>,
}

impl<'a> Traffic<'a> {
    /// Nothing yet; what comes is counted in `counters`.
    #[must_use]
    pub fn new(counters: &'a Counters) -> Traffic<'a> {
        Traffic { counters: Some(counters), ..Traffic::default() }
    }

    /// Bytes from the client to the backend.
    #[must_use]
    pub fn up(&self) -> u64 {
        self.up.get()
    }

    /// Bytes from the backend to the client.
    #[must_use]
    pub fn down(&self) -> u64 {
        self.down.get()
    }

    fn add(&self, source: Side, count: u64) {
        let (sum, counter) = match source {
            Side::Client => (&self.up, Counter::TunnelBytesUp),
            Side::Upstream => (&self.down, Counter::TunnelBytesDown),
        };
        sum.set(sum.get() + count);
        if let Some(counters) = self.counters {
            counters.add(counter, count);
        }
    }
}

/// One of the two ends of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The backend.
    Upstream,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both sides ended, and each got what the other had sent.
    Closed,
    /// This side was gone after its end, while the other might have had more to say. The other got all that it sent.
    Gone(Side),
    /// This side reset its connection, or it broke.
    Reset(Side),
    /// There was nothing to do for too long.
    Idle,
    /// It has lasted as long as it may.
    Lifetime,
    /// This side did not take what it was sent.
    Stalled(Side),
    /// The gateway stops, and the time for what still ran was over.
    Drain,
}

impl TunnelEnd {
    /// Whether the connections must end so that both sides see an error, for bytes are missing in any case.
    fn is_reset(self) -> bool {
        matches!(self, TunnelEnd::Reset(_) | TunnelEnd::Stalled(_))
    }

    /// A stable name in snake case, for logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            TunnelEnd::Closed => "tunnel_closed",
            TunnelEnd::Gone(Side::Client) => "tunnel_client_gone",
            TunnelEnd::Gone(Side::Upstream) => "tunnel_backend_gone",
            TunnelEnd::Reset(Side::Client) => "tunnel_client_reset",
            TunnelEnd::Reset(Side::Upstream) => "tunnel_backend_reset",
            TunnelEnd::Idle => "tunnel_idle",
            TunnelEnd::Lifetime => "tunnel_lifetime",
            TunnelEnd::Stalled(Side::Client) => "tunnel_client_stalled",
            TunnelEnd::Stalled(Side::Upstream) => "tunnel_backend_stalled",
            TunnelEnd::Drain => "drain_timeout",
        }
    }

    /// What has happened, in a sentence.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            TunnelEnd::Closed => "Both sides of an upgraded connection have ended it.",
            TunnelEnd::Gone(Side::Client) => "The client of an upgraded connection is gone.",
            TunnelEnd::Gone(Side::Upstream) => "The backend of an upgraded connection is gone.",
            TunnelEnd::Reset(Side::Client) => "The client has reset an upgraded connection.",
            TunnelEnd::Reset(Side::Upstream) => "The backend has reset an upgraded connection.",
            TunnelEnd::Idle => "An upgraded connection was idle for too long.",
            TunnelEnd::Lifetime => "An upgraded connection has lasted as long as it may.",
            TunnelEnd::Stalled(Side::Client) => "The client of an upgraded connection took nothing for too long.",
            TunnelEnd::Stalled(Side::Upstream) => "The backend of an upgraded connection took nothing for too long.",
            TunnelEnd::Drain => "The gateway stops, and an upgraded connection was not over in time.",
        }
    }
}

/// A connection to a backend that has switched protocols, and what it may do from then on. It outlives the exchange
/// that opened it, whose storage another request can have.
#[derive(Debug)]
pub struct Tunnel {
    upstream: Stream,
    reader: Reader,
    rules: TunnelRules,
    /// Declared behind the stream: it is closed first.
    _held: Option<Held>,
}

/// What a tunnel holds for as long as it lasts.
#[derive(Debug)]
pub struct Held {
    /// The right to have a connection to the target.
    pub lease: Lease,
    /// Its part of the target's load.
    pub in_flight: InFlight,
    /// Its place among the route's tunnels.
    pub permit: Permit,
}

impl Tunnel {
    /// A tunnel to `upstream`, and what came from there behind the head of the 101.
    #[must_use]
    pub fn new(upstream: Stream, reader: Reader, rules: TunnelRules, held: Option<Held>) -> Tunnel {
        Tunnel { upstream, reader, rules, _held: held }
    }

    /// Runs the tunnel to its end, or until what runs on `shard` is broken off, and closes the backend's side as that asks
    /// for. The client's is left to the caller: whether it is to be reset, for bytes are missing on one of the sides, or
    /// else to be closed so that it gets to read what was sent, comes back with the end.
    pub async fn run(mut self, shard: &Shard, client: &mut Client, traffic: &Traffic<'_>) -> (TunnelEnd, bool) {
        let Client { stream, reader, .. } = client;
        let run = tunnel(stream, reader, &self.upstream, &mut self.reader, &self.rules, traffic);
        let end = shard.unless_over(pin!(run)).await.unwrap_or(TunnelEnd::Drain);
        // Who is gone could not be sent all, which the other side need not suffer for.
        let is_cut = matches!(end, TunnelEnd::Drain | TunnelEnd::Lifetime);
        let reset = end.is_reset() || is_cut && !(stream.is_whole() && self.upstream.is_whole());
        if reset {
            self.upstream.reset();
        }
        (end, reset)
    }
}

/// Why a direction cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Its source was reset.
    Source,
    /// Its destination was reset, or takes nothing more.
    Destination(Broken),
    /// Its destination does not take what is there.
    Stalled,
}

/// What became of a side that takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Reset,
    /// It has closed, and may have sent something before.
    Gone,
}

/// How a direction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// With the end of its source, which the destination has been told.
    Whole,
    /// Its destination takes nothing more.
    Broken(Broken),
}

/// Carries bytes both ways between two connections until both directions are over, or the rules end it.
///
/// The future holds two receive loops; it polls them in turns, and each completes a bounded number of operations at a
/// time. Dropping it loses what it holds, so both connections have to be closed then.
pub async fn tunnel(
    client: &Stream,
    client_reader: &mut Reader,
    upstream: &Stream,
    upstream_reader: &mut Reader,
    rules: &TunnelRules,
    traffic: &Traffic<'_>,
) -> TunnelEnd {
    let last = Cell::new(client.handle().now());
    let (stall, reset) = (rules.stall, [const { Cell::new(false) }; 2]);
    let [client_reset, upstream_reset] = &reset;
    let up = Flow {
        from: client,
        to: upstream,
        stall,
        source: Side::Client,
        traffic,
        last: &last,
        from_reset: client_reset,
        to_reset: upstream_reset,
    };
    let down = Flow {
        from: upstream,
        to: client,
        stall,
        source: Side::Upstream,
        traffic,
        last: &last,
        from_reset: upstream_reset,
        to_reset: client_reset,
    };
    let (up, down) = (pin!(up.run(client_reader)), pin!(down.run(upstream_reader)));
    let mut up = Direction::new(Side::Client, up, client.over());
    let mut down = Direction::new(Side::Upstream, down, upstream.over());
    let mut clock = Clock::new(client.handle(), rules, &last);
    let mut up_first = false;
    poll_fn(|context| {
        // One that is always ready must not take the other's share of each turn.
        up_first = !up_first;
        let ended = if up_first {
            up.poll(context).or_else(|| down.poll(context))
        } else {
            down.poll(context).or_else(|| up.poll(context))
        };
        match ended.or_else(|| ended_both(up.done, down.done)).or_else(|| gone(&mut up, &mut down, context)) {
            Some(end) => Poll::Ready(end),
            None => clock.poll(context),
        }
    })
    .await
}

/// How the tunnel ended, if both directions have.
fn ended_both(up: Option<Done>, down: Option<Done>) -> Option<TunnelEnd> {
    Some(match (up?, down?) {
        (Done::Whole, Done::Whole) => TunnelEnd::Closed,
        (Done::Broken(Broken::Reset), _) => TunnelEnd::Reset(Side::Upstream),
        (_, Done::Broken(Broken::Reset)) => TunnelEnd::Reset(Side::Client),
        (Done::Broken(Broken::Gone), _) => TunnelEnd::Gone(Side::Upstream),
        (_, Done::Broken(Broken::Gone)) => TunnelEnd::Gone(Side::Client),
    })
}

/// Whether a side whose end has come takes nothing either: then there is nobody left for what the other would send.
fn gone<F: Future<Output = Result<(), Fault>>>(
    up: &mut Direction<'_, F>,
    down: &mut Direction<'_, F>,
    context: &mut Context<'_>,
) -> Option<TunnelEnd> {
    match (up.done, down.done) {
        (Some(Done::Whole), None) => up.poll_over(context),
        (None, Some(Done::Whole)) => down.poll_over(context),
        _ => None,
    }
}

/// A direction, and whether it has ended.
struct Direction<'a, F> {
    source: Side,
    flow: Pin<&'a mut F>,
    over: Over<'a>,
    done: Option<Done>,
}

impl<'a, F: Future<Output = Result<(), Fault>>> Direction<'a, F> {
    fn new(source: Side, flow: Pin<&'a mut F>, over: Over<'a>) -> Direction<'a, F> {
        Direction { source, flow, over, done: None }
    }

    /// Goes on; the answer is how the tunnel ended, if this has ended it.
    fn poll(&mut self, context: &mut Context<'_>) -> Option<TunnelEnd> {
        if self.done.is_some() {
            return None;
        }
        let destination = if self.source == Side::Client { Side::Upstream } else { Side::Client };
        match self.flow.as_mut().poll(context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.done = Some(Done::Whole),
            // What it has sent before its end is still to be read.
            Poll::Ready(Err(Fault::Destination(broken))) => self.done = Some(Done::Broken(broken)),
            Poll::Ready(Err(Fault::Source)) => return Some(TunnelEnd::Reset(self.source)),
            Poll::Ready(Err(Fault::Stalled)) => return Some(TunnelEnd::Stalled(destination)),
        }
        None
    }

    /// Whether the source, whose end has come, is over in both directions.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Option<TunnelEnd> {
        Pin::new(&mut self.over).poll(context).is_ready().then_some(TunnelEnd::Gone(self.source))
    }
}

/// What one side sends on its way to the other.
struct Flow<'a> {
    from: &'a Stream,
    to: &'a Stream,
    stall: Option<Duration>,
    source: Side,
    traffic: &'a Traffic<'a>,
    /// When something was last received or taken, in either direction.
    last: &'a Cell<Instant>,
    /// Whether the other direction has found out that this one's source was reset, and the other way round: an end that
    /// comes after that is none.
    from_reset: &'a Cell<bool>,
    to_reset: &'a Cell<bool>,
}

impl Flow<'_> {
    async fn run(self, reader: &mut Reader) -> Result<(), Fault> {
        loop {
            if !reader.is_empty() {
                self.send(reader).await?;
            }
            match reader.fill(self.from).await {
                Ok(true) => self.touch(),
                Ok(false) if !self.from_reset.get() => break,
                Ok(false) | Err(_) => return Err(Fault::Source),
            }
        }
        // One that is gone needs no telling.
        let _ = self.to.shutdown_write();
        Ok(())
    }

    /// Sends all that has been received. What does not fit is copied by the stream, and waited for.
    async fn send(&self, reader: &mut Reader) -> Result<(), Fault> {
        let mut sending = self.to.send(&[IoSlice::new(reader.bytes())]);
        let count = reader.bytes().len();
        reader.consume(count);
        sending.departed().await;
        let handle = self.from.handle();
        let patience = self.stall.filter(|_| !sending.is_done());
        let deadline = patience.map_or(Instant::NEVER, |patience| handle.now() + patience);
        let sent = handle.timeout(deadline, sending).await.map_err(|_| Fault::Stalled)?;
        sent.map_err(|error| {
            let broken = Broken::by(&error);
            self.to_reset.set(broken == Broken::Reset);
            Fault::Destination(broken)
        })?;
        self.touch();
        self.traffic.add(self.source, count as u64);
        Ok(())
    }

    fn touch(&self) {
        self.last.set(self.from.handle().now());
    }
}

impl Broken {
    /// A connection that was reset after its end says `BrokenPipe` to who sends: all that came before the end is there.
    fn by(error: &io::Error) -> Broken {
        if error.kind() == io::ErrorKind::BrokenPipe { Broken::Gone } else { Broken::Reset }
    }
}

/// The times that a tunnel keeps to, with one timer for both. A byte does not move the timer: when it fires, it looks
/// whether it was too early.
struct Clock<'a> {
    handle: &'a Handle,
    rules: &'a TunnelRules,
    end: Instant,
    last: &'a Cell<Instant>,
    timer: Sleep,
}

impl<'a> Clock<'a> {
    fn new(handle: &'a Handle, rules: &'a TunnelRules, last: &'a Cell<Instant>) -> Clock<'a> {
        let end = rules.lifetime.map_or(Instant::NEVER, |lifetime| last.get() + lifetime);
        let idle = rules.idle.map_or(Instant::NEVER, |idle| last.get() + idle);
        Clock { handle, rules, end, last, timer: handle.sleep_until(end.min(idle)) }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<TunnelEnd> {
        while Pin::new(&mut self.timer).poll(context).is_ready() {
            let now = self.handle.now();
            let idle = self.rules.idle.map_or(Instant::NEVER, |idle| self.last.get() + idle);
            if self.end <= now {
                return Poll::Ready(TunnelEnd::Lifetime);
            }
            if idle <= now {
                return Poll::Ready(TunnelEnd::Idle);
            }
            self.timer = self.handle.sleep_until(self.end.min(idle));
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
