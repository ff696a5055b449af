//! What may be used as time goes by: health, ejections, slow starts, settings, cookies.

use super::*;
use crate::upstream::affinity::{Affinity, AffinityConfig, SameSite};

fn after(seconds: u64) -> Instant {
    START + Duration::from_secs(seconds)
}

fn slow(method: Method) -> Settings {
    Settings { slow_start: Some(Duration::from_secs(20)), ..settings(method) }
}

fn all_methods() -> [Method; 4] {
    [
        Method::RoundRobin,
        Method::LeastConnections,
        Method::TwoChoices { decay: Duration::from_secs(10) },
        Method::ConsistentHash { by: HashBy::Ip, load: Some(1.25) },
    ]
}

fn ports(balancer: &mut Balancer, now: Instant) -> Vec<u16> {
    let mut ports: Vec<u16> = counts(balancer, 500, now).into_keys().collect();
    ports.sort_unstable();
    ports
}

#[test]
fn who_is_down_gets_nothing_until_it_is_up() {
    for method in all_methods() {
        let members = members(&[1; 3], 1);
        let endpoints = members.endpoints();
        let mut balancer = balancer(&members, settings(method), 1);
        assert_eq!(ports(&mut balancer, START), [1, 2, 3]);
        members.set_health(&endpoints[0], Health::Down, START);
        assert_eq!(ports(&mut balancer, START), [2, 3]);
        members.set_health(&endpoints[2], Health::Down, START);
        assert_eq!(ports(&mut balancer, START), [2]);
        members.set_health(&endpoints[1], Health::Down, START);
        assert!(balancer.pick(START, None, &[]).is_none() && balancer.pick(START, Some(1), &[]).is_none());
        members.set_health(&endpoints[0], Health::Up, START);
        assert_eq!(ports(&mut balancer, START), [1]);
        assert_eq!(balancer.targets().len(), 3);
    }
}

#[test]
fn who_is_drained_gets_nothing_until_he_is_enabled_and_fails_nothing() {
    for method in all_methods() {
        let members = members(&[1; 3], 1);
        let mut balancer = balancer(&members, settings(method), 1);
        assert_eq!(ports(&mut balancer, START), [1, 2, 3]);
        let running = balancer.targets()[0].clone().begin();
        assert!(members.drain("127.0.0.1:1", START));
        assert_eq!(ports(&mut balancer, START), [2, 3]);
        assert!(!running.end(Outcome::Succeeded, Duration::ZERO, START), "it finishes");
        assert_eq!(balancer.targets()[0].endpoint.totals(), [1, 0]);
        // One of two may be ejected; with one of three drained, no other is.
        let endpoints = members.endpoints();
        assert!(!members.eject(&endpoints[1], START, &EjectionConfig::default().compile()));
        members.drain("127.0.0.1:2", START);
        members.drain("127.0.0.1:3", START);
        assert!(balancer.pick(START, None, &[]).is_none() && balancer.pick(START, Some(1), &[]).is_none());
        members.set_health(&endpoints[1], Health::Down, START);
        members.enable("127.0.0.1:2", START);
        assert!(balancer.pick(START, None, &[]).is_none(), "it is down all the same");
        members.enable("127.0.0.1:3", START);
        assert_eq!(ports(&mut balancer, START), [3]);
    }
}

#[test]
fn failures_eject_and_time_alone_brings_back() {
    for method in all_methods() {
        let members = members(&[1; 3], 1);
        let mut balancer = balancer(&members, settings(method), 1);
        balancer.pick(START, None, &[]);
        let target = balancer.targets()[1].clone();
        let fail = |now| target.begin().end(Outcome::Failed, Duration::ZERO, now);
        assert!((0..4).all(|_| !fail(START)) && fail(START), "the fifth failure in a row ejects");
        assert_eq!(ports(&mut balancer, START), [1, 3]);
        assert_eq!(ports(&mut balancer, after(10)), [1, 2, 3]);
    }
}

