//! What a route demands of a request.

pub mod limits;
pub mod upgrade;
