//! The backend stage: a connection from the pool or a new one, the request out, the response back.
//!
//! Both bodies flow at once, in one task: `upload` and `download` are polled
//! side by side, so a response may come while the request is still being sent.
//! What each has learnt that the other must know is in `Progress`.

mod download;
mod outgoing;
mod reply;
mod upload;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use super::exchange::{Client, Exchange};
use super::facts::Facts;
use super::relay::Relay;
use super::{Ended, Reject};
use crate::base::time::Instant;
use crate::http::edit::Scratch;
use crate::http::h1::parse::ResponseContext;
use crate::http::message::Version;
use crate::net::{self, Handle, Reader, Stream};
use crate::observe::counters::Counter;
use crate::shard::Shard;
use crate::snapshot::{ConnectionLimits, Route, ServiceId, Snapshot, Timeouts};
use crate::upstream::pool::Taken;

/// A connection to a backend.
struct Upstream {
    stream: Stream,
    reader: Reader,
    reused: bool,
}

/// How an attempt on one connection ended, if not well.
enum Failure {
    /// The connection ended before a byte of the response.
    Closed,
    Refused(Reject),
    Cut,
    ClientGone,
}

/// How far the request has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sent {
    #[default]
    Partly,
    /// Its last byte went out then.
    Whole(Instant),
    /// The backend took no more of it, which we learnt then; it may still answer.
    Stuck(Instant),
}

/// What the two directions of an exchange know of each other.
#[derive(Default)]
struct Progress {
    sent: Cell<Sent>,
    /// The backend has asked for the body.
    continued: Cell<bool>,
    /// The response's head has gone to the client.
    replying: Cell<bool>,
    /// What the answer was.
    status: Cell<u16>,
    bytes_sent: Cell<u64>,
}

/// What the directions have to keep to.
struct Rules<'a> {
    handle: &'a Handle,
    timeouts: Timeouts,
    limits: ConnectionLimits,
    expects_continue: bool,
    method: ResponseContext,
    client_version: Version,
    may_keep_alive: bool,
    facts: Facts<'a>,
    scratch: &'a RefCell<Scratch>,
}

/// Sends the request in `x`, which has taken `route`, to the backend of `service` and its response to the client.
///
/// # Errors
/// The refusal to answer with. Nothing of a response has been sent then.
pub async fn proxy(
    shard: &Shard,
    snapshot: &Snapshot,
    route: &Route,
    service: ServiceId,
    x: &mut Exchange,
    client: &mut Client,
    may_keep_alive: bool,
) -> Result<Ended, Reject> {
    let authority = &shard.backend(service.index()).authority;
    outgoing::encode(snapshot, route, authority, x, client)?;
    let deadline = route.timeouts.total.map_or(Instant::NEVER, |total| x.started + total);
    // A request without a body that may be repeated goes out again, once, when
    // the kept connection it went out on turns out to have died.
    let mut repeatable = x.request.method().is_idempotent() && !x.request.framing().may_have_body();
    let mut from_pool = true;
    loop {
        let mut upstream = connect(shard, snapshot, route, service, &mut client.reader, deadline, from_pool).await?;
        let progress = Progress::default();
        let ended =
            attempt(shard, snapshot, route, x, client, &mut upstream, &progress, deadline, may_keep_alive).await;
        shard.counters().add(Counter::BytesSent, progress.bytes_sent.get());
        let status = progress.status.get();
        return match ended {
            Ok((keep_alive, true)) => {
                shard.backend(service.index()).pool.borrow_mut().put(upstream.stream, shard.handle.now());
                Ok(Ended::Replied { status, keep_alive })
            }
            Ok((keep_alive, false)) => Ok(Ended::Replied { status, keep_alive }),
            Err(Failure::Closed) if upstream.reused && repeatable => {
                // What one kept connection died of, the others may die of, too.
                (repeatable, from_pool) = (false, false);
                shard.counters().count(Counter::UpstreamReplaced);
                continue;
            }
            Err(Failure::Closed) => Err(Reject::BackendClosed),
            Err(Failure::Refused(reject)) => Err(reject),
            Err(Failure::Cut) if !progress.replying.get() => Ok(Ended::ClientGone),
            Err(Failure::Cut) => {
                // Where the end of the connection is the end of the body, only a reset tells them apart.
                Ok(Ended::Cut { status, reset: x.request.version() == Version::Http10 })
            }
            Err(Failure::ClientGone) => Ok(Ended::ClientGone),
        };
    }
}

