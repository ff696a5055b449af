//! The backend stage: a connection from the pool or a new one, the request out, the response back.
//!
//! Both bodies flow at once, in one task: [`upload`] and [`download`] are polled
//! side by side, so a response may come while the request is still being sent.
//! What each has learnt that the other must know is in [`Progress`].

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use super::exchange::{Body, Client, Exchange};
use super::relay::{Fault, Relay};
use super::{Ended, Reject};
use crate::base::time::Instant;
use crate::http::error::HeadError;
use crate::http::fields::{FieldName, FieldValue, Known, KnownSet};
use crate::http::h1::encode::{
    RequestForward, ResponseForward, Target, encode_interim, encode_request, encode_response,
};
use crate::http::h1::parse::{HeadLimits, Progress as Parsed, ResponseContext, ResponseHead};
use crate::http::message::{Framing, Version};
use crate::net::{self, Handle, Reader, Stream};
use crate::observe::counters::Counter;
use crate::shard::Shard;
use crate::snapshot::{ConnectionLimits, Route, Snapshot, Timeouts};
use crate::upstream::pool::Taken;

/// What a client says about itself and its path is replaced by what we know.
const REPLACED: KnownSet = KnownSet::of(&[
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::Forwarded,
    Known::XRequestId,
]);

const X_FORWARDED_FOR: FieldName<'static> = FieldName::literal("X-Forwarded-For");
const X_FORWARDED_PROTO: FieldName<'static> = FieldName::literal("X-Forwarded-Proto");
const X_FORWARDED_HOST: FieldName<'static> = FieldName::literal("X-Forwarded-Host");
/// The request's id, on both sides.
pub const X_REQUEST_ID: FieldName<'static> = FieldName::literal("X-Request-Id");

/// Interim responses that one request may have; more are a backend gone wrong.
const INTERIM_MAX: usize = 32;

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
    request_id: FieldValue<'a>,
}

/// Sends the request in `x` to the backend of `route` and its response to the client.
///
/// # Errors
/// The refusal to answer with. Nothing of a response has been sent then.
pub async fn proxy(
    shard: &Shard,
    snapshot: &Snapshot,
    route: &Route,
    x: &mut Exchange,
    client: &mut Client,
    may_keep_alive: bool,
) -> Result<Ended, Reject> {
    encode_outgoing(shard, route, x, client)?;
    let deadline = route.timeouts.total.map_or(Instant::NEVER, |total| x.started + total);
    // A request without a body that may be repeated goes out again, once, when
    // the kept connection it went out on turns out to have died.
    let mut repeatable = x.request.method().is_idempotent() && !x.request.framing().may_have_body();
    let mut from_pool = true;
    loop {
        let mut upstream = connect(shard, snapshot, route, deadline, from_pool).await?;
        let progress = Progress::default();
        let ended = attempt(shard, route, x, client, &mut upstream, &progress, deadline, may_keep_alive).await;
        shard.counters().add(Counter::BytesSent, progress.bytes_sent.get());
        let status = progress.status.get();
        return match ended {
            Ok((keep_alive, true)) => {
                shard.backend(route.service).pool.borrow_mut().put(upstream.stream, shard.handle.now());
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
            Err(Failure::Cut) => {
                // Where the end of the connection is the end of the body, only a reset tells them apart.
                Ok(Ended::Cut { status, reset: x.request.version() == Version::Http10 })
            }
            Err(Failure::ClientGone) => Ok(Ended::ClientGone),
        };
    }
}

/// Writes the request's head as it goes to the backend.
fn encode_outgoing(shard: &Shard, route: &Route, x: &mut Exchange, client: &Client) -> Result<(), Reject> {
    let Exchange { request, outgoing, target, id, .. } = x;
    let value = |bytes| FieldValue::new(bytes).unwrap_or(FieldValue::literal("invalid"));
    let host = request.host().unwrap_or_default();
    let append = [
        (X_FORWARDED_FOR, value(client.address.as_bytes())),
        (X_FORWARDED_PROTO, FieldValue::literal("http")),
        (X_REQUEST_ID, value(&id.0)),
        (X_FORWARDED_HOST, value(host.as_bytes())),
    ];
    let append = if host.is_empty() { &append[..3] } else { &append };
    let forward = RequestForward {
        target: Target::new(target).ok_or(Reject::Head(HeadError::BadTarget))?,
        framing: request.framing(),
        host: None,
        default_host: value(shard.backend(route.service).authority.as_bytes()),
        close: false,
        drop: REPLACED,
        append,
    };
    outgoing.clear();
    encode_request(request, &forward, outgoing);
    Ok(())
}

/// A connection from the pool, if it may be, or a new one.
async fn connect(
    shard: &Shard,
    snapshot: &Snapshot,
    route: &Route,
    deadline: Instant,
    from_pool: bool,
) -> Result<Upstream, Reject> {
    let (handle, counters) = (&shard.handle, shard.counters());
    let taken = if from_pool {
        shard.backend(route.service).pool.borrow_mut().take(handle.now())
    } else {
        Taken { stream: None, stale: 0 }
    };
    counters.add(Counter::UpstreamStale, taken.stale);
    if let Some(stream) = taken.stream {
        counters.count(Counter::UpstreamReused);
        return Ok(Upstream { stream, reader: Reader::default(), reused: true });
    }
    let address = snapshot.service(route.service).address;
    let patience = (handle.now_exactly() + route.timeouts.connect).min(deadline);
    let connected = handle.timeout(patience, pin!(net::connect(handle, address))).await;
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
    route: &Route,
    x: &mut Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
    progress: &Progress,
    deadline: Instant,
    may_keep_alive: bool,
) -> Result<(bool, bool), Failure> {
    let Exchange { request, response, upload: up, download: down, outgoing, reply, id, .. } = x;
    let rules = Rules {
        handle: &shard.handle,
        timeouts: route.timeouts,
        limits: shard.snapshot.limits,
        expects_continue: request.expects_continue(),
        method: ResponseContext { method: request.method(), upgrade_requested: false },
        client_version: request.version(),
        may_keep_alive: may_keep_alive && request.keep_alive(),
        request_id: FieldValue::new(&id.0).unwrap_or(FieldValue::literal("invalid")),
    };
    up.reset(request.framing());
    let relay = Relay::new(&mut client.reader, up, &upstream.stream, request.framing(), route.limits.body);
    let upload = pin!(upload(&client.stream, relay, outgoing, &rules, progress));
    let back =
        Back { upstream: &upstream.stream, reader: &mut upstream.reader, client: &client.stream, head: response };
    let download = pin!(download(back, down, reply, shard, &rules, progress));
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
                Err(_) if progress.replying.get() => return Poll::Ready(Err(Failure::Cut)),
                Err(failure) => return Poll::Ready(Err(failure)),
                Ok(()) => {}
            }
        }
        download.as_mut().poll(context)
    })
    .await
}

