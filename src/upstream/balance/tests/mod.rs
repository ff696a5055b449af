//! How requests are spread, in numbers.

mod chance;
mod changes;
mod keys;
mod rounds;

use std::collections::HashMap;

use super::*;
use crate::upstream::ejection::EjectionConfig;
use crate::upstream::endpoint::{EndpointSpec, Health};
use crate::upstream::settings::PoolConfig;

/// A time at which nothing is new any more.
pub(super) const START: Instant = Instant::from_nanos(1_000_000_000_000);

pub(super) fn settings(method: Method) -> Settings {
    Settings {
        method,
        slow_start: None,
        ejection: Some(EjectionConfig::default().compile()),
        affinity: None,
        pool: PoolConfig::default().compile(),
        proxy_protocol: None,
    }
}

/// The target at this port, with this weight.
pub(super) fn spec(port: u16, weight: u32) -> EndpointSpec {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    EndpointSpec { address: address.into(), authority: address.to_string().into(), weight }
}

/// Members with these weights, at the ports from 1 on.
pub(super) fn members(weights: &[u32], workers: usize) -> Arc<Members> {
    let members = Members::new("users", workers);
    members.update(weights.iter().zip(1..).map(|(weight, port)| spec(port, *weight)).collect(), START);
    Arc::new(members)
}

pub(super) fn balancer(members: &Arc<Members>, settings: Settings, seed: u64) -> Balancer {
    Balancer::new(members.clone(), Arc::new(settings), 0, seed)
}

/// The port of a target.
pub(super) fn port(target: &Target) -> u16 {
    match target.endpoint.address() {
        crate::net::Address::Tcp(address) => address.port(),
        crate::net::Address::Unix(_) => 0,
    }
}

/// How often each port was picked in so many picks.
pub(super) fn counts(balancer: &mut Balancer, picks: usize, now: Instant) -> HashMap<u16, usize> {
    let mut counts = HashMap::new();
    for _ in 0..picks {
        *counts.entry(port(&balancer.pick(now, None, &[]).unwrap())).or_default() += 1;
    }
    counts
}
