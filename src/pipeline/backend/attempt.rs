//! One attempt: a request on one connection to one target, and its response back.
//!
//! Both bodies flow at once, in one task: `upload` and `download` are polled
//! side by side, so a response may come while the request is still being sent.
//! What each has learnt that the other must know is in [`Progress`].

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use super::again::Again;
use super::connect::Upstream;
use super::{Stage, download, upload};
use crate::base::time::Instant;
use crate::http::edit::Scratch;
use crate::http::h1::parse::ResponseContext;
use crate::http::message::Version;
use crate::net::Handle;
use crate::pipeline::exchange::{Client, Door, Exchange};
use crate::pipeline::facts::Facts;
use crate::pipeline::relay::Relay;
use crate::pipeline::{Cut, Reject};
use crate::shard::Shard;
use crate::snapshot::{ConnectionLimits, Timeouts};

/// How an attempt ended well.
pub(super) enum Answer {
    /// The response is over.
    Complete {
        /// The client's connection may carry another request.
        keep_alive: bool,
        /// The backend's may, too.
        reusable: bool,
    },
    /// The backend has switched protocols, and the client knows.
    Switched,
}

/// How an attempt ended, if not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection ended before a byte of the response.
    Closed,
    /// The answer has this status, another target shall be asked, and may be.
    Status(u16),
    /// Nothing of a response has been sent to the client.
    Refused(Reject),
    /// A part of a response has been sent to the client.
    Cut(Cut),
    ClientGone,
}

/// How far the request has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sent {
    #[default]
    Partly,
    /// Its last byte went out then.
    Whole(Instant),
    /// The backend took no more of it, which we learnt then; it may still answer.
    Stuck(Instant),
}

/// What the two directions of an exchange know of each other.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) sent: Cell<Sent>,
    /// The backend has asked for the body.
    pub(super) continued: Cell<bool>,
    /// The response's head has gone to the client.
    pub(super) replying: Cell<bool>,
    /// What the answer was.
    pub(super) status: Cell<u16>,
    /// When its head was there.
    pub(super) answered: Cell<Option<Instant>>,
    /// When the request had begun to go out.
    pub(super) began: Cell<Option<Instant>>,
    /// When the response had begun to go to the client, if more of it was to come.
    pub(super) replied: Cell<Option<Instant>>,
    pub(super) bytes_sent: Cell<u64>,
    /// The rest of the response goes out at the end of this turn, as far as there is room: until then it is not late.
    pub(super) departing: Cell<bool>,
    /// Something of the request's body is gone: it cannot be sent again.
    pub(super) lost: Cell<bool>,
}

/// What the directions have to keep to.
pub(super) struct Rules<'a> {
    pub(super) handle: &'a Handle,
    pub(super) timeouts: Timeouts,
    pub(super) limits: ConnectionLimits,
    pub(super) expects_continue: bool,
    pub(super) method: ResponseContext,
    pub(super) client_version: Version,
    pub(super) may_keep_alive: bool,
    pub(super) door: &'a Door,
    pub(super) facts: Facts<'a>,
    pub(super) scratch: &'a RefCell<Scratch>,
    /// The protocols that the backend is asked to switch to, if any.
    pub(super) offer: &'a [u8],
    pub(super) again: &'a Again<'a>,
    /// The Set-Cookie that goes with the response; empty for none.
    pub(super) cookie: &'a [u8],
}

