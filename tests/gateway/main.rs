//! Tests of the whole gateway, one file a feature.

mod harness;

mod admin;
mod drain;
mod exchange;
mod expect;
mod files;
mod health;
mod limits;
mod minimal;
mod pool;
mod routes;
mod start;
mod streaming;
mod strip_prefix;
mod timeouts;
mod waits;
mod wire;
mod workers;
