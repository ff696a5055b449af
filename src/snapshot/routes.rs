//! One route, as it runs: a lane for each service that its requests may go to.

use std::collections::HashMap;

use super::compile::{name, service_id};
use super::{Action, Fields, Route, ServiceId, Timeouts};
use crate::config::{ActionConfig, Config, Diagnostic, RouteConfig, TimeoutsConfig};
use crate::policy::access_log::AccessLog;
use crate::policy::forwarded;
use crate::policy::headers::Rules;
use crate::policy::limits::Limits;
use crate::policy::upgrade::Upgrade;
use crate::policy::via;
use crate::upstream::fallback::FallbackConfig;
use crate::upstream::mirror::Mirror;
use crate::upstream::retry::RetriesConfig;
use crate::upstream::split::Split;

type Services<'a> = HashMap<&'a str, usize>;

/// Compiles a route. Its first lane is itself; the others are for the other services that it is split between, for those
/// that stand in when one of them is down, and for the one that gets copies.
pub(super) fn route(
    config: &Config,
    written: &RouteConfig,
    services: &Services<'_>,
    captures: &[&str],
    fields: &Fields,
) -> Result<Route, Box<Diagnostic>> {
    let lane = |service| lane(config, written, service, captures, fields);
    let ActionConfig::Service(split) = &written.action else { return lane(None) };
    let shares = split.shares.iter().map(|share| Ok((service_id(&share.name, services)?, share.weight)));
    let shares: Vec<(ServiceId, u32)> = shares.collect::<Result<_, Box<Diagnostic>>>()?;
    let mut all: Vec<ServiceId> = shares.iter().map(|(service, _)| *service).collect();
    let mut fallbacks = Vec::new();
    // The list grows while it is gone through: a fallback may have one of its own.
    while let Some(service) = all.get(fallbacks.len()) {
        let next = match &config.services[service.index()].fallback {
            Some(FallbackConfig::Service(other)) => Some(service_id(other, services)?),
            _ => None,
        };
        let known = next.map(|next| all.iter().position(|service| *service == next).ok_or(next));
        fallbacks.push(match known {
            None => None,
            Some(Ok(place)) => Some(place),
            Some(Err(next)) => {
                all.push(next);
                Some(all.len() - 1)
            }
        });
    }
    let mut lanes = Vec::new();
    for (service, fallback) in all.iter().zip(fallbacks) {
        lanes.push(Route { fallback, ..lane(Some(*service))? });
    }
    let mirror = match &written.mirror {
        None => None,
        Some(mirror) => {
            let service = service_id(&mirror.service, services)?;
            let known = all.iter().position(|other| *other == service);
            if known.is_none() {
                lanes.push(lane(Some(service))?);
            }
            Some(Mirror::compile(mirror, known.unwrap_or(all.len())))
        }
    };
    let mut first = lanes.remove(0);
    first.lanes = lanes.into();
    first.split = (shares.len() > 1).then(|| Split::new((0..).zip(shares.iter().map(|(_, weight)| *weight))));
    first.sticky = written.sticky.as_ref().map(|by| by.get_ref().clone());
    first.mirror = mirror;
    Ok(first)
}

/// A route with one service, or none.
fn lane(
    config: &Config,
    written: &RouteConfig,
    service: Option<ServiceId>,
    captures: &[&str],
    fields: &Fields,
) -> Result<Route, Box<Diagnostic>> {
    let of_service = service.map(|service| &config.services[service.index()]);
    Ok(Route {
        name: name(written.name.get_ref()),
        path: name(written.matches.path.as_ref().map_or("/*", |path| path.get_ref())),
        action: action(&written.action, service, captures)?,
        timeouts: timeouts(&written.timeouts, of_service.map(|service| &service.timeouts)),
        retries: RetriesConfig::compile([
            written.retries.as_ref(),
            of_service.and_then(|service| service.retries.as_ref()),
            config.defaults.retries.as_ref(),
        ]),
        limits: Limits::compile(written.limits.as_ref(), config.defaults.limits.as_ref()),
        upgrade: Upgrade::compile(written.upgrade.as_ref()),
        rules: rules(config, written, service.map(ServiceId::index), captures, fields)?,
        preserve_host: written.preserve_host,
        split: None,
        sticky: None,
        mirror: None,
        access_log: AccessLog::sampling(
            config.access_log.as_ref(),
            [written.access_log.as_ref(), config.defaults.access_log.as_ref()],
        ),
        fallback: None,
        lanes: Box::default(),
    })
}

fn action(written: &ActionConfig, service: Option<ServiceId>, captures: &[&str]) -> Result<Action, Box<Diagnostic>> {
    Ok(match written {
        ActionConfig::Service(_) => Action::Service(service.expect("it was found by its name")),
        ActionConfig::Redirect(redirect) => Action::Redirect(redirect.compile(captures)?),
        ActionConfig::Respond(respond) => Action::Respond(respond.compile(captures)?),
    })
}

/// What the gateway may add to a response of its own, or to one with a cookie of affinity.
const OWN: [&[u8]; 3] = [b"Cache-Control", b"Retry-After", b"Set-Cookie"];

/// The rules over the fields of a route's requests and responses.
fn rules(
    config: &Config,
    written: &RouteConfig,
    service: Option<usize>,
    captures: &[&str],
    fields: &Fields,
) -> Result<Rules, Box<Diagnostic>> {
    let mut own: Vec<&[u8]> = forwarded::NAMES.to_vec();
    own.extend([via::NAME.as_bytes(), fields.request_ids.name().as_bytes(), b"Date", b"Location", b"Content-Type"]);
    own.extend(OWN);
    let service = service.map(|index| &config.services[index].headers);
    let first = match &written.action {
        ActionConfig::Respond(respond) => respond.steps(captures)?,
        ActionConfig::Service(_) | ActionConfig::Redirect(_) => Vec::new(),
    };
    Rules::compile(&config.defaults.headers, service, &written.headers, captures, &own, first)
}

/// The timeouts of a route: each its own, else its service's, else the default.
fn timeouts(route: &TimeoutsConfig, service: Option<&TimeoutsConfig>) -> Timeouts {
    let none = TimeoutsConfig::default();
    let service = service.unwrap_or(&none);
    Timeouts {
        connect: route.connect.or(service.connect).unwrap_or(TimeoutsConfig::CONNECT),
        send: route.send.or(service.send).unwrap_or(TimeoutsConfig::SEND).value(),
        first_byte: route.first_byte.or(service.first_byte).unwrap_or(TimeoutsConfig::FIRST_BYTE).value(),
        between_bytes: route.between_bytes.or(service.between_bytes).unwrap_or(TimeoutsConfig::BETWEEN_BYTES).value(),
        total: route.total.or(service.total).unwrap_or(TimeoutsConfig::TOTAL).value(),
    }
}
