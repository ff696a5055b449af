//! Client connections, as the control thread gets to see them: by asking each worker.
//!
//! A worker keeps its connections to itself. It is asked with one store and a wake-up, and answers between two requests,
//! from counts that it has anyway and a bounded piece of its list; nobody waits for anybody but the one who asks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::base::time::Instant;

/// Where the control thread asks one worker, and finds its answer.
#[derive(Debug)]
pub struct Desk {
    /// How many connections shall be listed, and one; zero where nobody asks.
    asked: AtomicUsize,
    answer: ArrayQueue<Report>,
}

/// What a worker answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many connections it has.
    pub open: usize,
    /// How many have come by which listener; what is missing to `open` has come by listeners that are gone.
    pub by_listener: Vec<(Box<str>, usize)>,
    /// Some of them.
    pub connections: Vec<Listed>,
}

/// One client connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it comes from; `None` where that is not known any more.
    pub peer: Option<SocketAddr>,
    /// The listener by which it has come; `None` where that is gone.
    pub listener: Option<Box<str>>,
    /// When it was accepted.
    pub since: Instant,
    /// Requests that have begun.
    pub requests: u32,
    /// What it does.
    pub activity: Activity,
}

/// What a client connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It waits for a request.
    Idle,
    /// A request runs.
    Request,
    /// It was switched to another protocol.
    Tunnel,
    /// It is ending.
    Ending,
}

impl Activity {
    /// What it does, in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Activity::Idle => "idle",
            Activity::Request => "request",
            Activity::Tunnel => "tunnel",
            Activity::Ending => "ending",
        }
    }
}

impl Default for Desk {
    fn default() -> Desk {
        Desk { asked: AtomicUsize::new(0), answer: ArrayQueue::new(1) }
    }
}

impl Desk {
    /// Asks for a report that lists up to `most` connections. The worker has to be woken. An answer to a question before
    /// this one is thrown away.
    pub fn ask(&self, most: usize) {
        drop(self.answer.pop());
        self.asked.store(most.saturating_add(1), Ordering::Release);
    }

    /// How many connections shall be listed, if somebody asks. To be answered once. Only the worker may call this.
    pub fn question(&self) -> Option<usize> {
        // Mostly nobody does, and a plain load is all.
        if self.asked.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.asked.swap(0, Ordering::Acquire).checked_sub(1)
    }

    /// Answers. Only the worker may call this.
    pub fn answer(&self, report: Report) {
        drop(self.answer.force_push(report));
    }

    /// The answer, once it is there.
    #[must_use]
    pub fn take(&self) -> Option<Report> {
        self.answer.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_once_and_the_last_one_counts() {
        let desk = Desk::default();
        assert!(desk.question().is_none() && desk.take().is_none());
        desk.ask(5);
        desk.ask(0);
        assert_eq!((desk.question(), desk.question()), (Some(0), None));
        desk.answer(Report { open: 1, ..Report::default() });
        desk.ask(7);
        assert!(desk.take().is_none(), "that was the answer to another one");
        desk.answer(Report { open: 2, ..Report::default() });
        desk.answer(Report { open: 3, ..Report::default() });
        assert_eq!((desk.take().map(|report| report.open), desk.take()), (Some(3), None));
    }
}
