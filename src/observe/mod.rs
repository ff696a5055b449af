//! Counters, also of each route and service, how workers are doing, and what is told about single events.

pub mod counters;
pub mod events;
pub mod histogram;
pub mod pulse;
pub mod series;
