//! What has come on a stream before anybody took it.
//!
//! It is a piece as a rule, so only further ones take memory of their own.

use std::collections::VecDeque;
use std::io;

use super::Chunk;

/// Pieces in the order in which they have come, and perhaps the error that was the last of it.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    first: Option<io::Result<Chunk>>,
    #[expect(clippy::box_collection, reason = "most streams have none, and idle ones shall be small")]
    others: Option<Box<VecDeque<io::Result<Chunk>>>>,
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

    /// Puts a piece behind the others; `pooled` counts those whose bytes lie in the pool.
    pub(super) fn push(&mut self, arrived: io::Result<Chunk>, pooled: &mut usize) {
        *pooled += usize::from(is_pooled(&arrived));
        match self.first {
            None => self.first = Some(arrived),
            Some(_) => self.others.get_or_insert_default().push_back(arrived),
        }
    }

    /// Takes the first piece.
    pub(super) fn take(&mut self, pooled: &mut usize) -> Option<io::Result<Chunk>> {
        let taken = self.first.take()?;
        *pooled -= usize::from(is_pooled(&taken));
        if let Some(others) = &mut self.others {
            self.first = others.pop_front();
            if others.is_empty() {
                self.others = None;
            }
        }
        Some(taken)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, pooled: &mut usize) {
        while self.take(pooled).is_some() {}
    }

    /// Moves the bytes out of the pool.
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
        let mut pooled = 0;
        for round in 0..3u8 {
            for piece in 0..4u8 {
                let mut buffer = pool.take().unwrap();
                buffer[0] = piece;
                let chunk = Chunk::pooled(buffer, 1, &pool);
                arrived.push(Ok(if piece == 2 { chunk.detach() } else { chunk }), &mut pooled);
            }
            assert_eq!((arrived.len(), pooled, pool.in_use()), (4, 3, 3));
            if round == 1 {
                arrived.detach();
                pooled = 0;
                assert_eq!(pool.in_use(), 0);
            }
            arrived.push(Err(io::ErrorKind::ConnectionReset.into()), &mut pooled);
            for piece in 0..4 {
                assert_eq!(arrived.take(&mut pooled).unwrap().unwrap()[0], piece);
            }
            assert!(!arrived.is_empty() && arrived.take(&mut pooled).unwrap().is_err());
            assert!(arrived.is_empty() && arrived.take(&mut pooled).is_none() && arrived.others.is_none());
            assert_eq!((pooled, pool.in_use()), (0, 0));
        }
        arrived.push(Ok(Chunk::pooled(pool.take().unwrap(), 1, &pool)), &mut pooled);
        arrived.clear(&mut pooled);
        assert_eq!((arrived.len(), pooled, pool.in_use()), (0, 0, 0));
    }
}
