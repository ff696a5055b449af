//! The short sends of one turn, made together at its end.
//!
//! When several tasks are ready, each would go through the kernel's sending path
//! in the middle of its own work: its code pushes ours out of the caches and ours
//! pushes it out, and a peer that sleeps is woken for the first message and
//! sleeps again before the second. So a short send is copied here while other
//! tasks are ready, and all of them go out behind each other before the driver
//! looks for events. A task that is alone sends at once, and what is long, too:
//! to copy it would cost more than it saves. What waits goes out before it.
//!
//! What waits is as good as sent: it goes out whatever becomes of the task.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::task::{Context, Poll, Waker};

use super::driver::Driver;
use super::sending::would_block_is_none;
use crate::base::slab::Key;

/// Bytes of a send that is copied.
pub(super) const SHORT: usize = 4 * 1024;

/// Bytes of a usual one, for which there is memory from the start.
const USUAL: usize = 1024;

/// So many wait at most: with more of them, the first would wait for long, and little more would be saved.
const MOST: usize = 64;

/// Sends that wait for the end of the turn.
#[derive(Debug)]
pub(super) struct Staging {
    waiting: RefCell<Waiting>,
    round: Cell<u64>,
    /// What did not go out, until its sender comes for it. It is empty as a rule.
    left: RefCell<Vec<Left>>,
    /// Memory for the wakers of those that have gone out; empty between rounds.
    wakers: RefCell<Vec<Waker>>,
}

/// Where a send waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    round: u64,
    index: usize,
}

/// What a socket could not send, or why it can send no more.
type Left = (Key, io::Result<Vec<u8>>);

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    sends: Vec<Staged>,
}

#[derive(Debug)]
struct Staged {
    socket: Key,
    /// Where its bytes are.
    range: Range<usize>,
    waker: Option<Waker>,
}

impl Staging {
    pub(super) fn new() -> Staging {
        let waiting = Waiting { bytes: Vec::with_capacity(MOST * USUAL), sends: Vec::with_capacity(MOST) };
        Staging {
            waiting: RefCell::new(waiting),
            // Sockets that were never in a round have 0.
            round: Cell::new(1),
            left: RefCell::default(),
            wakers: RefCell::new(Vec::with_capacity(MOST)),
        }
    }

    /// A number that grows whenever what waits goes out.
    pub(super) fn round(&self) -> u64 {
        self.round.get()
    }

    /// Whether what waits has to go out before a send of so many bytes: no more should be put behind it, or the other one
    /// is long and would keep it waiting.
    pub(super) fn is_due(&self, bytes: usize) -> bool {
        let waiting = self.waiting.borrow().sends.len();
        if bytes > SHORT { waiting > 0 } else { waiting >= MOST }
    }

    /// Puts a send behind the others, whose place that is in this round.
    pub(super) fn put(&self, socket: Key, parts: &[IoSlice<'_>]) -> Place {
        let Waiting { bytes, sends } = &mut *self.waiting.borrow_mut();
        let start = bytes.len();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        sends.push(Staged { socket, range: start..bytes.len(), waker: None });
        Place { round: self.round.get(), index: sends.len() - 1 }
    }

    /// Whether what is at `place` has gone out; if not, the task of `context` is woken then.
    pub(super) fn poll_gone(&self, place: Place, context: &Context<'_>) -> Poll<()> {
        if place.round != self.round.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        let slot = &mut waiting.sends[place.index].waker;
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            let former = slot.replace(context.waker().clone());
            // A waker may do anything when it is dropped.
            drop(waiting);
            drop(former);
        }
        Poll::Pending
    }

    /// What did not go out of the sends of `socket`, or why nothing more can.
    #[inline]
    pub(super) fn take_left(&self, socket: Key) -> Option<io::Result<Vec<u8>>> {
        let mut left = self.left.borrow_mut();
        if left.is_empty() {
            return None;
        }
        let place = left.iter().position(|(of, _)| *of == socket)?;
        Some(left.swap_remove(place).1)
    }

    /// Sends all that waits and wakes who waits for it; whether there was something.
    #[inline]
    pub(super) fn flush(&self, driver: &RefCell<Driver>) -> bool {
        let is_something = !self.waiting.borrow().sends.is_empty();
        if is_something {
            self.make_round(driver);
        }
        is_something
    }

    fn make_round(&self, driver: &RefCell<Driver>) {
        // Woken outside of every borrow: a waker may be anybody's, and do anything when it is dropped.
        let mut wakers = self.wakers.take();
        self.send_all(driver, &mut wakers);
        wakers.drain(..).for_each(Waker::wake);
        self.wakers.replace(wakers);
    }

    fn send_all(&self, driver: &RefCell<Driver>, wakers: &mut Vec<Waker>) {
        let Waiting { bytes, sends } = &mut *self.waiting.borrow_mut();
        self.round.set(self.round.get() + 1);
        let mut driver = driver.borrow_mut();
        let mut left = self.left.borrow_mut();
        for Staged { socket, range, waker } in sends.drain(..) {
            send(&mut driver, socket, &bytes[range], &mut left);
            wakers.extend(waker);
        }
        bytes.clear();
    }
}

fn send(driver: &mut Driver, socket: Key, bytes: &[u8], left: &mut Vec<Left>) {
    // Nothing may overtake what has stayed behind.
    if !left.is_empty()
        && let Some((_, behind)) = left.iter_mut().find(|(of, _)| *of == socket)
    {
        if let Ok(behind) = behind {
            behind.extend_from_slice(bytes);
        }
        return;
    }
    match would_block_is_none(driver.send(socket, &[IoSlice::new(bytes)])) {
        Ok(sent) if sent == bytes.len() => {}
        Ok(sent) => left.push((socket, Ok(bytes[sent..].to_vec()))),
        Err(error) => left.push((socket, Err(error))),
    }
}
