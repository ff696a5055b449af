//! The state of one worker thread, and what the process shares.
//!
//! A [`Shard`] belongs to its thread alone. [`Shared`] is what the control
//! thread and the others see of it: counters, the queue of events, and the
//! order to drain.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, UNIX_EPOCH};

use crate::base::time::Instant;
use crate::base::time::unix_millis;
use crate::net::{Address, Handle};
use crate::observe::counters::{Counter, Counters};
use crate::observe::events::{Event, Events};
use crate::policy::access_log::{Mailboxes, Recorder};
use crate::policy::upgrade::OpenTunnels;
use crate::upstream::balance::Balancer;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::members::Members;
use crate::upstream::mirror::Copies;
use crate::upstream::queue::Queue;
use crate::upstream::retry::RetryBudget;
use crate::upstream::settings::Settings;

/// What all threads of the process see.
#[derive(Debug)]
pub struct Shared {
    /// One for each worker, in their order.
    pub counters: Vec<Counters>,
    /// What the control thread writes to the log.
    pub events: Events,
    /// What the writer of the access log writes.
    pub access_log: Mailboxes,
    /// The targets of each service, in the order of the snapshot.
    pub members: Vec<Arc<Members>>,
    /// How many tunnels each route has, in the order of the snapshot.
    tunnels: Vec<Arc<OpenTunnels>>,
    draining: AtomicBool,
}

impl Shared {
    /// The shared state of `workers` workers, of the services with these targets, and of so many routes.
    #[must_use]
    pub fn new(workers: usize, members: Vec<Arc<Members>>, routes: usize) -> Arc<Shared> {
        let counters = (0..workers).map(|_| Counters::default()).collect();
        let (events, draining) = (Events::default(), AtomicBool::new(false));
        let tunnels = (0..routes).map(|_| Arc::default()).collect();
        Arc::new(Shared { counters, events, access_log: Mailboxes::new(workers), members, tunnels, draining })
    }

    /// How many tunnels the route at place `route` has.
    #[must_use]
    pub fn open_tunnels(&self, route: usize) -> &Arc<OpenTunnels> {
        &self.tunnels[route]
    }

    /// Orders the workers to finish what runs and to stop. They have to be woken, too.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the process is draining.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// The bytes of a Date field, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub type Date = [u8; 29];

/// The state of one worker.
#[derive(Debug)]
pub struct Shard {
    /// The worker's runtime.
    pub handle: Handle,
    shared: Arc<Shared>,
    index: usize,
    draining: Cell<bool>,
    date: Cell<(u64, Date)>,
    services: Vec<Backend>,
    /// Copies of requests that are on their way.
    pub copies: Rc<Copies>,
    /// Where lines of the access log begin their way.
    pub access_log: Recorder,
}

/// What a worker keeps for one service.
#[derive(Debug)]
pub struct Backend {
    /// Which target is next, and what this worker keeps for each.
    pub balancer: RefCell<Balancer>,
    /// How many requests may be sent again.
    pub budget: RefCell<RetryBudget>,
    /// Who waits for a connection.
    pub queue: Rc<Queue>,
}

impl Shard {
    /// The state of worker `index`, with what it keeps for each service, in their order.
    #[must_use]
    pub fn new(handle: Handle, shared: Arc<Shared>, index: usize, services: Vec<Backend>) -> Rc<Shard> {
        let (draining, copies) = Default::default();
        let (date, access_log) = (Cell::new((0, [0; 29])), Recorder::new(shared.access_log.of(index).clone()));
        Rc::new(Shard { handle, shared, index, draining, date, services, copies, access_log })
    }

    /// What this worker keeps for the service at place `service`.
    #[must_use]
    pub fn backend(&self, service: usize) -> &Backend {
        &self.services[service]
    }

    /// What this worker keeps for all services.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.services.iter()
    }

    /// This worker's counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }

