//! The executor, timers, buffer pool and drivers of one worker.
