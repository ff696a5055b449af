//! The response's head as it goes to the client.

use super::{Rules, X_REQUEST_ID};
use crate::http::fields::{FieldName, FieldValue, Known, KnownSet};
use crate::http::h1::encode::{Dropped, ResponseForward, encode_response};
use crate::http::h1::parse::ResponseHead;
use crate::http::message::Framing;
use crate::shard::Shard;

/// Writes the response's head as it goes to the client.
pub(super) fn encode(
    head: &ResponseHead,
    framing: Framing,
    keep_alive: bool,
    shard: &Shard,
    rules: &Rules<'_>,
    reply: &mut Vec<u8>,
) {
    let date = shard.date();
    let date = FieldValue::new(&date).unwrap_or(FieldValue::literal(""));
    let append = [(X_REQUEST_ID, rules.request_id), (FieldName::literal("Date"), date)];
    // RFC 9110 section 6.6.1: who forwards a response without a date adds it.
    let dated = head.get(Known::Date).is_some();
    let forward = ResponseForward {
        framing,
        client: rules.client_version,
        keep_alive,
        drop: Dropped { known: KnownSet::of(&[Known::XRequestId]), ..Dropped::default() },
        append: if dated { &append[..1] } else { &append },
    };
    reply.clear();
    encode_response(head, &forward, None, reply);
}
