//! What a route has captured from a path, and the memory that looking it up needs.

use super::expression::Slots;
use super::tree::Walk;

/// The parts of a path that a route has captured. Recycled from request to request: a look-up allocates nothing once
/// it has grown.
#[derive(Debug, Default)]
pub struct Captures {
    /// Where each capture is in the path, in the order of [`Router::capture_names`](super::Router::capture_names).
    pub(super) spans: Vec<(u32, u32)>,
    pub(super) slots: Slots,
    pub(super) walk: Walk,
    /// Where texts are put together before they are compared.
    pub(super) text: Vec<u8>,
}

impl Captures {
    /// Forgets what was captured, and keeps the memory.
    pub fn clear(&mut self) {
        self.spans.clear();
    }

    /// Where each capture is in the path, in the order of [`Router::capture_names`](super::Router::capture_names).
    #[must_use]
    pub fn spans(&self) -> &[(u32, u32)] {
        &self.spans
    }

    /// The capture at place `index` of `path`, the path that was looked up: as it stands there, so still with its
    /// percent escapes. Empty for a group of an expression that took no part; `None` where the route has no such
    /// capture.
    #[must_use]
    pub fn get<'p>(&self, index: usize, path: &'p [u8]) -> Option<&'p [u8]> {
        let &(start, end) = self.spans.get(index)?;
        path.get(start as usize..end as usize)
    }
}
