//! Decisions as a table, waits, and the budget against any failing backend.

use proptest::prelude::*;

use super::*;
use crate::base::time::Instant;
use crate::base::units::Setting;

fn retries() -> Retries {
    let default = RetriesConfig::compile([None; 3]).unwrap();
    Retries { attempts: 3, on_timeout: true, on_statuses: StatusSet::of(&[503]), ..default }
}

#[test]
fn the_default_is_one_retry_when_a_connection_fails() {
    let default = RetriesConfig::compile([None; 3]).unwrap();
    let expected = Retries {
        attempts: 2,
        on_connect: true,
        on_reset: true,
        on_timeout: false,
        on_statuses: StatusSet::default(),
        budget: 0.2,
        backoff: Duration::from_millis(25),
        backoff_max: Duration::from_millis(250),
        non_idempotent: false,
        body: 65_536,
    };
    assert_eq!(default, expected);
}

#[test]
fn a_narrow_scope_overrides_a_wide_one_key_by_key() {
    let with =
        |attempts, non_idempotent| Setting::On(RetriesConfig { attempts, non_idempotent, ..RetriesConfig::default() });
    for (route, service, expected) in [
        (None, None, Some((2, false))),
        (None, Some(with(Some(4), Some(true))), Some((4, true))),
        (Some(with(Some(5), None)), Some(with(Some(4), Some(true))), Some((5, true))),
        (Some(with(None, Some(false))), Some(with(Some(4), Some(true))), Some((4, false))),
        (Some(Setting::Off), Some(with(Some(4), None)), None),
        (None, Some(Setting::Off), None),
        (Some(with(Some(3), None)), Some(Setting::Off), Some((3, false))),
    ] {
        // What holds between a route and its service holds between any two scopes.
        let (route, service) = (route.as_ref(), service.as_ref());
        for scopes in [[route, service, None], [None, route, service], [route, None, service]] {
            let is = RetriesConfig::compile(scopes);
            let is = is.map(|retries| (retries.attempts, retries.non_idempotent));
            assert_eq!(is, expected, "{scopes:?}");
        }
    }
}

#[test]
fn what_is_sent_again() {
    use Decision::{Retry, Stop};
    use Reason::{Attempts, NotAsked, NotIdempotent, NotReplayable};
    use Sent::{Nothing, Something};
    for (cause, attempts, sent, idempotent, replayable, expected) in [
        // Nothing was sent: neither the method nor the body matters.
        (Cause::Connect, 1, Nothing, false, false, Retry),
        (Cause::Connect, 2, Nothing, false, false, Retry),
        (Cause::Connect, 3, Nothing, false, false, Stop(Attempts)),
        (Cause::Connect, u32::MAX, Nothing, true, true, Stop(Attempts)),
        (Cause::Reset, 1, Nothing, false, false, Retry),
        // Something was: both do.
        (Cause::Reset, 1, Something, true, true, Retry),
        (Cause::Reset, 1, Something, false, true, Stop(NotIdempotent)),
        (Cause::Reset, 1, Something, true, false, Stop(NotReplayable)),
        (Cause::Timeout, 2, Something, true, true, Retry),
        (Cause::Timeout, 3, Something, true, true, Stop(Attempts)),
        (Cause::Status(503), 1, Something, true, true, Retry),
        (Cause::Status(503), 1, Something, false, true, Stop(NotIdempotent)),
        (Cause::Status(502), 1, Something, true, true, Stop(NotAsked)),
        (Cause::Malformed, 1, Something, true, true, Stop(NotAsked)),
    ] {
        let facts = Facts { cause, attempts, sent, idempotent, replayable };
        assert_eq!(retries().may_retry(facts), expected, "{facts:?}");
    }
    let all = Retries { non_idempotent: true, on_statuses: StatusSet::of(&[502]), ..retries() };
    let facts = Facts { cause: Cause::Malformed, attempts: 1, sent: Something, idempotent: false, replayable: true };
    assert_eq!(all.may_retry(facts), Retry);
    assert_eq!(all.may_retry(Facts { replayable: false, ..facts }), Stop(NotReplayable));
}

#[test]
fn a_body_is_kept_where_it_may_be_wanted() {
    let retries = retries();
    assert!(retries.keeps_body(65_536, true) && !retries.keeps_body(65_537, true) && !retries.keeps_body(1, false));
    assert!(Retries { non_idempotent: true, ..retries.clone() }.keeps_body(1, false));
    assert!(!Retries { attempts: 1, ..retries.clone() }.keeps_body(1, true));
    let connect = Retries { on_reset: false, on_timeout: false, on_statuses: StatusSet::default(), ..retries };
    assert!(!connect.keeps_body(1, true));
}

