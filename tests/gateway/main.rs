//! Tests of the whole gateway, one file a feature.

mod harness;

mod files;
mod limits;
mod minimal;
mod pool;
mod routes;
mod strip_prefix;
mod timeouts;
mod workers;
