//! Accepting connections, also when there are too many or no descriptors are left.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::serve::{self, Connection};
use super::{Admission, Worker};
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

/// Connections that are being refused at a time; more are closed without a word.
const REFUSING: usize = 256;

/// Accepts until the worker drains, and then what has queued up by then.
pub(super) async fn accept(worker: Rc<Worker>, listener: Listener) {
    let shard = &worker.shard;
    let requests = Recycler::new(SPARE_REQUESTS);
    loop {
        let mut accept = pin!(listener.accept());
        let accepted = poll_fn(|context| match accept.as_mut().poll(context) {
            // The queue is empty: now the listener may go.
            Poll::Pending if shard.is_draining() => Poll::Ready(None),
            polled => polled.map(Some),
        });
        match accepted.await {
            None => return,
            Some(Ok((socket, peer))) => match admit(&worker, socket, peer) {
                Some((connection, admission)) => {
                    shard.handle.spawn(serve::serve(connection, admission, requests.clone(), serve::one_request));
                }
                None => shard.counters().count(Counter::ConnectionsRefused),
            },
            Some(Err(error)) => {
                shard.counters().count(Counter::AcceptErrors);
                shard.tell(Event {
                    code: "accept_failed",
                    detail: "A connection could not be accepted; if descriptors have run out, raise `ulimit -n`.",
                    status: None,
                    peer: None,
                    request: None,
                    errno: error.raw_os_error(),
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
fn admit(worker: &Rc<Worker>, socket: Socket, peer: Option<SocketAddr>) -> Option<(Connection, Admission)> {
    let stream = Stream::new(socket);
    if worker.connections.get() < worker.snapshot.gateway.connections_per_worker {
        return Some((Connection::new(worker.clone(), stream, peer), Admission::new(worker)));
    }
    if worker.refusing.get() < REFUSING {
        worker.shard.handle.spawn(serve::refuse_connection(worker.clone(), stream, peer));
    }
    None
}
