//! The receive buffers of one worker.
//!
//! All sockets of a worker share one bounded pool, and a buffer is picked only
//! when there is data to put into it: ten thousand idle connections hold none.
//! A [`Chunk`] is a filled part of a buffer and gives it back when dropped.
//! Whoever has to wait for a peer while holding received bytes moves them out
//! of the pool first ([`Chunk::detach`]), so that stalled peers cannot starve
//! the others.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

/// Bytes of one receive buffer.
pub const BUFFER_SIZE: usize = 16 * 1024;

/// Bytes of one of the large buffers, for streams whose sockets have filled a whole buffer: what is carried over in larger
/// pieces costs fewer system calls and fewer acknowledgements.
pub const LARGE_SIZE: usize = 128 * 1024;

/// There is one large buffer for so many others.
const LARGE_SHARE: usize = 32;

/// The pool. Buffers are made on demand, up to its capacity, and then kept.
#[derive(Debug)]
pub(super) struct Pool {
    usual: Shelf,
    large: Shelf,
    /// Bytes that sockets hold in memory of their own until their peers take them.
    unsent: Cell<usize>,
}

/// Buffers of one size.
#[derive(Debug)]
struct Shelf {
    size: usize,
    capacity: usize,
    made: Cell<usize>,
    free: RefCell<Vec<Box<[u8]>>>,
}

impl Pool {
    /// A pool of at most `capacity` buffers, and a few large ones.
    pub(super) fn new(capacity: usize) -> Rc<Pool> {
        let (usual, large) = (Shelf::new(BUFFER_SIZE, capacity), Shelf::new(LARGE_SIZE, capacity / LARGE_SHARE));
        Rc::new(Pool { usual, large, unsent: Cell::new(0) })
    }

    /// A buffer, or nothing when all are in use.
    pub(super) fn take(&self) -> Option<Box<[u8]>> {
        self.usual.take()
    }

    /// A large buffer. Nothing when all are in use, or when peers leave lying about as much as all usual buffers hold:
    /// those who take nothing shall not get to hold large pieces each.
    pub(super) fn take_large(&self) -> Option<Box<[u8]>> {
        if self.unsent.get() > self.usual.capacity * BUFFER_SIZE { None } else { self.large.take() }
    }

    /// How many bytes sockets hold until their peers take them.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.get()
    }

    /// Takes note that sockets hold so many bytes more until their peers take them, or, negative, fewer.
    pub(super) fn hold_unsent(&self, more: isize) {
        self.unsent.set(self.unsent.get().wrapping_add_signed(more));
    }

    /// Gives a buffer back.
    pub(super) fn give(&self, buffer: Box<[u8]>) {
        let shelf = if buffer.len() == LARGE_SIZE { &self.large } else { &self.usual };
        shelf.free.borrow_mut().push(buffer);
    }

    /// How many buffers can be taken now; the large ones come on top.
    pub(super) fn available(&self) -> usize {
        self.usual.capacity - self.usual.in_use()
    }

    /// How many buffers are in use now, with the large ones.
    pub(super) fn in_use(&self) -> usize {
        self.usual.in_use() + self.large.in_use()
    }
}

impl Shelf {
    fn new(size: usize, capacity: usize) -> Shelf {
        // How many come back before one is taken again is chance.
        Shelf { size, capacity, made: Cell::new(0), free: RefCell::new(Vec::with_capacity(capacity)) }
    }

    fn take(&self) -> Option<Box<[u8]>> {
        if let Some(buffer) = self.free.borrow_mut().pop() {
            return Some(buffer);
        }
        if self.made.get() == self.capacity {
            return None;
        }
        self.made.set(self.made.get() + 1);
        Some(vec![0; self.size].into_boxed_slice())
    }

    fn in_use(&self) -> usize {
        self.made.get() - self.free.borrow().len()
    }
}

/// Received bytes; dropping it gives the buffer back to its pool.
#[derive(Debug)]
pub struct Chunk {
    storage: Storage,
    start: usize,
    end: usize,
}

#[derive(Debug)]
enum Storage {
    Pooled(Box<[u8]>, Rc<Pool>),
    Own(Box<[u8]>),
}

impl Chunk {
    /// The first `len` bytes of a buffer of `pool`.
    pub(super) fn pooled(buffer: Box<[u8]>, len: usize, pool: &Rc<Pool>) -> Chunk {
        debug_assert!(len <= buffer.len());
        Chunk { storage: Storage::Pooled(buffer, pool.clone()), start: 0, end: len }
    }

    /// A chunk that is not in the pool.
    #[must_use]
    pub fn copied(bytes: &[u8]) -> Chunk {
        Chunk { end: bytes.len(), storage: Storage::Own(bytes.into()), start: 0 }
    }

    /// Drops the first `count` bytes.
    ///
    /// # Panics
    /// When the chunk has fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.end - self.start, "a chunk advances within its bytes");
        self.start += count;
    }

    /// Whether the bytes lie in a buffer of the pool.
    pub(super) fn is_pooled(&self) -> bool {
        matches!(self.storage, Storage::Pooled(..))
    }

    /// The same bytes in memory of their own, the pool's buffer given back.
    #[must_use]
    pub fn detach(self) -> Chunk {
        match self.storage {
            Storage::Own(_) => self,
            Storage::Pooled(..) => Chunk::copied(&self),
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (Storage::Pooled(buffer, _) | Storage::Own(buffer)) = &self.storage;
        &buffer[self.start..self.end]
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Storage::Pooled(buffer, pool) = self {
            pool.give(std::mem::take(buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pool_gives_nothing_until_a_chunk_is_dropped() {
        let pool = Pool::new(2);
        let first = Chunk::pooled(pool.take().unwrap(), 3, &pool);
        let second = Chunk::pooled(pool.take().unwrap(), 3, &pool);
        assert!(pool.take().is_none());
        drop(first);
        assert_eq!(pool.in_use(), 1);
        let second = second.detach();
        assert_eq!((pool.in_use(), second.len()), (0, 3));
    }

    #[test]
    fn large_buffers_are_few_and_go_back_to_their_own() {
        let pool = Pool::new(2 * LARGE_SHARE);
        let all: Vec<_> = std::iter::from_fn(|| pool.take_large()).collect();
        assert_eq!((all.len(), all[0].len(), pool.in_use()), (2, LARGE_SIZE, 2));
        assert_eq!(pool.available(), 2 * LARGE_SHARE, "the others are all there");
        all.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(pool.in_use(), 0);
        assert_eq!(pool.take().map(|buffer| buffer.len()), Some(BUFFER_SIZE));
        assert!(Pool::new(LARGE_SHARE - 1).take_large().is_none());
        let most = 2 * LARGE_SHARE * BUFFER_SIZE;
        pool.hold_unsent(most as isize + 1);
        assert!(pool.take_large().is_none(), "too much lies about");
        pool.hold_unsent(-1);
        assert!(pool.take_large().is_some());
    }

    #[test]
    fn a_chunk_advances_over_its_bytes() {
        let pool = Pool::new(1);
        let mut buffer = pool.take().unwrap();
        buffer[..5].copy_from_slice(b"hello");
        let mut chunk = Chunk::pooled(buffer, 5, &pool);
        chunk.advance(2);
        assert_eq!(&*chunk, b"llo");
        chunk.advance(3);
        assert!(chunk.is_empty());
    }
}
