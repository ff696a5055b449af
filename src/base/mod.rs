//! The bottom floor: time, units and containers, free of I/O.

pub mod units;
