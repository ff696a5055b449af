//! What name servers have answered, and the targets that follow from it: without I/O.
//!
//! A [`Source`] is one target of the configuration. One with an address is what it is; one with a name keeps the last
//! good answer, and what has failed since does not take it away:
//!
//! | what comes | what is used | asked again |
//! |---|---|---|
//! | addresses | they | when their TTL is over, within `min_ttl` and `max_ttl` |
//! | addresses of one family; the other has none | they | the same |
//! | addresses of one family; asking for the other failed | they, and the last known of the other | soon |
//! | NXDOMAIN, no records, an SRV target of `.` | what was known | soon |
//! | SERVFAIL and the like, no answer in time, no way to the server | what was known | soon |
//!
//! Soon is after `min_ttl`, then twice that, and so on up to half a minute or `max_ttl`. That a name is gone is reported
//! but not believed: an empty zone is more often a mistake than a wish, and where nobody answers any more, health
//! checks and ejection find that out.
//!
//! Of SRV records (RFC 2782) only those of the lowest priority are used. Their weights are shares of the load: a target
//! with several addresses shares its weight out among them, and a weight of 0 beside others is as little as there is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::time::Instant;
use crate::net::Address;
use crate::upstream::endpoint::EndpointSpec;
use crate::upstream::targets::{TargetAddress, TargetSpec};

/// What was answered to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Reply<T> {
    /// Records, and for how many seconds they hold.
    Found(Vec<T>, u32),
    /// There are none, and this is what the server said: `NXDOMAIN` or `no records`.
    Absent(&'static str),
    /// The question was not answered.
    Failed(String),
}

/// What was answered for the addresses of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct HostReply {
    pub(in crate::control) v4: Reply<IpAddr>,
    pub(in crate::control) v6: Reply<IpAddr>,
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) struct Srv {
    pub(in crate::control) priority: u16,
    pub(in crate::control) weight: u16,
    pub(in crate::control) port: u16,
    /// Without the dot at its end; empty for the root.
    pub(in crate::control) host: String,
}

/// What was answered for one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum SourceReply {
    Host(HostReply),
    /// The records, of the lowest priority only, and the addresses of each of their targets.
    Srv(Reply<Srv>, Vec<(String, HostReply)>),
}

/// What is known of the addresses of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Host {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

/// How long answers hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Bounds {
    pub(in crate::control) min: Duration,
    pub(in crate::control) max: Duration,
}

/// One target of the configuration, and what is known of it.
#[derive(Clone, Debug)]
pub(in crate::control) struct Source {
    target: TargetSpec,
    known: Known,
    state: State,
}

#[derive(Clone, Debug)]
enum Known {
    Fixed(Address),
    Host(Host),
    Srv(Vec<Srv>, BTreeMap<String, Host>),
}

/// How a name fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct State {
    /// When it was last answered with addresses.
    pub(in crate::control) answered: Option<Instant>,
    /// When it is asked for again.
    pub(in crate::control) due: Instant,
    /// What went wrong the last time.
    pub(in crate::control) error: Option<String>,
    /// How often in a row it went wrong.
    pub(in crate::control) failures: u32,
}

/// The longest pause after a failure.
const PAUSE_MOST: Duration = Duration::from_secs(30);

/// More addresses of one name than this are not used.
const ADDRESSES_MOST: usize = 1024;

/// The largest weight that a set of SRV records gets.
const WEIGHT_MOST: u64 = 256;

impl Source {
    pub(in crate::control) fn new(target: TargetSpec) -> Source {
        let known = match &target.address {
            TargetAddress::Ip(address) => Known::Fixed(Address::Tcp(*address)),
            TargetAddress::Unix(path) => Known::Fixed(Address::Unix(path.as_path().into())),
            TargetAddress::Name { .. } => Known::Host(Host::default()),
            TargetAddress::Srv(_) => Known::Srv(Vec::new(), BTreeMap::new()),
        };
        Source { target, known, state: State::default() }
    }

    /// The same with another weight: what is known of it stays.
    pub(in crate::control) fn with_weight(&self, weight: u32) -> Source {
        let mut source = self.clone();
        source.target.weight = weight;
        source
    }

    /// Whether nobody has to be asked for it, or somebody was: it was answered or has failed.
    pub(in crate::control) fn is_asked_once(&self) -> bool {
        self.name().is_none() || self.state.answered.is_some() || self.state.failures > 0
    }

    /// The target of the configuration.
    pub(in crate::control) fn target(&self) -> &TargetSpec {
        &self.target
    }

    /// The name that has to be asked for, if there is one.
    pub(in crate::control) fn name(&self) -> Option<&str> {
        match &self.target.address {
            TargetAddress::Name { host, .. } => Some(host),
            TargetAddress::Srv(name) => Some(name),
            TargetAddress::Ip(_) | TargetAddress::Unix(_) => None,
        }
    }

