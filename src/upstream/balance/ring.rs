//! Consistent hashing with bounded load: a key leads to the same target for as long as that is possible.
//!
//! The ring is nginx's and memcached's ("ketama"): each target stands at 160 places of it for each unit of its weight,
//! and a key belongs to the next place. A target that joins takes its part of the keys and no others move; when one
//! leaves, only its keys do. The ring is made anew when the list changes, never for health: who is down, ejected or
//! tried is passed over on the way round, so that its keys come back with it. All gateways with the same list have the
//! same ring.
//!
//! No target takes a request that would give it more than `load` times its part of all that run, rounded up; it goes to
//! the next one on the ring that has room (Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads,
//! 2017). So a key that everybody asks for cannot bring down its target. With few requests at a time the part is a small
//! number, and a key whose requests overlap is spread; `load = false` keeps it together whatever happens. Requests of
//! other workers are counted as they were when last looked at.
//!
//! Weights have their greatest common divisor taken out. Where the heaviest is still over 64, or over 2048 divided by
//! the number of targets, all are scaled down to that and rounded, for a ring of millions of places helps nobody.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use pingora_ketama::{Bucket, Continuum};

use super::target::{Target, TargetId};
use crate::net::Address;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::hash::hash;
use crate::upstream::members::{Endpoints, Members};

/// The most units of weight that one target may have on a ring.
const UNITS_OF_ONE: u32 = 64;

/// The most units of weight on a ring, where there are fewer targets than this.
const UNITS_OF_ALL: u32 = 2048;

/// The places of all targets of a list. All workers share it.
pub struct Ring {
    endpoints: Endpoints,
    continuum: Continuum,
    /// For each place of the ring, in their order, the index of its endpoint.
    owners: Box<[u16]>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ring").field("places", &self.owners.len()).finish_non_exhaustive()
    }
}

impl Ring {
    /// The ring of a list.
    #[must_use]
    pub fn new(endpoints: Endpoints) -> Ring {
        let listed = || endpoints.iter().take(usize::from(u16::MAX));
        let units = units(&listed().map(|endpoint| endpoint.weight().max(1)).collect::<Vec<_>>());
        let nodes: Vec<SocketAddr> = listed().map(|endpoint| node(endpoint.address())).collect();
        let buckets: Vec<Bucket> = nodes.iter().zip(units).map(|(node, units)| Bucket::new(*node, units)).collect();
        let continuum = Continuum::new(&buckets);
        let index: HashMap<&SocketAddr, u16> = nodes.iter().zip(0..).collect();
        let mut owners = Vec::new();
        let mut place = 0;
        while let Some(node) = continuum.get_addr(&mut place) {
            owners.push(index[node]);
            if place == 0 {
                break;
            }
        }
        let owners = owners.into_boxed_slice();
        Ring { endpoints, continuum, owners }
    }

    /// Whether it is the ring of this very list.
    #[must_use]
    pub fn is_of(&self, endpoints: &Endpoints) -> bool {
        Arc::ptr_eq(&self.endpoints, endpoints)
    }
}

/// What each target has of the ring, for its weight.
fn units(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |divisor, &weight| greatest_common_divisor(weight, divisor)).max(1);
    let heaviest = weights.iter().max().map_or(1, |weight| weight / divisor);
    let most = (UNITS_OF_ALL / u32::try_from(weights.len().max(1)).unwrap_or(u32::MAX)).clamp(1, UNITS_OF_ONE);
    let scaled = |weight: u32| match heaviest <= most {
        true => weight,
        false => (f64::from(weight) * f64::from(most) / f64::from(heaviest)).round().max(1.0) as u32,
    };
    weights.iter().map(|weight| scaled(weight / divisor)).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// What stands for an address on the ring, which knows only IP addresses: for a path, its hash in the part of IPv6 that
/// leads nowhere (RFC 6666).
fn node(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        Address::Unix(path) => {
            let discard = 0x0100_u128 << 112;
            let hash = u128::from(hash(path.as_os_str().as_encoded_bytes()));
            SocketAddr::from((Ipv6Addr::from_bits(discard | hash), 0))
        }
    }
}

