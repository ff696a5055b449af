//! The state of one worker thread.
