//! Tests of the whole gateway, one file a feature.

mod harness;

mod admin;
mod captures;
mod conditions;
mod dns;
mod drain;
mod exchange;
mod expect;
mod files;
mod forwarded;
mod headers;
mod health;
mod hosts;
mod limits;
mod listeners;
mod methods;
mod minimal;
mod paths;
mod pool;
mod preserve_host;
mod priority;
mod redirect;
mod request_id;
mod respond;
mod rewrite;
mod routes;
mod start;
mod streaming;
mod strip_prefix;
mod timeouts;
mod upgrade;
mod versioning;
mod waits;
mod wire;
mod workers;
