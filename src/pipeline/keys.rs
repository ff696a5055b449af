//! What a request is told apart by, where it is to be treated like others of its kind: hashes of its address, of a
//! field, a cookie, a query key or a capture.

use super::Exchange;
use crate::http::fields::{Field, Known, trim};
use crate::http::query;
use crate::snapshot::Snapshot;
use crate::upstream::balance::HashBy;
use crate::upstream::hash::hash;

/// The hash of what `by` names of the request in `x`; nothing where the request has no such thing.
pub(super) fn key(by: &HashBy, snapshot: &Snapshot, x: &Exchange) -> Option<u64> {
    let found: &[u8] = match by {
        HashBy::Ip => x.origin.client.as_str().as_bytes(),
        HashBy::Header(name) => {
            let is = |field: &Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
            x.request.fields().find(is).map(|field| field.value)?
        }
        HashBy::Cookie(name) => cookie(x, name.as_bytes())?,
        HashBy::Query(name) => {
            let value = query::value(x.request.query()?.as_bytes(), name.as_bytes())?;
            if query::is_encoded(value) {
                return Some(hash(&query::decoded(value).collect::<Vec<u8>>()));
            }
            value
        }
        HashBy::Path(name) => {
            let index = snapshot.router.capture_index(x.route?, name)?;
            x.captures.get(index, x.normal_path())?
        }
    };
    Some(hash(found))
}

/// The value of the first cookie with this name (RFC 6265 section 4.2).
fn cookie<'a>(x: &'a Exchange, name: &[u8]) -> Option<&'a [u8]> {
    let fields = x.request.fields().filter(|field| field.known == Known::Cookie);
    let pairs = fields.flat_map(|field| field.value.split(|byte| *byte == b';'));
    pairs.map(trim).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}
