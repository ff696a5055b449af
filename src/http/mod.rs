//! HTTP messages without I/O: heads, bodies, framing.

pub mod h1;
