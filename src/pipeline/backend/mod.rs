//! The backend stage: a target, a connection to it, the request out, the response back, and what is done when that fails.
//!
//! | file | what |
//! |---|---|
//! | `connect` | which target, and a connection from its pool, a new one, or the first that becomes free |
//! | `attempt` | one request and its response on one connection, both bodies at once |
//! | `upload`, `download` | the two directions |
//! | `again` | whether a request that failed goes out once more |
//! | `affinity` | the cookie that keeps a client at its target |
//! | `mirror` | the copy of a request for another service |
//! | `switch` | what a request may switch to, and the 101 that does |
//! | `preface` | the header of the PROXY protocol in front of a new connection |
//! | `outgoing`, `reply` | the heads as they are sent on |
//!
//! A request is sent again only where that is safe: nothing of it had been sent, or sending it twice does what sending
//! it once does and all of it is still there. A kept connection that turns out to have died while it idled is replaced
//! by a new one to the same target, which is no retry: the target has done nothing wrong. The same rule holds for a
//! fallback.

mod affinity;
mod again;
mod attempt;
mod connect;
mod download;
mod mirror;
mod outgoing;
mod preface;
mod reply;
mod switch;
mod upload;

use std::rc::Rc;
use std::time::Duration;

use super::account::{Seen, Times};
use super::exchange::{Client, Exchange};
use super::tunnel::{Held, Tunnel};
use super::{Cut, Ended, Reject, View, keys};
use crate::base::time::Instant;
use crate::http::message::Version;
use crate::observe::counters::Counter;
use crate::shard::{Backend, Shard};
use crate::snapshot::{Fallback, Route, Service, Snapshot};
use crate::upstream::balance::{InFlight, Outcome, Target};
use crate::upstream::pool::Connection;
use again::Again;
use attempt::{Answer, Failure, Progress, Sent, attempt};
pub use connect::is_shortage;
use connect::{Unconnected, Upstream, Wanted, connect};
use switch::Switch;

/// A kept connection that ends so soon after a request was sent had died before: its end was on its way. One that ends
/// later has failed the request, whatever else it has carried.
const DIED_IDLE: Duration = Duration::from_secs(1);

/// What stays the same through all attempts of a request at one service.
struct Stage<'a> {
    shard: &'a Shard,
    view: &'a View,
    snapshot: &'a Snapshot,
    route: &'a Route,
    service: &'a Service,
    backend: &'a Backend,
    deadline: Instant,
    may_keep_alive: bool,
}

/// Sends the request in `x`, which has taken `route`, to a backend and its response to the client.
///
/// # Errors
/// The refusal to answer with. Nothing of a response has been sent then.
pub async fn proxy(
    shard: &Rc<Shard>,
    view: &Rc<View>,
    route: &Route,
    x: &mut Exchange,
    client: &mut Client,
    may_keep_alive: bool,
) -> Result<Ended, Reject> {
    let snapshot = view.snapshot();
    let mirrored = route.mirror.as_ref().filter(|mirror| mirror.takes(fastrand::u32(..)));
    x.upload.reset(x.request.framing());
    x.upload.recorded.begin(mirrored.map_or(0, |mirror| mirror.body));
    let mut place = route.split.as_ref().map_or(0, |split| {
        let key = route.sticky.as_ref().and_then(|by| keys::key(by, snapshot, x));
        split.choose(key.unwrap_or_else(|| fastrand::u64(..))) as usize
    });
    let ended = loop {
        let lane = route.lane(place);
        x.account.service = lane.action.service();
        let ended = match stage(shard, view, lane, x.started, may_keep_alive) {
            Some(stage) => forward(&stage, x, client).await,
            None => Err(Reject::NoTarget),
        };
        let Err(reject) = ended else { break ended };
        match stand_in(shard, snapshot, lane, reject, x) {
            Some(StandIn::Lane(next)) => place = next,
            Some(StandIn::Response(status)) => break Ok(Ended::Local { status }),
            None => break Err(reject),
        }
    };
    if let Some(mirror) = mirrored {
        mirror::send(shard, view, route, mirror, x, client);
    }
    ended
}

/// The stage for the service of `lane`; nothing for a lane without one, which is never asked for.
fn stage<'a>(
    shard: &'a Shard,
    view: &'a View,
    lane: &'a Route,
    started: Instant,
    may_keep_alive: bool,
) -> Option<Stage<'a>> {
    let service = lane.action.service()?;
    let deadline = lane.timeouts.total.map_or(Instant::NEVER, |total| started + total);
    let snapshot = view.snapshot();
    let (service, backend) = (snapshot.service(service), view.backend(service));
    Some(Stage { shard, view, snapshot, route: lane, service, backend, deadline, may_keep_alive })
}

/// What answers instead of a service.
enum StandIn {
    /// Another service, by the lane that leads to it.
    Lane(usize),
    /// A response of this status, which is always the same.
    Response(u16),
}