#[test]
fn an_ejection_ends_at_its_very_moment() {
    let members = members(&[1; 2], 1);
    let mut balancer = balancer(&members, settings(Method::RoundRobin), 1);
    let policy = EjectionConfig::default().compile();
    members.eject(&members.endpoints()[0], START, &policy);
    let end = members.endpoints()[0].ejected_until();
    let just_before = Instant::from_nanos(end.as_nanos() - 1);
    assert_eq!((ports(&mut balancer, just_before), ports(&mut balancer, end)), (vec![2], vec![1, 2]));
}

#[test]
fn an_ejection_by_one_worker_is_seen_by_all_at_once() {
    let members = members(&[1; 2], 2);
    let new = |worker| Balancer::new(members.clone(), Arc::new(settings(Method::RoundRobin)), worker, 1);
    let (mut one, mut other) = (new(0), new(1));
    assert_eq!((ports(&mut one, START), ports(&mut other, START)), (vec![1, 2], vec![1, 2]));
    // Failures in a row are counted over both.
    let mut ends: Vec<bool> = Vec::new();
    for balancer in [&one, &other, &one, &other, &one] {
        ends.push(balancer.targets()[0].begin().end(Outcome::Failed, Duration::ZERO, START));
    }
    assert_eq!(ends, [false, false, false, false, true]);
    assert_eq!((ports(&mut one, START), ports(&mut other, START)), (vec![2], vec![2]));
}

#[test]
fn one_success_of_any_worker_begins_the_count_anew() {
    let members = members(&[1; 2], 2);
    let new = |worker| Balancer::new(members.clone(), Arc::new(settings(Method::RoundRobin)), worker, 1);
    let (mut one, mut other) = (new(0), new(1));
    for _ in 0..50 {
        for _ in 0..4 {
            one.pick(START, None, &[]);
            assert!(!one.targets()[0].begin().end(Outcome::Failed, Duration::ZERO, START));
        }
        other.pick(START, None, &[]);
        other.targets()[0].begin().end(Outcome::Succeeded, Duration::ZERO, START);
    }
    let [succeeded, failed] = members.endpoints()[0].totals();
    assert_eq!([succeeded, failed], [50, 200]);
}

#[test]
fn without_ejection_nobody_is_ejected() {
    let members = members(&[1; 2], 1);
    let mut balancer = balancer(&members, Settings { ejection: None, ..settings(Method::RoundRobin) }, 1);
    balancer.pick(START, None, &[]);
    assert!((0..1000).all(|_| !balancer.targets()[0].begin().end(Outcome::Failed, Duration::ZERO, START)));
    balancer.settle(START, |_| panic!("nobody"));
    assert_eq!(ports(&mut balancer, START), [1, 2]);
}

#[test]
fn a_rate_of_failures_is_seen_at_the_tick() {
    let mut ejection = EjectionConfig::default().compile();
    ejection.consecutive_failures = 1000;
    ejection.failure_rate =
        Some(crate::upstream::ejection::FailureRate { rate: 0.5, minimum: 20, window: Duration::from_secs(10) });
    let members = members(&[1; 2], 1);
    let mut balancer = balancer(&members, Settings { ejection: Some(ejection), ..settings(Method::RoundRobin) }, 1);
    balancer.settle(START, |_| panic!("nobody yet"));
    for index in 0..40 {
        let outcome = if index % 2 == 0 { Outcome::Failed } else { Outcome::Succeeded };
        balancer.targets()[0].begin().end(outcome, Duration::ZERO, START);
    }
    let mut ejected = Vec::new();
    balancer.settle(after(1), |endpoint| ejected.push(endpoint.authority().to_owned()));
    assert_eq!(ejected, ["127.0.0.1:1"]);
    assert_eq!(ports(&mut balancer, after(1)), [2]);
}

