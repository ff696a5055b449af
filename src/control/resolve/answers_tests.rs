//! Answers by table, and against a model that keeps what each family was last said to have.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { min: Duration::from_secs(1), max: Duration::from_secs(300) };
const NXDOMAIN: Reply<IpAddr> = Reply::Absent("NXDOMAIN");
const NODATA: Reply<IpAddr> = Reply::Absent("no records");

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn v4(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn v6(last: u16) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last])
}

fn found(addresses: &[IpAddr], ttl: u32) -> Reply<IpAddr> {
    Reply::Found(addresses.to_vec(), ttl)
}

fn failed() -> Reply<IpAddr> {
    Reply::Failed("nobody has answered".to_owned())
}

fn host(v4: Reply<IpAddr>, v6: Reply<IpAddr>) -> SourceReply {
    SourceReply::Host(HostReply { v4, v6 })
}

fn name(host: &str, port: u16, weight: u32) -> Source {
    Source::new(TargetSpec { address: TargetAddress::Name { host: host.into(), port }, weight })
}

fn srv_source() -> Source {
    Source::new(TargetSpec { address: TargetAddress::Srv("_http._tcp.users.internal".into()), weight: 1 })
}

fn srv(priority: u16, weight: u16, port: u16, host: &str) -> Srv {
    Srv { priority, weight, port, host: host.to_owned() }
}

/// What an SRV lookup says whose targets have these addresses.
fn srv_reply(records: &[Srv], ttl: u32, hosts: &[(&str, &[IpAddr])]) -> SourceReply {
    let of = |addresses: &[IpAddr]| HostReply { v4: found(addresses, 60), v6: NODATA };
    let hosts = hosts.iter().map(|(name, addresses)| ((*name).to_owned(), of(addresses)));
    SourceReply::Srv(Reply::Found(records.to_vec(), ttl), hosts.collect())
}

/// Every endpoint as `address authority weight`.
fn list(sources: &[Source]) -> Vec<String> {
    let spec = |spec: EndpointSpec| format!("{} {} {}", spec.address, spec.authority, spec.weight);
    endpoints(sources, &|_| true).into_iter().map(spec).collect()
}

#[test]
fn addresses_are_themselves() {
    let socket = TargetSpec { address: TargetAddress::Unix("/run/app.sock".into()), weight: 2 };
    let address = TargetSpec { address: TargetAddress::Ip(SocketAddr::new(v6(1), 80)), weight: 3 };
    let sources = [Source::new(socket), Source::new(address)];
    assert_eq!(list(&sources), ["unix:/run/app.sock unix:/run/app.sock 2", "[fd00::1]:80 [fd00::1]:80 3"]);
    assert!(sources.iter().all(|source| source.name().is_none()));
}

#[test]
fn both_families_of_a_name_are_used_sorted_and_once() {
    let mut source = name("users.internal.", 3001, 2);
    source.take(host(found(&[v4(9), v4(2), v4(9)], 30), found(&[v6(1)], 20)), BOUNDS, at(1), 0.5);
    let expected = ["10.0.0.2:3001 users.internal:3001 2", "10.0.0.9:3001 users.internal:3001 2"];
    let expected = [&expected[..], &["[fd00::1]:3001 users.internal:3001 2"]].concat();
    assert_eq!(list(&[source.clone()]), expected);
    // The shorter TTL counts.
    let state = State { answered: Some(at(1)), due: at(21), error: None, failures: 0 };
    assert_eq!(source.state(), &state);
    // Another name for the same machines changes nothing but the weight.
    let mut alias = name("alias.internal", 3001, 5);
    alias.take(host(found(&[v4(2)], 30), NODATA), BOUNDS, at(1), 0.5);
    let both = list(&[source, alias]);
    assert_eq!(both.len(), 3);
    assert_eq!(both[0], "10.0.0.2:3001 users.internal:3001 5");
}

