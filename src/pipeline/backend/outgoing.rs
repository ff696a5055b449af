//! The request's head as it goes to the backend.

use crate::http::error::HeadError;
use crate::http::fields::{FieldName, FieldValue, Known, KnownSet};
use crate::http::h1::encode::{Dropped, RequestForward, Target, encode_request};
use crate::pipeline::{Client, Exchange, Reject};
use crate::shard::Shard;
use crate::snapshot::Route;

/// What a client says about itself and its path is replaced by what we know.
const REPLACED: KnownSet = KnownSet::of(&[
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::Forwarded,
    Known::XRequestId,
]);

const X_FORWARDED_FOR: FieldName<'static> = FieldName::literal("X-Forwarded-For");
const X_FORWARDED_PROTO: FieldName<'static> = FieldName::literal("X-Forwarded-Proto");
const X_FORWARDED_HOST: FieldName<'static> = FieldName::literal("X-Forwarded-Host");
/// The request's id, on both sides.
pub const X_REQUEST_ID: FieldName<'static> = FieldName::literal("X-Request-Id");

/// Writes the request's head as it goes to the backend.
pub(super) fn encode(shard: &Shard, route: &Route, x: &mut Exchange, client: &Client) -> Result<(), Reject> {
    let Exchange { request, outgoing, target, id, .. } = x;
    let value = |bytes| FieldValue::new(bytes).unwrap_or(FieldValue::literal("invalid"));
    let host = request.host().unwrap_or_default();
    let append = [
        (X_FORWARDED_FOR, value(client.address.as_bytes())),
        (X_FORWARDED_PROTO, FieldValue::literal("http")),
        (X_REQUEST_ID, value(&id.0)),
        (X_FORWARDED_HOST, value(host.as_bytes())),
    ];
    let append = if host.is_empty() { &append[..3] } else { &append };
    let forward = RequestForward {
        target: Target::new(target).ok_or(Reject::Head(HeadError::BadTarget))?,
        framing: request.framing(),
        host: None,
        default_host: value(shard.backend(route.service.index()).authority.as_bytes()),
        close: false,
        drop: Dropped { known: REPLACED, forwarding: true, name: None },
        append,
    };
    outgoing.clear();
    encode_request(request, &forward, None, outgoing);
    Ok(())
}
