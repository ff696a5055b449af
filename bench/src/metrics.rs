//! The counts: a time in a histogram, a request in the series of its route and its service, and workers added up.

use std::hint::black_box;

use tidegate::observe::histogram::{BUCKETS, Coarse, Counted, Fine};
use tidegate::observe::series::{Finished, RouteBlock, ServiceBlock, Verb};

use crate::{Case, Work};

/// How many times are recorded in one iteration.
const TIMES: usize = 64;

/// How many workers are added up.
const WORKERS: usize = 8;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(format!("metrics/histogram/record_{TIMES}"), 200, record),
        Case::new(format!("metrics/histogram/merge_{WORKERS}"), 200, merge),
        Case::new("metrics/request", 2000, request),
    ]
}

/// Nanoseconds from all over the bounds, the same in every run.
fn times() -> [u64; TIMES] {
    let mut random = fastrand::Rng::with_seed(7);
    [(); TIMES].map(|()| random.u64(..) >> random.u32(27..56))
}

fn record() -> Work {
    let (nanos, fine, coarse) = (times(), Fine::default(), Coarse::default());
    Box::new(move |times| {
        for _ in 0..times {
            for nanos in black_box(&nanos) {
                fine.record(*nanos);
                coarse.record(*nanos);
            }
        }
        black_box((&fine, &coarse));
    })
}

fn merge() -> Work {
    let workers = [(); WORKERS].map(|()| Fine::default());
    workers.iter().for_each(|worker| times().into_iter().for_each(|nanos| worker.record(nanos)));
    Box::new(move |times| {
        for _ in 0..times {
            let mut all = Counted::<BUCKETS>::default();
            black_box(&workers).iter().for_each(|worker| all.add(worker));
            assert_eq!(black_box(&all).count(), (WORKERS * TIMES) as u64);
        }
    })
}

/// What the end of a request counts.
fn request() -> Work {
    let (route, service) = (RouteBlock::default(), ServiceBlock::default());
    let finished = Finished {
        verb: Verb::Get,
        status: 200,
        received: 423,
        sent: 1367,
        attempts: 1,
        retries: 0,
        asked: true,
        cut: false,
        gateway: 41_234,
        queue: 0,
        first_byte: 1_230_000,
        backend: 1_240_000,
        total: 1_323_456,
    };
    Box::new(move |times| {
        for _ in 0..times {
            let finished = black_box(&finished);
            route.count(finished);
            service.count(finished);
        }
        black_box((&route, &service));
    })
}
