//! One end of a connection in memory, and what can happen to it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::super::Interest;
use crate::base::slab::Key;
use crate::base::time::Instant;

#[derive(Debug)]
pub(super) struct Stream {
    /// The other end; stale once that is closed.
    pub(super) peer: Key,
    /// A Unix socket: who closes it is known to be gone, and there are no resets.
    pub(super) unix: bool,
    pub(super) inbox: VecDeque<u8>,
    /// Bytes on their way to this end.
    pub(super) on_the_way: usize,
    /// Nothing from this end may arrive before this.
    pub(super) last_arrival: Instant,
    pub(super) connected: bool,
    pub(super) ended: bool,
    /// What ended the connection, until somebody was told.
    pub(super) error: Option<io::ErrorKind>,
    pub(super) failed: bool,
    pub(super) shut: bool,
    /// Bytes that may still be sent to a peer that is gone, until its reset comes.
    pub(super) void: usize,
    pub(super) resets: bool,
    pub(super) starved: bool,
    pub(super) reading: Interest,
    pub(super) writing: Interest,
    pub(super) ending: Interest,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Bytes(Vec<u8>),
    End,
    /// A Unix socket is closed in both directions.
    Gone,
    Reset,
    Connected,
    Refused,
    Knock {
        stream: u64,
        peer: SocketAddr,
    },
}

impl Stream {
    pub(super) fn new(peer: Key, unix: bool) -> Stream {
        Stream {
            peer,
            unix,
            inbox: VecDeque::new(),
            on_the_way: 0,
            last_arrival: Instant::ZERO,
            connected: unix,
            ended: false,
            error: None,
            failed: false,
            shut: false,
            void: 0,
            resets: false,
            starved: false,
            reading: Interest::default(),
            writing: Interest::default(),
            ending: Interest::default(),
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Bytes(bytes) => {
                self.on_the_way -= bytes.len();
                self.inbox.extend(bytes);
                self.reading.wake();
            }
            Event::End => {
                self.ended = true;
                self.reading.wake();
                self.ending.wake();
            }
            Event::Gone => {
                self.ended = true;
                self.fail(io::ErrorKind::BrokenPipe);
            }
            Event::Reset => self.fail(io::ErrorKind::ConnectionReset),
            Event::Refused => self.fail(io::ErrorKind::ConnectionRefused),
            Event::Connected => {
                self.connected = true;
                self.writing.wake();
            }
            Event::Knock { .. } => {}
        }
    }

    /// The first failure counts. After the peer's end only a sender hears of it.
    fn fail(&mut self, kind: io::ErrorKind) {
        if !std::mem::replace(&mut self.failed, true) && !self.ended {
            self.error = Some(kind);
        }
        self.reading.wake();
        self.writing.wake();
        self.ending.wake();
    }
}
