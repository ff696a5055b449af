//! The copy of a request for another service, sent when nobody waits for it.

use std::io::IoSlice;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connect::{Upstream, Wanted, connect};
use super::preface::preface;
use super::{Stage, conclude, give_back, outcome};
use crate::http::body::{BodyDecoder, BodyEncoder};
use crate::http::h1::parse::{HeadLimits, Progress, ResponseContext, ResponseHead};
use crate::http::message::{Framing, Method};
use crate::net::Reader;
use crate::observe::counters::Counter;
use crate::pipeline::exchange::Exchange;
use crate::shard::Shard;
use crate::snapshot::{RouteId, ServiceId, Snapshot};
use crate::upstream::balance::Outcome;
use crate::upstream::mirror::{MOST, Mirror};

/// How long a copy may take in all; nobody waits for it, but it holds memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that is larger than this is not read to its end: the connection is closed.
const ANSWER_MAX: u64 = 1024 * 1024;

/// A request that is to be sent once more.
struct Duplicate {
    route: RouteId,
    service: ServiceId,
    method: Method,
    head: Vec<u8>,
    /// The body as it goes out behind the head.
    body: Vec<u8>,
    /// What a new connection begins with.
    preface: Vec<u8>,
}

/// Sends a copy of the request in `x`, which is over, to the service of `mirror`.
pub(super) fn send(shard: &Rc<Shard>, snapshot: &Arc<Snapshot>, mirror: &Mirror, x: &Exchange, port: Option<u16>) {
    let counters = shard.counters();
    let settings = &snapshot.service(ServiceId(mirror.service)).settings;
    let Some(copy) = copy(mirror, x, || preface(settings, x, port)).filter(|_| shard.mirrored.get() < MOST) else {
        return counters.count(Counter::MirrorsDropped);
    };
    counters.count(Counter::Mirrors);
    shard.mirrored.set(shard.mirrored.get() + 1);
    let (shard, snapshot) = (shard.clone(), snapshot.clone());
    let handle = shard.handle.clone();
    handle.spawn(async move {
        let ended = OnWay(&shard);
        let deadline = shard.handle.now() + PATIENCE;
        let _ = shard.handle.timeout(deadline, pin!(deliver(&shard, &snapshot, copy))).await;
        drop(ended);
    });
}

/// Counts a copy as on its way until it is dropped, however its task ends.
struct OnWay<'a>(&'a Shard);

impl Drop for OnWay<'_> {
    fn drop(&mut self) {
        self.0.mirrored.set(self.0.mirrored.get() - 1);
    }
}

/// The request in `x`, if all of it is there.
fn copy(mirror: &Mirror, x: &Exchange, preface: impl FnOnce() -> Vec<u8>) -> Option<Duplicate> {
    if x.outgoing.is_empty() || !x.offer.is_empty() {
        // It was never sent, or has become a tunnel.
        return None;
    }
    let data = x.upload.recorded.get().filter(|data| data.len() <= mirror.body && x.upload.decoder.is_done())?;
    let mut encoder = BodyEncoder::new(x.request.framing());
    let wrap = encoder.wrap(data.len()).ok()?;
    let mut body = [wrap.before.as_bytes(), data, wrap.after].concat();
    encoder.finish(x.upload.decoder.trailers(), &mut body).ok()?;
    let service = ServiceId(mirror.service);
    Some(Duplicate {
        route: x.route?,
        service,
        method: x.request.method(),
        head: x.outgoing.clone(),
        body,
        preface: preface(),
    })
}

/// Sends the copy and reads its answer. Whatever fails is the target's to answer for, as with any request.
async fn deliver(shard: &Rc<Shard>, snapshot: &Arc<Snapshot>, copy: Duplicate) {
    let (service, backend) = (snapshot.service(copy.service), shard.backend(copy.service.index()));
    let route = snapshot.route(copy.route);
    let deadline = shard.handle.now() + PATIENCE;
    let stage = Stage { shard, snapshot, route, service, backend, deadline, may_keep_alive: false };
    let wanted = Wanted { preface: &copy.preface, ..Wanted::default() };
    let (in_flight, mut upstream) = match connect(&stage, &wanted, &mut Reader::default()).await {
        Ok(connected) => connected,
        Err(unconnected) => {
            if let Some((in_flight, began)) = unconnected.target {
                conclude(&stage, in_flight, Outcome::Failed, shard.handle.now() - began);
            }
            return;
        }
    };
    let began = shard.handle.now();
    let target = in_flight.target().clone();
    let sent = upstream.connection.stream.send(&[IoSlice::new(&copy.head), IoSlice::new(&copy.body)]).await;
    let answered = if sent.is_ok() { receive(&mut upstream, copy.method).await } else { None };
    let now = shard.handle.now();
    match answered {
        // A connection that died idle says nothing of its target.
        None if upstream.reused => {}
        None => conclude(&stage, in_flight, Outcome::Failed, now - began),
        Some((status, reusable)) => {
            conclude(&stage, in_flight, outcome(&stage, status), now - began);
            if reusable {
                give_back(&stage, &target, upstream.connection);
            }
        }
    }
}

/// Reads the answer and drops it; gives back its status, and whether the connection may carry another request.
async fn receive(upstream: &mut Upstream, method: Method) -> Option<(u16, bool)> {
    let (stream, reader) = (&upstream.connection.stream, &mut upstream.reader);
    let context = ResponseContext { method, upgrade_requested: false };
    let mut head = ResponseHead::default();
    loop {
        match head.parse(reader.bytes(), &HeadLimits::default(), &context).ok()? {
            Progress::Incomplete => {
                if !reader.fill(stream).await.ok()? {
                    return None;
                }
            }
            Progress::Complete { consumed } => {
                reader.consume(consumed);
                if !head.is_interim() {
                    break;
                }
                head.clear();
            }
        }
    }
    let mut body = BodyDecoder::new(head.framing());
    while !body.is_done() && body.received() <= ANSWER_MAX {
        let step = body.decode(reader.bytes()).ok()?;
        reader.consume(step.consumed);
        if step.consumed == 0 && !body.is_done() && !reader.fill(stream).await.ok()? {
            body.end_of_input().ok()?;
        }
    }
    let reusable = body.is_done() && head.keep_alive() && head.framing() != Framing::UntilClose && reader.is_empty();
    Some((head.status(), reusable))
}
