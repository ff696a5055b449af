//! Events that a person should read, on their way from the workers to the log.
//!
//! A worker must not wait for a terminal or a disk. It puts the event into a
//! bounded queue, and the control thread writes it out; when the queue is full
//! the event is dropped, and counted.

use std::net::SocketAddr;

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
pub struct Events(ArrayQueue<Event>);

impl Default for Events {
    fn default() -> Self {
        Events(ArrayQueue::new(CAPACITY))
    }
}

impl Events {
    /// Puts an event into the queue; false if it is full and the event is lost.
    #[must_use]
    pub fn push(&self, event: Event) -> bool {
        self.0.push(event).is_ok()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The oldest event.
    #[must_use]
    pub fn pop(&self) -> Option<Event> {
        self.0.pop()
    }
}
