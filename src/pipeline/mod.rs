//! The straight line of one request.
//!
//! One function, [`run`], that reads like the list of what happens to a
//! request. The order is security, so it is fixed in code. Each stage is called
//! by name; a stage without I/O is a plain function. Every refusal is a
//! [`Reject`].

pub mod backend;
pub mod exchange;
pub mod reject;
mod relay;

use crate::http::message::Framing;
use crate::router::{Lookup, Missed, path};
use crate::shard::Shard;
use crate::snapshot::{Route, Snapshot};
pub use exchange::{Client, Exchange};
pub use reject::Reject;

/// How a request ended that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The response was sent whole.
    Replied {
        /// The response's status.
        status: u16,
        /// Whether the client's connection may carry another request.
        keep_alive: bool,
    },
    /// The response's head was sent, but its body failed midway: the connection must end so that the client can tell.
    Cut {
        /// The response's status.
        status: u16,
        /// Only a reset tells the client that the body is not whole.
        reset: bool,
    },
    /// The client left.
    ClientGone,
}

/// Takes a request, whose head is in `x`, to its route and its backend, and the response back to the client.
///
/// # Errors
/// The refusal to answer with. Nothing of a response has been sent then.
pub async fn run(
    shard: &Shard,
    snapshot: &Snapshot,
    x: &mut Exchange,
    client: &mut Client,
    may_keep_alive: bool,
) -> Result<Ended, Reject> {
    let route = find_route(shard, snapshot, x, client)?;
    check_announced_length(route, x)?;
    backend::proxy(shard, snapshot, route, x, client, may_keep_alive).await
}

/// Brings the path to normal form, finds the route that takes the request, and writes what to ask its backend for.
fn find_route<'s>(
    shard: &Shard,
    snapshot: &'s Snapshot,
    x: &mut Exchange,
    client: &Client,
) -> Result<&'s Route, Reject> {
    let Exchange { request, path, captures, allow, target, .. } = x;
    let received = request.path().as_bytes();
    if received == b"*" {
        return Err(Reject::NoRoute);
    }
    path.clear();
    if !path::is_plain(received, snapshot.slashes) {
        path::normalize(received, snapshot.slashes, path).map_err(Reject::Path)?;
    }
    let normal = if path.is_empty() { received } else { &**path };
    let lookup = Lookup { head: request, path: normal, listener: client.listener, worker: shard.index() };
    let id = snapshot.router.find(&lookup, captures).map_err(|missed| match missed {
        Missed::NoRoute => Reject::NoRoute,
        Missed::MethodNotAllowed => {
            snapshot.router.allowed(&lookup, captures, allow);
            Reject::MethodNotAllowed
        }
    })?;
    x.route = Some(id);
    snapshot.router.forward(id, normal, received, captures, target).map_err(Reject::Path)?;
    if let Some(query) = request.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    Ok(snapshot.route(id))
}

/// Refuses a body that announces to be too large, before any of it is read.
fn check_announced_length(route: &Route, x: &Exchange) -> Result<(), Reject> {
    match x.request.framing() {
        Framing::Length(length) if !route.limits.admits_body(length) => Err(Reject::BodyTooLarge),
        _ => Ok(()),
    }
}
