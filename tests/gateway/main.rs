//! Tests of the whole gateway, one file a feature.

mod harness;

mod admin;
mod captures;
mod conditions;
mod drain;
mod exchange;
mod expect;
mod files;
mod health;
mod hosts;
mod forwarded;
mod headers;
mod limits;
mod listeners;
mod methods;
mod minimal;
mod paths;
mod pool;
mod priority;
mod rewrite;
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
