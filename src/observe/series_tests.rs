//! Series add up over workers, and stay over reloads.

use super::*;

const REQUEST: Finished = Finished {
    verb: Verb::Get,
    status: 200,
    received: 100,
    sent: 1000,
    attempts: 1,
    retries: 0,
    asked: true,
    cut: false,
    gateway: 30_000,
    queue: 0,
    first_byte: 3_000_000,
    backend: 4_000_000,
    total: 4_100_000,
};

#[test]
fn workers_add_up() {
    let shelf = Shelf::<RouteBlock>::first(["users", "orders"], 10, 2);
    let users = shelf.at(Some(0));
    users.of(0).count(&REQUEST);
    users.of(1).count(&REQUEST);
    users.of(1).count(&Finished { status: 503, verb: Verb::Post, cut: true, ..REQUEST });
    assert_eq!(users.requests().collect::<Vec<_>>(), [("GET", "2xx", 2), ("POST", "5xx", 1)]);
    assert_eq!(users.flow(), [300, 3000, 1]);
    let total = users.total();
    assert_eq!((total.count(), total.sum, total.counts[1]), (3, 12_300_000, 3), "up to 5 ms");
    assert_eq!(shelf.at(Some(1)).requests().count(), 0);
}

#[test]
fn a_service_counts_what_only_some_requests_have() {
    let shelf = Shelf::<ServiceBlock>::first(["users"], 10, 1);
    let block = shelf.at(Some(0)).of(0);
    block.count(&REQUEST);
    block.count(&Finished { attempts: 3, retries: 2, queue: 15_000, ..REQUEST });
    block.count(&Finished { attempts: 0, asked: false, status: 0, ..REQUEST });
    for status in [299, 418, 599, 999, 502] {
        block.count(&Finished { status, ..REQUEST });
    }
    let users = shelf.at(Some(0));
    let expected = [
        ("none", None, 1),
        ("2xx", None, 1),
        ("4xx", None, 1),
        ("5xx", None, 2),
        ("2xx", Some(200), 2),
        ("5xx", Some(500), 0),
        ("5xx", Some(502), 1),
        ("5xx", Some(503), 0),
        ("5xx", Some(504), 0),
    ];
    assert_eq!(users.requests().collect::<Vec<_>>(), expected);
    block.count_over_budget();
    assert_eq!(users.attempts(), [9, 2, 1]);
    assert_eq!(Time::ALL.map(|time| users.time(time).count()), [8, 1, 7, 7, 8]);
}

#[test]
fn every_status_has_the_place_that_is_named_for_it() {
    let shelf = Shelf::<ServiceBlock>::first(["users"], 1, 1);
    let series = shelf.at(Some(0));
    for status in 100..=999 {
        series.of(0).count(&Finished { status, ..REQUEST });
    }
    let mut in_class = [0_u64; CLASSES.len()];
    for (name, status, count) in series.requests() {
        assert!(status.is_none_or(|status| name.starts_with((b'0' + (status / 100) as u8) as char)));
        assert!(status.is_none() || count == 1);
        in_class[CLASSES.iter().position(|class| *class == name).unwrap()] += count;
    }
    assert_eq!(in_class, [0, 100, 100, 100, 100, 500], "what is no status at all is the backend's error");
}

#[test]
fn names_keep_their_series_and_those_beyond_the_bound_share_one() {
    let shelf = Shelf::<RouteBlock>::first(["a", "b", "c", "d"], 2, 1);
    let names = |shelf: &Shelf<RouteBlock>| shelf.each().map(|series| series.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&shelf), ["a", "b", "(other)", "(none)"]);
    (0..4).for_each(|place| shelf.at(Some(place)).of(0).count(&REQUEST));
    shelf.at(None).of(0).count(&REQUEST);
    // The order has changed, `a` is gone, and there is room for all.
    let shelf = shelf.next(["c", "b", "e"], 5);
    assert_eq!(names(&shelf), ["c", "b", "e", "(other)", "(none)"]);
    let counts = |shelf: &Shelf<RouteBlock>| shelf.each().map(|series| series.total().count()).collect::<Vec<_>>();
    assert_eq!(counts(&shelf), [0, 1, 0, 2, 1]);
    let shelf = shelf.next(["b"], 0);
    assert_eq!((names(&shelf), counts(&shelf)), (vec!["(other)".into(), "(none)".into()], vec![2, 1]));
}
