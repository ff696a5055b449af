//! Counters, how workers are doing, and what is told about single events.

pub mod counters;
pub mod events;
pub mod pulse;
