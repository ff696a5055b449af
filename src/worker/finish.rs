//! The one place where every request ends, however it does.

use crate::observe::counters::Counter;
use crate::pipeline::account::End;
use crate::pipeline::{Client, Exchange, View, logged};
use crate::policy::access_log::Pending;
use crate::shard::Shard;

/// Completes what was written down about the request in `x`, counts it and logs it. The client got `status`; 0 if it got
/// none. The line of a tunnel comes back: it is logged at its end.
pub(super) fn finish(
    view: &View,
    shard: &Shard,
    client: &Client,
    x: &mut Exchange,
    end: End,
    status: u16,
) -> Option<Box<Pending>> {
    let account = &mut x.account;
    account.times.ended = shard.handle.now_exactly();
    account.status = status;
    // A head that was refused was not used, but sent.
    let received = if x.parsed { client.reader.used() } else { client.reader.received() };
    account.received = received - account.received;
    match end {
        // These were counted before they were sent: who has read an answer of ours finds it counted.
        End::Local | End::Refused(_) => {}
        End::Replied | End::Switched => count_status(shard, status),
        End::Cut(_) => {
            count_status(shard, status);
            shard.counters().count(Counter::ResponsesCut);
        }
        End::ClientGone => shard.counters().count(Counter::ClientsGone),
    }
    logged::log(shard, view.snapshot(), x, client, end)
}

/// Counts a response by its class.
pub(super) fn count_status(shard: &Shard, status: u16) {
    shard.counters().count(match status {
        0..200 => Counter::Responses1xx,
        200..300 => Counter::Responses2xx,
        300..400 => Counter::Responses3xx,
        400..500 => Counter::Responses4xx,
        _ => Counter::Responses5xx,
    });
}
