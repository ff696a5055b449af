//! Accepting connections, also when there are too many or no descriptors are left.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::{Admission, Worker, serve};
use crate::net::{Listener, Stream};
use crate::observe::counters::Counter;
use crate::observe::events::Event;
use crate::pipeline::backend::is_shortage;
use crate::runtime::Socket;

/// How long to wait after an accept that failed for want of something.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are being refused at a time; more are closed without a word.
const REFUSING: usize = 256;

/// Accepts until the worker drains, and then what has queued up by then.
pub(super) async fn accept(worker: Rc<Worker>, listener: Listener) {
    let shard = &worker.shard;
    loop {
        let mut accept = pin!(listener.accept());
        let accepted = poll_fn(|context| match accept.as_mut().poll(context) {
            // The queue is empty: now the listener may go.
            Poll::Pending if shard.is_draining() => Poll::Ready(None),
            polled => polled.map(Some),
        });
        match accepted.await {
            None => return,
            Some(Ok((socket, peer))) => admit(&worker, socket, peer),
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

fn admit(worker: &Rc<Worker>, socket: Socket, peer: Option<SocketAddr>) {
    let (handle, stream) = (&worker.shard.handle, Stream::new(socket));
    if worker.connections.get() < worker.shard.snapshot.gateway.connections_per_worker {
        let admission = Admission::new(worker);
        handle.spawn(serve::serve(worker.clone(), admission, stream, peer));
        return;
    }
    worker.shard.counters().count(Counter::ConnectionsRefused);
    if worker.refusing.get() < REFUSING {
        handle.spawn(serve::refuse_connection(worker.clone(), stream, peer));
    }
}
