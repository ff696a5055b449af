//! The idle connections of one worker to one target.
//!
//! The one used last is taken first, so that in quiet times the others grow old
//! and are closed. A connection on which anything has come while it was idle (a
//! byte, an end, an error) is closed instead of used: a response to a request
//! that was never sent must not answer the next one.

use std::time::Duration;

use crate::base::time::Instant;
use crate::net::Stream;

/// The pool.
#[derive(Debug)]
pub struct Pool {
    most: usize,
    patience: Duration,
    /// The oldest first.
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    since: Instant,
}

/// What a pool had to offer.
#[derive(Debug)]
pub struct Taken {
    /// A connection that was quiet until now.
    pub stream: Option<Stream>,
    /// How many were found dead on the way to it, and closed.
    pub stale: u64,
}

impl Pool {
    /// An empty pool that keeps at most `most` connections, each for `patience`.
    #[must_use]
    pub fn new(most: usize, patience: Duration) -> Pool {
        Pool { most, patience, idle: Vec::new() }
    }

    /// The connection that was used last, unless all have died.
    pub fn take(&mut self, now: Instant) -> Taken {
        let mut stale = 0;
        while let Some(idle) = self.idle.pop() {
            if idle.is_usable(now, self.patience) {
                return Taken { stream: Some(idle.stream), stale };
            }
            stale += 1;
        }
        Taken { stream: None, stale }
    }

    /// Keeps a connection whose last response is complete; closes it if there are enough.
    pub fn put(&mut self, stream: Stream, now: Instant) {
        if self.idle.len() < self.most {
            stream.watch();
            self.idle.push(Idle { stream, since: now });
        }
    }

    /// Closes the connections that are too old or have died; says how many had died.
    pub fn sweep(&mut self, now: Instant) -> u64 {
        let before = self.idle.len();
        let mut old = 0;
        self.idle.retain(|idle| {
            let fresh = now.since(idle.since) < self.patience;
            old += usize::from(!fresh);
            fresh && idle.stream.is_quiet()
        });
        (before - self.idle.len() - old) as u64
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.idle.clear();
    }

    /// How many connections are idle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.len()
    }

    /// Whether none is idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }
}

impl Idle {
    fn is_usable(&self, now: Instant, patience: Duration) -> bool {
        now.since(self.since) < patience && self.stream.is_quiet()
    }
}
