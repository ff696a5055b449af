//! The client connections of one worker, to be told of when somebody asks (see [`crate::shard::census`]).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Worker;
use crate::base::slab::{Key, Slab};
use crate::base::time::Instant;
use crate::pipeline::{Door, View};
use crate::shard::census::{Activity, Listed, Report};

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Census(RefCell<Slab<Rc<Facts>>>);

/// What is known of one.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) worker: Rc<Worker>,
    key: Key,
    peer: Option<SocketAddr>,
    door: Rc<Door>,
    since: Instant,
    requests: Cell<u32>,
    activity: Cell<Activity>,
}

impl Facts {
    /// Takes note of what the connection does from now on.
    pub(super) fn note(&self, activity: Activity) {
        let before = self.activity.replace(activity);
        self.worker.shard.counters().change_state(Some(before as usize), Some(activity as usize));
        self.requests.set(self.requests.get().wrapping_add(u32::from(activity == Activity::Request)));
    }
}

impl Census {
    /// Takes up a connection of `worker` that has come by `door`.
    pub(super) fn enter(worker: &Rc<Worker>, peer: Option<SocketAddr>, door: Rc<Door>, since: Instant) -> Rc<Facts> {
        door.count_connection(1);
        worker.shard.counters().change_state(None, Some(Activity::Idle as usize));
        let mut open = worker.census.0.borrow_mut();
        let (worker, requests, activity) = (worker.clone(), Cell::new(0), Cell::new(Activity::Idle));
        let key = open.insert_with(|key| Rc::new(Facts { worker, key, peer, door, since, requests, activity }));
        open.get(key).cloned().expect("it was put there")
    }

    /// Strikes a connection off.
    pub(super) fn leave(&self, facts: &Facts) {
        facts.door.count_connection(-1);
        facts.worker.shard.counters().change_state(Some(facts.activity.get() as usize), None);
        drop(self.0.borrow_mut().remove(facts.key));
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
