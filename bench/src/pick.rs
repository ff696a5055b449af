//! The choice of a target, with each method, while other requests run.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate::base::time::Instant;
use tidegate::upstream::balance::{Balancer, HashBy, InFlight, Method, Outcome};
use tidegate::upstream::ejection::EjectionConfig;
use tidegate::upstream::endpoint::EndpointSpec;
use tidegate::upstream::hash::hash;
use tidegate::upstream::members::Members;
use tidegate::upstream::settings::{PoolConfig, Settings};

use crate::{Case, Work};

/// The weights of the targets.
const WEIGHTS: [u32; 8] = [1, 1, 2, 1, 1, 3, 1, 1];

/// How many requests run at a time.
const RUNNING: usize = 32;

/// How long one request takes, and how long after one the next begins.
const LATENCY: Duration = Duration::from_millis(3);
const BETWEEN: Duration = Duration::from_micros(100);

pub(crate) fn cases() -> Vec<Case> {
    let hashed = |load| Method::ConsistentHash { by: HashBy::Ip, load };
    let methods = [
        ("round_robin", Method::RoundRobin),
        ("least_connections", Method::LeastConnections),
        ("p2c_ewma", Method::TwoChoices { decay: Duration::from_secs(10) }),
        ("consistent_hash", hashed(None)),
        ("consistent_hash_bounded", hashed(Some(1.25))),
    ];
    let case = |(name, method): (&str, Method)| Case::new(format!("pick/{name}"), 2000, move || pick(method.clone()));
    methods.into_iter().map(case).collect()
}

/// Each iteration chooses a target for a request that begins, and ends the oldest of those that run.
fn pick(method: Method) -> Work {
    let mut now = Instant::from_nanos(1_000_000_000_000);
    let members = Members::new("users", 1);
    let spec = |(weight, port): (u32, u16)| {
        let address = SocketAddr::from(([10, 0, 0, 1], port));
        EndpointSpec { address: address.into(), authority: address.to_string().into(), weight }
    };
    members.update(WEIGHTS.into_iter().zip(3001..).map(spec).collect(), now);
    let settings = Settings {
        method,
        slow_start: None,
        ejection: Some(EjectionConfig::default().compile()),
        affinity: None,
        pool: PoolConfig::default().compile(),
        proxy_protocol: None,
    };
    let mut balancer = Balancer::new(Arc::new(members), Arc::new(settings), 0, 7);
    let mut running: [Option<InFlight>; RUNNING] = [const { None }; RUNNING];
    let mut number = 0_u64;
    Box::new(move |times| {
        for _ in 0..times {
            now = now + BETWEEN;
            number += 1;
            let slot = &mut running[number as usize % RUNNING];
            if let Some(oldest) = slot.take() {
                oldest.end(Outcome::Succeeded, LATENCY, now);
            }
            let target = balancer.pick(now, Some(hash(&number.to_be_bytes())), &[]).expect("all are well");
            *slot = Some(black_box(&target).begin());
        }
    })
}
