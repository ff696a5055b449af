//! The one place where every request ends, however it does.

use crate::http::message::Method;
use crate::observe::counters::Counter;
use crate::observe::series::{Finished, Verb};
use crate::pipeline::account::{Account, End};
use crate::pipeline::{Client, Cut, Exchange, Reject, View, logged};
use crate::policy::access_log::Pending;
use crate::shard::Shard;
use crate::snapshot::{RouteId, ServiceId};

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
    if matches!(end, End::Refused(Reject::DrainTimeout) | End::Cut(Cut::Drain)) {
        shard.counters().count(Counter::Unfinished);
    }
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
        End::Cut(why) => {
            count_status(shard, status);
            shard.counters().count(Counter::ResponsesCut);
            shard.counters().cut(why as usize);
        }
        End::ClientGone => {
            shard.counters().count(Counter::ClientsGone);
            if status != 0 {
                count_status(shard, status);
            }
        }
    }
    count(view, shard, x, end);
    logged::log(shard, view.snapshot(), x, client, end)
}

/// Counts a request for its route and its service.
fn count(view: &View, shard: &Shard, x: &Exchange, end: End) {
    let Account { times, service, attempts, retries, status, received, sent, .. } = &x.account;
    let finished = Finished {
        verb: x.method().map_or(Verb::Other, verb),
        status: *status,
        received: *received,
        sent: *sent,
        attempts: *attempts,
        retries: *retries,
        asked: times.asked,
        cut: matches!(end, End::Cut(_)),
        gateway: times.gateway(),
        queue: times.queue,
        first_byte: times.first_byte,
        backend: times.backend,
        total: times.total(),
    };
    let (edition, worker) = (view.edition(), shard.index());
    edition.route_series.at(x.route.map(RouteId::index)).of(worker).count(&finished);
    edition.service_series.at(service.map(ServiceId::index)).of(worker).count(&finished);
}

/// As what a method is counted.
const fn verb(method: Method) -> Verb {
    match method {
        Method::Get => Verb::Get,
        Method::Head => Verb::Head,
        Method::Post => Verb::Post,
        Method::Put => Verb::Put,
        Method::Patch => Verb::Patch,
        Method::Delete => Verb::Delete,
        Method::Options => Verb::Options,
        Method::Connect | Method::Trace | Method::Other => Verb::Other,
    }
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