#[test]
fn waits_grow_and_are_spread_from_nothing_to_their_most() {
    let retries = retries();
    for (attempts, most) in [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (40, 250), (u32::MAX, 250)] {
        assert_eq!(retries.backoff(attempts, 0), Duration::ZERO);
        assert_eq!(retries.backoff(attempts, u64::MAX), Duration::from_millis(most));
        let half = retries.backoff(attempts, u64::MAX / 2);
        assert_eq!(half.as_millis(), u128::from(most) / 2);
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_quiet_service_has_its_retries_and_a_busy_one_its_share() {
    let mut budget = RetryBudget::default();
    let at = |second: u64| Instant::from_nanos(second * SECOND);
    let allowed = |budget: &mut RetryBudget, second: u64, share: f64| {
        (0..10_000).take_while(|_| budget.allow(at(second), share)).count()
    };
    assert_eq!(allowed(&mut budget, 100, 0.2), 100);
    assert_eq!(allowed(&mut budget, 109, 0.2), 0);
    assert_eq!(allowed(&mut budget, 110, 0.2), 100, "ten seconds later they are forgotten");
    (0..1000).for_each(|_| budget.request(at(125)));
    assert_eq!(allowed(&mut budget, 125, 0.2), 300);
    assert_eq!(allowed(&mut budget, 134, 0.2), 0);
    assert_eq!(allowed(&mut budget, 1_000_000, 0.0), 100);
}

proptest! {
    /// Against a naive list of all that happened: whatever comes when, the window's retries stay within the budget, and
    /// none is refused that would.
    #[test]
    fn the_budget_is_kept_and_used(
        events in prop::collection::vec((0..3_000_u64, 0..40_u32, 0..60_u32), 1..60),
        share in 0.0..1.0_f64,
    ) {
        let mut budget = RetryBudget::default();
        let (mut requests, mut retries): (Vec<u64>, Vec<u64>) = Default::default();
        let mut milliseconds = 0;
        for (wait, sent, again) in events {
            milliseconds += wait;
            let now = Instant::from_nanos(milliseconds * 1_000_000);
            let slot = milliseconds / 1000;
            for _ in 0..sent {
                budget.request(now);
                requests.push(slot);
            }
            for _ in 0..again {
                let of_window = |all: &[u64]| all.iter().filter(|then| **then + 10 > slot).count() as f64;
                let fits = of_window(&retries) + 1.0 <= share * of_window(&requests) + 100.0;
                prop_assert_eq!(budget.allow(now, share), fits);
                if fits {
                    retries.push(slot);
                }
            }
        }
    }

    /// A backend that fails every request, in every way: each ends after at most so many attempts, and all together
    /// after at most so many as the budget says.
    #[test]
    fn a_failing_backend_makes_no_storm(
        attempts in 1..=10_u32,
        share in 0.0..1.0_f64,
        causes in prop::collection::vec(0..5_usize, 1..2000),
        idempotent: bool,
        replayable: bool,
    ) {
        let retries = Retries { attempts, budget: share, ..retries() };
        let mut budget = RetryBudget::default();
        let now = Instant::from_nanos(77 * SECOND);
        let all = [Cause::Connect, Cause::Reset, Cause::Timeout, Cause::Malformed, Cause::Status(503)];
        let mut sent = 0;
        for (count, cause) in causes.iter().enumerate() {
            budget.request(now);
            let mut tries = 1;
            let of = |attempts| Facts {
                cause: all[*cause],
                attempts,
                sent: if *cause == 0 { Sent::Nothing } else { Sent::Something },
                idempotent,
                replayable,
            };
            while retries.may_retry(of(tries)) == Decision::Retry && budget.allow(now, retries.budget) {
                tries += 1;
                prop_assert!(tries <= attempts);
            }
            sent += tries as usize;
            prop_assert!((sent - count - 1) as f64 <= share * (count + 1) as f64 + 100.0);
            prop_assert!(*cause == 0 || tries == 1 || idempotent && replayable);
        }
    }

    #[test]
    fn waits_are_never_longer_than_asked_for(attempts: u32, random: u64) {
        prop_assert!(retries().backoff(attempts, random) <= Duration::from_millis(250));
    }
}
