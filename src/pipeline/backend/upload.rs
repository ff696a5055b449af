//! The request on its way to the backend: its head, and its body as it comes, not slower than it may.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::attempt::{Failure, Progress, Rules, Sent};
use crate::base::time::Instant;
use crate::net::Stream;
use crate::pipeline::Reject;
use crate::pipeline::relay::{Fault, Relay};

/// Sends the request: its head, and its body as it comes.
pub(super) async fn upload(
    client: &Stream,
    mut relay: Relay<'_>,
    head: &[u8],
    rules: &Rules<'_>,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut head = head;
    let mut waited = Duration::ZERO;
    loop {
        let mut step = relay.step(head).map_err(|fault| Failure::Refused(refusal(fault)))?;
        let done = step.done;
        progress.lost.set(relay.body.recorded.get().is_none());
        if !step.sending.is_done() {
            relay.depart(&mut step.sending).await;
        }
        if !std::mem::take(&mut head).is_empty() {
            progress.began.set(Some(rules.handle.now_exactly()));
        }
        if !step.sending.is_done() {
            let patience = rules.timeouts.send.map_or(Instant::NEVER, |send| rules.handle.now() + send);
            let sent = rules.handle.timeout(patience, step.sending).await;
            sent.map_err(|_| Failure::Refused(Reject::SendTimeout))?.map_err(|_| Failure::Closed)?;
        }
        if done {
            progress.sent.set(Sent::Whole(rules.handle.now()));
            // What is behind the request waits for its response, and must not keep a buffer from those who need it.
            relay.from.park();
            return Ok(());
        }
        waited += receive_body(client, &mut relay, rules, progress, waited).await?;
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
        _ if !expected => rules.timeouts.first_byte.map_or(Instant::NEVER, |first| began + first),
        None => began + rules.limits.idle_timeout,
        Some(rate) => {
            let due = Duration::from_nanos(
                (u128::from(received) * 1_000_000_000 / u128::from(rate.bytes_per_second.get()))
                    .min(u128::from(u64::MAX)) as u64,
            );
            began + due.max(rate.grace).saturating_sub(waited)
        }
    };
    let mut fill = pin!(relay.from.fill(client));
    let filled = poll_fn(|context| match fill.as_mut().poll(context) {
        // The backend has asked: from now on the client is waited for, which is another wait.
        Poll::Pending if !expected && progress.continued.get() => Poll::Ready(None),
        polled => polled.map(Some),
    });
    match rules.handle.timeout(deadline, pin!(filled)).await {
        Err(_) if !expected => Err(Failure::Refused(Reject::FirstByteTimeout)),
        Err(_) => Err(Failure::Refused(Reject::BodyTimeout)),
        Ok(None) => Ok(Duration::ZERO),
        Ok(Some(Err(_))) => Err(Failure::ClientGone),
        Ok(Some(Ok(true))) if !expected => Ok(Duration::ZERO),
        Ok(Some(Ok(true))) => Ok(rules.handle.now() - began),
        Ok(Some(Ok(false))) => match relay.body.decoder.end_of_input() {
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