#[test]
fn when_none_is_left_a_guess_is_put_aside_and_knowledge_is_not() {
    for method in all_methods() {
        let members = members(&[1; 4], 1);
        let endpoints = members.endpoints();
        let mut balancer = balancer(&members, settings(method), 1);
        let policy = EjectionConfig::default().compile();
        members.eject(&endpoints[0], START, &policy);
        members.eject(&endpoints[1], START, &policy);
        assert_eq!(ports(&mut balancer, START), [3, 4]);
        members.set_health(&endpoints[2], Health::Down, START);
        assert_eq!(ports(&mut balancer, START), [4]);
        members.set_health(&endpoints[3], Health::Down, START);
        assert_eq!(ports(&mut balancer, START), [1, 2], "both that are only ejected");
        members.set_health(&endpoints[0], Health::Down, START);
        members.set_health(&endpoints[1], Health::Down, START);
        assert!(balancer.pick(START, None, &[]).is_none());
        members.set_health(&endpoints[3], Health::Up, START);
        assert_eq!(ports(&mut balancer, START), [4]);
    }
}

#[test]
fn dropping_a_request_counts_for_nobody() {
    let members = members(&[1; 2], 1);
    let mut balancer = balancer(&members, settings(Method::RoundRobin), 1);
    let target = balancer.pick(START, None, &[]).unwrap();
    let running = target.begin();
    assert_eq!((target.active(), running.target().id()), (1, target.id()));
    drop(running);
    assert_eq!((target.active(), target.endpoint.totals()), (0, [0, 0]));
}

/// The part of the third of three targets at this time, in a thousandth.
fn part(balancer: &mut Balancer, now: Instant) -> u64 {
    (counts(balancer, 12_000, now).get(&3).copied().unwrap_or(0) as f64 / 12.0).round() as u64
}

/// What the third of three has at this share of its weight.
fn expected(share: f64) -> u64 {
    (1000.0 * share / (2.0 + share)).round() as u64
}

#[test]
fn a_new_target_grows_into_its_share() {
    let members = members(&[1; 2], 1);
    let mut balancer = balancer(&members, slow(Method::RoundRobin), 1);
    assert_eq!(counts(&mut balancer, 100, START), HashMap::from([(1, 50), (2, 50)]), "none at the start");
    members.update(vec![spec(1, 1), spec(2, 1), spec(3, 1)], START);
    // Twenty steps of a second each, from a tenth to the whole.
    for (seconds, share) in
        [(0, 0.1), (1, 0.145), (5, 0.325), (10, 0.55), (15, 0.775), (19, 0.955), (20, 1.0), (99, 1.0)]
    {
        let (is, expected) = (part(&mut balancer, after(seconds)), expected(share));
        // Shares are kept in hundredths.
        assert!(is.abs_diff(expected) <= 3, "after {seconds} s it has {is}, not {expected}");
    }
    assert_eq!(counts(&mut balancer, 300, after(99)), HashMap::from([(1, 100), (2, 100), (3, 100)]));
}

#[test]
fn who_recovers_grows_into_its_share_again() {
    let members = members(&[1; 3], 1);
    let third = members.endpoints()[2].clone();
    let mut balancer = balancer(&members, slow(Method::LeastConnections), 1);
    assert!(part(&mut balancer, START).abs_diff(333) < 20);
    members.set_health(&third, Health::Down, START);
    assert_eq!(part(&mut balancer, START), 0);
    members.set_health(&third, Health::Up, after(5));
    assert!(part(&mut balancer, after(5)).abs_diff(expected(0.1)) < 10);
    assert!(part(&mut balancer, after(15)).abs_diff(expected(0.55)) < 20);
    assert!(part(&mut balancer, after(25)).abs_diff(333) < 20);
    // The same after an ejection, from its end on.
    members.eject(&third, after(30), &EjectionConfig::default().compile());
    assert_eq!(part(&mut balancer, after(30)), 0);
    assert!(part(&mut balancer, after(40)).abs_diff(expected(0.1)) < 10);
    assert!(part(&mut balancer, after(60)).abs_diff(333) < 20);
}