/// A connection from the pool, if it may be, or a new one.
async fn connect(
    shard: &Shard,
    snapshot: &Snapshot,
    route: &Route,
    service: ServiceId,
    waiting: &mut Reader,
    deadline: Instant,
    from_pool: bool,
) -> Result<Upstream, Reject> {
    let (handle, counters) = (&shard.handle, shard.counters());
    let taken = if from_pool {
        shard.backend(service.index()).pool.borrow_mut().take(handle.now())
    } else {
        Taken { stream: None, stale: 0 }
    };
    counters.add(Counter::UpstreamStale, taken.stale);
    if let Some(stream) = taken.stream {
        counters.count(Counter::UpstreamReused);
        return Ok(Upstream { stream, reader: Reader::default(), reused: true });
    }
    // A backend that is slow to accept must not take the buffers from those that answer.
    waiting.park();
    let address = snapshot.service(service).address.into();
    let patience = (handle.now_exactly() + route.timeouts.connect).min(deadline);
    let connected = handle.timeout(patience, pin!(net::connect(handle, &address))).await;
    let failed = match connected {
        Ok(Ok(stream)) => {
            counters.count(Counter::UpstreamConnects);
            return Ok(Upstream { stream, reader: Reader::default(), reused: false });
        }
        Ok(Err(error)) if is_shortage(&error) => {
            // Idle connections are what we can do without.
            shard.give_up_idle();
            Reject::Exhausted
        }
        Ok(Err(_)) => Reject::ConnectFailed,
        Err(_) if patience == deadline => Reject::TotalTimeout,
        Err(_) => Reject::ConnectTimeout,
    };
    counters.count(Counter::UpstreamConnectErrors);
    Err(failed)
}

/// Whether the machine or the process has run out of something.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: &[i32] = &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|errno| SHORTAGES.contains(&errno))
}

/// Runs both directions on one connection, to the end of the response. The answer says whether the client's
/// connection may be used again, and whether the backend's may.
#[expect(clippy::too_many_arguments, reason = "what an attempt needs; a struct would be filled in one place only")]
async fn attempt(
    shard: &Shard,
    snapshot: &Snapshot,
    route: &Route,
    x: &mut Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
    progress: &Progress,
    deadline: Instant,
    may_keep_alive: bool,
) -> Result<(bool, bool), Failure> {
    let Exchange { request, response, upload: up, download: down, outgoing, reply, id, path, origin, scratch, .. } = x;
    let path = if path.is_empty() { request.path().as_bytes() } else { &**path };
    let facts = Facts { snapshot, route, request, path, origin, id };
    let rules = Rules {
        handle: &shard.handle,
        timeouts: route.timeouts,
        limits: snapshot.limits,
        expects_continue: request.expects_continue(),
        method: ResponseContext { method: request.method(), upgrade_requested: false },
        client_version: request.version(),
        may_keep_alive: may_keep_alive && request.keep_alive(),
        facts,
        scratch,
    };
    up.reset(request.framing());
    let relay = Relay::new(&mut client.reader, up, &upstream.stream, request.framing(), route.limits.body);
    let upload = pin!(upload::upload(&client.stream, relay, outgoing, &rules, progress));
    let back = download::Back {
        upstream: &upstream.stream,
        reader: &mut upstream.reader,
        client: &client.stream,
        head: response,
    };
    let download = pin!(download::download(back, down, reply, shard, &rules, progress));
    let both = pin!(side_by_side(upload, download, progress, || shard.handle.now()));
    match shard.handle.timeout(deadline, both).await {
        Ok(ended) => ended,
        Err(_) if progress.replying.get() => Err(Failure::Cut),
        Err(_) => Err(Failure::Refused(Reject::TotalTimeout)),
    }
}

/// Polls both directions until the response is over. A fault of the client ends the exchange; a backend that does
/// not take the request may still have answered it.
async fn side_by_side(
    mut upload: Pin<&mut impl Future<Output = Result<(), Failure>>>,
    mut download: Pin<&mut impl Future<Output = Result<(bool, bool), Failure>>>,
    progress: &Progress,
    now: impl Fn() -> Instant,
) -> Result<(bool, bool), Failure> {
    let mut uploading = true;
    poll_fn(|context| {
        if uploading && let Poll::Ready(ended) = upload.as_mut().poll(context) {
            uploading = false;
            match ended {
                Err(Failure::Closed) => {
                    // Nothing more can be sent; the time for an answer runs from now on.
                    progress.sent.set(Sent::Stuck(now()));
                }
                // It answers already and needs no more of the request.
                Err(Failure::Refused(Reject::FirstByteTimeout)) if progress.replying.get() => {
                    progress.sent.set(Sent::Stuck(now()));
                }
                Err(_) if progress.replying.get() => return Poll::Ready(Err(Failure::Cut)),
                Err(failure) => return Poll::Ready(Err(failure)),
                Ok(()) => {}
            }
        }
        let asked = progress.continued.get();
        let polled = download.as_mut().poll(context);
        if polled.is_pending() && asked != progress.continued.get() {
            // The backend has asked for the body: the upload waits for something else now.
            context.waker().wake_by_ref();
        }
        polled
    })
    .await
}
