//! Accepting connections, also when there are too many or no descriptors are left.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::serve::{self, Connection};
use super::{Accepting, Admission, Door, Refusal, Worker};
use crate::base::recycler::Recycler;
use crate::net::{Listener, Stream};
use crate::observe::counters::Counter;
use crate::observe::events::Event;
use crate::pipeline::backend::is_shortage;
use crate::runtime::Socket;

/// How long to wait after an accept that failed for want of something.
const PAUSE: Duration = Duration::from_millis(50);

/// Memory for requests that is kept when nobody needs it.
const SPARE_REQUESTS: usize = 256;

/// Connections that are being refused at a time, at most and as a part of those that are served: they take
/// descriptors, too. More are closed without a word.
const REFUSING: usize = 256;
const REFUSING_PART: usize = 16;

/// Accepts until the worker drains or the listener is gone, and then what has queued up by then.
pub(super) async fn accept(accepting: Accepting, listener: Listener, door: Rc<Door>) {
    let worker = &accepting.worker;
    let shard = &worker.shard;
    let requests = Recycler::new(SPARE_REQUESTS, serve::serve_requests);
    let is_over = || shard.is_draining() || door.is_closing();
    loop {
        let mut accept = pin!(listener.accept());
        // The turn may be over before the queue is empty: only who finds nothing in a turn of its own may go.
        let mut last_turn = false;
        let accepted = poll_fn(|context| match accept.as_mut().poll(context) {
            Poll::Pending if is_over() && last_turn => Poll::Ready(None),
            Poll::Pending if is_over() => {
                last_turn = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled.map(Some),
        });
        match accepted.await {
            None => return,
            Some(Ok((socket, peer))) => match admit(worker, socket, peer, &door) {
                Some((connection, admission)) => {
                    shard.handle.spawn(serve::serve(connection, admission, requests.clone()));
                }
                None => shard.counters().count(Counter::ConnectionsRefused),
            },
            Some(Err(error)) => {
                shard.counters().count(Counter::AcceptErrors);
                shard.tell(Event {
                    code: "accept_failed",
                    detail: "A connection could not be accepted; if descriptors have run out, raise `ulimit -n`.",
                    errno: error.raw_os_error(),
                    ..Event::default()
                });
                if is_shortage(&error) {
                    // Idle connections to backends are what we can do without.
                    shard.give_up_idle();
                    shard.handle.sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Admits a connection, or refuses it.
fn admit(
    worker: &Rc<Worker>,
    socket: Socket,
    peer: Option<SocketAddr>,
    door: &Rc<Door>,
) -> Option<(Box<Connection>, Admission)> {
    let stream = Stream::new(socket);
    let most = worker.view.borrow().snapshot().gateway.connections_per_worker;
    if worker.connections.get() < most {
        let admission = Admission::new(worker, peer, door.clone());
        return Some((Box::new(Connection::new(worker.clone(), stream, peer, door.clone())), admission));
    }
    if worker.refusing.get() < REFUSING.min(most / REFUSING_PART + 1) {
        worker.shard.handle.spawn(serve::refuse_connection(Refusal::new(worker), stream, peer, door.clone()));
    }
    None
}
