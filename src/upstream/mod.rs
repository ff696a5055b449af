//! Backends: their connections.

pub mod pool;