#[test]
fn where_this_machine_has_no_way_to_is_left_out_unless_it_is_all() {
    let mut source = name("users.internal", 80, 1);
    source.take(host(found(&[v4(1)], 30), found(&[v6(1)], 30)), BOUNDS, at(1), 0.5);
    let with = |is_routed: &dyn Fn(IpAddr) -> bool| endpoints(&[source.clone()], is_routed).len();
    assert_eq!((with(&|_| true), with(&|ip| ip.is_ipv4()), with(&|_| false)), (2, 1, 2));
}

#[test]
fn failures_keep_the_last_good_answer_and_say_so() {
    let good = host(found(&[v4(1)], 30), found(&[v6(1)], 30));
    for (reply, error) in [
        (host(NXDOMAIN, NXDOMAIN), "it has no address (NXDOMAIN)"),
        (host(NODATA, NODATA), "it has no address (no records)"),
        (host(failed(), failed()), "nobody has answered"),
        (host(NXDOMAIN, failed()), "nobody has answered"),
        (host(failed(), NODATA), "nobody has answered"),
    ] {
        let mut source = name("users.internal", 80, 1);
        source.take(good.clone(), BOUNDS, at(10), 0.5);
        source.take(reply.clone(), BOUNDS, at(40), 0.5);
        assert_eq!(list(&[source.clone()]).len(), 2, "{reply:?}");
        let state = State { answered: Some(at(10)), due: at(41), error: Some(error.to_owned()), failures: 1 };
        assert_eq!(source.state(), &state, "{reply:?}");
        source.take(good.clone(), BOUNDS, at(50), 0.5);
        assert_eq!(source.state(), &State { answered: Some(at(50)), due: at(80), error: None, failures: 0 });
    }
    let mut source = name("users.internal", 80, 1);
    source.take(good, BOUNDS, at(10), 0.5);
    source.fail("asking has crashed".to_owned(), BOUNDS, at(20), 0.5);
    assert_eq!((list(&[source.clone()]).len(), source.state().failures), (2, 1));
}

#[test]
fn a_family_that_is_gone_goes_and_one_that_failed_stays() {
    let mut source = name("users.internal", 80, 1);
    source.take(host(found(&[v4(1)], 30), found(&[v6(1)], 30)), BOUNDS, at(1), 0.5);
    source.take(host(found(&[v4(2)], 30), failed()), BOUNDS, at(31), 0.5);
    let is = list(&[source.clone()]);
    assert_eq!(is, ["10.0.0.2:80 users.internal:80 1", "[fd00::1]:80 users.internal:80 1"]);
    assert_eq!((source.state().answered, source.state().due), (Some(at(31)), at(32)), "it is asked again soon");
    source.take(host(found(&[v4(2)], 30), NODATA), BOUNDS, at(32), 0.5);
    assert_eq!(list(&[source]), ["10.0.0.2:80 users.internal:80 1"]);
}

#[test]
fn answers_hold_within_bounds() {
    for (ttl, seconds) in [(0, 1), (1, 1), (60, 60), (300, 300), (301, 300), (i32::MAX as u32, 300), (u32::MAX, 1)] {
        let mut source = name("users.internal", 80, 1);
        source.take(host(found(&[v4(1)], ttl), NODATA), BOUNDS, at(100), 0.5);
        assert_eq!(source.state().due, at(100 + seconds), "{ttl}");
    }
}

