//! Streams and listeners, and the futures of their operations; [`super::sending`] has their sends.
//!
//! Dropping a future of this module loses nothing: bytes, connections and
//! errors that come later stay with their socket. The exception is a send that
//! has begun, for nobody knows any more where in a message the stream is: it
//! poisons the sending side, and the connection can only be closed.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::buffer::Chunk;
use super::sending::Outbox;
use super::{Handle, Sleep};
use crate::base::slab::Key;

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub struct Socket {
    pub(super) handle: Handle,
    pub(super) key: Key,
    pub(super) outbox: RefCell<Outbox>,
    pub(super) poisoned: Cell<bool>,
    /// The round in which something of it was staged last: the low half of its number.
    pub(super) staged: Cell<u32>,
}

impl Socket {
    pub(super) fn new(handle: Handle, key: Key) -> Socket {
        let (outbox, poisoned, staged) = Default::default();
        Socket { handle, key, outbox, poisoned, staged }
    }

    /// The next bytes; nothing at the end of the stream.
    ///
    /// # Errors
    /// The system's, such as `ConnectionReset`.
    pub fn recv(&self) -> Recv<'_> {
        Recv { socket: self }
    }

    /// Whether nothing has come while nobody received: no byte, no end, no error.
    ///
    /// A pooled connection that is not quiet must not carry another request.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.poisoned.get() && self.handle.driver().is_quiet(self.key)
    }

    /// Whether all that was to be sent has gone out: no send was dropped unfinished, or has failed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.poisoned.get()
    }

    /// Makes the runtime look out for news that nobody receives yet.
    pub fn watch(&self) {
        self.handle.driver().watch(self.key);
    }

    /// Ends when the stream is over in both directions: the peer has reset it, or is gone. That the peer has closed
    /// its side alone is not enough, for it may still listen. Bytes that it sent before may still be unread. The peer
    /// of a Unix socket is known to be gone as soon as it has closed, that of a TCP connection when it answers what it
    /// is sent with a reset.
    pub fn over(&self) -> Over<'_> {
        Over { socket: self }
    }

    /// Ends the sending side: the peer sees the end of the stream.
    ///
    /// # Errors
    /// The system's, such as `NotConnected` when the peer is gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.hurry();
        self.handle.driver().shutdown_write(self.key)
    }

    /// Closes with a reset: the peer sees an error instead of an end. A Unix socket knows no resets: its peer sees an
    /// error if this side has left something unread, and an end if not.
    pub fn reset(self) {
        self.handle.driver().reset_on_close(self.key);
    }

    /// The runtime that the socket lives on.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.handle.pool().hold_unsent(-(self.outbox.get_mut().len() as isize));
        self.handle.driver().close(self.key);
    }
}

/// A receive; see [`Socket::recv`].
#[derive(Debug)]
#[must_use = "a receive does nothing until it is awaited"]
pub struct Recv<'a> {
    socket: &'a Socket,
}

impl Future for Recv<'_> {
    type Output = io::Result<Option<Chunk>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = &self.socket.handle;
        ready!(handle.poll_budget(context));
        let received = ready!(handle.driver().poll_recv(self.socket.key, context, handle.pool()));
        handle.spend_budget();
        Poll::Ready(received)
    }
}

/// The end of a stream; see [`Socket::over`].
#[derive(Debug)]
#[must_use = "a wait does nothing until it is awaited"]
pub struct Over<'a> {
    socket: &'a Socket,
}

impl Future for Over<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let handle = &self.socket.handle;
        ready!(handle.poll_budget(context));
        ready!(handle.driver().poll_over(self.socket.key, context));
        handle.spend_budget();
        Poll::Ready(())
    }
}

/// A listening socket. Dropping it closes it.
#[derive(Debug)]
pub struct Listener {
    handle: Handle,
    key: Key,
}

impl Listener {
    pub(super) fn new(handle: Handle, key: Key) -> Listener {
        Listener { handle, key }
    }

