//! Bytes that were received and not used yet.
//!
//! As a rule they stay in the pool's buffer they came in, and are read in
//! place. When they have to wait for more, or for somebody else, they move to
//! storage of their own, so that no waiting connection holds a pool buffer.

use std::io;

use super::Stream;
use crate::runtime::Chunk;

/// The receiving end of a connection. Empty, it owns no memory.
#[derive(Debug, Default)]
pub struct Reader {
    chunk: Option<Chunk>,
    /// Bytes that waited; they come before the chunk, which is then empty.
    waited: Vec<u8>,
    used: usize,
    received: u64,
}

impl Reader {
    /// What was received and not used yet, in one piece.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.chunk {
            Some(chunk) => chunk,
            None => &self.waited[self.used..],
        }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// How many bytes have been received in all.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes have been used in all.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.received - self.bytes().len() as u64
    }

    /// Takes note that the first `count` bytes have been used.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn consume(&mut self, count: usize) {
        match &mut self.chunk {
            Some(chunk) => {
                chunk.advance(count);
                if chunk.is_empty() {
                    self.chunk = None;
                }
            }
            None => {
                assert!(count <= self.waited.len() - self.used, "a reader consumes what it has");
                self.used += count;
                if self.used == self.waited.len() {
                    (self.waited, self.used) = (Vec::new(), 0);
                }
            }
        }
    }

    /// Moves what is left out of the pool: somebody else is waited for.
    pub fn park(&mut self) {
        self.chunk = self.chunk.take().map(Chunk::detach);
    }

    /// Receives more, behind what is left; false at the end of the stream.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// The stream's.
    pub async fn fill(&mut self, stream: &Stream) -> io::Result<bool> {
        if let Some(chunk) = self.chunk.take() {
            self.waited = chunk.to_vec();
        }
        let Some(chunk) = stream.recv().await? else { return Ok(false) };
        self.received += chunk.len() as u64;
        if self.waited.is_empty() {
            self.chunk = Some(chunk);
        } else {
            self.waited.drain(..std::mem::take(&mut self.used));
            self.waited.extend_from_slice(&chunk);
        }
        Ok(true)
    }
}
