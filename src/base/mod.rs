//! The bottom floor: time, units, containers and decoding, free of I/O.

pub mod address;
pub mod decode;
pub mod recycler;
pub mod request_id;
pub mod secret;
pub mod slab;
pub mod statuses;
pub mod time;
pub mod units;
