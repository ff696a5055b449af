//! Round robin: exact counts, the smooth order, and changes of the list in between.

use proptest::prelude::*;

use super::*;

/// nginx's algorithm, written down naively: the order in which targets of these weights are picked.
fn smooth(weights: &[u32], picks: usize) -> Vec<usize> {
    let mut current = vec![0_i64; weights.len()];
    let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut order = Vec::new();
    for _ in 0..picks {
        (0..weights.len()).for_each(|index| current[index] += i64::from(weights[index]));
        let most = *current.iter().max().unwrap();
        let index = current.iter().position(|weight| *weight == most).unwrap();
        current[index] -= total;
        order.push(index);
    }
    order
}

fn order(balancer: &mut Balancer, picks: usize) -> Vec<usize> {
    (0..picks).map(|_| usize::from(port(&balancer.pick(START, None, &[]).unwrap())) - 1).collect()
}

proptest! {
    #[test]
    fn it_is_nginxs_order_from_a_random_place(weights in prop::collection::vec(1..8_u32, 1..6), seed: u64) {
        let cycle = weights.iter().sum::<u32>() as usize;
        let mut balancer = balancer(&members(&weights, 1), settings(Method::RoundRobin), seed);
        let is = order(&mut balancer, cycle * 3);
        let expected = smooth(&weights, cycle * 4);
        let from = (0..cycle).find(|from| expected[*from..from + cycle * 3] == is);
        prop_assert!(from.is_some(), "{is:?} is nowhere in {expected:?}");
        for (index, weight) in weights.iter().enumerate() {
            prop_assert_eq!(is[..cycle].iter().filter(|picked| **picked == index).count(), *weight as usize);
        }
    }
}

#[test]
fn the_example_of_nginx() {
    assert_eq!(smooth(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn workers_start_at_different_places_and_spread_evenly_together() {
    let members = members(&[1, 1, 1, 1], 64);
    let mut first = HashMap::new();
    let mut all = HashMap::new();
    for worker in 0..64 {
        let mut balancer =
            Balancer::new(members.clone(), Arc::new(settings(Method::RoundRobin)), worker, worker as u64);
        let picked = order(&mut balancer, 10);
        *first.entry(picked[0]).or_insert(0) += 1;
        picked.iter().for_each(|index| *all.entry(*index).or_insert(0) += 1);
    }
    // A quarter each is 16; that one of four gets fewer than 6 has a chance of 1 in 1000, and the seeds are fixed.
    assert!((0..4).all(|index| first[&index] >= 6), "{first:?}");
    // Ten picks are two or three for each.
    assert!((0..4).all(|index| (128..=192).contains(&all[&index])), "{all:?}");
}

#[test]
fn one_that_was_tried_is_passed_over_if_there_is_another() {
    for weights in [[1, 1, 1], [3, 1, 1]] {
        let mut balancer = balancer(&members(&weights, 1), settings(Method::RoundRobin), 1);
        for _ in 0..20 {
            let mut tried = Vec::new();
            for _ in 0..3 {
                let target = balancer.pick(START, None, &tried).unwrap();
                assert!(!tried.contains(&target.id()));
                tried.push(target.id());
            }
            // All were tried: any of them again.
            assert!(tried.contains(&balancer.pick(START, None, &tried).unwrap().id()));
        }
    }
}

#[test]
fn changes_of_the_list_keep_what_stays() {
    let members = members(&[1, 1, 1], 1);
    let mut balancer = balancer(&members, settings(Method::RoundRobin), 1);
    balancer.pick(START, None, &[]);
    let before: Vec<Rc<Target>> = balancer.targets().to_vec();
    members.update(vec![spec(3, 1), spec(4, 1), spec(1, 1)], START);
    assert_eq!(counts(&mut balancer, 6, START), HashMap::from([(3, 2), (4, 2), (1, 2)]));
    assert!(Rc::ptr_eq(&balancer.targets()[0], &before[2]) && Rc::ptr_eq(&balancer.targets()[2], &before[0]));
    // Of the one that has gone, nobody keeps anything but this test.
    assert_eq!(Rc::strong_count(&before[1]), 1);
    assert!(balancer.by_id(START, before[1].id()).is_none());
    assert!(balancer.by_id(START, before[0].id()).is_some());
    members.update(vec![], START);
    assert!(balancer.pick(START, None, &[]).is_none());
}
