//! Tidegate: a thread-per-core API gateway.
//!
//! # The floors
//! A module imports only from floors below it:
//!
//! ```text
//! main, cli            parse the command line, start, wait for a signal
//! demo                 the demo's own services
//! gateway              Gateway::start(Config) -> handle; the one file that sees both planes
//! control/             the control thread: names, health checks, admin listener, log
//! worker/              thread, accept, serve, drain
//! pipeline/            the straight line of one request; reject (every refusal); backend
//! explain/             which route a request takes, and why
//! config/ snapshot/    what the user wrote -> what runs
//! shard/               per-core state
//! router/  policy/  upstream/
//! http/                message, body, fields, edits, templates; h1/ (parse, encode, chunked)
//! net/                 stream, connect, reader, PROXY protocol
//! runtime/             executor, timer, buffer pool, driver/ (io_uring, epoll, memory)
//! observe/             counters, histograms, series of routes and services, events
//! base/                time, units, slab, recycler, decode
//! ```

pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod explain;
pub mod gateway;
pub mod http;
pub mod net;
pub mod observe;
pub mod pipeline;
pub mod policy;
pub mod router;
pub mod runtime;
pub mod shard;
pub mod snapshot;
pub mod upstream;
pub mod worker;
