//! The io_uring driver's account of one socket.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use super::super::buffer::Chunk;
use super::Interest;

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) kind: Kind,
    /// A receive, or the accept of a listener.
    pub(super) reading_now: bool,
    pub(super) polling_now: bool,
    /// A poll for the end of the stream in both directions.
    pub(super) over_now: bool,
    pub(super) closing: bool,
    pub(super) reading: Interest,
    pub(super) writing: Interest,
}

#[derive(Debug)]
pub(super) enum Kind {
    Stream(Stream),
    /// `pausing`: accepting is being cancelled, for too many wait already.
    Listener {
        accepted: VecDeque<OwnedFd>,
        error: Option<io::Error>,
        pausing: bool,
    },
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) arrived: Option<io::Result<Chunk>>,
    pub(super) ended: bool,
    pub(super) starved: bool,
    pub(super) writable: bool,
    /// The last receive said that there is more.
    pub(super) more: bool,
    pub(super) over: bool,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd, kind: Kind) -> Socket {
        let (reading, writing) = Default::default();
        let (reading_now, polling_now, over_now, closing) = Default::default();
        Socket { fd, kind, reading_now, polling_now, over_now, closing, reading, writing }
    }

    /// A poll has answered: for the end of the stream, or for room to send.
    pub(super) fn polled(&mut self, over: bool) {
        if over {
            self.over_now = false;
        } else {
            self.polling_now = false;
        }
        if let Kind::Stream(stream) = &mut self.kind {
            stream.writable |= !over;
            stream.over |= over && !self.closing;
        }
        self.writing.wake();
    }
}

impl Stream {
    /// Takes what has arrived; `unclaimed` counts the chunks of the pool among it.
    pub(super) fn take_arrived(&mut self, unclaimed: &mut usize) -> Option<io::Result<Chunk>> {
        let arrived = self.arrived.take();
        *unclaimed -= usize::from(matches!(&arrived, Some(Ok(chunk)) if chunk.is_pooled()));
        arrived
    }
}
