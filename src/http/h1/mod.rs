//! HTTP/1.1 and HTTP/1.0 on the wire (RFC 9112).
//!
//! - [`parse`]: heads, strictly; what is accepted has one reading, and it is ours
//! - [`encode`]: heads as they are sent on, with hop-by-hop fields gone and the framing written by us
//! - [`upgrade`]: the two fields that switch protocols
//! - [`chunked`]: the chunked transfer coding, strictly

pub mod chunked;
pub mod encode;
pub mod parse;
pub mod upgrade;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reference;
