//! A target, and a connection to it: one that idles, a new one, or the first that becomes free.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::Stage;
use super::again::Again;
use crate::base::time::Instant;
use crate::net::{self, Reader};
use crate::observe::counters::Counter;
use crate::pipeline::Reject;
use crate::pipeline::account::Opened;
use crate::snapshot::Timeouts;
use crate::upstream::balance::{InFlight, Target};
use crate::upstream::pool::Connection;
use crate::upstream::queue::{GRACE, Lease};

/// A connection to a target.
pub(super) struct Upstream {
    pub(super) connection: Connection,
    pub(super) reader: Reader,
    /// It has carried other requests before.
    pub(super) reused: bool,
    /// When it began to be made, if it is new.
    pub(super) opened: Option<Opened>,
}

/// Which targets a request may go to.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    /// What a consistent hash is made of.
    pub(super) key: Option<u64>,
    /// The request, if it may go out more than once: others than the targets that it has been to come first.
    pub(super) again: Option<&'a Again<'a>>,
    /// This target and no other, and without waiting for it.
    pub(super) only: Option<Rc<Target>>,
    /// A new connection, before anybody who waits: another one was found dead.
    pub(super) fresh: bool,
    /// This one, if it can be.
    pub(super) preferred: Option<Rc<Target>>,
    /// What a new connection begins with: a header of the PROXY protocol, or nothing.
    pub(super) preface: &'a [u8],
}

/// Why there is no connection.
pub(super) struct Unconnected {
    pub(super) reject: Reject,
    /// The target that is to blame, and since when it was waited for.
    pub(super) target: Option<(InFlight, Instant)>,
    /// When a connection began to be made.
    pub(super) opened: Option<Opened>,
}

/// What there is for a request, without waiting.
enum Found {
    Idle(Rc<Target>, Connection),
    /// A new connection may be made.
    Leased(Rc<Target>, Lease),
    /// All targets have as many connections as they may.
    Full,
    /// There is no target, or none that is well.
    Nobody,
}

/// Finds a target and a connection to it. The request counts as the target's from before the connection is made.
pub(super) async fn connect(
    stage: &Stage<'_>,
    wanted: &Wanted<'_>,
    waiting: &mut Reader,
) -> Result<(InFlight, Upstream), Unconnected> {
    let found = match find(stage, wanted, stage.backend.queue.is_empty()) {
        // Who wants one target alone would keep those behind him from all others.
        Found::Full if wanted.only.is_some() => return Err(unconnected(Reject::QueueFull)),
        Found::Full => {
            // Somebody else is waited for now, and must not be kept from his buffers.
            waiting.park();
            let waited = stage.shard.unless_over(Box::pin(wait_for_one(stage, wanted)).as_mut()).await;
            // What others who are broken off leave is not for who is about to be.
            waited.filter(|_| !stage.shard.is_over()).unwrap_or_else(|| Err(unconnected(Reject::DrainTimeout)))?
        }
        found => found,
    };
    match found {
        Found::Idle(target, connection) => {
            stage.shard.counters().count(Counter::UpstreamReused);
            Ok((target.begin(), Upstream { connection, reader: Reader::default(), reused: true, opened: None }))
        }
        // It is as rare as it is large.
        Found::Leased(target, lease) => Box::pin(open(stage, target, lease, wanted.preface, waiting)).await,
        Found::Full => Err(unconnected(Reject::QueueFull)),
        Found::Nobody => Err(unconnected(Reject::NoTarget)),
    }
}

fn unconnected(reject: Reject) -> Unconnected {
    Unconnected { reject, target: None, opened: None }
}

/// The best target that has a connection to give, if it `may` be taken.
fn find(stage: &Stage<'_>, wanted: &Wanted<'_>, may: bool) -> Found {
    let now = stage.shard.handle.now();
    if !may && !wanted.fresh {
        return Found::Full;
    }
    if let Some(target) = &wanted.only {
        return at(stage, target, !wanted.fresh).unwrap_or(Found::Full);
    }
    if let Some(found) = wanted.preferred.as_ref().and_then(|target| at(stage, target, true)) {
        return found;
    }
    let tried = wanted.again.map(Again::tried);
    let tried = tried.as_deref().map_or(&[][..], Vec::as_slice);
    let mut balancer = stage.backend.balancer.borrow_mut();
    let Some(first) = balancer.pick(now, wanted.key, tried) else { return Found::Nobody };
    if let Some(found) = at(stage, &first, true) {
        return found;
    }
    // Rare: this one is full. Another may not be.
    let mut passed = tried.to_vec();
    passed.push(first.id());
    while let Some(target) = balancer.pick(now, wanted.key, &passed) {
        if passed.contains(&target.id()) {
            break;
        }
        if let Some(found) = at(stage, &target, true) {
            return found;
        }
        passed.push(target.id());
    }
    Found::Full
}

