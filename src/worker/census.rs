//! The client connections of one worker, to be told of when somebody asks (see [`crate::shard::census`]).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::base::slab::{Key, Slab};
use crate::base::time::Instant;
use crate::pipeline::{Door, View};
use crate::shard::census::{Activity, Listed, Report};

/// What is known of each connection.
#[derive(Debug, Default)]
pub(super) struct Census(RefCell<Slab<Facts>>);

#[derive(Debug)]
struct Facts {
    peer: Option<SocketAddr>,
    door: Rc<Door>,
    since: Instant,
    requests: Cell<u32>,
    activity: Cell<Activity>,
}

impl Census {
    /// Takes up a connection that has come by `door`.
    pub(super) fn enter(&self, peer: Option<SocketAddr>, door: Rc<Door>, since: Instant) -> Key {
        door.count_connection(1);
        let (requests, activity) = (Cell::new(0), Cell::new(Activity::Idle));
        self.0.borrow_mut().insert(Facts { peer, door, since, requests, activity })
    }

    /// Strikes a connection off.
    pub(super) fn leave(&self, key: Key) {
        if let Some(facts) = self.0.borrow_mut().remove(key) {
            facts.door.count_connection(-1);
        }
    }

    /// Takes note of what a connection does from now on.
    pub(super) fn note(&self, key: Key, activity: Activity) {
        if let Some(facts) = self.0.borrow().get(key) {
            facts.activity.set(activity);
            facts.requests.set(facts.requests.get().wrapping_add(u32::from(activity == Activity::Request)));
        }
    }

    /// All that is known, with up to `most` connections one by one. `doors` are those of the listeners that there are.
    pub(super) fn report(&self, view: &View, doors: &[Rc<Door>], most: usize) -> Report {
        let listeners = &view.snapshot().listeners;
        let name = |door: &Rc<Door>| {
            let listener = view.edition().listener(&door.doorway)?;
            listeners.get(usize::from(listener.0)).map(|listener| listener.name.clone())
        };
        let names: HashMap<*const Door, Box<str>> =
            doors.iter().filter_map(|door| Some((Rc::as_ptr(door), name(door)?))).collect();
        let by_listener =
            doors.iter().filter_map(|door| Some((names.get(&Rc::as_ptr(door))?.clone(), door.connections())));
        let facts = self.0.borrow();
        let list = facts.values().take(most).map(|facts| Listed {
            peer: facts.peer,
            listener: names.get(&Rc::as_ptr(&facts.door)).cloned(),
            since: facts.since,
            requests: facts.requests.get(),
            activity: facts.activity.get(),
        });
        Report { open: facts.len(), by_listener: by_listener.collect(), connections: list.collect() }
    }
}