    /// The next connection, and who has opened it, where that is known.
    ///
    /// # Errors
    /// The system's; after one that stems from a shortage (`EMFILE`, `ENFILE`,
    /// `ENOBUFS`, `ENOMEM`) the caller should wait before it tries again.
    pub fn accept(&self) -> Accept<'_> {
        Accept { listener: self }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.driver().close(self.key);
    }
}

/// An accept; see [`Listener::accept`].
#[derive(Debug)]
#[must_use = "an accept does nothing until it is awaited"]
pub struct Accept<'a> {
    listener: &'a Listener,
}

impl Future for Accept<'_> {
    type Output = io::Result<(Socket, Option<SocketAddr>)>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = &self.listener.handle;
        ready!(handle.poll_budget(context));
        let accepted = ready!(handle.driver().poll_accept(self.listener.key, context));
        handle.spend_budget();
        Poll::Ready(accepted.map(|(key, peer)| (Socket::new(handle.clone(), key), peer)))
    }
}

/// The first pause before a Unix socket whose queue was full is tried again, and the longest; it doubles each time.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);
const QUEUE_PAUSE_MAX: Duration = Duration::from_millis(64);

/// A connection that is being made; see [`Handle::connect`] and [`Handle::connect_unix`].
#[derive(Debug)]
#[must_use = "a connect must be awaited"]
pub struct Connect {
    handle: Handle,
    attempt: Attempt,
}

#[derive(Debug)]
enum Attempt {
    Begun(Socket),
    /// The listener's queue was full.
    Queued {
        path: Arc<Path>,
        pause: Sleep,
        length: Duration,
    },
    Failed(io::Error),
    Over,
}

impl Connect {
    pub(super) fn new(handle: Handle, begun: io::Result<Key>) -> Connect {
        let attempt = match begun {
            Ok(key) => Attempt::Begun(Socket::new(handle.clone(), key)),
            Err(error) => Attempt::Failed(error),
        };
        Connect { handle, attempt }
    }

    pub(super) fn new_unix(handle: Handle, begun: io::Result<Key>, path: &Arc<Path>) -> Connect {
        let mut connect = Connect::new(handle, begun);
        connect.queue(path, QUEUE_PAUSE);
        connect
    }

    /// Goes on to wait for `length` if the attempt has failed because the queue was full.
    fn queue(&mut self, path: &Arc<Path>, length: Duration) {
        if matches!(&self.attempt, Attempt::Failed(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.attempt = Attempt::Queued { path: path.clone(), pause: self.handle.sleep(length), length };
        }
    }

    /// Waits until an attempt has ended, well or not.
    fn poll_attempt(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Attempt::Queued { path, pause, length } = &mut self.attempt {
            ready!(Pin::new(pause).poll(context));
            let (path, length) = (path.clone(), (*length * 2).min(QUEUE_PAUSE_MAX));
            let begun = self.handle.driver().connect_unix(&path);
            *self = Connect::new(self.handle.clone(), begun);
            self.queue(&path, length);
        }
        match &self.attempt {
            Attempt::Begun(socket) => self.handle.driver().poll_writable(socket.key, context),
            _ => Poll::Ready(()),
        }
    }
}

impl Future for Connect {
    type Output = io::Result<Socket>;

    /// # Panics
    /// When polled again after it has ended.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.handle.poll_budget(context));
        ready!(self.poll_attempt(context));
        let ended = match std::mem::replace(&mut self.attempt, Attempt::Over) {
            Attempt::Begun(socket) => {
                let error = self.handle.driver().take_error(socket.key);
                error.map(|()| socket)
            }
            Attempt::Failed(error) => Err(error),
            Attempt::Queued { .. } | Attempt::Over => panic!("a connect is polled until it has ended"),
        };
        self.handle.spend_budget();
        Poll::Ready(ended)
    }
}
