//! The copy of a request for another service, sent when nobody waits for it.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::connect::{Upstream, Wanted, connect};
use super::preface::preface;
use super::{Stage, give_back, outgoing, stage};
use crate::http::body::{BodyDecoder, BodyEncoder};
use crate::http::h1::parse::{HeadLimits, Progress, ResponseContext, ResponseHead};
use crate::http::message::{Framing, Method};
use crate::net::Reader;
use crate::observe::counters::Counter;
use crate::pipeline::exchange::{Client, Exchange};
use crate::pipeline::{View, keys};
use crate::shard::Shard;
use crate::snapshot::{Route, RouteId};
use crate::upstream::balance::Target;
use crate::upstream::mirror::{Mirror, Room};

/// How long a copy may take in all; nobody waits for it, but it holds memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that is larger than this is not read to its end: the connection is closed.
const ANSWER_MAX: u64 = 1024 * 1024;

/// Bytes of a copy that are sent at once.
const PIECE: usize = 64 * 1024;

/// A request that is to be sent once more.
struct Duplicate {
    route: RouteId,
    lane: usize,
    target: Rc<Target>,
    method: Method,
    /// Head and body as they go out.
    bytes: Vec<u8>,
    /// What a new connection begins with.
    preface: Vec<u8>,
    room: Room,
}

/// Sends a copy of the request in `x`, which has taken `route` and is over, to the service of `mirror`.
pub(super) fn send(
    shard: &Rc<Shard>,
    view: &Rc<View>,
    route: &Route,
    mirror: &Mirror,
    x: &mut Exchange,
    client: &Client,
) {
    let stage = stage(shard, view, route.lane(mirror.lane), x.started, false);
    let Some(copy) = stage.and_then(|stage| copy(&stage, mirror, x, client)) else {
        return shard.counters().count(Counter::MirrorsDropped);
    };
    let (shard, view) = (shard.clone(), view.clone());
    let handle = shard.handle.clone();
    handle.spawn(async move {
        let deadline = shard.handle.now() + PATIENCE;
        let _ = shard.handle.timeout(deadline, pin!(deliver(&shard, &view, copy))).await;
    });
}

/// The request in `x` as the mirror gets it, if all of it is there, somebody to send it to, and room.
fn copy(stage: &Stage<'_>, mirror: &Mirror, x: &mut Exchange, client: &Client) -> Option<Duplicate> {
    if x.outgoing.is_empty() || !x.offer.is_empty() || !x.upload.decoder.is_done() {
        // It was never sent, has become a tunnel, or was answered before it was over.
        return None;
    }
    let length = x.upload.recorded.get().map(<[u8]>::len).filter(|length| *length <= mirror.body)?;
    let Stage { shard, snapshot, route, service, backend, .. } = stage;
    let key = service.settings.method.hash_by().and_then(|by| keys::key(by, snapshot, x));
    let target = backend.balancer.borrow_mut().pick(shard.handle.now(), key, &[])?;
    outgoing::encode(snapshot, route, target.endpoint.host(), x, client).ok()?;
    let preface = preface(&service.settings, x, client.port);
    let mut encoder = BodyEncoder::new(x.request.framing());
    let wrap = encoder.wrap(length).ok()?;
    let mut end = Vec::new();
    encoder.finish(x.upload.decoder.trailers(), &mut end).ok()?;
    let parts = |body| [x.outgoing.as_slice(), wrap.before.as_bytes(), body, wrap.after, &end];
    let bytes = x.outgoing.len() + wrap.before.as_bytes().len() + length + wrap.after.len() + end.len();
    let room = shard.copies.admit(bytes + preface.len())?;
    let bytes = parts(x.upload.recorded.get()?).concat();
    Some(Duplicate { route: x.route?, lane: mirror.lane, target, method: x.request.method(), bytes, preface, room })
}

/// Sends the copy and reads its answer. However that ends, it counts neither for the target nor against it, whose other
/// requests come from people.
async fn deliver(shard: &Shard, view: &View, copy: Duplicate) {
    let Duplicate { route, lane, target, method, bytes, preface, mut room } = copy;
    let Some(stage) = stage(shard, view, view.snapshot().route(route).lane(lane), shard.handle.now(), false) else {
        return;
    };
    let stage = Stage { deadline: shard.handle.now() + PATIENCE, ..stage };
    let wanted = Wanted { preface: &preface, only: Some(target.clone()), ..Wanted::default() };
    let Ok((_in_flight, mut upstream)) = connect(&stage, &wanted, &mut Reader::default()).await else {
        return shard.counters().count(Counter::MirrorsDropped);
    };
    shard.counters().count(Counter::Mirrors);
    let sent = send_all(&upstream, &bytes).await;
    drop(bytes);
    room.sent();
    let answered = if sent.is_ok() { receive(&mut upstream, method).await } else { None };
    if answered == Some(true) {
        give_back(&stage, &target, upstream.connection);
    }
}

/// Sends all of a copy, piece by piece: what the system does not take at once is held by its stream, too.
async fn send_all(upstream: &Upstream, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(PIECE) {
        upstream.connection.stream.send(&[IoSlice::new(piece)]).await?;
    }
    Ok(())
}

/// Reads the answer and drops it; says whether the connection may carry another request.
async fn receive(upstream: &mut Upstream, method: Method) -> Option<bool> {
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
    Some(reusable)
}
