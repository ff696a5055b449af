//! Timers and deadlines, as tasks have them.
//!
//! A [`Sleep`] is a timer of its own, for what is waited for now and then. A [`Timer`] is kept by who waits again and
//! again, such as a connection: to put it off costs a store.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::Handle;
use crate::base::slab::Key;
use crate::base::time::Instant;

/// A timer; see [`Handle::sleep_until`]. Dropping it disarms it.
#[derive(Debug)]
#[must_use = "a timer does nothing until it is awaited"]
pub struct Sleep {
    handle: Handle,
    deadline: Instant,
    timer: Option<Key>,
}

impl Sleep {
    pub(super) fn new(handle: Handle, deadline: Instant) -> Sleep {
        Sleep { handle, deadline, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.deadline == Instant::NEVER {
            return Poll::Pending;
        }
        if self.deadline <= self.handle.now() {
            ready!(self.handle.poll_budget(context));
            self.handle.spend_budget();
            return Poll::Ready(());
        }
        let mut timers = self.handle.core.timers.borrow_mut();
        match self.timer {
            Some(key) if timers.poll(key, context.waker()) => Poll::Ready(()),
            Some(_) => Poll::Pending,
            None => {
                let key = timers.insert(self.deadline, context.waker().clone());
                drop(timers);
                self.timer = Some(key);
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer {
            self.handle.core.timers.borrow_mut().remove(key);
        }
    }
}

/// A timer that is kept; see [`Handle::timer`]. Dropping it disarms it.
#[derive(Debug)]
pub struct Timer {
    handle: Handle,
    key: Option<Key>,
}

impl Timer {
    pub(super) fn new(handle: Handle) -> Timer {
        Timer { handle, key: None }
    }

    /// Has the task of `context` woken at `deadline`, instead of whenever it was to be before; for [`Instant::NEVER`],
    /// and for a time that has passed, nothing changes.
    pub fn wake_at(&mut self, deadline: Instant, context: &Context<'_>) {
        if deadline == Instant::NEVER || deadline <= self.handle.now() {
            return;
        }
        let mut timers = self.handle.core.timers.borrow_mut();
        match self.key {
            Some(key) => timers.rearm(key, deadline, context.waker()),
            None => self.key = Some(timers.insert(deadline, context.waker().clone())),
        }
    }

    /// Ready where a deadline that has passed counts. It does not in a turn in which the task may do no more, for then it
    /// could not look whether what it waits for is there; it is polled again in the next.
    pub fn poll_expired(&self, context: &Context<'_>) -> Poll<()> {
        self.handle.poll_budget(context)
    }

    /// Waits for `work`, but not longer than until `deadline`; then it is dropped.
    pub fn timeout<F: Future>(&mut self, deadline: Instant, work: F) -> Limited<'_, F> {
        Limited { timer: self, deadline, work }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.handle.core.timers.borrow_mut().remove(key);
        }
    }
}

/// Work with a deadline; see [`Timer::timeout`].
#[derive(Debug)]
#[must_use = "work does nothing until it is awaited"]
pub struct Limited<'a, F> {
    timer: &'a mut Timer,
    deadline: Instant,
    work: F,
}

impl<F: Future + Unpin> Future for Limited<'_, F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.work).poll(context) {
            return Poll::Ready(Ok(output));
        }
        let Limited { timer, deadline, .. } = &mut *self;
        if *deadline <= timer.handle.now() {
            return timer.poll_expired(context).map(|()| Err(TimedOut));
        }
        timer.wake_at(*deadline, context);
        Poll::Pending
    }
}

/// The time was over before the work was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut;

/// Work with a deadline; see [`Handle::timeout`].
#[derive(Debug)]
#[must_use = "work does nothing until it is awaited"]
pub struct Timeout<F> {
    sleep: Sleep,
    work: F,
}

impl<F> Timeout<F> {
    pub(super) fn new(sleep: Sleep, work: F) -> Timeout<F> {
        Timeout { sleep, work }
    }
}

impl<F: Future + Unpin> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.work).poll(context) {
            return Poll::Ready(Ok(output));
        }
        ready!(Pin::new(&mut self.sleep).poll(context));
        Poll::Ready(Err(TimedOut))
    }
}
