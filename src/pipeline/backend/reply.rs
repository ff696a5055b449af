//! The response's head as it goes to the client.

use super::attempt::Rules;
use crate::http::fields::{FieldName, Known};
use crate::http::h1::encode::{Dropped, OwnFields, ResponseForward, encode_response};
use crate::http::h1::parse::ResponseHead;
use crate::http::message::Framing;
use crate::pipeline::facts::editing;
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
    let facts = &rules.facts;
    let (date, mut own) = (shard.date(), OwnFields::default());
    facts.sign(head.version(), &mut own);
    // RFC 9110 section 6.6.1: who forwards a response without a date adds it.
    if head.get(Known::Date).is_none() {
        own.push(FieldName::literal("Date"), &date);
    }
    if !rules.cookie.is_empty() {
        own.push(FieldName::literal("Set-Cookie"), rules.cookie);
    }
    let (known, name) = facts.fields().request_ids.dropped();
    let forward = ResponseForward {
        framing,
        client: rules.client_version,
        keep_alive,
        drop: Dropped { known, forwarding: false, name },
        append: own.as_slice(),
    };
    reply.clear();
    let mut scratch = rules.scratch.borrow_mut();
    let edits = editing(facts.route.rules.response.as_ref(), &mut scratch, facts);
    encode_response(head, &forward, edits, reply);
}
