//! What is known of one request, for the heads that are sent on.

use super::exchange::Client;
use crate::base::request_id::RequestId;
use crate::http::edit::{Editing, Edits, Scratch};
use crate::http::h1::encode::OwnFields;
use crate::http::h1::parse::RequestHead;
use crate::http::message::Version;
use crate::http::template::Sources;
use crate::policy::forwarded::{Origin, Told};
use crate::policy::via;
use crate::router::Captures;
use crate::snapshot::{Fields, Route, Snapshot};

/// What is known of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) route: &'a Route,
    pub(super) request: &'a RequestHead,
    /// Its path in normal form.
    pub(super) path: &'a [u8],
    /// What its route has captured of the path.
    pub(super) captures: &'a Captures,
    pub(super) origin: &'a Origin,
    pub(super) id: &'a RequestId,
}

impl<'a> Facts<'a> {
    /// What the gateway says of itself.
    pub(super) fn fields(&self) -> &'a Fields {
        &self.snapshot.fields
    }

    /// What templates are made of.
    pub(super) fn sources(&self) -> Sources<'a> {
        Sources {
            request: self.request,
            path: self.path,
            captures: self.captures.spans(),
            client_ip: self.origin.client.as_bytes(),
            client_port: self.origin.client.port(),
            request_id: self.id.as_bytes(),
            scheme: self.origin.scheme(),
            service: self.route.action.service().map_or("", |id| &*self.snapshot.service(id).name),
            route: &self.route.name,
        }
    }

    /// What a service is told of where the request comes from.
    pub(super) fn told(&self, client: &'a Client) -> Told<'a> {
        Told { origin: self.origin, peer: &client.address, head: self.request, port: client.port, https: false }
    }

    /// Adds what stands in every head that is sent on: the request's id, and Via for a message that was received in
    /// `version`.
    pub(super) fn sign(&self, version: Version, own: &mut OwnFields<'a>) {
        own.push_value(self.fields().request_ids.name(), self.id.into());
        if let Some(via) = &self.fields().via {
            own.push_value(via::NAME, via.value(version));
        }
    }
}

/// What rules are applied with, if there are any.
pub(super) fn editing<'a>(
    edits: Option<&'a Edits>,
    scratch: &'a mut Scratch,
    facts: &Facts<'a>,
) -> Option<Editing<'a>> {
    edits.map(|edits| Editing { edits, scratch, sources: edits.needs_sources().then(|| facts.sources()) })
}
