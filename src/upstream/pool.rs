//! The idle connections of one worker to one target.
//!
//! ```toml
//! [services.users]
//! targets = ["127.0.0.1:3001"]
//! pool = { idle_connections = 1024, idle_timeout = "50s" }      # for each worker and target
//! ```
//!
//! The one used last is taken first, so that in quiet times the others grow old
//! and are closed. A connection on which anything has come while it was idle (a
//! byte, an end, an error) is closed instead of used: a response to a request
//! that was never sent must not answer the next one.

use std::time::Duration;

use super::queue::Lease;
use crate::base::time::Instant;
use crate::net::Stream;

/// The pool.
#[derive(Debug)]
pub struct Pool {
    most: usize,
    patience: Duration,
    /// Whether any is kept now.
    open: bool,
    /// The oldest first.
    idle: Vec<Idle>,
}

/// A connection, and the right to have it.
#[derive(Debug)]
pub struct Connection {
    /// The stream. It is closed before the right is given back.
    pub stream: Stream,
    /// The right.
    pub lease: Lease,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// What a pool had to offer.
#[derive(Debug, Default)]
pub struct Taken {
    /// A connection that was quiet until now.
    pub connection: Option<Connection>,
    /// How many were found dead on the way to it, and closed.
    pub stale: u64,
}

impl Pool {
    /// An empty pool that keeps at most `most` connections, each for `patience`.
    #[must_use]
    pub fn new(most: usize, patience: Duration) -> Pool {
        Pool { most, patience, open: true, idle: Vec::new() }
    }

    /// Keeps at most `most` connections from now on, each for `patience`, and closes those that are too many.
    pub fn configure(&mut self, most: usize, patience: Duration) {
        (self.most, self.patience) = (most, patience);
        self.give_up(self.idle.len().saturating_sub(most));
    }

    /// The connection that was used last, unless all have died.
    pub fn take(&mut self, now: Instant) -> Taken {
        let mut stale = 0;
        while let Some(idle) = self.idle.pop() {
            if idle.is_usable(now, self.patience) {
                return Taken { connection: Some(idle.connection), stale };
            }
            stale += 1;
        }
        Taken { connection: None, stale }
    }

    /// Keeps a connection whose last response is complete; closes it if there are enough.
    pub fn put(&mut self, connection: Connection, now: Instant) {
        if self.open && self.idle.len() < self.most {
            connection.stream.watch();
            self.idle.push(Idle { connection, since: now });
        }
    }

    /// Closes the connections that are too old or have died; says how many had died.
    pub fn sweep(&mut self, now: Instant) -> u64 {
        let before = self.idle.len();
        let mut old = 0;
        self.idle.retain(|idle| {
            let fresh = now.since(idle.since) < self.patience;
            old += usize::from(!fresh);
            fresh && idle.connection.stream.is_quiet()
        });
        (before - self.idle.len() - old) as u64
    }

    /// Closes up to `count`, the oldest first; says how many.
    pub fn give_up(&mut self, count: usize) -> usize {
        let count = count.min(self.idle.len());
        self.idle.drain(..count);
        count
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.idle.clear();
    }

    /// Says whether connections are kept from now on; if not, those that idle are closed.
    pub fn set_open(&mut self, open: bool) {
        self.open = open;
        if !open {
            self.idle.clear();
        }
    }

    /// Closes all, and keeps none from now on: the target is no longer in use.
    pub fn retire(&mut self) {
        self.most = 0;
        self.idle = Vec::new();
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
        now.since(self.since) < patience && self.connection.stream.is_quiet()
    }
}