/// Sends the request: its head, and its body as it comes.
async fn upload(
    client: &Stream,
    mut relay: Relay<'_>,
    head: &[u8],
    rules: &Rules<'_>,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut head = head;
    let mut waited = Duration::ZERO;
    loop {
        let step = relay.step(head).map_err(|fault| Failure::Refused(refusal(fault)))?;
        head = &[];
        let done = step.done;
        if step.sending.is_done() {
            drop(step);
        } else {
            // A backend that stops taking the request is as late as one that does not answer.
            let patience = rules.timeouts.first_byte.map_or(Instant::NEVER, |first| rules.handle.now() + first);
            let sent = rules.handle.timeout(patience, step.sending).await;
            sent.map_err(|_| Failure::Refused(Reject::FirstByteTimeout))?.map_err(|_| Failure::Closed)?;
        }
        if done {
            progress.sent.set(Sent::Whole(rules.handle.now()));
            return Ok(());
        }
        if !relay.has_more() {
            waited += receive_body(client, &mut relay, rules, progress, waited).await?;
        }
    }
}

/// Receives more of the request's body, not slower than the minimum rate; says how long that took.
async fn receive_body(
    client: &Stream,
    relay: &mut Relay<'_>,
    rules: &Rules<'_>,
    progress: &Progress,
    waited: Duration,
) -> Result<Duration, Failure> {
    let began = rules.handle.now();
    let received = relay.body.decoder.received();
    let expected = received > 0 || !rules.expects_continue || progress.continued.get();
    let deadline = match rules.limits.body_rate {
        // The client waits for the backend to ask: the rate does not count yet.
        _ if !expected => began + rules.limits.idle_timeout,
        None => began + rules.limits.idle_timeout,
        Some(rate) => {
            let due = Duration::from_nanos(
                (u128::from(received) * 1_000_000_000 / u128::from(rate.bytes_per_second.get()))
                    .min(u128::from(u64::MAX)) as u64,
            );
            began + due.max(rate.grace).saturating_sub(waited)
        }
    };
    match rules.handle.timeout(deadline, pin!(relay.from.fill(client))).await {
        Err(_) => Err(Failure::Refused(Reject::BodyTimeout)),
        Ok(Err(_)) => Err(Failure::ClientGone),
        Ok(Ok(true)) => Ok(rules.handle.now() - began),
        Ok(Ok(false)) => match relay.body.decoder.end_of_input() {
            Ok(()) => Ok(Duration::ZERO),
            Err(error) => Err(Failure::Refused(Reject::Body(error))),
        },
    }
}

fn refusal(fault: Fault) -> Reject {
    match fault {
        Fault::Malformed(error) => Reject::Body(error),
        Fault::TooLarge => Reject::BodyTooLarge,
    }
}