/// What one worker remembers.
#[derive(Debug)]
pub(super) struct Hashed {
    load: Option<f64>,
    ring: Option<Arc<Ring>>,
    /// For each target of the ring, its place among the usable ones.
    places: Vec<Option<usize>>,
    /// The weights of all usable targets.
    sum: u64,
    /// Requests of other workers that ran at any target when last looked.
    others: u32,
    /// For each target of the ring, the last walk that has passed it.
    passed: Vec<u32>,
    walk: u32,
}

impl Hashed {
    pub(super) fn new(load: Option<f64>) -> Hashed {
        Hashed { load, ring: None, places: Vec::new(), sum: 0, others: 0, passed: Vec::new(), walk: 0 }
    }

    /// Goes on with other targets.
    pub(super) fn rebuild(&mut self, members: &Members, usable: &[Rc<Target>]) {
        let ring = members.ring();
        let place = |endpoint: &Arc<Endpoint>| Arc::as_ptr(endpoint).addr();
        let known: HashMap<usize, usize> = usable.iter().map(|target| place(&target.endpoint)).zip(0..).collect();
        self.places.clear();
        self.places.extend(ring.endpoints.iter().map(|endpoint| known.get(&place(endpoint)).copied()));
        self.passed.clear();
        self.passed.resize(ring.endpoints.len(), 0);
        self.walk = 0;
        self.sum = usable.iter().map(|target| target.share.get()).sum();
        self.ring = Some(ring);
    }

    /// Takes note of what runs from other workers.
    pub(super) fn settle(&mut self, others: u32) {
        self.others = others;
    }

    /// The place in `usable` of the first target on the way from `key` that has room and is not in `tried`; of the first
    /// that is not in `tried` where none has room.
    pub(super) fn pick(&mut self, usable: &[Rc<Target>], tried: &[TargetId], key: u64, active: u32) -> Option<usize> {
        let ring = self.ring.as_ref()?;
        let from = ring.continuum.node_idx(&key.to_le_bytes());
        let (before, after) = ring.owners.split_at_checked(from)?;
        if self.walk == u32::MAX {
            self.passed.fill(0);
            self.walk = 0;
        }
        self.walk += 1;
        let all = f64::from(active) + f64::from(self.others) + 1.0;
        let mut first = None;
        let mut left = self.passed.len();
        for owner in after.iter().chain(before).map(|owner| usize::from(*owner)) {
            if std::mem::replace(&mut self.passed[owner], self.walk) == self.walk {
                continue;
            }
            if let Some(place) = self.places[owner]
                && !tried.contains(&usable[place].id())
            {
                let room = |load: f64| load * all * usable[place].share.get() as f64 / self.sum as f64;
                let is_full = |load: f64| f64::from(usable[place].load()) + 1.0 > room(load).ceil();
                if !self.load.is_some_and(is_full) {
                    return Some(place);
                }
                first = first.or(Some(place));
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_few_places_in_the_same_proportions() {
        for (weights, expected) in [
            (vec![1], vec![1]),
            (vec![100, 100, 100], vec![1, 1, 1]),
            (vec![2, 4, 6], vec![1, 2, 3]),
            (vec![1, 64], vec![1, 64]),
            (vec![1, 1000], vec![1, 64]),
            (vec![500, 999], vec![32, 64]),
            (vec![], vec![]),
        ] {
            assert_eq!(units(&weights), expected, "{weights:?}");
        }
        let many: Vec<u32> = (1..=1000).collect();
        assert!(units(&many).iter().all(|&units| (1..=2).contains(&units)));
    }

    #[test]
    fn unix_sockets_are_told_apart() {
        let of = |path: &str| node(&Address::Unix(std::path::Path::new(path).into()));
        assert_ne!(of("/run/a.sock"), of("/run/b.sock"));
        assert_eq!(of("/run/a.sock"), of("/run/a.sock"));
        assert!(of("/run/a.sock").to_string().starts_with("[100::"));
    }
}
