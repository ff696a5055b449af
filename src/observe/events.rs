//! Events that a person should read, on their way from the workers to the log.
//!
//! A worker must not wait for a terminal or a disk. It puts the event into a
//! bounded queue, and the control thread writes it out; when the queue is full
//! the event is dropped, and counted. Those that the log has no line for,
//! because there were too many of their kind, are counted here, too.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::base::request_id::RequestId;

/// How many events may wait.
const CAPACITY: usize = 1024;

/// Something that a worker has to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event {
    /// A stable name in snake case, the one that refusals are counted by.
    pub code: &'static str,
    /// What has happened, in a sentence.
    pub detail: &'static str,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// Who was on the other side.
    pub peer: Option<SocketAddr>,
    /// The target that it is about, where there is one with an address.
    pub target: Option<SocketAddr>,
    /// The request's id, where there was a request.
    pub request: Option<RequestId>,
    /// The system's error number, where there was one.
    pub errno: Option<i32>,
}

/// The queue.
#[derive(Debug)]
pub struct Events {
    waiting: ArrayQueue<Event>,
    left_out: AtomicU64,
}

impl Default for Events {
    fn default() -> Self {
        Events { waiting: ArrayQueue::new(CAPACITY), left_out: AtomicU64::new(0) }
    }
}

impl Events {
    /// Puts an event into the queue; false if it is full and the event is lost.
    #[must_use]
    pub fn push(&self, event: Event) -> bool {
        self.waiting.push(event).is_ok()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The oldest event.
    #[must_use]
    pub fn pop(&self) -> Option<Event> {
        self.waiting.pop()
    }

    /// Counts an event that is not written, because there were too many of its kind.
    pub fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were not written because there were too many of their kind.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}