/// Where a response comes from and goes to.
struct Back<'a> {
    upstream: &'a Stream,
    reader: &'a mut Reader,
    client: &'a Stream,
    head: &'a mut ResponseHead,
}

/// Receives the response and sends it on as it comes.
async fn download(
    mut back: Back<'_>,
    body: &mut Body,
    reply: &mut Vec<u8>,
    shard: &Shard,
    rules: &Rules<'_>,
    progress: &Progress,
) -> Result<(bool, bool), Failure> {
    receive_head(&mut back, reply, shard, rules, progress).await?;
    let head = &*back.head;
    let framing = head.framing().for_client(rules.client_version);
    // A request that is not over would have to be read to its end first.
    let whole = matches!(progress.sent.get(), Sent::Whole(_));
    let keep_alive = rules.may_keep_alive && whole && framing != Framing::UntilClose && !shard.is_draining();
    let forward = ResponseForward {
        framing,
        client: rules.client_version,
        keep_alive,
        drop: KnownSet::of(&[Known::XRequestId]),
        append: &[(X_REQUEST_ID, rules.request_id)],
    };
    reply.clear();
    encode_response(head, &forward, reply);
    progress.status.set(head.status());
    progress.replying.set(true);
    body.reset(head.framing());
    let reusable = head.keep_alive() && head.framing() != Framing::UntilClose;
    let mut relay = Relay::new(back.reader, body, back.client, framing, u64::MAX);
    let mut head = &reply[..];
    loop {
        let step = relay.step(head).map_err(|_| Failure::Cut)?;
        head = &[];
        progress.bytes_sent.set(relay.sent());
        let done = step.done;
        send_to_client(step.sending, rules).await?;
        if done {
            break;
        }
        if !relay.has_more() && !relay.from.fill(back.upstream).await.map_err(|_| Failure::Cut)? {
            relay.body.decoder.end_of_input().map_err(|_| Failure::Cut)?;
        }
    }
    // Bytes behind the response answer a request that was never sent.
    let whole = matches!(progress.sent.get(), Sent::Whole(_));
    Ok((keep_alive, reusable && whole && !relay.has_more()))
}

/// Receives the final response's head; interim ones are sent on.
async fn receive_head(
    back: &mut Back<'_>,
    reply: &mut Vec<u8>,
    shard: &Shard,
    rules: &Rules<'_>,
    progress: &Progress,
) -> Result<(), Failure> {
    let limits = HeadLimits::default();
    for _ in 0..INTERIM_MAX {
        back.head.clear();
        loop {
            match back.head.parse(back.reader.bytes(), &limits, &rules.method) {
                Ok(Parsed::Complete { consumed }) => {
                    back.reader.consume(consumed);
                    break;
                }
                Ok(Parsed::Incomplete) => fill_in_time(back, rules, progress).await?,
                Err(error) => return Err(Failure::Refused(Reject::BadResponse(error))),
            }
        }
        if !back.head.is_interim() {
            return Ok(());
        }
        reply.clear();
        if encode_interim(back.head, rules.client_version, reply) {
            shard.counters().count(Counter::Responses1xx);
            back.reader.park();
            send_to_client(back.client.send(&[io::IoSlice::new(reply)]), rules).await?;
        }
        progress.continued.set(true);
    }
    Err(Failure::Refused(Reject::BadResponse(HeadError::HeadTooLarge)))
}

/// Receives more of the response's head. The time for it runs from the last byte of the request.
async fn fill_in_time(back: &mut Back<'_>, rules: &Rules<'_>, progress: &Progress) -> Result<(), Failure> {
    let mut timer = None;
    let begun = !back.reader.is_empty() || progress.continued.get();
    let mut fill = pin!(back.reader.fill(back.upstream));
    let filled = poll_fn(|context| {
        if let Poll::Ready(filled) = fill.as_mut().poll(context) {
            return Poll::Ready(Some(filled));
        }
        if timer.is_none()
            && let (Some(first_byte), Sent::Whole(at) | Sent::Stuck(at)) =
                (rules.timeouts.first_byte, progress.sent.get())
        {
            timer = Some(rules.handle.sleep_until(at + first_byte));
        }
        match &mut timer {
            Some(timer) => Pin::new(timer).poll(context).map(|()| None),
            None => Poll::Pending,
        }
    });
    match filled.await {
        None => Err(Failure::Refused(Reject::FirstByteTimeout)),
        Some(Ok(true)) => Ok(()),
        Some(_) if begun => Err(Failure::Refused(Reject::BackendClosed)),
        Some(_) => Err(Failure::Closed),
    }
}

/// Waits until the client has taken what is sent to it, but not for ever.
async fn send_to_client(sending: net::Sending<'_>, rules: &Rules<'_>) -> Result<(), Failure> {
    if sending.is_done() {
        return Ok(());
    }
    match rules.handle.timeout(rules.handle.now() + rules.limits.idle_timeout, sending).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Failure::ClientGone),
    }
}
