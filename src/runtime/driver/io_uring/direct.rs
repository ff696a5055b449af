//! Receives that do not go through the ring.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::super::super::buffer::{BUFFER_SIZE, Chunk, Pool};
use super::super::super::sys;
use super::{LONG, Stream};

/// What came of a receive that did not go through the ring.
pub(super) enum Direct {
    Received(io::Result<Option<Chunk>>),
    Nothing,
    /// There was no buffer for it.
    NoBuffer,
}

impl Stream {
    /// Receives at once, into a large buffer where there may be much.
    pub(super) fn recv_directly(&mut self, fd: &OwnedFd, pool: &Rc<Pool>) -> Direct {
        self.direct = false;
        let large = if self.bulk { pool.take_large() } else { None };
        let Some(mut buffer) = large.or_else(|| pool.take()) else {
            // The ring may have some, so a receive through it is what waits next, and not a poll.
            (self.bulk, self.long) = (false, false);
            return Direct::NoBuffer;
        };
        let received = sys::recv(fd, &mut buffer);
        let len = *received.as_ref().unwrap_or(&0);
        (self.more, self.bulk, self.long) = (len == buffer.len(), len >= BUFFER_SIZE, len >= LONG);
        if len > 0 {
            return Direct::Received(Ok(Some(Chunk::pooled(buffer, len, pool))));
        }
        pool.give(buffer);
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Direct::Nothing,
            received => {
                self.ended = true;
                Direct::Received(received.map(|_| None))
            }
        }
    }
}
