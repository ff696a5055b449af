//! What a route demands of a request, and what the gateway says of it.

pub mod access_log;
pub mod forwarded;
pub mod headers;
pub mod limits;
pub mod redirect;
pub mod request_id;
pub mod respond;
pub mod upgrade;
pub mod via;
