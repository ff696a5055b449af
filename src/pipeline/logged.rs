//! A request that is over, as the access log tells of it.

use std::sync::Arc;

use super::account::{Account, End};
use super::exchange::{Client, Exchange};
use crate::http::fields::{Field, Known};
use crate::http::h1::parse::refused_line;
use crate::net::Address;
use crate::policy::access_log::{AccessLog, Facts, Header, OF_RESPONSE, Pending, Sampling, Spent, Texts};
use crate::shard::Shard;
use crate::snapshot::Snapshot;

/// Records the request in `x`, which is over, if its route wants it to be. The line of a tunnel comes back, for there is
/// more to say once it is closed.
pub fn log(shard: &Shard, snapshot: &Snapshot, x: &Exchange, client: &Client, end: End) -> Option<Box<Pending>> {
    let log = snapshot.access_log.as_ref()?;
    let sampling = match x.route {
        Some(id) => snapshot.route(id).access_log.as_ref()?,
        None => &log.sampling,
    };
    if !wants(sampling, &x.account, end) {
        return None;
    }
    let facts = facts(x, client, end);
    if log.request_headers.is_empty() && log.response_headers.is_empty() {
        return record(shard, log, &facts, &texts(x, client), end);
    }
    let headers = |put: &mut dyn FnMut(u8, &[u8])| put_headers(log, x, end, put);
    shard
        .access_log
        .with_headers(headers, |headers| record(shard, log, &facts, &Texts { headers, ..texts(x, client) }, end))
}

fn wants(sampling: &Sampling, account: &Account, end: End) -> bool {
    let well = !matches!(end, End::Cut(_) | End::ClientGone);
    sampling.wants(account.status, account.times.total(), well, || fastrand::u32(..))
}

fn record(shard: &Shard, log: &Arc<AccessLog>, facts: &Facts, texts: &Texts<'_>, end: End) -> Option<Box<Pending>> {
    if end == End::Switched {
        return Some(Pending::new(log, facts, texts));
    }
    shard.access_log.record(log, facts, texts);
    None
}

#[inline]
fn facts(x: &Exchange, client: &Client, end: End) -> Facts {
    let Account { unix_micros, times, service, attempts, status, received, sent, .. } = &x.account;
    Facts {
        unix_micros: *unix_micros,
        spent: Spent {
            gateway: times.gateway(),
            queue: times.queue,
            connect: times.connect,
            pause: times.pause,
            upload: times.upload,
            first_byte: times.first_byte,
            backend: times.backend,
            total: times.total(),
        },
        received: *received,
        sent: *sent,
        attempts: *attempts,
        status: *status,
        // A head that was refused may have anything in it.
        version: x.parsed.then(|| x.request.version()),
        client: x.origin.client.ip(),
        peer: client.address.socket(),
        target: x.account.socket(),
        route: x.route.map(|id| id.0),
        service: service.map(|id| id.0),
        outcome: end.name(),
        code: end.code(),
    }
}

#[inline]
fn texts<'a>(x: &'a Exchange, client: &'a Client) -> Texts<'a> {
    let mut texts = Texts { id: x.id.as_bytes(), ..Texts::default() };
    if let Some(target) = &x.account.target
        && let Address::Unix(_) = target.endpoint.address()
    {
        texts.target = target.endpoint.authority().as_bytes();
    }
    if x.parsed {
        let request = &x.request;
        texts.traceparent = request.get(Known::Traceparent).unwrap_or_default();
        texts.method = request.method_bytes();
        texts.host = request.host_bytes();
        texts.uri = request.uri_bytes();
    } else {
        (texts.method, texts.uri) = refused_line(client.reader.bytes());
    }
    texts
}

fn put_headers(log: &AccessLog, x: &Exchange, end: End, put: &mut dyn FnMut(u8, &[u8])) {
    let mut all = |fields: &mut dyn Iterator<Item = Field<'_>>, headers: &[Header], side: u8| {
        for field in fields {
            for (header, place) in headers.iter().zip(0_u8..) {
                if header.is(field.known, field.name) {
                    put(place | side, header.shown(field.value));
                }
            }
        }
    };
    if x.parsed {
        all(&mut x.request.fields(), &log.request_headers, 0);
    }
    if matches!(end, End::Replied | End::Cut(_) | End::Switched) {
        all(&mut x.response.fields(), &log.response_headers, OF_RESPONSE);
    }
}