/// What `target` has to give, if anything.
fn at(stage: &Stage<'_>, target: &Rc<Target>, idle_too: bool) -> Option<Found> {
    let kept = idle_too && stage.service.settings.proxy_protocol.is_none();
    if kept {
        let taken = target.pool.borrow_mut().take(stage.shard.handle.now());
        stage.shard.counters().add(Counter::UpstreamStale, taken.stale);
        if let Some(connection) = taken.connection {
            return Some(Found::Idle(target.clone(), connection));
        }
    }
    let lease = stage.backend.queue.lease(&target.endpoint, stage.service.settings.pool.max_connections)?;
    Some(Found::Leased(target.clone(), lease))
}

/// Waits in the line of this worker until a connection is free.
async fn wait_for_one(stage: &Stage<'_>, wanted: &Wanted<'_>) -> Result<Found, Unconnected> {
    let pool = &stage.service.settings.pool;
    let Some(place) = stage.backend.queue.enter(pool.queue) else { return Err(unconnected(Reject::QueueFull)) };
    stage.shard.counters().count(Counter::UpstreamQueued);
    let found = poll_fn(|context| {
        if !place.is_first(context) {
            return Poll::Pending;
        }
        match find(stage, wanted, true) {
            Found::Full => Poll::Pending,
            found => Poll::Ready(found),
        }
    });
    let mut found = pin!(found);
    let handle = &stage.shard.handle;
    let patience = (handle.now() + pool.queue_timeout).min(stage.deadline);
    // What becomes free on this worker needs no new connection, so it is waited for first.
    if stage.backend.queue.has_connections()
        && let Ok(found) = handle.timeout((handle.now() + GRACE).min(patience), found.as_mut()).await
    {
        return Ok(found);
    }
    place.ask();
    match handle.timeout(patience, found).await {
        Ok(found) => Ok(found),
        Err(_) if patience == stage.deadline => Err(unconnected(Reject::TotalTimeout)),
        Err(_) => Err(unconnected(Reject::QueueTimeout)),
    }
}

/// Makes a connection.
async fn open(
    stage: &Stage<'_>,
    target: Rc<Target>,
    lease: Lease,
    preface: &[u8],
    waiting: &mut Reader,
) -> Result<(InFlight, Upstream), Unconnected> {
    let (shard, handle, counters) = (stage.shard, &stage.shard.handle, stage.shard.counters());
    let in_flight = target.begin();
    // A backend that is slow to accept must not take the buffers from those that answer.
    waiting.park();
    let began = handle.now_exactly();
    let opened = Some(Opened { woken: handle.now(), began });
    let patience = (began + stage.route.timeouts.connect).min(stage.deadline);
    let made = async {
        let stream = net::connect(handle, target.endpoint.address()).await?;
        if !preface.is_empty() {
            stream.send(&[IoSlice::new(preface)]).await?;
        }
        Ok(stream)
    };
    let connected = shard.unless_over(pin!(handle.timeout(patience, pin!(made)))).await;
    let Some(connected) = connected else {
        return Err(Unconnected { reject: Reject::DrainTimeout, target: None, opened });
    };
    let reject = match connected {
        Ok(Ok(stream)) => {
            counters.count(Counter::UpstreamConnects);
            let connection = Connection { stream, lease };
            let reader = Reader::default();
            return Ok((in_flight, Upstream { connection, reader, reused: false, opened }));
        }
        Ok(Err(error)) if is_shortage(&error) => {
            // Idle connections are what we can do without.
            shard.give_up_idle();
            Reject::Exhausted
        }
        Ok(Err(_)) => Reject::ConnectFailed,
        Err(_) if patience == stage.deadline => Reject::TotalTimeout,
        Err(_) => Reject::ConnectTimeout,
    };
    counters.count(Counter::UpstreamConnectErrors);
    let to_blame = match reject {
        // What the gateway lacks, the target is not to blame for.
        Reject::Exhausted => false,
        // Nor for what the request had left of its time, unless that was a fair chance.
        Reject::TotalTimeout => {
            let Timeouts { connect, total, .. } = stage.route.timeouts;
            handle.now_exactly() - began >= connect.min(total.unwrap_or(connect)) / 2
        }
        _ => true,
    };
    let target = to_blame.then_some((in_flight, began));
    Err(Unconnected { reject, target, opened })
}

/// Whether the machine or the process has run out of something.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: &[i32] = &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|errno| SHORTAGES.contains(&errno))
}
