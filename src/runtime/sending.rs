//! Sends: at once, at the end of the turn, and when there is room.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::socket::Socket;
use super::staging::{Place, SHORT};

/// Bytes that a send could not place.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Socket {
    /// Sends `parts`, one after the other.
    ///
    /// What fits goes out at once, in this call; the rest is copied, so that
    /// the caller's buffers are free again, and the future waits until it is
    /// sent. A short send is copied as a whole while other tasks are ready, and
    /// goes out with theirs before the runtime looks for events. While a send is
    /// under way, another is put behind it.
    ///
    /// # Errors
    /// The system's, such as `BrokenPipe`, and `NotConnected` after a send that
    /// was dropped unfinished. A send that failed has poisoned the sending side.
    pub fn send(&self, parts: &[IoSlice<'_>]) -> Sending<'_> {
        let state = self.begin_send(parts).unwrap_or_else(|error| self.fail(error));
        Sending { socket: self, state }
    }

    fn begin_send(&self, parts: &[IoSlice<'_>]) -> io::Result<State> {
        let (core, total) = (&self.handle.core, parts.iter().map(|part| part.len()).sum());
        if core.staging.is_due(total) {
            core.staging.flush(&core.driver);
        }
        self.collect()?;
        let mut outbox = self.outbox.borrow_mut();
        // Nothing may overtake what of this socket waits already.
        let is_shared = self.has_staged() || core.tasks.borrow().ready() > 0;
        if (1..=SHORT).contains(&total) && outbox.is_empty() && is_shared {
            let round = core.staging.round();
            self.staged.set(round as u32);
            core.departing.set(round);
            return Ok(State::Staged(core.staging.put(self.key, parts)));
        }
        let mut sent = 0;
        if outbox.is_empty() && total > 0 {
            sent = would_block_is_none(core.driver.borrow_mut().send(self.key, parts))?;
        }
        if sent < total {
            outbox.put(parts, sent);
            core.pool.hold_unsent((total - sent) as isize);
        }
        Ok(outbox.state())
    }

    /// Whether something of it waits for the end of the turn.
    fn has_staged(&self) -> bool {
        self.staged.get() == self.handle.core.staging.round() as u32
    }

    /// Sends at once what waits for the end of the turn.
    pub(super) fn hurry(&self) {
        if self.has_staged() {
            let core = &self.handle.core;
            core.staging.flush(&core.driver);
        }
    }

    /// Takes back what did not go out at the end of a turn.
    fn collect(&self) -> io::Result<()> {
        if self.poisoned.get() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "an earlier send was not finished"));
        }
        if let Some(left) = self.handle.core.staging.take_left(self.key) {
            let left = left?;
            self.handle.pool().hold_unsent(left.len() as isize);
            self.outbox.borrow_mut().bytes.extend_from_slice(&left);
        }
        Ok(())
    }

    fn fail(&self, error: io::Error) -> State {
        self.poisoned.set(true);
        State::Failed(error)
    }

    fn poll_flush(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            let mut driver = self.handle.driver();
            ready!(driver.poll_writable(self.key, context));
            ready!(self.handle.poll_budget(context));
            self.handle.spend_budget();
            outbox.sent += would_block_is_none(driver.send(self.key, &[IoSlice::new(&outbox.bytes[outbox.sent..])]))?;
        }
        self.handle.pool().hold_unsent(-(outbox.len() as isize));
        *outbox = Outbox::default();
        Poll::Ready(Ok(()))
    }
}

impl Outbox {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Bytes that it holds, those included that were sent since.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn state(&self) -> State {
        if self.is_empty() { State::Done } else { State::Waiting }
    }

    /// Keeps `parts`, without their first `skip` bytes.
    fn put(&mut self, parts: &[IoSlice<'_>], mut skip: usize) {
        for part in parts {
            let from = skip.min(part.len());
            self.bytes.extend_from_slice(&part[from..]);
            skip -= from;
        }
    }
}

/// A send that would block has sent nothing.
pub(super) fn would_block_is_none(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}

/// A send; see [`Socket::send`].
#[derive(Debug)]
#[must_use = "a send that is dropped unfinished poisons its connection"]
pub struct Sending<'a> {
    socket: &'a Socket,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It goes out at the end of the turn, with all of this round.
    Staged(Place),
    /// Something waits for room.
    Waiting,
    Failed(io::Error),
    Done,
}

impl Sending<'_> {
    /// Whether everything has gone out, so that there is nothing to wait for. What goes out at the end of the turn counts
    /// once the future, or [`Sending::departed`], has been polled again.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Waits until as much as fits has gone out, which takes no longer than the turn: no deadline needs to be kept. What
    /// waits for room then is to be awaited still.
    pub fn departed(&mut self) -> impl Future<Output = ()> {
        poll_fn(|context| self.poll_departed(context))
    }

    fn poll_departed(&mut self, context: &Context<'_>) -> Poll<()> {
        let State::Staged(place) = self.state else { return Poll::Ready(()) };
        let socket = self.socket;
        ready!(socket.handle.core.staging.poll_gone(place, context));
        self.state = match socket.collect() {
            Ok(()) => socket.outbox.borrow().state(),
            Err(error) => socket.fail(error),
        };
        Poll::Ready(())
    }
}

impl Future for Sending<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = &self.socket.handle;
        ready!(handle.poll_budget(context));
        ready!(self.poll_departed(context));
        match std::mem::replace(&mut self.state, State::Done) {
            State::Done => {
                handle.spend_budget();
                Poll::Ready(Ok(()))
            }
            State::Failed(error) => {
                handle.spend_budget();
                Poll::Ready(Err(error))
            }
            // It has departed, so it is not staged any more.
            State::Waiting | State::Staged(_) => {
                let flushed = self.socket.poll_flush(context);
                match &flushed {
                    Poll::Pending => self.state = State::Waiting,
                    Poll::Ready(Err(_)) => self.socket.poisoned.set(true),
                    Poll::Ready(Ok(())) => {}
                }
                flushed
            }
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let socket = self.socket;
        let is_unfinished = match self.state {
            // It was begun, so it is made: as much as fits goes out, as if it had been sent at once.
            State::Staged(_) => {
                socket.hurry();
                socket.collect().is_err() || !socket.outbox.borrow().is_empty()
            }
            // With nothing left to send, one that was begun later has sent it all.
            State::Waiting => !socket.outbox.borrow().is_empty(),
            State::Failed(_) | State::Done => false,
        };
        if is_unfinished {
            socket.poisoned.set(true);
        }
    }
}
