//! Ejections: counts, lengths, the floor, and what races do to it.

use super::*;
use crate::upstream::endpoint::{EndpointSpec, Health};

const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn policy() -> Ejection {
    EjectionConfig::default().compile()
}

fn members(count: u16, workers: usize) -> Members {
    let members = Members::new("users", workers);
    let spec = |port: u16| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        EndpointSpec { address: address.into(), authority: address.to_string().into(), weight: 1 }
    };
    members.update((1..=count).map(spec).collect(), START);
    members
}

fn out(members: &Members, now: Instant) -> usize {
    members.endpoints().iter().filter(|endpoint| endpoint.ejected_until() > now).count()
}

#[test]
fn the_floor_in_numbers() {
    let of = |most: f64, targets: usize| Ejection { most, ..policy() }.floor(targets);
    for (most, targets, expected) in [
        (0.5, 0, 0),
        (0.5, 1, 0),
        (1.0, 1, 0),
        (0.5, 2, 1),
        (0.5, 3, 1),
        (0.5, 4, 2),
        (0.0, 2, 1),
        (0.1, 5, 1),
        (0.07, 100, 7),
        (0.29, 100, 29),
        (0.3, 10, 3),
        (1.0, 3, 3),
    ] {
        assert_eq!(of(most, targets), expected, "{most} of {targets}");
    }
}

#[test]
fn failures_in_a_row_and_only_those() {
    let members = members(2, 1);
    let endpoint = members.endpoints()[0].clone();
    let record = endpoint.record();
    for _ in 0..100 {
        assert!((0..4).all(|_| !record.failed(START, &policy())));
        record.succeeded();
    }
    assert!((0..4).all(|_| !record.failed(START, &policy())) && record.failed(START, &policy()));
    let version = members.version();
    assert!(members.eject(&endpoint, START, &policy()));
    assert_ne!(members.version(), version);
    assert_eq!(endpoint.ejected_until(), START + Duration::from_secs(10));
    // The failures of requests that were already there say nothing about it when it is back.
    assert!((0..100).all(|_| !record.failed(START, &policy())));
    let back = endpoint.ejected_until();
    assert!((0..4).all(|_| !record.failed(back, &policy())) && record.failed(back, &policy()));
}

#[test]
fn each_ejection_in_a_row_is_twice_as_long_and_good_conduct_is_remembered() {
    let members = members(2, 1);
    let endpoint = members.endpoints()[0].clone();
    let mut now = START;
    let mut length = |well: u64| {
        now = now.max(endpoint.ejected_until()) + Duration::from_secs(well);
        assert!(members.eject(&endpoint, now, &policy()));
        endpoint.ejected_until().since(now).as_secs()
    };
    let at_once: Vec<u64> = (0..8).map(|_| length(0)).collect();
    assert_eq!(at_once, [10, 20, 40, 80, 160, 300, 300, 300]);
    // Of eight, two of 300 s are shed and the third is not; the next ejection makes them seven.
    assert_eq!(length(899), 300);
    assert_eq!(length(300 + 300 + 160), 160, "four are left");
    assert_eq!(length(159), 300, "none of five is shed");
    assert_eq!(length(100_000), 10);
    assert_eq!(length(10), 10);
    assert_eq!(length(9), 20);
}

#[test]
fn lengths_do_not_overflow() {
    let policy =
        Ejection { ejected_for: crate::base::units::LONGEST, longest: crate::base::units::LONGEST, ..policy() };
    assert_eq!((policy.length(0), policy.length(40)), (policy.longest, policy.longest));
    assert_eq!(policy.shed(DOUBLINGS_MAX, Duration::MAX), 0);
}

#[test]
fn the_only_target_and_those_of_another_list_stay() {
    let one = members(1, 1);
    assert!(!one.eject(&one.endpoints()[0], START, &policy()));
    let three = members(3, 1);
    assert!(!three.eject(&one.endpoints()[0], START, &policy()));
    assert!(three.eject(&three.endpoints()[0], START, &policy()));
    assert!(!three.eject(&three.endpoints()[0], START, &policy()), "it is ejected already");
    assert!(!three.eject(&three.endpoints()[1], START, &policy()), "one of three is the most that half can be");
    let back = three.endpoints()[0].ejected_until();
    assert!(three.eject(&three.endpoints()[1], back, &policy()), "the first is back by time alone");
}

