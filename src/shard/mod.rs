//! The state of one worker thread, and what the process shares.
//!
//! A [`Shard`] belongs to its thread alone. [`Shared`] is what the control
//! thread and the others see of it: counters, the queue of events, and the
//! order to drain.
//!
//! # What a request touches that other threads touch, too
//! A line of cache that another core has written costs more than to parse a head, so there are few of them, and none
//! that several threads write for every request; the last two are shared by many:
//!
//! | what | written by | a request |
//! |---|---|---|
//! | the number of the edition (`snapshot::publish`) | the control thread, at a reload | reads it when its worker turns to the request |
//! | the version of a service's members (`upstream::members`) | checks that change their minds, ejections, operators | reads it when a target is picked |
//! | a target's record of failures (`upstream::endpoint`) | requests that fail, connections that open or close | reads it at its end |
//! | who waits for connections of the service (`upstream::queue`) | requests that wait | reads it when it gives its connection back |
//! | the worker's own counters, series and tallies | the worker; the control thread reads them at a scrape | writes, with plain stores |
//! | the queue of tasks that other threads wake, and the sleep flag (`runtime::remote`) | those threads | shares one look of the worker's turn with all that are ready |
//! | the mailbox of the access log, where it is on | the worker and the thread that writes | shares one push with the lines of others |
//!
//! In the steady state those of the first four are in the core's own cache, unchanged, request after request.

pub mod census;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use crate::base::time::Instant;
use crate::base::time::unix_millis;
use crate::net::{Address, Handle};
use crate::observe::counters::{Counter, Counters};
use crate::observe::events::{Event, Events};
use crate::policy::access_log::{Mailboxes, Recorder};
use crate::upstream::balance::Balancer;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::members::Members;
use crate::upstream::mirror::Copies;
use crate::upstream::queue::Queue;
use crate::upstream::retry::RetryBudget;
use crate::upstream::settings::Settings;
use census::Desk;

/// What all threads of the process see.
#[derive(Debug)]
pub struct Shared {
    /// One for each worker, in their order.
    pub counters: Vec<Counters>,
    /// What the control thread writes to the log.
    pub events: Events,
    /// What the writer of the access log writes.
    pub access_log: Mailboxes,
    /// Where each worker is asked for its connections, in their order.
    pub desks: Vec<Desk>,
    /// What wakes each worker, once all are up.
    wakers: OnceLock<Box<[Waker]>>,
    phase: AtomicU8,
}

/// The phases of a process, in their order.
const SERVING: u8 = 0;
const LEAVING: u8 = 1;
const DRAINING: u8 = 2;
const OVER: u8 = 3;

