//! The atomics of the parking protocol, by a name that the model can replace.

pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