#[test]
fn those_that_are_down_count_as_out() {
    let members = members(4, 1);
    let endpoints = members.endpoints();
    members.set_health(&endpoints[0], Health::Down, START);
    assert!(members.eject(&endpoints[1], START, &policy()));
    assert!(!members.eject(&endpoints[2], START, &policy()));
    members.set_health(&endpoints[0], Health::Up, START);
    assert!(members.eject(&endpoints[2], START, &policy()));
}

#[test]
fn the_floor_holds_when_threads_race() {
    const THREADS: usize = 4;
    // One of so many may be out: looking at all of them takes long enough for others to come in between.
    let policy = Ejection { most: 0.0, ..policy() };
    let members = members(256, THREADS);
    let gate = std::sync::Barrier::new(THREADS);
    let ejected = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (members, gate, ejected, policy) = (&members, &gate, &ejected, &policy);
            scope.spawn(move || {
                let endpoints = members.endpoints();
                for round in 0..3000 {
                    // By then what was ejected in the round before is back.
                    let now = START + Duration::from_secs(round * 1000);
                    gate.wait();
                    if members.eject(&endpoints[thread * 7], now, policy) {
                        ejected.fetch_add(1, Ordering::Relaxed);
                    }
                    gate.wait();
                    assert_eq!((ejected.load(Ordering::Relaxed), out(members, now)), (round as usize + 1, 1));
                }
            });
        }
    });
}

#[test]
fn who_was_turned_away_for_anothers_turn_asks_again() {
    let members = members(9, 8);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let members = &members;
            scope.spawn(move || {
                let endpoints = members.endpoints();
                let half_is_out = || out(members, START) == 4;
                // Every failure after the fifth asks, until the target is out or may not be.
                let all = (0..).map(|index: usize| &endpoints[(worker * 5 + index) % endpoints.len()]);
                for endpoint in all.take_while(|_| !half_is_out()) {
                    members.eject(endpoint, START, &policy());
                }
            });
        }
    });
    assert_eq!(out(&members, START), 4, "half of nine are four");
}

fn rated(rate: f64) -> Ejection {
    let window = Duration::from_secs(10);
    Ejection { failure_rate: Some(FailureRate { rate, minimum: 20, window }), ..policy() }
}

/// Ten looks a second for so many seconds, before each of which every worker sees so many successes and failures of the
/// first target; says which targets were ejected when.
fn looks(
    members: &Members,
    policy: &Ejection,
    from: Instant,
    seconds: u64,
    each: [usize; 2],
) -> Vec<(String, Instant)> {
    let mut all = Vec::new();
    for tick in 0..seconds * 10 {
        let now = from + Duration::from_millis(tick * 100);
        for tally in members.endpoints()[0].tallies() {
            (0..each[0]).for_each(|_| tally.succeeded());
            (0..each[1]).for_each(|_| tally.failed());
        }
        members.look(now, policy, |endpoint| all.push((endpoint.authority().to_owned(), now)));
    }
    all
}

#[test]
fn a_rate_of_failures_ejects_from_its_minimum_on() {
    let members = members(3, 2);
    assert_eq!(looks(&members, &rated(0.5), START, 20, [1, 0]), []);
    let later = START + Duration::from_secs(20);
    // In a new window, 18 requests of two workers are too few after 0.8 s; the look after that is at 1 s.
    let ejected = looks(&members, &rated(0.5), later, 3, [0, 1]);
    assert_eq!(ejected, [("127.0.0.1:1".to_owned(), later + Duration::from_secs(1))]);
}

#[test]
fn a_rate_below_stays_and_the_rate_itself_does_not() {
    // Of 4 requests a tick one fails for each worker: a quarter.
    assert_eq!(looks(&members(3, 2), &rated(0.26), START, 60, [3, 1]), []);
    assert!(!looks(&members(3, 2), &rated(0.25), START, 60, [3, 1]).is_empty());
    let off = policy();
    assert_eq!(looks(&members(3, 2), &off, START, 60, [0, 9]), []);
}

#[test]
fn failures_of_before_do_not_eject_again() {
    let members = members(3, 1);
    let policy = rated(0.5);
    assert_eq!(looks(&members, &policy, START, 9, [0, 5]).len(), 1);
    let back = members.endpoints()[0].ejected_until();
    assert_eq!(looks(&members, &policy, back, 60, [5, 0]), []);
    assert_eq!(members.endpoints()[0].ejected_until(), back);
}
