//! Consistent hashing: even, steady when targets come and go, and bounded when all ask for one key.

use proptest::prelude::*;

use super::*;
use crate::upstream::hash::hash;

const KEYS: u64 = 20_000;

fn hashed(load: Option<f64>) -> Settings {
    settings(Method::ConsistentHash { by: HashBy::Ip, load })
}

/// Where each of the keys goes.
fn owners(balancer: &mut Balancer) -> Vec<u16> {
    let key = |number: u64| hash(&number.to_be_bytes());
    (0..KEYS).map(|number| port(&balancer.pick(START, Some(key(number)), &[]).unwrap())).collect()
}

fn share(owners: &[u16], port: u16) -> f64 {
    owners.iter().filter(|owner| **owner == port).count() as f64 / owners.len() as f64
}

#[test]
fn keys_are_spread_by_weight() {
    for weights in [&[1, 1, 1, 1, 1][..], &[1, 2, 3], &[10, 20, 30]] {
        let owners = owners(&mut balancer(&members(weights, 1), hashed(None), 1));
        let sum: u32 = weights.iter().sum();
        for (port, weight) in (1..).zip(weights) {
            let share = share(&owners, port) / (f64::from(*weight) / f64::from(sum));
            // 160 places each: a share strays by a tenth or so.
            assert!((0.75..1.25).contains(&share), "{weights:?}: {port} has {share} of its share");
        }
    }
}

#[test]
fn every_worker_and_every_list_order_sends_a_key_to_the_same_target() {
    let one = members(&[1, 1, 1, 1], 2);
    let other = Arc::new(Members::new("users", 2));
    other.update(vec![spec(3, 1), spec(1, 1), spec(4, 1), spec(2, 1)], START);
    let settings = Arc::new(hashed(None));
    let of = |members: &Arc<Members>, worker, seed| {
        owners(&mut Balancer::new(members.clone(), settings.clone(), worker, seed))
    };
    let expected = of(&one, 0, 1);
    assert!(expected == of(&one, 1, 2) && expected == of(&other, 0, 3));
}

#[test]
fn only_the_keys_of_who_comes_or_goes_move() {
    let members = members(&[1; 5], 1);
    let mut balancer = balancer(&members, hashed(None), 1);
    let five = owners(&mut balancer);
    members.update((1..=6).map(|port| spec(port, 1)).collect(), START);
    let six = owners(&mut balancer);
    let moved = five.iter().zip(&six).filter(|(before, after)| before != after);
    assert!(moved.clone().all(|(_, after)| *after == 6), "keys move to the new target alone");
    let part = moved.count() as f64 / KEYS as f64;
    assert!((0.12..0.21).contains(&part), "a sixth of them, not {part}");
    members.update((1..=5).map(|port| spec(port, 1)).collect(), START);
    assert_eq!(owners(&mut balancer), five);
}

#[test]
fn the_keys_of_who_is_out_go_to_many_and_come_back() {
    let members = members(&[1; 5], 1);
    let mut balancer = balancer(&members, hashed(None), 1);
    let before = owners(&mut balancer);
    let ring = members.ring();
    members.set_health(&members.endpoints()[2], Health::Down, START);
    let without = owners(&mut balancer);
    for (before, after) in before.iter().zip(&without) {
        assert!(if *before == 3 { *after != 3 } else { before == after });
    }
    for port in [1, 2, 4, 5] {
        let got = before.iter().zip(&without).filter(|(before, after)| **before == 3 && **after == port).count();
        assert!(got as f64 > share(&before, 3) * KEYS as f64 / 10.0, "{port} got {got} of its keys");
    }
    members.set_health(&members.endpoints()[2], Health::Up, START);
    assert_eq!(owners(&mut balancer), before);
    assert!(Arc::ptr_eq(&ring, &members.ring()), "the ring is not made anew for health");
}

#[test]
fn a_key_that_was_tried_goes_to_its_next_target_always_the_same() {
    let mut balancer = balancer(&members(&[1; 4], 1), hashed(None), 1);
    for key in 0..500 {
        let mut way = || {
            let mut tried = Vec::new();
            for _ in 0..4 {
                tried.push(balancer.pick(START, Some(key), &tried).unwrap().id());
            }
            tried
        };
        let first = way();
        assert_eq!(first, way());
        assert!((1..4).all(|index| !first[..index].contains(&first[index])));
    }
}

#[test]
fn a_request_without_a_key_goes_anywhere() {
    let mut balancer = balancer(&members(&[1; 4], 1), hashed(None), 1);
    let counts = counts(&mut balancer, 4000, START);
    assert!(counts.len() == 4 && counts.values().all(|count| (600..1400).contains(count)), "{counts:?}");
}

