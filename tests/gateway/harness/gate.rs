//! What scripts of an origin wait for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::PATIENCE;

/// Closed until the test opens it; then everybody passes.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets all pass who wait, and all who come.
    pub(crate) fn open(&self) {
        let (is_open, opened) = &*self.0;
        *is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        opened.notify_all();
    }

    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let (is_open, opened) = &*self.0;
        let is_open = is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = opened.wait_timeout_while(is_open, PATIENCE * 2, |is_open| !*is_open);
        let is_open = waited.unwrap_or_else(PoisonError::into_inner).0;
        assert!(*is_open, "the test has never opened the gate");
    }
}
