//! The conformance suite: what every driver has to do, checked on each.
//!
//! | file | what |
//! |---|---|
//! | `smoke` | the thinnest path |
//! | `races` | operations dropped at every moment, bytes and resources counted |
//! | `cancel` | what each dropped operation leaves behind, one by one |
//! | `tasks` | panics and starvation |
//! | `wakes` | wakes from other threads |
//! | `scarcity` | too few buffers, queue entries and descriptors; signals |
//! | `streams` | what TCP does, and the options of sockets |
//! | `bulk` | more than one buffer takes, in large pieces |
//! | `staged` | short sends, made together |
//! | `steady` | what comes behind short messages |
//! | `unix` | what only Unix sockets do |
//! | `refused` | io_uring that cannot be had |
//!
//! `TIDEGATE_SOAK_SECONDS` makes the races run for so long on each driver.

mod bulk;
mod cancel;
mod races;
mod refused;
mod scarcity;
mod smoke;
mod staged;
mod steady;
mod streams;
mod support;
mod tasks;
mod unix;
mod wakes;

use super::{
    BUFFER_SIZE, Choice, Chunk, Connect, DriverKind, Fallback, Handle, Listener, Network, Options, Runtime, Socket,
    Stats, bind, is_taken,
};
use support::*;