/// Who answers a request that `lane` could not send in its last attempt, if somebody does.
fn stand_in(shard: &Shard, snapshot: &Snapshot, lane: &Route, reject: Reject, x: &mut Exchange) -> Option<StandIn> {
    let could_not = matches!(
        reject,
        Reject::NoTarget | Reject::ConnectFailed | Reject::ConnectTimeout | Reject::QueueFull | Reject::QueueTimeout
    );
    // An attempt before the last one may have sent it.
    let unsent = x.outgoing.is_empty();
    let may_repeat = x.request.method().is_idempotent() && x.upload.recorded.get().is_some();
    let service = lane.action.service().filter(|_| could_not && (unsent || may_repeat))?;
    let stand_in = match snapshot.service(service).fallback.as_ref()? {
        Fallback::Service(_) => StandIn::Lane(lane.fallback?),
        Fallback::Response(response) => {
            x.fallback = Some(service);
            StandIn::Response(response.status)
        }
    };
    shard.counters().count(Counter::Fallbacks);
    Some(stand_in)
}

/// Sends the request to one service: to one target after the other, while that helps and is safe.
async fn forward(stage: &Stage<'_>, x: &mut Exchange, client: &mut Client) -> Result<Ended, Reject> {
    let again = Again::new(stage, x.request.method(), std::mem::take(&mut x.tried));
    x.upload.recorded.keep_up_to(again.worth_recording());
    let ended = attempts(stage, x, client, &again).await;
    x.tried = again.into_tried();
    ended
}

/// Tries one target after the other.
async fn attempts(
    stage: &Stage<'_>,
    x: &mut Exchange,
    client: &mut Client,
    again: &Again<'_>,
) -> Result<Ended, Reject> {
    let switch = switch::wanted(stage, x)?;
    let key = stage.service.settings.method.hash_by().and_then(|by| keys::key(by, stage.snapshot, x));
    let preface = preface::preface(&stage.service.settings, x, client.port);
    let first = || Wanted { key, again: Some(again), preface: &preface, ..Wanted::default() };
    let mut wanted = first();
    wanted.preferred = affinity::preferred(stage, x);
    loop {
        may_begin(stage)?;
        let connected = connect_timed(stage, &wanted, &mut x.account.times, client).await;
        let (in_flight, mut upstream) = match connected {
            Ok(connected) => connected,
            // Somebody was quicker, or there may be fewer now. It goes the way of all others.
            Err(Unconnected { reject: Reject::QueueFull, .. }) if std::mem::take(&mut wanted.fresh) => {
                wanted.only = None;
                continue;
            }
            Err(unconnected) => {
                if let Some((in_flight, began)) = unconnected.target {
                    again.goes_to(in_flight.target().id());
                    x.account.goes_to(in_flight.target());
                    conclude(stage, in_flight, Outcome::Failed, stage.shard.handle.now() - began);
                }
                wanted = first();
                if again.after(Failure::Refused(unconnected.reject), &Progress::default(), x).await {
                    continue;
                }
                return Err(unconnected.reject);
            }
        };
        may_begin(stage)?;
        again.goes_to(in_flight.target().id());
        x.account.goes_to(in_flight.target());
        let began = stage.shard.handle.now();
        affinity::remember(stage, in_flight.target(), x);
        let authority = in_flight.target().endpoint.host();
        outgoing::encode(stage.snapshot, stage.route, authority, x, client)?;
        switch::ask(x)?;
        let progress = Progress::default();
        let ended = attempt(stage, x, client, &mut upstream, again, &progress).await;
        take_note(stage, &progress, x);
        let failure = match ended {
            Ok(answer) => return Ok(settle(stage, answer, in_flight, upstream, &progress, began, switch)),
            Err(failure) => failure,
        };
        // A connection that died idle says nothing of its target.
        let died_idle = failure == Failure::Closed && upstream.reused && stage.shard.handle.now() - began < DIED_IDLE;
        if died_idle && again.is_safe(&progress) {
            // What one kept connection died of, the others may die of, too.
            stage.shard.counters().count(Counter::UpstreamReplaced);
            (wanted.only, wanted.fresh) = (Some(in_flight.target().clone()), true);
            continue;
        }
        wanted = first();
        if let Some(outcome) = blame(stage, failure, &progress).filter(|_| !died_idle) {
            let end = progress.answered.get().unwrap_or(stage.shard.handle.now());
            conclude(stage, in_flight, outcome, end - began);
        }
        drop(upstream);
        if !again.after(failure, &progress, x).await {
            return give_up(failure, &progress, x);
        }
    }
}

/// Refuses to begin what would be broken off at once: its backend might carry it out, and nobody would hear of it.
fn may_begin(stage: &Stage<'_>) -> Result<(), Reject> {
    if stage.shard.is_over() { Err(Reject::DrainTimeout) } else { Ok(()) }
}

/// Finds a connection, and takes note of how long that took.
async fn connect_timed(
    stage: &Stage<'_>,
    wanted: &Wanted<'_>,
    times: &mut Times,
    client: &mut Client,
) -> Result<(InFlight, Upstream), Unconnected> {
    let from = stage.shard.handle.now();
    let connected = connect(stage, wanted, &mut client.reader).await;
    let opened = match &connected {
        Ok((_, upstream)) => upstream.opened,
        Err(unconnected) => unconnected.opened,
    };
    times.add_connection(from, opened, stage.shard.handle.now());
    connected
}

