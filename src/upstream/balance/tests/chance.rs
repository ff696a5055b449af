//! The methods that draw: how near to the shares they come, and to the ideal.

use super::*;

/// Chi-square of what was counted against these shares: the sum over all of (counted - expected)² / expected.
fn chi_square(counts: &HashMap<u16, usize>, shares: &[f64]) -> f64 {
    let (all, sum) = (counts.values().sum::<usize>() as f64, shares.iter().sum::<f64>());
    let of = |(port, share): (u16, &f64)| {
        let expected = all * share / sum;
        (*counts.get(&port).unwrap_or(&0) as f64 - expected).powi(2) / expected
    };
    (1..).zip(shares).map(of).sum()
}

/// What chi-square exceeds once in a thousand times, for one degree of freedom less than there are targets.
fn critical(targets: usize) -> f64 {
    [0.0, 10.83, 13.82, 16.27, 18.47, 20.52][targets - 1]
}

fn two_choices() -> Method {
    Method::TwoChoices { decay: Duration::from_secs(10) }
}

#[test]
fn without_load_both_methods_draw_by_weight() {
    for method in [Method::LeastConnections, two_choices()] {
        for weights in [&[1, 1, 1, 1][..], &[1, 2, 3, 4], &[9, 1], &[1, 1, 1, 1, 1, 95]] {
            let mut balancer = balancer(&members(weights, 1), settings(method.clone()), 42);
            let counts = counts(&mut balancer, 20_000, START);
            let shares: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
            let off = chi_square(&counts, &shares);
            assert!(off < critical(weights.len()), "{method:?} {weights:?}: {off} for {counts:?}");
        }
    }
}

#[test]
fn least_connections_keeps_loads_in_the_proportion_of_the_weights() {
    let mut balancer = balancer(&members(&[1, 2, 5], 1), settings(Method::LeastConnections), 3);
    let mut running = Vec::new();
    for count in 1..=800_u32 {
        running.push(balancer.pick(START, None, &[]).unwrap().begin());
        for (target, weight) in balancer.targets().iter().zip([1.0, 2.0, 5.0]) {
            // The next one goes to whoever has least for its weight, so nobody is more than one request off.
            let ideal = f64::from(count) * weight / 8.0;
            assert!((f64::from(target.active()) - ideal).abs() <= weight.max(1.0), "{count}: {target:?}");
        }
    }
    drop(running);
    assert!(balancer.targets().iter().all(|target| target.active() == 0));
}

#[test]
fn least_connections_sees_what_other_workers_have_running_at_their_tick() {
    let members = members(&[1, 1], 2);
    let new = |worker| Balancer::new(members.clone(), Arc::new(settings(Method::LeastConnections)), worker, 1);
    let (mut one, mut other) = (new(0), new(1));
    let first = other.pick(START, None, &[]).unwrap();
    let mut running: Vec<InFlight> = (0..10).map(|_| first.begin()).collect();
    one.settle(START, |_| {});
    for _ in 0..10 {
        let target = one.pick(START, None, &[]).unwrap();
        assert_ne!(port(&target), port(&first));
        running.push(target.begin());
    }
    // Ten and ten: both again. What has ended there since is not seen before the next tick.
    running.drain(..10);
    let counts = counts(&mut one, 1000, START);
    assert!(counts.len() == 2, "{counts:?}");
    one.settle(START, |_| {});
    for _ in 0..10 {
        assert_eq!(port(&one.pick(START, None, &[]).unwrap()), port(&first));
    }
}

