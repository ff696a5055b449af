//! The straight line of one request.
//!
//! One function, [`run`], that reads like the list of what happens to a
//! request. The order is security, so it is fixed in code. Each stage is called
//! by name; a stage without I/O is a plain function. Every refusal is a
//! [`Reject`].

pub mod backend;
pub mod exchange;
mod facts;
pub mod local;
pub mod reject;
mod relay;

use crate::http::message::Framing;
use crate::router::path;
use crate::shard::Shard;
use crate::snapshot::{Action, Route, Snapshot};
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
    /// The response is made here: [`local::encode`] writes it.
    Local {
        /// The response's status.
        status: u16,
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
    let route = find_route(snapshot, x)?;
    check_announced_length(route, x)?;
    match &route.action {
        Action::Service(service) => backend::proxy(shard, snapshot, route, *service, x, client, may_keep_alive).await,
        Action::Redirect(redirect) => local::redirect(snapshot, route, redirect, x),
        Action::Respond(respond) => Ok(local::respond(snapshot, route, respond, x)),
    }
}

/// Brings the path to normal form and finds the route that takes it.
fn find_route<'s>(snapshot: &'s Snapshot, x: &mut Exchange) -> Result<&'s Route, Reject> {
    let received = x.request.path().as_bytes();
    if received == b"*" {
        return Err(Reject::NoRoute);
    }
    x.path.clear();
    if !path::is_plain(received) {
        path::normalize(received, &mut x.path).map_err(Reject::Path)?;
    }
    let id = snapshot.route_for(x.normal_path()).ok_or(Reject::NoRoute)?;
    x.route = Some(id);
    let Exchange { target, request, path, .. } = x;
    let normal = if path.is_empty() { request.path().as_bytes() } else { &**path };
    target.extend_from_slice(snapshot.router.rewrite(id, normal));
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
