//! The bottom floor: time, units and containers, free of I/O.

pub mod recycler;
pub mod slab;
pub mod time;
pub mod units;