#[test]
fn keys_do_not_move_for_a_slow_start() {
    let method = Method::ConsistentHash { by: HashBy::Ip, load: None };
    let members = members(&[1; 3], 1);
    let with = Arc::new(slow(method.clone()));
    let (mut slow, mut quick) = (Balancer::new(members.clone(), with, 0, 1), balancer(&members, settings(method), 1));
    let third = members.endpoints()[2].clone();
    members.set_health(&third, Health::Down, START);
    members.set_health(&third, Health::Up, START);
    for key in 0..500 {
        let of = |balancer: &mut Balancer| port(&balancer.pick(after(1), Some(key), &[]).unwrap());
        assert_eq!(of(&mut slow), of(&mut quick));
    }
}

#[test]
fn other_settings_keep_the_targets() {
    let members = members(&[1; 2], 1);
    let mut balancer = balancer(&members, settings(Method::RoundRobin), 1);
    let first = balancer.pick(START, None, &[]).unwrap();
    let running = first.begin();
    balancer.configure(Arc::new(settings(Method::LeastConnections)));
    for _ in 0..10 {
        assert_ne!(balancer.pick(START, None, &[]).unwrap().id(), first.id(), "the other one has nothing to do");
    }
    assert!(balancer.targets().iter().any(|target| Rc::ptr_eq(target, &first)));
    drop(running);
    balancer.configure(Arc::new(settings(Method::ConsistentHash { by: HashBy::Ip, load: None })));
    assert!(balancer.pick(START, Some(1), &[]).is_some());
}

fn affinity(cookie: &str) -> Affinity {
    let config = AffinityConfig {
        cookie: cookie.into(),
        max_age: None,
        path: "/".into(),
        secure: false,
        http_only: true,
        same_site: SameSite::Lax,
        secret: None,
    };
    config.compile("users")
}

#[test]
fn a_cookie_leads_to_its_target_for_as_long_as_that_may_be_used() {
    let members = members(&[1; 3], 1);
    let settings = |cookie| Settings { affinity: Some(affinity(cookie)), ..settings(Method::RoundRobin) };
    let mut balancer = balancer(&members, settings("backend"), 1);
    for _ in 0..3 {
        let target = balancer.pick(START, None, &[]).unwrap();
        let mut field = Vec::new();
        affinity("backend").write(target.token().unwrap(), &mut field);
        let pair = field.split(|byte| *byte == b';').next().unwrap();
        let token = affinity("backend").read(pair).unwrap();
        assert!(Rc::ptr_eq(&balancer.by_token(START, token).unwrap(), &target));
        members.set_health(&target.endpoint, Health::Down, START);
        assert!(balancer.by_token(START, token).is_none());
        members.set_health(&target.endpoint, Health::Up, START);
        assert!(balancer.by_token(START, token).is_some());
    }
    let token = balancer.targets()[0].token().unwrap();
    members.update(vec![spec(2, 1), spec(3, 1)], START);
    assert!(balancer.by_token(START, token).is_none());
    balancer.configure(Arc::new(super::settings(Method::RoundRobin)));
    assert!(balancer.targets().iter().all(|target| target.token().is_none()));
}

#[test]
fn an_answer_that_is_the_same_again_changes_nothing() {
    let members = members(&[1, 2, 3], 1);
    let (version, endpoints) = (members.version(), members.endpoints());
    members.update(vec![spec(3, 3), spec(1, 1), spec(2, 2)], after(1));
    assert!(members.version() == version && Arc::ptr_eq(&members.endpoints(), &endpoints));
    members.update(vec![spec(3, 3), spec(1, 1), spec(2, 5)], after(1));
    assert_ne!(members.version(), version);
    let mut balancer = balancer(&members, settings(Method::RoundRobin), 1);
    assert_eq!(counts(&mut balancer, 9, START), HashMap::from([(1, 1), (2, 5), (3, 3)]));
}