    pub(in crate::control) fn state(&self) -> &State {
        &self.state
    }

    /// Takes note of an answer; `random` is from 0 to 1.
    pub(in crate::control) fn take(&mut self, reply: SourceReply, bounds: Bounds, now: Instant, random: f64) {
        let (ttl, error) = match (&mut self.known, reply) {
            (Known::Host(host), SourceReply::Host(reply)) => host.take(reply),
            (Known::Srv(records, hosts), SourceReply::Srv(reply, replies)) => take_srv(records, hosts, reply, replies),
            _ => (None, Some("the answer is to another question".to_owned())),
        };
        if ttl.is_some() {
            self.state.answered = Some(now);
        }
        let holds = ttl.map(|ttl| holding(ttl, bounds));
        self.state.failures = if error.is_some() { self.state.failures.saturating_add(1) } else { 0 };
        let pause = match (holds, &error) {
            (Some(holds), None) => holds,
            (holds, _) => backoff(self.state.failures, bounds, random).min(holds.unwrap_or(Duration::MAX)),
        };
        self.state.error = error;
        self.state.due = now + pause;
    }

    /// Takes note that the question could not even be asked.
    pub(in crate::control) fn fail(&mut self, error: String, bounds: Bounds, now: Instant, random: f64) {
        self.state.failures = self.state.failures.saturating_add(1);
        self.state.error = Some(error);
        self.state.due = now + backoff(self.state.failures, bounds, random);
    }

    /// The endpoints that it stands for, in the order of their addresses.
    fn endpoints(&self, is_routed: &dyn Fn(IpAddr) -> bool) -> Vec<EndpointSpec> {
        let spec = |address: SocketAddr, authority: String, weight: u32| EndpointSpec {
            address: address.into(),
            authority: authority.into(),
            weight,
        };
        let mut endpoints = match (&self.known, &self.target.address) {
            (Known::Fixed(address), _) => {
                let authority = address.to_string().into();
                vec![EndpointSpec { address: address.clone(), authority, weight: self.target.weight }]
            }
            (Known::Host(host), TargetAddress::Name { host: name, port }) => {
                let authority = format!("{}:{port}", name.trim_end_matches('.'));
                let addresses = host.addresses(is_routed).into_iter();
                addresses.map(|ip| spec(SocketAddr::new(ip, *port), authority.clone(), self.target.weight)).collect()
            }
            (Known::Srv(records, hosts), _) => {
                let of = |host: &String| hosts.get(host).map(|host| host.addresses(is_routed)).unwrap_or_default();
                let found: Vec<(&Srv, Vec<IpAddr>)> = records.iter().map(|srv| (srv, of(&srv.host))).collect();
                let wanted: Vec<(u16, usize)> = found.iter().map(|(srv, ips)| (srv.weight, ips.len())).collect();
                let shares = shares(&wanted);
                let each = found.iter().zip(shares).flat_map(|((srv, ips), share)| {
                    let weight = share.saturating_mul(self.target.weight);
                    let authority = format!("{}:{}", srv.host, srv.port);
                    ips.iter().map(move |ip| spec(SocketAddr::new(*ip, srv.port), authority.clone(), weight))
                });
                each.collect()
            }
            (Known::Host(_), _) => Vec::new(),
        };
        endpoints.sort_by(|one, other| one.address.cmp(&other.address).then(one.authority.cmp(&other.authority)));
        endpoints.truncate(ADDRESSES_MOST);
        endpoints
    }
}

/// The endpoints of a service: in the order of its targets, each address once, with its largest weight.
pub(in crate::control) fn endpoints(sources: &[Source], is_routed: &dyn Fn(IpAddr) -> bool) -> Vec<EndpointSpec> {
    let mut all: Vec<EndpointSpec> = Vec::new();
    let mut places: std::collections::HashMap<Address, usize> = std::collections::HashMap::new();
    for spec in sources.iter().flat_map(|source| source.endpoints(is_routed)) {
        match places.get(&spec.address) {
            Some(&place) => all[place].weight = all[place].weight.max(spec.weight),
            None => {
                places.insert(spec.address.clone(), all.len());
                all.push(spec);
            }
        }
    }
    all
}

