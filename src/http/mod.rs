//! HTTP messages without I/O: heads, bodies, framing.
//!
//! Everything here is a pure function of bytes: no socket, no clock, no task. Storage is recycled by its
//! owner (`clear`, `reset`), so that a connection in its steady state allocates nothing.
//!
//! - [`message`]: the words of a message (version, method, framing)
//! - [`fields`]: field names and values, and what a gateway has to know of them
//! - [`query`]: keys and values of a query
//! - [`body`]: taking a body apart and putting one together, whatever its framing
//! - [`error`]: every way in which a head or a body can be wrong
//! - [`template`]: values put together from what is known of a request
//! - [`edit`]: changes to the fields of a head on its way
//! - [`h1`]: HTTP/1.1 on the wire

#![forbid(unsafe_code)]

pub mod body;
pub mod edit;
pub mod error;
pub mod fields;
pub mod h1;
mod known;
pub mod message;
pub mod query;
pub mod template;
