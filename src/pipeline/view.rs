//! What a worker goes by: one edition of what runs, and what the worker keeps for each of its services.
//!
//! A view is made when an edition has replaced another one, and never changes. A request holds the one that it has begun
//! with to its end, so that the ids it has found mean the same from its first stage to its last.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::http::h1::parse::HeadLimits;
use crate::policy::upgrade::OpenTunnels;
use crate::shard::Backend;
use crate::snapshot::doorway::Doorway;
use crate::snapshot::publish::Edition;
use crate::snapshot::{ListenerId, RouteId, ServiceId, Snapshot};
use crate::upstream::members::Members;

/// One edition, as one worker sees it.
#[derive(Debug)]
pub struct View {
    edition: Arc<Edition>,
    /// That of the edition, one step nearer.
    snapshot: Arc<Snapshot>,
    /// One for each service, in their order.
    backends: Vec<Rc<Backend>>,
    /// How large heads may be.
    pub head_limits: HeadLimits,
}

impl View {
    /// What worker `worker` sees of `edition`. What it has kept for the services of `before` that are still there, it
    /// keeps.
    #[must_use]
    pub fn new(edition: Arc<Edition>, before: Option<&View>, worker: usize) -> Rc<View> {
        let snapshot = edition.snapshot.clone();
        let limits = &snapshot.limits;
        let head_limits = HeadLimits::new(limits.head, limits.fields, limits.target).unwrap_or_default();
        let known: HashMap<*const Members, &Rc<Backend>> = before.map(View::by_members).unwrap_or_default();
        let services = edition.members.iter().zip(&snapshot.services);
        let backends = services.map(|(members, service)| match known.get(&Arc::as_ptr(members)) {
            Some(backend) => {
                backend.configure(&service.settings);
                Rc::clone(backend)
            }
            None => Rc::new(Backend::new(members.clone(), service.settings.clone(), worker)),
        });
        let backends = backends.collect();
        Rc::new(View { edition, snapshot, backends, head_limits })
    }

    fn by_members(&self) -> HashMap<*const Members, &Rc<Backend>> {
        self.edition.members.iter().map(Arc::as_ptr).zip(&self.backends).collect()
    }

    /// The edition.
    #[must_use]
    pub fn edition(&self) -> &Arc<Edition> {
        &self.edition
    }

    /// Its number, as far as one connection has to tell it from others: after 4,294,967,296 editions it comes round.
    #[must_use]
    pub fn number(&self) -> u32 {
        (self.edition.number & u64::from(u32::MAX)) as u32
    }

    /// Its snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What this worker keeps for all services.
    #[must_use]
    pub fn backends(&self) -> &[Rc<Backend>] {
        &self.backends
    }

    /// What this worker keeps for one service.
    #[must_use]
    pub fn backend(&self, service: ServiceId) -> &Backend {
        &self.backends[service.index()]
    }

    /// How many tunnels a route has, on all workers.
    #[must_use]
    pub fn open_tunnels(&self, route: RouteId) -> &Arc<OpenTunnels> {
        self.edition.open_tunnels(route)
    }

    /// Which listener the connections of `doorway` have come by; one that no route names if it is gone.
    #[must_use]
    pub fn listener(&self, doorway: &Arc<Doorway>) -> ListenerId {
        self.edition.listener(doorway).unwrap_or(ListenerId::GONE)
    }
}
