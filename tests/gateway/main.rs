//! Tests of the whole gateway, one file a feature.

mod harness;

mod admin;
mod drain;
mod exchange;
mod expect;
mod files;
mod forwarded;
mod headers;
mod limits;
mod minimal;
mod pool;
mod preserve_host;
mod redirect;
mod request_id;
mod respond;
mod routes;
mod start;
mod streaming;
mod strip_prefix;
mod timeouts;
mod versioning;
mod waits;
mod wire;
mod workers;
