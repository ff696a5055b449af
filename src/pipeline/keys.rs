//! What a request is told apart by, where it is to be treated like others of its kind: hashes of its address, of a
//! field, a cookie, a query key or a capture.

use super::Exchange;
use crate::http::fields::{Field, Known, trim};
use crate::http::query;
use crate::snapshot::Snapshot;
use crate::upstream::balance::HashBy;
use crate::upstream::hash::{hash, hash_each};

/// The hash of what `by` names of the request in `x`; nothing where the request has no such thing.
pub(super) fn key(by: &HashBy, snapshot: &Snapshot, x: &Exchange) -> Option<u64> {
    let found: &[u8] = match by {
        HashBy::Ip => x.origin.client.as_str().as_bytes(),
        HashBy::Header(name) => {
            let is = |field: &Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
            x.request.fields().find(is).map(|field| field.value)?
        }
        HashBy::Cookie(name) => cookie(x, name.as_bytes())?,
        HashBy::Query(name) => return query_key(x.request.query()?, name),
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

/// The hash of what the first value of `name` in a query stands for: clients differ in what they encode.
fn query_key(query: &str, name: &str) -> Option<u64> {
    let value = query::value(query.as_bytes(), name.as_bytes())?;
    Some(if query::is_encoded(value) { hash_each(query::decoded(value)) } else { hash(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_key_is_what_its_value_stands_for() {
        for (query, name, value) in [
            ("user=ab", "user", Some("ab")),
            ("user=a%62", "user", Some("ab")),
            ("%75se%72=%61b", "user", Some("ab")),
            ("a=1&user=ab&user=c", "user", Some("ab")),
            ("a+name=x+y", "a name", Some("x y")),
            ("a%20name=x%20y", "a name", Some("x y")),
            ("a+name=x", "a+name", None),
            ("a%2bname=1%2B1", "a+name", Some("1+1")),
            ("mail=a%40b.example%26c%3dd", "mail", Some("a@b.example&c=d")),
            ("user=a=b", "user", Some("a=b")),
            ("user=%C3%bc", "user", Some("\u{fc}")),
            ("user", "user", Some("")),
            ("user=", "user", Some("")),
            ("users=1&use=2&USER=3", "user", None),
            ("", "user", None),
        ] {
            assert_eq!(query_key(query, name), value.map(|value| hash(value.as_bytes())), "{query}");
        }
        assert_ne!(query_key("user=ab", "user"), query_key("user=aB", "user"));
    }
}
