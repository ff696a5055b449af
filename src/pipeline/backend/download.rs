//! The response on its way to the client: interim heads, the head, and the body as it comes.

use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use super::attempt::{Answer, Failure, Progress, Rules, Sent};
use super::{reply as reply_head, switch};
use crate::base::time::Instant;
use crate::http::h1::encode::encode_interim;
use crate::http::h1::parse::{HeadLimits, Progress as Parsed, ResponseHead};
use crate::http::message::Framing;
use crate::net::{Reader, Sending, Stream, Timer};
use crate::observe::counters::Counter;
use crate::pipeline::exchange::Body;
use crate::pipeline::relay::{Fault, Relay};
use crate::pipeline::{Cut, Reject};
use crate::shard::Shard;

/// Interim responses that one request may have; more are a backend gone wrong.
const INTERIM_MAX: usize = 32;

/// A wait for a backend that is longer than this is a long one.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// Where a response comes from and goes to.
pub(super) struct Back<'a> {
    pub(super) upstream: &'a Stream,
    pub(super) reader: &'a mut Reader,
    pub(super) client: &'a Stream,
    pub(super) timer: &'a mut Timer,
    pub(super) head: &'a mut ResponseHead,
}

/// Receives the response and sends it on as it comes.
pub(super) async fn download(
    mut back: Back<'_>,
    body: &mut Body,
    reply: &mut Vec<u8>,
    shard: &Shard,
    rules: &Rules<'_>,
    progress: &Progress,
) -> Result<Answer, Failure> {
    receive_head(&mut back, reply, shard, rules, progress).await?;
    let head = &*back.head;
    progress.status.set(head.status());
    progress.answered.set(Some(rules.handle.now()));
    if rules.again.status(head.status(), progress) {
        return Err(Failure::Status(head.status()));
    }
    if head.status() == 101 {
        return Box::pin(switch::grant(back, reply, shard, rules, progress)).await;
    }
    let framing = head.framing().for_client(rules.client_version);
    // A request that is not over would have to be read to its end first.
    let whole = matches!(progress.sent.get(), Sent::Whole(_));
    let is_ending = shard.is_leaving() || rules.door.is_closing();
    let keep_alive = rules.may_keep_alive && whole && framing != Framing::UntilClose && !is_ending;
    reply_head::encode(head, framing, keep_alive, shard, rules, reply);
    body.reset(head.framing());
    let reusable = head.keep_alive() && head.framing() != Framing::UntilClose;
    let mut relay = Relay::new(back.reader, body, back.client, framing, u64::MAX);
    let mut head = &reply[..];
    loop {
        // Before anything has gone to the client, a body that is wrong from the start can still be a 502.
        let mut step = relay.step(head).map_err(|fault| match fault {
            Fault::Malformed(error) if !progress.replying.get() => Failure::Refused(Reject::BadResponseBody(error)),
            _ => Failure::Cut(Cut::Broken),
        })?;
        progress.replying.set(true);
        progress.bytes_sent.set(relay.sent());
        let done = step.done;
        if !step.sending.is_done() {
            progress.departing.set(done);
            relay.depart(&mut step.sending).await;
            progress.departing.set(false);
        }
        if !std::mem::take(&mut head).is_empty() && !done {
            progress.replied.set(Some(rules.handle.now_exactly()));
        }
        send_to_client(step.sending, rules).await?;
        if done {
            break;
        }
        let fill = pin!(relay.from.fill(back.upstream));
        let deadline = rules.timeouts.between_bytes.map_or(Instant::NEVER, |patience| rules.handle.now() + patience);
        let filled = wait_for_backend(fill, back.client, back.timer, || deadline).await?;
        let filled = filled.ok_or(Failure::Cut(Cut::Stalled))?;
        if !filled.map_err(|_| Failure::Cut(Cut::Broken))? {
            relay.body.decoder.end_of_input().map_err(|_| Failure::Cut(Cut::Broken))?;
        }
    }
    // Bytes behind the response answer a request that was never sent.
    let whole = matches!(progress.sent.get(), Sent::Whole(_));
    Ok(Answer::Complete { keep_alive, reusable: reusable && whole && !relay.has_more() })
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
            send_to_client(back.client.send(&[IoSlice::new(reply)]), rules).await?;
        }
        progress.continued.set(true);
    }
    Err(Failure::Refused(Reject::TooManyInterim))
}

/// Receives more of the response's head. The time for it runs from the last byte of the request.
async fn fill_in_time(back: &mut Back<'_>, rules: &Rules<'_>, progress: &Progress) -> Result<(), Failure> {
    let begun = !back.reader.is_empty() || progress.continued.get();
    let fill = pin!(back.reader.fill(back.upstream));
    let deadline = || match (rules.timeouts.first_byte, progress.sent.get()) {
        (Some(first_byte), Sent::Whole(at) | Sent::Stuck(at)) => at + first_byte,
        _ => Instant::NEVER,
    };
    match wait_for_backend(fill, back.client, back.timer, deadline).await? {
        None => Err(Failure::Refused(Reject::FirstByteTimeout)),
        Some(Ok(true)) => Ok(()),
        Some(_) if begun => Err(Failure::Refused(Reject::BackendClosed)),
        Some(_) => Err(Failure::Closed),
    }
}

/// Waits for the backend, but not longer than until `deadline`, which may change meanwhile (then the answer is `None`),
/// and not on behalf of a client that is gone. The client is looked after only once the wait is a long one.
async fn wait_for_backend<F: Future>(
    mut wait: Pin<&mut F>,
    client: &Stream,
    timer: &mut Timer,
    deadline: impl Fn() -> Instant,
) -> Result<Option<F::Output>, Failure> {
    let handle = client.handle();
    let long = handle.now() + LONG_WAIT;
    let mut over = client.over();
    poll_fn(|context| {
        if let Poll::Ready(output) = wait.as_mut().poll(context) {
            return Poll::Ready(Ok(Some(output)));
        }
        let (now, deadline) = (handle.now(), deadline());
        if deadline <= now {
            return timer.poll_expired(context).map(|()| Ok(None));
        }
        if now < long {
            timer.wake_at(deadline.min(long), context);
            return Poll::Pending;
        }
        timer.wake_at(deadline, context);
        Pin::new(&mut over).poll(context).map(|()| Err(Failure::ClientGone))
    })
    .await
}

/// Waits until the client has taken what is sent to it, but not for ever.
pub(super) async fn send_to_client(mut sending: Sending<'_>, rules: &Rules<'_>) -> Result<(), Failure> {
    sending.departed().await;
    if sending.is_done() {
        return Ok(());
    }
    match rules.handle.timeout(rules.handle.now() + rules.limits.idle_timeout, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Failure::ClientGone),
        Err(_) => Err(Failure::Cut(Cut::Client)),
    }
}
