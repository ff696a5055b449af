//! What has come on a stream before anybody took it.
//!
//! It is a piece as a rule, so only further ones take memory of their own, which is used again.

use std::collections::VecDeque;
use std::io;

use super::{Chunk, MOST_ARRIVED};

/// Lists that are kept for whoever needs one.
const MOST_SPARE: usize = 64;

/// Lists that there are from the start.
const FIRST_SPARE: usize = 8;

/// A list of this capacity is not kept: something unusual has happened.
const UNUSUAL: usize = 64;

/// Pieces in the order in which they have come, and perhaps the error that was the last of it.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    first: Option<io::Result<Chunk>>,
    others: Option<Others>,
}

/// What is behind the first piece. Most streams have none, and idle ones shall be small.
type Others = Box<VecDeque<io::Result<Chunk>>>;

/// What the streams of a driver have in common.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Pieces of all streams whose bytes lie in the pool.
    pub(super) pooled: usize,
    spare: Vec<Others>,
}

impl Store {
    /// One with a few lists: it may be long until a stream has a second piece for the first time.
    pub(super) fn new() -> Store {
        let mut spare = Vec::with_capacity(MOST_SPARE);
        spare.extend((0..FIRST_SPARE).map(|_| Box::new(VecDeque::with_capacity(MOST_ARRIVED))));
        Store { pooled: 0, spare }
    }

    fn give_back(&mut self, others: Others) {
        if self.spare.len() < MOST_SPARE && others.capacity() < UNUSUAL {
            self.spare.push(others);
        }
    }
}

impl Arrived {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many pieces there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.len())
    }

    /// Puts a piece behind the others.
    pub(super) fn push(&mut self, arrived: io::Result<Chunk>, store: &mut Store) {
        store.pooled += usize::from(is_pooled(&arrived));
        match self.first {
            None => self.first = Some(arrived),
            Some(_) => {
                let others = self.others.get_or_insert_with(|| store.spare.pop().unwrap_or_default());
                others.push_back(arrived);
            }
        }
    }

    /// Takes the first piece.
    pub(super) fn take(&mut self, store: &mut Store) -> Option<io::Result<Chunk>> {
        let taken = self.first.take()?;
        store.pooled -= usize::from(is_pooled(&taken));
        if let Some(mut others) = self.others.take() {
            self.first = others.pop_front();
            if others.is_empty() {
                store.give_back(others);
            } else {
                self.others = Some(others);
            }
        }
        Some(taken)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, store: &mut Store) {
        while self.take(store).is_some() {}
    }

    /// Moves the bytes out of the pool; they are no more counted as lying there.
    pub(super) fn detach(&mut self) {
        self.first = self.first.take().map(|arrived| arrived.map(Chunk::detach));
        for chunk in self.others.iter_mut().flat_map(|others| others.iter_mut()).flatten() {
            *chunk = std::mem::replace(chunk, Chunk::copied(&[])).detach();
        }
    }
}

fn is_pooled(arrived: &io::Result<Chunk>) -> bool {
    matches!(arrived, Ok(chunk) if chunk.is_pooled())
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::*;

    #[test]
    fn pieces_come_in_order_and_the_pooled_are_counted() {
        let pool = Pool::new(8);
        let mut arrived = Arrived::default();
        let mut store = Store::default();
        for round in 0..3u8 {
            for piece in 0..4u8 {
                let mut buffer = pool.take().unwrap();
                buffer[0] = piece;
                let chunk = Chunk::pooled(buffer, 1, &pool);
                arrived.push(Ok(if piece == 2 { chunk.detach() } else { chunk }), &mut store);
            }
            assert_eq!((arrived.len(), store.pooled, pool.in_use(), store.spare.len()), (4, 3, 3, 0));
            if round == 1 {
                arrived.detach();
                store.pooled = 0;
                assert_eq!(pool.in_use(), 0);
            }
            arrived.push(Err(io::ErrorKind::ConnectionReset.into()), &mut store);
            for piece in 0..4 {
                assert_eq!(arrived.take(&mut store).unwrap().unwrap()[0], piece);
            }
            assert!(!arrived.is_empty() && arrived.take(&mut store).unwrap().is_err());
            assert!(arrived.is_empty() && arrived.take(&mut store).is_none() && arrived.others.is_none());
            assert_eq!((store.pooled, pool.in_use(), store.spare.len()), (0, 0, 1));
        }
        arrived.push(Ok(Chunk::pooled(pool.take().unwrap(), 1, &pool)), &mut store);
        arrived.clear(&mut store);
        assert_eq!((arrived.len(), store.pooled, pool.in_use()), (0, 0, 0));
    }

    #[test]
    fn a_long_list_is_not_kept_nor_are_many() {
        let mut store = Store::default();
        let piece = || Ok(Chunk::copied(b"x"));
        let mut long = Arrived::default();
        (0..1000).for_each(|_| long.push(piece(), &mut store));
        long.clear(&mut store);
        assert_eq!(store.spare.len(), 0);
        let mut many: Vec<Arrived> = (0..2 * MOST_SPARE).map(|_| Arrived::default()).collect();
        for arrived in &mut many {
            (0..3).for_each(|_| arrived.push(piece(), &mut store));
        }
        many.iter_mut().for_each(|arrived| arrived.clear(&mut store));
        assert_eq!(store.spare.len(), MOST_SPARE);
    }
}
