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
use std::time::{Duration, UNIX_EPOCH};

use crate::base::time::unix_millis;
use crate::net::Handle;
use crate::observe::counters::{Counter, Counters};
use crate::observe::events::{Event, Events};
use crate::upstream::pool::Pool;

/// What all threads of the process see.
#[derive(Debug)]
pub struct Shared {
    /// One for each worker, in their order.
    pub counters: Vec<Counters>,
    /// What the control thread writes to the log.
    pub events: Events,
    draining: AtomicBool,
}

impl Shared {
    /// The shared state of `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Shared> {
        let counters = (0..workers).map(|_| Counters::default()).collect();
        Arc::new(Shared { counters, events: Events::default(), draining: AtomicBool::new(false) })
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
}

/// What a worker keeps for one service.
#[derive(Debug)]
pub struct Backend {
    /// Idle connections to its target.
    pub pool: RefCell<Pool>,
    /// The target as a Host field names it.
    pub authority: String,
}

impl Shard {
    /// The state of worker `index`, with what it keeps for each service, in their order.
    #[must_use]
    pub fn new(handle: Handle, shared: Arc<Shared>, index: usize, services: Vec<Backend>) -> Rc<Shard> {
        Rc::new(Shard { handle, shared, index, draining: Cell::new(false), date: Cell::new((0, [0; 29])), services })
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
            backend.pool.borrow_mut().clear();
        }
    }
}