#[test]
fn pauses_after_failures_double_up_to_half_a_minute() {
    let pauses: Vec<u64> = (1..=8).map(|failures| backoff(failures, BOUNDS, 0.5).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(backoff(u32::MAX, BOUNDS, 0.5), PAUSE_MOST);
    let short = Bounds { min: Duration::from_millis(50), max: Duration::from_millis(200) };
    assert_eq!(backoff(9, short, 0.5), short.max);
    let long = Bounds { min: Duration::from_secs(60), max: Duration::from_secs(120) };
    assert_eq!(backoff(1, long, 0.5), long.min);
    assert!(backoff(3, BOUNDS, 0.0) < backoff(3, BOUNDS, 1.0));
}

#[test]
fn of_srv_records_the_lowest_priority_is_used_with_its_weights_and_ports() {
    let records = [srv(20, 5, 9, "b"), srv(10, 1, 8001, "u1"), srv(10, 3, 8002, "u2"), srv(10, 3, 8002, "u2")];
    let group = first_group(records.to_vec());
    assert_eq!(group, [srv(10, 1, 8001, "u1"), srv(10, 3, 8002, "u2")]);
    let mut source = srv_source();
    source.take(srv_reply(&group, 7, &[("u1", &[v4(1)]), ("u2", &[v4(2)])]), BOUNDS, at(1), 0.5);
    assert_eq!(list(&[source.clone()]), ["10.0.0.1:8001 u1:8001 1", "10.0.0.2:8002 u2:8002 3"]);
    assert_eq!((source.state().due, &source.state().error), (at(8), &None));
    assert_eq!(first_group(Vec::new()), []);
}

#[test]
fn shares_of_srv_targets() {
    for (targets, weights) in [
        (&[(1, 1), (3, 1)][..], &[1, 3][..]),
        (&[(10, 1), (20, 1), (30, 1)], &[1, 2, 3]),
        // A target shares its weight out among its addresses.
        (&[(10, 2), (10, 1)], &[1, 2]),
        (&[(5, 3), (5, 1), (10, 2)], &[1, 3, 3]),
        // Nobody says anything: all alike, each target as much as another.
        (&[(0, 1), (0, 1)], &[1, 1]),
        (&[(0, 2), (0, 1)], &[1, 2]),
        // 0 beside others is as little as there is.
        (&[(0, 1), (1, 1)], &[1, 256]),
        (&[(0, 1), (10, 1), (5, 1)], &[1, 256, 128]),
        (&[(65535, 1), (1, 1)], &[256, 1]),
        // A target without addresses takes no part.
        (&[(0, 1), (9, 0)], &[1, 1]),
    ] {
        let is = shares(targets);
        let counted: Vec<u32> =
            is.iter().zip(targets).map(|(weight, target)| if target.1 == 0 { 1 } else { *weight }).collect();
        assert_eq!(counted, weights, "{targets:?}");
    }
}

#[test]
fn srv_records_that_fail_keep_the_last_good_ones() {
    let group = [srv(1, 1, 80, "u1"), srv(1, 1, 80, "u2")];
    let good = srv_reply(&group, 60, &[("u1", &[v4(1)]), ("u2", &[v4(2)])]);
    let gone = |name: &str| (name.to_owned(), HostReply { v4: NXDOMAIN, v6: NXDOMAIN });
    let found = |records: &[Srv]| Reply::Found(records.to_vec(), 60);
    for (reply, error) in [
        (SourceReply::Srv(Reply::Absent("NXDOMAIN"), vec![]), "it has no SRV record (NXDOMAIN)"),
        (SourceReply::Srv(Reply::Failed("nobody has answered".to_owned()), vec![]), "nobody has answered"),
        (SourceReply::Srv(found(&[srv(0, 0, 0, "")]), vec![]), "the target is `.`"),
        (
            SourceReply::Srv(found(&[srv(1, 1, 80, "u3")]), vec![gone("u3")]),
            "its target u3: it has no address (NXDOMAIN)",
        ),
    ] {
        let mut source = srv_source();
        source.take(good.clone(), BOUNDS, at(1), 0.5);
        source.take(reply.clone(), BOUNDS, at(61), 0.5);
        assert_eq!(list(&[source.clone()]), ["10.0.0.1:80 u1:80 1", "10.0.0.2:80 u2:80 1"], "{reply:?}");
        let said = source.state().error.clone().unwrap();
        assert!(said.contains(error), "{said}");
        assert_eq!((source.state().failures, source.state().answered), (1, Some(at(1))));
    }
    // One target that cannot be resolved keeps its last address; the rest of the answer counts.
    let mut source = srv_source();
    source.take(good, BOUNDS, at(1), 0.5);
    let mixed = vec![gone("u1"), ("u2".to_owned(), HostReply { v4: Reply::Found(vec![v4(7)], 60), v6: NODATA })];
    source.take(SourceReply::Srv(found(&group), mixed), BOUNDS, at(61), 0.5);
    assert_eq!(list(&[source.clone()]), ["10.0.0.1:80 u1:80 1", "10.0.0.7:80 u2:80 1"]);
    assert_eq!((source.state().answered, source.state().failures), (Some(at(61)), 1));
}

#[test]
fn a_flood_of_addresses_is_cut() {
    let many: Vec<IpAddr> = (0..3000u32).map(|last| IpAddr::from((0x0a00_0000 + last).to_be_bytes())).collect();
    let mut source = name("users.internal", 80, 1);
    source.take(host(found(&many, 30), NODATA), BOUNDS, at(1), 0.5);
    assert_eq!(list(&[source]).len(), ADDRESSES_MOST);
}

fn any_reply(address: fn(u8) -> IpAddr) -> impl Strategy<Value = Reply<IpAddr>> {
    prop_oneof![
        3 => prop::collection::vec((0..6u8).prop_map(address), 1..4).prop_map(|addresses| Reply::Found(addresses, 30)),
        1 => Just(NXDOMAIN),
        1 => Just(NODATA),
        1 => Just(failed()),
    ]
}

proptest! {
    #[test]
    fn a_name_has_what_the_model_has(replies in prop::collection::vec((any_reply(v4), any_reply(|last| v6(last.into()))), 0..20)) {
        let mut source = name("users.internal", 80, 1);
        let mut model: [Vec<IpAddr>; 2] = Default::default();
        for (v4, v6) in replies {
            let some = [&v4, &v6].iter().any(|reply| matches!(reply, Reply::Found(..)));
            for (family, reply) in model.iter_mut().zip([&v4, &v6]) {
                match reply {
                    Reply::Found(addresses, _) => *family = addresses.clone(),
                    Reply::Absent(_) if some => family.clear(),
                    _ => {}
                }
            }
            source.take(host(v4, v6), BOUNDS, at(1), 0.5);
            let mut expected: Vec<SocketAddr> = model.concat().into_iter().map(|ip| SocketAddr::new(ip, 80)).collect();
            expected.sort_unstable();
            expected.dedup();
            let is: Vec<Address> = endpoints(&[source.clone()], &|_| true).into_iter().map(|spec| spec.address).collect();
            prop_assert_eq!(is, expected.into_iter().map(Address::Tcp).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_of_records_does_not_matter(
        records in prop::collection::vec((0..3u16, any::<u16>(), 1..4u16, 0..4u8), 1..12),
        seed: u64,
    ) {
        let of = |records: &[(u16, u16, u16, u8)]| {
            let records = records.iter().map(|(priority, weight, port, host)| srv(*priority, *weight, *port, &format!("u{host}")));
            let group = first_group(records.collect());
            let hosts: Vec<(String, [IpAddr; 2])> = (0..4u8).map(|host| (format!("u{host}"), [v4(host), v4(host + 1)])).collect();
            let hosts: Vec<(&str, &[IpAddr])> = hosts.iter().map(|(name, ips)| (name.as_str(), ips.as_slice())).collect();
            let mut source = srv_source();
            source.take(srv_reply(&group, 60, &hosts), BOUNDS, at(1), 0.5);
            endpoints(&[source], &|_| true)
        };
        let mut shuffled = records.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let (one, other) = (of(&records), of(&shuffled));
        prop_assert_eq!(&one, &other);
        prop_assert!(one.iter().all(|spec| (1..=256).contains(&spec.weight)));
        prop_assert!(one.is_sorted_by_key(|spec| spec.address.clone()));
    }

    #[test]
    fn weights_are_in_proportion(targets in prop::collection::vec((1..=65535u16, 1..=8usize), 1..6)) {
        let is = shares(&targets);
        let most = targets.iter().map(|(weight, count)| f64::from(*weight) / *count as f64).fold(0.0, f64::max);
        let largest = f64::from(*is.iter().max().unwrap());
        for ((weight, count), share) in targets.iter().zip(&is) {
            let wanted = f64::from(*weight) / *count as f64 / most;
            // Rounded up to whole numbers of at most 256.
            prop_assert!((f64::from(*share) / largest - wanted).abs() <= 1.0 / largest + 1e-9, "{:?} {:?}", targets, is);
        }
    }
}