    /// The place of this worker among the workers.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What the process shares.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Tells the control thread of something; never waits.
    pub fn tell(&self, event: Event) {
        if !self.shared.events.push(event) {
            self.counters().count(Counter::EventsDropped);
        }
    }

    /// The time of day as a Date field says it (RFC 9110 section 5.6.7), made anew once a second.
    #[must_use]
    pub fn date(&self) -> Date {
        let now = unix_millis() / 1000;
        let (second, mut date) = self.date.get();
        if second != now {
            let time = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(now));
            let written = write!(&mut date[..], "{time}");
            debug_assert!(written.is_ok(), "it has 29 bytes");
            self.date.set((now, date));
        }
        date
    }

    /// Whether this worker has begun to drain.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins to drain: idle connections close, busy ones after their request.
    pub fn drain(&self) {
        self.draining.set(true);
        self.give_up_idle();
    }

    /// Closes all idle connections to backends.
    pub fn give_up_idle(&self) {
        for backend in &self.services {
            backend.give_up_idle();
        }
    }

    /// Does what other workers have woken this one for: somebody here may go on, or somebody there needs what idles here.
    /// They wake `waker`.
    pub fn attend(&self, waker: &Waker) {
        for backend in &self.services {
            backend.queue.listen(waker);
            backend.look_after_line();
        }
    }

    /// What every worker does now and then: closes connections that are old or dead, and looks at what other workers
    /// have running.
    pub fn sweep(&self, now: Instant) {
        for backend in &self.services {
            let mut balancer = backend.balancer.borrow_mut();
            balancer.settle(now, |endpoint| self.tell_ejected(endpoint));
            for target in balancer.targets() {
                let stale = target.pool.borrow_mut().sweep(now);
                self.counters().add(Counter::UpstreamStale, stale);
            }
            drop(balancer);
            backend.look_after_line();
        }
    }

    /// Whether some service goes by what other workers have running.
    #[must_use]
    pub fn looks_at_others(&self) -> bool {
        self.services.iter().any(|backend| backend.balancer.borrow().looks_at_others())
    }

    /// Looks at what other workers have running, for the services that go by it.
    pub fn look_at_others(&self, now: Instant) {
        for backend in &self.services {
            let mut balancer = backend.balancer.borrow_mut();
            if balancer.looks_at_others() {
                balancer.settle(now, |endpoint| self.tell_ejected(endpoint));
            }
        }
    }

    /// Tells the control thread that a target is left out from now on.
    pub fn tell_ejected(&self, endpoint: &Endpoint) {
        self.counters().count(Counter::Ejections);
        let peer = if let Address::Tcp(address) = endpoint.address() { Some(*address) } else { None };
        self.tell(Event {
            code: "target_ejected",
            detail: "A target failed too many requests and is left out for a while.",
            status: None,
            peer,
            request: None,
            errno: None,
        });
    }
}

impl Backend {
    /// What worker `worker` keeps for the service that has `members`.
    #[must_use]
    pub fn new(members: Arc<Members>, settings: Arc<Settings>, worker: usize) -> Backend {
        Backend {
            queue: Queue::new(members.clone(), worker),
            budget: RefCell::new(RetryBudget::default()),
            balancer: RefCell::new(Balancer::new(members, settings, worker, fastrand::u64(..))),
        }
    }

    /// Lets the first who waits here look again; if nobody does, gives what idles to those who ask on other workers.
    fn look_after_line(&self) {
        if self.queue.is_empty() {
            self.give_up_some(self.queue.asked_for());
        } else {
            self.queue.wake_first();
        }
    }

    /// Closes as many idle connections as others wait for.
    fn give_up_some(&self, mut wanted: usize) {
        if wanted == 0 {
            return;
        }
        for target in self.balancer.borrow().targets() {
            wanted -= target.pool.borrow_mut().give_up(wanted);
        }
    }

    fn give_up_idle(&self) {
        for target in self.balancer.borrow().targets() {
            target.pool.borrow_mut().clear();
        }
    }
}
