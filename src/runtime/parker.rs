//! The handshake between a worker that goes to sleep and a thread that wakes it.
//!
//! The danger is a wake lost between the worker's last look at its queue and
//! its sleep. Each side writes its own word, fences, and reads the other's:
//!
//! ```text
//! worker: asleep = true;  fence; look at the queue -> sleep only if it is empty
//! waker:  push to queue;  fence; look at asleep    -> ring only if it is true
//! ```
//!
//! With both fences sequentially consistent at least one of the two sees the
//! other (the store-buffering litmus test), so a wake is rung or found. The
//! model in `tests/models` explores every interleaving of this very file.

use super::sync::{AtomicBool, Ordering, fence};

/// Whether the worker sleeps, as the two sides agree on it.
#[derive(Debug)]
pub(super) struct Parker {
    asleep: AtomicBool,
}

impl Parker {
    /// A parker of a worker that is awake.
    #[must_use]
    pub(super) fn new() -> Parker {
        Parker { asleep: AtomicBool::new(false) }
    }

    /// The worker is about to sleep; it must look at its queue once more after this.
    pub(super) fn prepare(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The worker is awake, or found something in its last look.
    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Another thread has pushed to the queue: whether it must ring the worker.
    ///
    /// Of several wakers only one rings.
    #[must_use]
    pub(super) fn notify(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed)
            && self.asleep.compare_exchange(true, false, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl Default for Parker {
    fn default() -> Self {
        Parker::new()
    }
}