#[test]
fn a_long_list_of_uneven_weights_has_a_ring_that_is_not_too_large() {
    let members = Arc::new(Members::new("users", 1));
    members.update((1..=1000).map(|port| spec(port, u32::from(port))).collect(), START);
    let owners = owners(&mut balancer(&members, hashed(None), 1));
    assert!(owners.iter().collect::<std::collections::HashSet<_>>().len() > 900);
    assert!(format!("{:?}", members.ring()).len() < 40);
}

#[test]
fn unix_sockets_and_addresses_share_a_ring() {
    let members = Arc::new(Members::new("users", 1));
    let unix = |name: &str| EndpointSpec {
        address: crate::net::Address::Unix(std::path::Path::new(name).into()),
        authority: name.into(),
        weight: 1,
    };
    members.update(vec![unix("/run/a"), unix("/run/b"), spec(1, 1)], START);
    let mut balancer = balancer(&members, hashed(None), 1);
    let mut counts: HashMap<String, usize> = HashMap::new();
    for key in 0..3000 {
        let target = balancer.pick(START, Some(key), &[]).unwrap();
        *counts.entry(target.endpoint.authority().to_owned()).or_default() += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|count| (600..1400).contains(count)), "{counts:?}");
}

#[test]
fn one_key_that_all_ask_for_is_spread_as_far_as_the_bound_says() {
    let mut balancer = balancer(&members(&[1; 4], 1), hashed(Some(1.25)), 1);
    let running: Vec<InFlight> = (0..400).map(|_| balancer.pick(START, Some(7), &[]).unwrap().begin()).collect();
    let mut loads: Vec<u32> = balancer.targets().iter().map(|target| target.active()).collect();
    loads.sort_unstable();
    // Three have 1.25 times a quarter of 400, and the last has what is left.
    assert_eq!(loads, [25, 125, 125, 125]);
    drop(running);
    let first = balancer.pick(START, Some(7), &[]).unwrap();
    assert!((0..100).all(|_| Rc::ptr_eq(&first, &balancer.pick(START, Some(7), &[]).unwrap())), "one by one it stays");
}

#[test]
fn what_other_workers_have_running_counts_for_the_bound() {
    let members = members(&[1; 4], 2);
    let new = |worker| Balancer::new(members.clone(), Arc::new(hashed(Some(1.25))), worker, 1);
    let (mut one, mut other) = (new(0), new(1));
    let first = one.pick(START, Some(7), &[]).unwrap();
    let busy = other.by_token_of(&first);
    let _running: Vec<InFlight> = (0..100).map(|_| busy.begin()).collect();
    one.settle(START, |_| {});
    // All hundred run at one target, whose part is 1.25 times a quarter.
    assert_ne!(port(&one.pick(START, Some(7), &[]).unwrap()), port(&first));
}

impl Balancer {
    /// This balancer's own target for the same endpoint.
    fn by_token_of(&mut self, target: &Target) -> Rc<Target> {
        self.refresh(START);
        self.targets.iter().find(|own| Arc::ptr_eq(&own.endpoint, &target.endpoint)).unwrap().clone()
    }
}

proptest! {
    /// Whatever begins and ends, a request goes to the first target on the way from its key that has less than `load`
    /// times its part of all, rounded up, this request included.
    #[test]
    fn the_bound_holds(
        weights in prop::collection::vec(1..5_u32, 1..7),
        load in 1.0..3.0_f64,
        events in prop::collection::vec((0..5_u64, any::<bool>(), any::<prop::sample::Index>()), 1..200),
    ) {
        let members = members(&weights, 1);
        let mut unbounded = balancer(&members, hashed(None), 1);
        let ways: Vec<Vec<u16>> = (0..5).map(|key| way(&mut unbounded, key, weights.len())).collect();
        let mut balancer = balancer(&members, hashed(Some(load)), 1);
        let sum = f64::from(weights.iter().sum::<u32>());
        let mut running: Vec<InFlight> = Vec::new();
        for (key, ends, which) in events {
            if ends && !running.is_empty() {
                let _ = running.swap_remove(which.index(running.len()));
                continue;
            }
            let has_room = |wanted: &&u16| {
                let there = running.iter().filter(|running| port(running.target()) == **wanted).count();
                let part = f64::from(weights[usize::from(**wanted) - 1]) / sum;
                (there + 1) as f64 <= (load * (running.len() + 1) as f64 * part).ceil()
            };
            let expected = ways[key as usize].iter().find(has_room).copied();
            running.push(balancer.pick(START, Some(key), &[]).unwrap().begin());
            prop_assert_eq!(running.last().map(|running| port(running.target())), expected);
        }
    }
}

/// The targets on the way from a key.
fn way(balancer: &mut Balancer, key: u64, count: usize) -> Vec<u16> {
    let mut way = Vec::new();
    let mut tried = Vec::new();
    while way.len() < count {
        let target = balancer.pick(START, Some(key), &tried).unwrap();
        tried.push(target.id());
        way.push(port(&target));
    }
    way
}
