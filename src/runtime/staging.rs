//! The short sends of one turn, made together at its end.
//!
//! When several tasks are ready, each would go through the kernel's sending path
//! in the middle of its own work: its code pushes ours out of the caches and ours
//! pushes it out, and a peer that sleeps is woken for the first message and
//! sleeps again before the second. So a short send is copied here while other
//! tasks are ready, and all of them go out behind each other before the driver
//! looks for events. A task that is alone sends at once, and what is long, too:
//! to copy it would cost more than it saves.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::task::{Context, Waker};

use super::driver::Driver;
use super::sending::would_block_is_none;
use crate::base::slab::Key;

/// Bytes of a send that is copied.
pub(super) const SHORT: usize = 4 * 1024;

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

/// What a socket could not send, or why it can send no more.
type Left = (Key, io::Result<Vec<u8>>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    sends: Vec<Send>,
}

#[derive(Debug)]
struct Send {
    /// [`Key::NONE`] once it was given up.
    socket: Key,
    end: usize,
    waker: Option<Waker>,
}

impl Staging {
    pub(super) fn new() -> Staging {
        let (waiting, left, wakers) = Default::default();
        // Sockets that were never in a round have 0.
        Staging { waiting, round: Cell::new(1), left, wakers }
    }

    /// A number that grows whenever what waits goes out.
    pub(super) fn round(&self) -> u64 {
        self.round.get()
    }

    /// Whether no more should be put behind what waits before that has gone out.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.borrow().sends.len() >= MOST
    }

    /// Puts a send behind the others.
    pub(super) fn put(&self, socket: Key, parts: &[IoSlice<'_>]) {
        let Waiting { bytes, sends } = &mut *self.waiting.borrow_mut();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        sends.push(Send { socket, end: bytes.len(), waker: None });
    }

    /// Has the task of `context` woken once the sends of `socket` have gone out.
    pub(super) fn register(&self, socket: Key, context: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(send) = waiting.sends.iter_mut().rev().find(|send| send.socket == socket) {
            send.waker = Some(context.waker().clone());
        }
    }

    /// Gives up the sends of `socket` that wait, and what did not go out of others.
    pub(super) fn forget(&self, socket: Key) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.sends.iter_mut().filter(|send| send.socket == socket).for_each(|send| send.socket = Key::NONE);
        self.take_left(socket);
    }

    /// What did not go out of the sends of `socket`, or why nothing more can.
    pub(super) fn take_left(&self, socket: Key) -> Option<io::Result<Vec<u8>>> {
        let mut left = self.left.borrow_mut();
        let place = left.iter().position(|(of, _)| *of == socket)?;
        Some(left.swap_remove(place).1)
    }

    /// Sends all that waits and wakes who waits for it; whether there was something.
    pub(super) fn flush(&self, driver: &RefCell<Driver>) -> bool {
        // Woken outside of every borrow: a waker may be anybody's, and do anything when it is dropped.
        let mut wakers = self.wakers.take();
        let sent = self.send_all(driver, &mut wakers);
        wakers.drain(..).for_each(Waker::wake);
        self.wakers.replace(wakers);
        sent
    }

    fn send_all(&self, driver: &RefCell<Driver>, wakers: &mut Vec<Waker>) -> bool {
        let Waiting { bytes, sends } = &mut *self.waiting.borrow_mut();
        if sends.is_empty() {
            return false;
        }
        self.round.set(self.round.get() + 1);
        let mut driver = driver.borrow_mut();
        let mut left = self.left.borrow_mut();
        let mut start = 0;
        for Send { socket, end, waker } in sends.drain(..) {
            let bytes = &bytes[std::mem::replace(&mut start, end)..end];
            if socket != Key::NONE {
                send(&mut driver, socket, bytes, &mut left);
            }
            wakers.extend(waker);
        }
        bytes.clear();
        true
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
