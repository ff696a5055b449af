//! The control thread: everything slow.