/// Eight workers on threads of their own, each with a thousand picks of which the last fifty still run, and a tick
/// every ten. Gives the picks and the loads that each port has ended with.
fn in_parallel(method: &Method, weights: &[u32]) -> (HashMap<u16, usize>, HashMap<u16, u32>) {
    let members = members(weights, 8);
    let gate = std::sync::Barrier::new(8);
    let all = std::thread::scope(|scope| {
        let work = |worker: usize| {
            let (members, gate) = (members.clone(), &gate);
            move || {
                let mut balancer =
                    Balancer::new(members.clone(), Arc::new(settings(method.clone())), worker, worker as u64);
                let (mut running, mut ports) = (std::collections::VecDeque::new(), Vec::new());
                gate.wait();
                for count in 0..1000 {
                    if count % 10 == 0 {
                        // Picks come over time, not all in one slice of the scheduler's while the others stand still.
                        std::thread::yield_now();
                        balancer.settle(START, |_| {});
                    }
                    let target = balancer.pick(START, Some(fastrand::u64(..)), &[]).unwrap();
                    ports.push(port(&target));
                    running.push_back(target.begin());
                    if running.len() > 50 {
                        let latency = Duration::from_millis(5);
                        running.pop_front().unwrap().end(Outcome::Succeeded, latency, START);
                    }
                }
                gate.wait();
                // Everything still runs: this is read by one while all others wait for it.
                let loads: Vec<(u16, u32)> = balancer
                    .targets()
                    .iter()
                    .map(|target| {
                        target.look_at_others();
                        (port(target), target.load())
                    })
                    .collect();
                gate.wait();
                (ports, loads)
            }
        };
        let threads: Vec<_> = (0..8).map(|worker| scope.spawn(work(worker))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut counts = HashMap::new();
    all.iter().flat_map(|(ports, _)| ports).for_each(|port| *counts.entry(*port).or_insert(0) += 1);
    for endpoint in members.endpoints().iter() {
        assert_eq!(
            endpoint.tallies().iter().map(|tally| tally.active.load(std::sync::atomic::Ordering::Relaxed)).sum::<u32>(),
            0
        );
    }
    let [succeeded, failed] =
        members.endpoints().iter().map(|endpoint| endpoint.totals()).fold([0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
    assert_eq!([succeeded, failed], [8 * 950, 0]);
    (counts, all[0].1.iter().copied().collect())
}

#[test]
fn eight_workers_on_threads_come_near_the_shares_together() {
    for (method, within) in [
        (Method::RoundRobin, 0.01),
        (Method::LeastConnections, 0.15),
        (two_choices(), 0.15),
        (Method::ConsistentHash { by: HashBy::Ip, load: Some(1.25) }, 0.25),
    ] {
        for weights in [[1, 1, 1, 1], [1, 1, 2, 4]] {
            let (counts, loads) = in_parallel(&method, &weights);
            let sum: u32 = weights.iter().sum();
            assert_eq!(loads.values().sum::<u32>(), 8 * 50);
            for (port, weight) in (1..).zip(weights) {
                let share = f64::from(weight) / f64::from(sum);
                let picks = counts[&port] as f64 / 8000.0;
                assert!((picks / share - 1.0).abs() < within, "{method:?} {weights:?}: {counts:?}");
                let load = f64::from(loads[&port]) / 400.0;
                // What runs at the end is a twentieth of that, so chance weighs more.
                assert!((load / share - 1.0).abs() < within + 0.5, "{method:?} {weights:?}: {loads:?}");
            }
        }
    }
}

/// A second of requests one by one at these latencies, in milliseconds by port; a thousand picks a second.
fn sequential(balancer: &mut Balancer, latencies: &[u64], from: Instant, picks: u64) -> HashMap<u16, usize> {
    let mut counts = HashMap::new();
    for count in 0..picks {
        let now = from + Duration::from_millis(count);
        let target = balancer.pick(now, None, &[]).unwrap();
        let latency = Duration::from_millis(latencies[usize::from(port(&target)) - 1]);
        *counts.entry(port(&target)).or_default() += 1;
        target.begin().end(Outcome::Succeeded, latency, now);
    }
    counts
}

#[test]
fn two_choices_avoid_the_slow_one_and_take_it_back_when_it_is_quick() {
    let mut balancer = balancer(&members(&[1, 1, 1], 1), settings(two_choices()), 5);
    sequential(&mut balancer, &[10, 10, 100], START, 100);
    let second = START + Duration::from_secs(1);
    let counts = sequential(&mut balancer, &[10, 10, 100], second, 3000);
    assert!(!counts.contains_key(&3), "it is always drawn with a quicker one: {counts:?}");
    // Its average falls while nobody asks it: ln(100 / 10) times ten seconds later it is tried again, and is quick.
    let later = second + Duration::from_secs(60);
    let counts = sequential(&mut balancer, &[10, 10, 10], later, 3000);
    let off = chi_square(&counts, &[1.0, 1.0, 1.0]);
    assert!(counts[&3] > 800, "{off} for {counts:?}");
}

#[test]
fn of_two_uneven_ones_the_slow_one_keeps_the_square_of_its_share() {
    for (latencies, slow, share) in [([100, 10], 1, 0.75_f64), ([10, 100], 2, 0.25)] {
        let mut balancer = balancer(&members(&[3, 1], 1), settings(two_choices()), 5);
        sequential(&mut balancer, &latencies, START, 1000);
        let counts = sequential(&mut balancer, &latencies, START + Duration::from_secs(1), 20_000);
        let is = counts[&slow] as f64 / 20_000.0;
        // Four times the deviation that chance has with so many draws.
        assert!((is - share * share).abs() < 0.015, "{is} instead of {share} squared");
    }
}

#[test]
fn two_choices_take_one_slow_answer_for_a_slow_target_at_once() {
    let mut balancer = balancer(&members(&[1, 1], 1), settings(two_choices()), 5);
    sequential(&mut balancer, &[10, 10], START, 1000);
    let now = START + Duration::from_secs(1);
    let target = balancer.targets()[0].clone();
    target.begin().end(Outcome::Succeeded, Duration::from_millis(500), now);
    assert_eq!(counts(&mut balancer, 100, now), HashMap::from([(2, 100)]));
}

#[test]
fn failing_at_once_is_not_being_quick() {
    let mut balancer = balancer(&members(&[1, 1], 1), settings(two_choices()), 5);
    sequential(&mut balancer, &[10, 10], START, 1000);
    let now = START + Duration::from_secs(1);
    balancer.targets()[1].clone().begin().end(Outcome::Failed, Duration::ZERO, now);
    assert_eq!(counts(&mut balancer, 100, now), HashMap::from([(1, 100)]));
}

#[test]
fn who_comes_back_counts_as_an_average_one() {
    let members = members(&[1, 1], 1);
    let mut balancer = balancer(&members, settings(two_choices()), 5);
    sequential(&mut balancer, &[10, 10], START, 1000);
    let now = START + Duration::from_secs(1);
    let second = balancer.targets()[1].clone();
    for _ in 0..5 {
        second.begin().end(Outcome::Failed, Duration::from_secs(9), now);
    }
    let back = second.endpoint.ejected_until();
    let counts = counts(&mut balancer, 1000, back);
    assert!(counts[&1] > 300 && counts[&2] > 300, "{counts:?}");
}

#[test]
fn requests_that_wait_make_a_target_dearer() {
    let mut balancer = balancer(&members(&[1, 1], 1), settings(two_choices()), 5);
    sequential(&mut balancer, &[10, 10], START, 1000);
    let now = START + Duration::from_secs(1);
    let _running: Vec<InFlight> = (0..3).map(|_| balancer.targets()[0].begin()).collect();
    assert_eq!(counts(&mut balancer, 100, now), HashMap::from([(2, 100)]));
}

#[test]
fn a_new_target_counts_as_an_average_one_until_it_has_answered() {
    let members = members(&[1, 1], 1);
    let mut balancer = balancer(&members, settings(two_choices()), 5);
    sequential(&mut balancer, &[10, 30], START, 1000);
    let now = START + Duration::from_secs(1);
    members.update(vec![spec(1, 1), spec(2, 1), spec(3, 1)], now);
    let counts = counts(&mut balancer, 3000, now);
    // It loses against the first and wins against the second: a third of all draws, as the first wins two thirds.
    assert!((800..1200).contains(&counts[&3]) && counts[&1] > 1800 && !counts.contains_key(&2), "{counts:?}");
}

#[test]
fn one_that_was_tried_is_not_drawn() {
    for method in [Method::LeastConnections, two_choices()] {
        for weights in [[1, 1, 1], [1, 1, 9]] {
            let mut balancer = balancer(&members(&weights, 1), settings(method.clone()), 1);
            for _ in 0..200 {
                let mut tried = Vec::new();
                for _ in 0..3 {
                    let target = balancer.pick(START, None, &tried).unwrap();
                    assert!(!tried.contains(&target.id()));
                    tried.push(target.id());
                }
                assert!(balancer.pick(START, None, &tried).is_some());
            }
        }
    }
}