impl Host {
    /// Takes note of an answer: for how many seconds it holds if there are addresses in it, and what went wrong.
    fn take(&mut self, reply: HostReply) -> (Option<u32>, Option<String>) {
        let (v4, v6) = (reply.v4, reply.v6);
        let ttl = match (&v4, &v6) {
            (Reply::Found(_, one), Reply::Found(_, other)) => Some(*one.min(other)),
            (Reply::Found(_, ttl), _) | (_, Reply::Found(_, ttl)) => Some(*ttl),
            _ => None,
        };
        let error = match (&v4, &v6) {
            (Reply::Failed(one), Reply::Failed(other)) if one == other => Some(one.clone()),
            (Reply::Failed(one), Reply::Failed(other)) => Some(format!("{one}; {other}")),
            (Reply::Failed(error), _) | (_, Reply::Failed(error)) => Some(error.clone()),
            (Reply::Absent(why), Reply::Absent(_)) => Some(format!("it has no address ({why})")),
            _ => None,
        };
        if ttl.is_some() {
            replace(&mut self.v4, v4);
            replace(&mut self.v6, v6);
        }
        (ttl, error)
    }

    /// What can be connected to: all that this machine has a route to, or all where it has none to any.
    fn addresses(&self, is_routed: &dyn Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let all: Vec<IpAddr> = self.v4.iter().chain(&self.v6).copied().collect();
        let routed: Vec<IpAddr> = all.iter().copied().filter(|ip| is_routed(*ip)).collect();
        let mut addresses = if routed.is_empty() { all } else { routed };
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// The addresses of one family after an answer in which there are some of either.
fn replace(known: &mut Vec<IpAddr>, reply: Reply<IpAddr>) {
    match reply {
        Reply::Found(addresses, _) => *known = addresses,
        Reply::Absent(_) => known.clear(),
        Reply::Failed(_) => {}
    }
}

/// Takes note of SRV records and of their targets; the same as [`Host::take`].
fn take_srv(
    records: &mut Vec<Srv>,
    hosts: &mut BTreeMap<String, Host>,
    reply: Reply<Srv>,
    replies: Vec<(String, HostReply)>,
) -> (Option<u32>, Option<String>) {
    let (found, mut ttl) = match reply {
        Reply::Found(found, ttl) => (found, ttl),
        Reply::Absent(why) => return (None, Some(format!("it has no SRV record ({why})"))),
        Reply::Failed(error) => return (None, Some(error)),
    };
    if found.iter().all(|srv| srv.host.is_empty()) {
        return (None, Some("its SRV record says that there is no such service (the target is `.`)".to_owned()));
    }
    let mut error = None;
    let mut next = BTreeMap::new();
    for (name, reply) in replies {
        let mut host = hosts.get(&name).cloned().unwrap_or_default();
        let (holds, wrong) = host.take(reply);
        ttl = ttl.min(holds.unwrap_or(u32::MAX));
        if let Some(wrong) = wrong {
            error.get_or_insert_with(|| format!("its target {name}: {wrong}"));
        }
        next.insert(name, host);
    }
    if next.values().all(Host::is_empty) {
        return (None, error.or_else(|| Some("none of its targets has an address".to_owned())));
    }
    (*records, *hosts) = (found, next);
    (Some(ttl), error)
}

/// The records of the lowest priority, each once, in an order of their own.
pub(in crate::control) fn first_group(mut records: Vec<Srv>) -> Vec<Srv> {
    records.sort_unstable();
    records.dedup();
    let lowest = records.first().map(|srv| srv.priority);
    records.retain(|srv| Some(srv.priority) == lowest);
    records
}

/// The weights of the addresses of SRV targets, of which each has a weight and so many addresses.
fn shares(targets: &[(u16, usize)]) -> Vec<u32> {
    // What can be divided by every number of addresses up to 16 without a rest.
    const WHOLE: u64 = 720_720;
    let some = targets.iter().any(|(weight, count)| *weight > 0 && *count > 0);
    let share = |&(weight, count): &(u16, usize)| {
        let weight = if some { u64::from(weight) } else { 1 };
        weight * WHOLE / count.max(1) as u64
    };
    let shares: Vec<u64> = targets.iter().map(share).collect();
    let common = shares.iter().copied().fold(0, gcd).max(1);
    let most = shares.iter().copied().max().unwrap_or(0) / common;
    // A weight of 0 is less than any other, so these are made large enough to leave room below them.
    let zeros = shares.contains(&0) && some;
    let scale = |share: u64| {
        let share = share / common;
        let scaled = if most > WEIGHT_MOST || zeros { (share * WEIGHT_MOST).div_ceil(most.max(1)) } else { share };
        u32::try_from(scaled.max(1)).unwrap_or(u32::MAX)
    };
    shares.into_iter().map(scale).collect()
}

fn gcd(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// For how long an answer holds. A TTL with its highest bit set is none (RFC 2181 section 8).
fn holding(ttl: u32, bounds: Bounds) -> Duration {
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    Duration::from_secs(u64::from(ttl)).clamp(bounds.min, bounds.max)
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32, bounds: Bounds, random: f64) -> Duration {
    let doubled = bounds.min.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(PAUSE_MOST.max(bounds.min)).min(bounds.max);
    // Not all at once, when a server comes back.
    pause.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