impl Shared {
    /// The shared state of `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Shared> {
        let counters = (0..workers).map(|_| Counters::default()).collect();
        let desks = (0..workers).map(|_| Desk::default()).collect();
        let (events, wakers, phase) = (Events::default(), OnceLock::new(), AtomicU8::new(SERVING));
        Arc::new(Shared { counters, events, access_log: Mailboxes::new(workers), desks, wakers, phase })
    }

    /// Says what wakes the workers' own tasks; only the first time counts.
    pub fn wake_with(&self, wakers: impl IntoIterator<Item = Waker>) {
        let _ = self.wakers.set(wakers.into_iter().collect());
    }

    /// Whether all workers are up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.wakers.get().is_some()
    }

    /// Makes every worker look at what the process shares.
    pub fn wake_workers(&self) {
        self.wakers.get().into_iter().flatten().for_each(Waker::wake_by_ref);
    }

    /// Says that the process is about to drain: it serves on, but whoever may go elsewhere should. False if that was
    /// known. The workers have to be woken, too.
    pub fn leave(&self) -> bool {
        self.phase.fetch_max(LEAVING, Ordering::AcqRel) == SERVING
    }

    /// Whether the process is draining or about to.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= LEAVING
    }

    /// Orders the workers to finish what runs and to stop. They have to be woken, too.
    pub fn drain(&self) {
        self.phase.fetch_max(DRAINING, Ordering::AcqRel);
    }

    /// Whether the process is draining.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= DRAINING
    }

    /// Orders the workers to break off what runs, and to stop. They have to be woken, too.
    pub fn break_off(&self) {
        self.phase.fetch_max(OVER, Ordering::AcqRel);
    }

    /// Whether nothing is waited for any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= OVER
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
    leaving: Cell<bool>,
    draining: Cell<bool>,
    over: Cell<bool>,
    date: Cell<(u64, Date)>,
    /// What this worker keeps for the services that there are.
    services: RefCell<Vec<Rc<Backend>>>,
    /// For those that are gone, as long as a request of theirs runs.
    former: RefCell<Vec<Rc<Backend>>>,
    /// How others wake this worker for somebody in a line.
    attendant: RefCell<Option<Waker>>,
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
    /// The state of worker `index`, without any service yet.
    #[must_use]
    pub fn new(handle: Handle, shared: Arc<Shared>, index: usize) -> Rc<Shard> {
        let (leaving, draining, over, copies, services, former, attendant) = Default::default();
        let (date, access_log) = (Cell::new((0, [0; 29])), Recorder::new(shared.access_log.of(index).clone()));
        Rc::new(Shard {
            handle,
            shared,
            index,
            leaving,
            draining,
            over,
            date,
            services,
            former,
            attendant,
            copies,
            access_log,
        })
    }

    /// Takes these for all services that there are. Those that are gone keep no connection any more; requests of theirs
    /// that still run end in good order.
    pub fn adopt(&self, backends: &[Rc<Backend>]) {
        let before = self.services.replace(backends.to_vec());
        let stay: HashSet<*const Backend> = backends.iter().map(Rc::as_ptr).collect();
        let gone = before.into_iter().filter(|backend| !stay.contains(&Rc::as_ptr(backend)));
        self.former.borrow_mut().extend(gone.inspect(|backend| backend.retire()));
        if let Some(waker) = &*self.attendant.borrow() {
            backends.iter().for_each(|backend| backend.queue.listen(waker));
        }
    }

    /// Calls `each` for every service, also for those that are gone and still have requests.
    fn each_backend(&self, each: impl Fn(&Backend)) {
        self.services.borrow().iter().for_each(|backend| each(backend));
        self.former.borrow().iter().for_each(|backend| each(backend));
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

    /// Whether connections are told to end with what they carry.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Tells connections from now on, with each answer, that they end with it.
    pub fn leave(&self) {
        self.leaving.set(true);
    }

    /// Whether this worker has begun to drain.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins to drain: idle connections close, busy ones after their request.
    pub fn drain(&self) {
        self.leaving.set(true);
        self.draining.set(true);
        self.give_up_idle();
    }

    /// Whether what still runs is to be broken off.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Breaks off what still runs, as soon as it is woken: the time of the drain is over.
    pub fn break_off(&self) {
        self.over.set(true);
    }

    /// Does `work`, unless it still has to wait when what runs is to be broken off.
    pub async fn unless_over<F: Future>(&self, mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Pending if self.is_over() => Poll::Ready(None),
            polled => polled.map(Some),
        })
        .await
    }

    /// Closes all idle connections to backends.
    pub fn give_up_idle(&self) {
        self.each_backend(Backend::give_up_idle);
    }

    /// Does what other workers have woken this one for: somebody here may go on, or somebody there needs what idles here.
    /// They wake `waker`.
    pub fn attend(&self, waker: &Waker) {
        if self.attendant.borrow().as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *self.attendant.borrow_mut() = Some(waker.clone());
            self.each_backend(|backend| backend.queue.listen(waker));
        }
        self.each_backend(Backend::look_after_line);
    }

    /// What every worker does now and then: closes connections that are old or dead, and looks at what other workers
    /// have running.
    pub fn sweep(&self, now: Instant) {
        self.each_backend(|backend| {
            let mut balancer = backend.balancer.borrow_mut();
            balancer.settle(now, |endpoint| self.tell_ejected(endpoint));
            for target in balancer.targets() {
                let stale = target.pool.borrow_mut().sweep(now);
                self.counters().add(Counter::UpstreamStale, stale);
            }
            drop(balancer);
            backend.look_after_line();
        });
        self.former.borrow_mut().retain(|backend| Rc::strong_count(backend) > 1);
    }

    /// Whether some service goes by what other workers have running.
    #[must_use]
    pub fn looks_at_others(&self) -> bool {
        self.services.borrow().iter().any(|backend| backend.balancer.borrow().looks_at_others())
    }

    /// Looks at what other workers have running, for the services that go by it.
    pub fn look_at_others(&self, now: Instant) {
        for backend in self.services.borrow().iter() {
            let mut balancer = backend.balancer.borrow_mut();
            if balancer.looks_at_others() {
                balancer.settle(now, |endpoint| self.tell_ejected(endpoint));
            }
        }
    }

    /// Tells the control thread that a target is left out from now on.
    pub fn tell_ejected(&self, endpoint: &Endpoint) {
        self.counters().count(Counter::Ejections);
        let target = if let Address::Tcp(address) = endpoint.address() { Some(*address) } else { None };
        self.tell(Event {
            code: "target_ejected",
            detail: "A target failed too many requests and is left out for a while.",
            target,
            ..Event::default()
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

    /// Goes by other settings from now on, if they are others.
    pub fn configure(&self, settings: &Arc<Settings>) {
        let mut balancer = self.balancer.borrow_mut();
        if balancer.settings() != *settings {
            balancer.configure(settings.clone());
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

    /// Keeps no connection from now on: the service is gone.
    fn retire(&self) {
        for target in self.balancer.borrow().targets() {
            target.pool.borrow_mut().retire();
        }
    }

    /// How many connections are kept for the next request.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.balancer.borrow().targets().iter().map(|target| target.pool.borrow().len()).sum()
    }

    fn give_up_idle(&self) {
        for target in self.balancer.borrow().targets() {
            target.pool.borrow_mut().clear();
        }
    }
}