/// Takes note of what has come of an attempt.
fn take_note(stage: &Stage<'_>, progress: &Progress, x: &mut Exchange) {
    let sent = progress.bytes_sent.get();
    stage.shard.counters().add(Counter::BytesSent, sent);
    let account = &mut x.account;
    account.sent += sent;
    account.times.replied = progress.replied.get();
    if let Some(began) = progress.began.get() {
        let sent = match progress.sent.get() {
            Sent::Partly => None,
            Sent::Whole(at) | Sent::Stuck(at) => Some(at),
        };
        let (answered, ended) = (progress.answered.get(), stage.shard.handle.now());
        account.times.add_attempt(Seen { began, sent, answered, ended });
    }
}

/// Ends an exchange that went well.
fn settle(
    stage: &Stage<'_>,
    answer: Answer,
    in_flight: InFlight,
    upstream: Upstream,
    progress: &Progress,
    began: Instant,
    switch: Option<Switch>,
) -> Ended {
    let now = stage.shard.handle.now();
    let status = progress.status.get();
    let target = in_flight.target().clone();
    conclude(stage, in_flight, outcome(stage, status), progress.answered.get().unwrap_or(now) - began);
    let (keep_alive, reusable) = match (answer, switch) {
        (Answer::Complete { keep_alive, reusable }, _) => (keep_alive, reusable),
        (Answer::Switched, Some(Switch { rules, permit })) => {
            let Upstream { connection: Connection { stream, lease }, reader, .. } = upstream;
            // It is no request any more, but its target has it to carry all the same.
            let held = Held { lease, in_flight: target.begin(), permit };
            return Ended::Switched(Box::new(Tunnel::new(stream, reader, rules, Some(held))));
        }
        // Nothing else makes the parser take a 101.
        (Answer::Switched, None) => return Ended::Cut { status, reset: true, why: Cut::Broken },
    };
    if reusable {
        give_back(stage, &target, upstream.connection);
    }
    Ended::Replied { status, keep_alive }
}

/// Keeps a connection for the next request, unless it belongs to one client or somebody on another worker needs it more.
fn give_back(stage: &Stage<'_>, target: &Target, connection: Connection) {
    let queue = &stage.backend.queue;
    if stage.service.settings.proxy_protocol.is_some() {
        return;
    }
    if queue.shall_hand_over() {
        return queue.hand_over(connection);
    }
    target.pool.borrow_mut().put(connection, stage.shard.handle.now());
    queue.wake_first();
}

/// Whether an answer with this status speaks for its target or against it.
fn outcome(stage: &Stage<'_>, status: u16) -> Outcome {
    let policy = stage.service.settings.ejection.as_ref();
    if policy.is_some_and(|policy| policy.statuses.contains(status)) { Outcome::Failed } else { Outcome::Succeeded }
}

/// What a failure says of the target; nothing, if it lies with the client or with us.
fn blame(stage: &Stage<'_>, failure: Failure, progress: &Progress) -> Option<Outcome> {
    match failure {
        Failure::Closed | Failure::Cut(Cut::Broken | Cut::Stalled) => Some(Outcome::Failed),
        Failure::Status(status) => Some(outcome(stage, status)),
        Failure::Refused(Reject::TotalTimeout) => {
            let waited = matches!(progress.sent.get(), Sent::Whole(_) | Sent::Stuck(_));
            (waited && progress.answered.get().is_none()).then_some(Outcome::Failed)
        }
        Failure::Refused(reject) if reject.is_by_backend() => Some(Outcome::Failed),
        Failure::Refused(_) | Failure::Cut(Cut::Late | Cut::Client | Cut::Drain) | Failure::ClientGone => None,
    }
}

/// Takes note of how a request has ended at its target.
fn conclude(stage: &Stage<'_>, in_flight: InFlight, outcome: Outcome, latency: Duration) {
    // Not the endpoint: its count of references is shared by all workers.
    let target = in_flight.target().clone();
    if in_flight.end(outcome, latency, stage.shard.handle.now()) {
        stage.shard.tell_ejected(&target.endpoint);
    }
}

/// How an exchange ends that has failed for good.
fn give_up(failure: Failure, progress: &Progress, x: &Exchange) -> Result<Ended, Reject> {
    match failure {
        Failure::Closed => Err(Reject::BackendClosed),
        Failure::Refused(reject) => Err(reject),
        // It is the answer of last resort, and was dropped only because another target was to be asked.
        Failure::Status(_) => Err(Reject::BackendClosed),
        Failure::Cut(_) if !progress.replying.get() => Ok(Ended::ClientGone { status: 0 }),
        Failure::Cut(why) => {
            // Where the end of the connection is the end of the body, only a reset tells them apart.
            let reset = x.request.version() == Version::Http10;
            Ok(Ended::Cut { status: progress.status.get(), reset, why })
        }
        Failure::ClientGone => {
            Ok(Ended::ClientGone { status: if progress.replying.get() { progress.status.get() } else { 0 } })
        }
    }
}
