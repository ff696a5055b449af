//! A request that is over, as the access log tells of it.

use std::sync::Arc;

use super::account::{Account, End};
use super::exchange::{Client, Exchange};
use crate::http::fields::{Field, Known};
use crate::http::message::Version;
use crate::net::Address;
use crate::policy::access_log::{AccessLog, Entry, Header, OF_RESPONSE, Pending, Sampling, Spent};
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
    if log.request_headers.is_empty() && log.response_headers.is_empty() {
        return record(shard, log, &entry(snapshot, x, client, end), end);
    }
    let headers = |put: &mut dyn FnMut(u8, &[u8])| put_headers(log, x, end, put);
    shard
        .access_log
        .with_headers(headers, |headers| record(shard, log, &Entry { headers, ..entry(snapshot, x, client, end) }, end))
}

fn wants(sampling: &Sampling, account: &Account, end: End) -> bool {
    let well = !matches!(end, End::Cut(_) | End::ClientGone);
    sampling.wants(account.status, account.times.total(), well, || fastrand::u32(..))
}

fn record(shard: &Shard, log: &Arc<AccessLog>, entry: &Entry<'_>, end: End) -> Option<Box<Pending>> {
    if end == End::Switched {
        return Some(Pending::new(log, entry));
    }
    shard.access_log.record(log, entry);
    None
}

fn entry<'a>(snapshot: &'a Snapshot, x: &'a Exchange, client: &'a Client, end: End) -> Entry<'a> {
    let Account { unix_micros, times, service, attempts, status, received, sent, .. } = &x.account;
    let mut entry = Entry {
        unix_micros: *unix_micros,
        spent: Spent {
            gateway: times.gateway(),
            queue: times.queue,
            connect: times.connect,
            first_byte: times.first_byte,
            backend: times.backend,
            total: times.total(),
        },
        received: *received,
        sent: *sent,
        attempts: *attempts,
        status: *status,
        client: x.origin.client.ip(),
        peer: client.address.socket(),
        outcome: end.name().as_bytes(),
        code: end.code().as_bytes(),
        id: x.id.as_bytes(),
        route: x.route.map_or(&[], |id| snapshot.route(id).name.as_bytes()),
        service: service.map_or(&[], |id| snapshot.service(id).name.as_bytes()),
        ..Entry::default()
    };
    match x.account.address() {
        Some(Address::Tcp(address)) => entry.target = Some(*address),
        Some(Address::Unix(_)) => {
            entry.target_text = x.account.target.as_ref().map_or(&[], |target| target.endpoint.authority().as_bytes());
        }
        None => {}
    }
    // A head that was refused may have anything in it.
    if x.parsed {
        let request = &x.request;
        entry.traceparent = request.get(Known::Traceparent).unwrap_or_default();
        entry.method = request.method_bytes();
        entry.host = request.host_bytes();
        entry.path = request.path_bytes();
        entry.query = request.query_bytes();
        entry.minor_version = Some(match request.version() {
            Version::Http10 => 0,
            Version::Http11 => 1,
        });
    }
    entry
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
