//! The request's head as it goes to the backend.

use crate::http::error::HeadError;
use crate::http::fields::FieldValue;
use crate::http::h1::encode::{Dropped, OwnFields, RequestForward, Target, encode_request};
use crate::pipeline::facts::{Facts, editing};
use crate::pipeline::{Client, Exchange, Reject};
use crate::snapshot::{Route, Snapshot};

/// Writes the request's head as it goes to the target that people know as `authority`.
pub(super) fn encode(
    snapshot: &Snapshot,
    route: &Route,
    authority: &str,
    x: &mut Exchange,
    client: &Client,
) -> Result<(), Reject> {
    let Exchange { request, outgoing, target, path, captures, values, scratch, origin, id, .. } = x;
    let path = if path.is_empty() { request.path_bytes() } else { &**path };
    let facts = Facts { snapshot, route, request, path, captures, origin, id };
    let fields = facts.fields();
    let (mut own, told) = (OwnFields::default(), facts.told(client));
    values.clear();
    let composed = fields.forwarding.compose(&told, values);
    fields.forwarding.tell(&told, &composed, values, &mut own);
    facts.sign(request.version(), &mut own);
    let (known, forwarding) = fields.forwarding.dropped(origin);
    let (ids, name) = fields.request_ids.dropped();
    let authority = FieldValue::new(authority.as_bytes()).unwrap_or(FieldValue::literal("invalid"));
    let forward = RequestForward {
        target: Target::new(target).ok_or(Reject::Head(HeadError::BadTarget))?,
        framing: request.framing(),
        host: (!route.preserve_host).then_some(authority),
        default_host: authority,
        close: false,
        drop: Dropped { known: known.with(ids), forwarding, name },
        append: own.as_slice(),
    };
    outgoing.clear();
    let edits = editing(route.rules.request.as_ref(), scratch.get_mut(), &facts);
    encode_request(request, &forward, edits, outgoing);
    Ok(())
}
