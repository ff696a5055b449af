//! The straight line of one request.
//!
//! One function, [`run`], that reads like the list of what happens to a
//! request. The order is security, so it is fixed in code. Each stage is called
//! by name; a stage without I/O is a plain function. Every refusal is a
//! [`Reject`].

pub mod account;
pub mod backend;
pub mod exchange;
mod facts;
mod keys;
pub mod local;
pub mod logged;
pub mod reject;
mod relay;
pub mod tunnel;
pub mod view;

use std::rc::Rc;

use crate::http::message::Framing;
use crate::router::{Lookup, Missed, path};
use crate::shard::Shard;
use crate::snapshot::{Action, Route, Snapshot};
pub use exchange::{Client, Door, Exchange};
pub use reject::Reject;
use tunnel::Tunnel;
pub use view::View;

/// How a request ended that was not refused.
#[derive(Debug)]
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
        /// Why.
        why: Cut,
    },
    /// The backend has switched protocols, and the client was told.
    Switched(Box<Tunnel>),
    /// The response is made here: [`local::encode`] writes it.
    Local {
        /// The response's status.
        status: u16,
    },
    /// The client left.
    ClientGone {
        /// The status of the response whose head it was sent; 0 if there was none.
        status: u16,
    },
}

/// Why a response could not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The backend has broken it off, or its framing is wrong.
    Broken,
    /// The backend sent nothing for too long.
    Stalled,
    /// The whole exchange took too long.
    Late,
    /// The client took nothing for too long, or its request went wrong.
    Client,
    /// The gateway stops, and the time for what still ran was over.
    Drain,
}

impl Cut {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Cut; 5] = [Cut::Broken, Cut::Stalled, Cut::Late, Cut::Client, Cut::Drain];

    /// A stable name in snake case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Cut::Broken => "response_cut",
            Cut::Stalled => "between_bytes_timeout",
            Cut::Late => "total_timeout",
            Cut::Client => "client_stalled",
            Cut::Drain => "drain_timeout",
        }
    }

    /// What has happened, in a sentence for people.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Cut::Broken => "The backend's response failed midway; the client's was cut.",
            Cut::Stalled => "The backend paused for too long in its response; the client's was cut.",
            Cut::Late => "The backend did not finish its response in time; the client's was cut.",
            Cut::Client => "The client did not take its response, or failed to send its request; it was cut.",
            Cut::Drain => "The gateway stops, and its response was not over in time; it was cut.",
        }
    }
}

/// Takes a request, whose head is in `x`, to its route and its backend, and the response back to the client.
///
/// # Errors
/// The refusal to answer with. Nothing of a response has been sent then.
pub async fn run(
    shard: &Rc<Shard>,
    view: &Rc<View>,
    x: &mut Exchange,
    client: &mut Client,
    may_keep_alive: bool,
) -> Result<Ended, Reject> {
    let snapshot = view.snapshot();
    let route = find_route(shard, snapshot, x, client)?;
    check_announced_length(route, x)?;
    match &route.action {
        Action::Service(_) => backend::proxy(shard, view, route, x, client, may_keep_alive).await,
        Action::Redirect(redirect) => local::redirect(snapshot, route, redirect, x),
        Action::Respond(respond) => Ok(local::respond(snapshot, route, respond, x)),
    }
}

/// Brings the path to normal form, finds the route that takes the request, and writes what to ask its backend for.
fn find_route<'s>(
    shard: &Shard,
    snapshot: &'s Snapshot,
    x: &mut Exchange,
    client: &Client,
) -> Result<&'s Route, Reject> {
    let Exchange { request, path, captures, allow, target, .. } = x;
    let received = request.path_bytes();
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
    if let Some(query) = request.query_bytes() {
        target.push(b'?');
        target.extend_from_slice(query);
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
