//! Counters, and what is told about single events.

pub mod counters;
pub mod events;
