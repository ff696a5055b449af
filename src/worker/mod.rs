//! The worker threads: accept, serve, drain.
