//! Backends: which targets there are, which of them is used, and the connections to them.
//!
//! What the whole process knows of a service's targets is in [`members`] and [`endpoint`], written by the control thread
//! and, for failures, by workers ([`ejection`]). What one worker makes of it is in [`balance`].

pub mod affinity;
pub mod balance;
pub mod ejection;
pub mod endpoint;
pub mod fallback;
pub mod hash;
pub mod health;
pub mod members;
pub mod mirror;
pub mod pool;
pub mod queue;
pub mod retry;
pub mod settings;
pub mod split;
pub mod targets;
