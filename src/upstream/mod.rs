//! Backends: which targets there are, which of them is used, and the connections to them.

pub mod endpoint;
pub mod health;
pub mod members;
pub mod pool;