/// Runs both directions on one connection, to the end of the response.
pub(super) async fn attempt(
    stage: &Stage<'_>,
    x: &mut Exchange,
    client: &mut Client,
    upstream: &mut Upstream,
    again: &Again<'_>,
    progress: &Progress,
) -> Result<Answer, Failure> {
    let Stage { shard, snapshot, route, .. } = stage;
    let Exchange {
        request,
        response,
        upload: up,
        download: down,
        outgoing,
        reply,
        id,
        path,
        captures,
        origin,
        scratch,
        cookie,
        offer,
        ..
    } = x;
    let path = if path.is_empty() { request.path_bytes() } else { &**path };
    let facts = Facts { snapshot, route, request, path, captures, origin, id };
    let rules = Rules {
        handle: &shard.handle,
        timeouts: route.timeouts,
        limits: snapshot.limits,
        expects_continue: request.expects_continue(),
        method: ResponseContext { method: request.method(), upgrade_requested: !offer.is_empty() },
        client_version: request.version(),
        may_keep_alive: stage.may_keep_alive && request.keep_alive(),
        door: &client.door,
        facts,
        scratch,
        offer,
        again,
        cookie,
    };
    let stream = &upstream.connection.stream;
    let relay = Relay::new(&mut client.reader, up, stream, request.framing(), route.limits.body);
    let upload = pin!(upload::upload(&client.stream, relay, outgoing, &rules, progress));
    let (reader, timer) = (&mut upstream.reader, &mut client.timer);
    let back = download::Back { upstream: stream, reader, client: &client.stream, timer, head: response };
    let download = pin!(download::download(back, down, reply, shard, &rules, progress));
    let mut both = pin!(side_by_side(upload, download, progress, shard));
    let mut in_time = shard.handle.timeout(stage.deadline, both.as_mut()).await;
    if in_time.is_err() && progress.departing.get() {
        // It goes out now. Once more only: if the client leaves no room for it, it is late all the same.
        shard.handle.yield_now().await;
        in_time = shard.handle.timeout(stage.deadline, both.as_mut()).await;
    }
    match in_time {
        Ok(ended) => ended,
        Err(_) if progress.replying.get() => Err(Failure::Cut(Cut::Late)),
        Err(_) => Err(Failure::Refused(Reject::TotalTimeout)),
    }
}

/// Polls both directions until the response is over. A fault of the client ends the exchange; a backend that does
/// not take the request may still have answered it. The end of the worker's time ends it, too.
async fn side_by_side(
    mut upload: Pin<&mut impl Future<Output = Result<(), Failure>>>,
    mut download: Pin<&mut impl Future<Output = Result<Answer, Failure>>>,
    progress: &Progress,
    shard: &Shard,
) -> Result<Answer, Failure> {
    let mut uploading = true;
    poll_fn(|context| {
        let uploaded = if uploading { upload.as_mut().poll(context) } else { Poll::Pending };
        if let Poll::Ready(ended) = uploaded {
            uploading = false;
            match ended {
                Err(Failure::Closed) => {
                    // Nothing more can be sent; the time for an answer runs from now on.
                    progress.sent.set(Sent::Stuck(shard.handle.now()));
                }
                // It answers already and needs no more of the request.
                Err(Failure::Refused(Reject::SendTimeout)) if progress.replying.get() => {
                    progress.sent.set(Sent::Stuck(shard.handle.now()));
                }
                Err(_) if progress.replying.get() => return Poll::Ready(Err(Failure::Cut(Cut::Client))),
                Err(failure) => return Poll::Ready(Err(failure)),
                Ok(()) => {}
            }
        }
        if uploading && shard.handle.is_departing() && !progress.departing.get() {
            // It goes out at the end of the turn. Then it is known how much has, and there is no answer before.
            return Poll::Pending;
        }
        let asked = progress.continued.get();
        let polled = download.as_mut().poll(context);
        if polled.is_pending() && asked != progress.continued.get() {
            // The backend has asked for the body: the upload waits for something else now.
            context.waker().wake_by_ref();
        }
        match polled {
            Poll::Pending if progress.departing.get() => Poll::Pending,
            Poll::Pending if shard.is_over() && progress.replying.get() => Poll::Ready(Err(Failure::Cut(Cut::Drain))),
            Poll::Pending if shard.is_over() => Poll::Ready(Err(Failure::Refused(Reject::DrainTimeout))),
            polled => polled,
        }
    })
    .await
}
