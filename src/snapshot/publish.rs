//! What runs now, and how it is replaced.
//!
//! An [`Edition`] is one snapshot together with the state that its names stand for: the members of its services, the
//! open tunnels of its routes, the series of both, the sockets of its listeners. Whatever the next edition has by the
//! same name (or, for sockets, at the same address) is the same object, so that pools, health, counters and tunnels
//! outlive a reload.
//!
//! The control thread publishes an edition with one store, after all that it refers to is in place. A worker compares one
//! number for each request, and takes the whole edition when it has changed; a request keeps to the edition that it has
//! begun with.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::doorway::Doorway;
use super::{ListenerId, RouteId, ServiceId, Snapshot};
use crate::base::time::Instant;
use crate::observe::series::{RouteBlock, ServiceBlock, Shelf};
use crate::policy::upgrade::OpenTunnels;
use crate::upstream::members::Members;
use crate::upstream::targets::TargetSpec;

/// One snapshot, and the state that its names stand for.
#[derive(Debug)]
pub struct Edition {
    /// Counts the editions of this process, from 1.
    pub number: u64,
    /// What was compiled.
    pub snapshot: Arc<Snapshot>,
    /// The targets of each service, in the order of the snapshot.
    pub members: Vec<Arc<Members>>,
    /// How many tunnels each route has, in the order of the snapshot.
    tunnels: Vec<Arc<OpenTunnels>>,
    /// What is counted of each route, in the order of the snapshot.
    pub route_series: Shelf<RouteBlock>,
    /// What is counted of each service, likewise.
    pub service_series: Shelf<ServiceBlock>,
    /// Where its listeners are, in the order of the snapshot.
    pub doorways: Vec<Arc<Doorway>>,
}

impl Edition {
    /// The first edition of a process. Targets with names are not members yet.
    #[must_use]
    pub fn first(snapshot: Arc<Snapshot>, doorways: Vec<Arc<Doorway>>, now: Instant) -> Edition {
        let members = snapshot.services.iter().map(|service| members(&snapshot, &service.name, &service.targets, now));
        let (members, tunnels) = (members.collect(), snapshot.routes.iter().map(|_| Arc::default()).collect());
        let (most, workers) = (snapshot.metrics, snapshot.gateway.workers);
        let route_series = Shelf::first(route_names(&snapshot), most.routes, workers);
        let service_series = Shelf::first(service_names(&snapshot), most.services, workers);
        Edition { number: 1, snapshot, members, tunnels, route_series, service_series, doorways }
    }

    /// The edition that follows this one. Services and routes that this one has, too, keep their state.
    #[must_use]
    pub fn next(&self, snapshot: Arc<Snapshot>, doorways: Vec<Arc<Doorway>>, now: Instant) -> Edition {
        let known: HashMap<&str, &Arc<Members>> = self.members.iter().map(|known| (known.service(), known)).collect();
        let members = snapshot.services.iter().map(|service| match known.get(&*service.name) {
            Some(members) => Arc::clone(members),
            None => members(&snapshot, &service.name, &service.targets, now),
        });
        let members = members.collect();
        let routes = self.snapshot.routes.iter().zip(&self.tunnels);
        let open: HashMap<&str, &Arc<OpenTunnels>> = routes.map(|(route, open)| (&*route.name, open)).collect();
        let of_route = |name: &str| open.get(name).copied().cloned().unwrap_or_default();
        let tunnels = snapshot.routes.iter().map(|route| of_route(&route.name)).collect();
        let route_series = self.route_series.next(route_names(&snapshot), snapshot.metrics.routes);
        let service_series = self.service_series.next(service_names(&snapshot), snapshot.metrics.services);
        Edition { number: self.number + 1, snapshot, members, tunnels, route_series, service_series, doorways }
    }

    /// The members of the service with this id.
    #[must_use]
    pub fn members(&self, service: ServiceId) -> &Arc<Members> {
        &self.members[service.index()]
    }

    /// How many tunnels the route with this id has.
    #[must_use]
    pub fn open_tunnels(&self, route: RouteId) -> &Arc<OpenTunnels> {
        &self.tunnels[route.index()]
    }

    /// Which listener the connections of `doorway` have come by; `None` if there is none any more.
    #[must_use]
    pub fn listener(&self, doorway: &Arc<Doorway>) -> Option<ListenerId> {
        let place = self.doorways.iter().position(|other| Arc::ptr_eq(other, doorway))?;
        u16::try_from(place).ok().map(ListenerId)
    }

    /// The doorway at which the listener `name` of another snapshot would go on, if it asks for the same address. A port
    /// of the kernel's choice is the same only under the same name.
    #[must_use]
    pub fn doorway_for(&self, listener: &super::Listener) -> Option<&Arc<Doorway>> {
        let fits = |(known, doorway): &(&super::Listener, &Arc<Doorway>)| {
            doorway.asked() == listener.address && (listener.address.port() != 0 || known.name == listener.name)
        };
        self.snapshot.listeners.iter().zip(&self.doorways).find(fits).map(|(_, doorway)| doorway)
    }
}

fn route_names(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    snapshot.routes.iter().map(|route| &*route.name)
}

fn service_names(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    snapshot.services.iter().map(|service| &*service.name)
}

/// The members of a service, with those of its targets that have an address already.
fn members(snapshot: &Snapshot, name: &str, targets: &[TargetSpec], now: Instant) -> Arc<Members> {
    let members = Members::new(name, snapshot.gateway.workers);
    members.update(targets.iter().filter_map(TargetSpec::endpoint).collect(), now);
    Arc::new(members)
}

/// The edition that runs, for all threads to see.
#[derive(Debug)]
pub struct Published {
    /// That of `current`, on a line of its own: every worker reads it for each request.
    number: Line,
    current: ArcSwap<Edition>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Published {
    /// Publishes the first edition.
    #[must_use]
    pub fn new(edition: Edition) -> Arc<Published> {
        let number = Line(AtomicU64::new(edition.number));
        Arc::new(Published { number, current: ArcSwap::from_pointee(edition) })
    }

    /// The number of the edition that runs.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number.0.load(Ordering::Acquire)
    }

    /// The edition that runs.
    #[must_use]
    pub fn current(&self) -> Arc<Edition> {
        self.current.load_full()
    }

    /// Replaces it; returns the one before, which is to be dropped once no worker has it. Only the control thread may call
    /// this.
    pub fn replace(&self, edition: Arc<Edition>) -> Arc<Edition> {
        let number = edition.number;
        let before = self.current.swap(edition);
        // Whoever sees the number sees the edition.
        self.number.0.store(number, Ordering::Release);
        before
    }
}
