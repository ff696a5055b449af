//! The worker threads: accept, serve, drain.
//!
//! A worker runs one task for each listener and one for each connection. It
//! reads no files, resolves no names, takes no locks and waits for nobody but
//! its sockets.

mod accept;
mod census;
#[cfg(test)]
mod clock_tests;
mod finish;
mod proxied;
mod serve;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::base::time::{Instant, thread_cpu_time};
use crate::net::{Handle, Listener};
use crate::observe::counters::Counter;
use crate::observe::events::Event;
use crate::observe::pulse::Beat;
use crate::pipeline::{Door, Exchange, View};
use crate::shard::census::Activity;
use crate::shard::{Shard, Shared};
use crate::snapshot::doorway::Doorway;
use crate::snapshot::publish::{Edition, Published};
use census::{Census, Facts};

/// Exchanges kept for the next requests; each has a few KiB of storage.
const SPARE_EXCHANGES: usize = 256;

/// How often dead and old connections to backends are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How long lines of the access log wait for others, so that they go to their writer together.
const GATHER: Duration = Duration::from_millis(100);

/// How long after a panic one of the worker's own tasks is begun anew. Those in line wait meanwhile for requests to end.
const AFTER_PANIC: Duration = Duration::from_millis(200);

/// What connections may take over their last words, once the time of a drain is over or nothing is waited for any more.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A worker, seen by the tasks of its connections.
#[derive(Debug)]
pub struct Worker {
    shard: Rc<Shard>,
    published: Arc<Published>,
    /// What its next request goes by.
    view: RefCell<Rc<View>>,
    /// The number of that edition.
    number: Cell<u64>,
    /// Where clients connect.
    doors: RefCell<Vec<Rc<Door>>>,
    /// Whether a task looks at what other workers have running.
    settling: Cell<bool>,
    #[expect(clippy::vec_box, reason = "an exchange is handed over with every request, as a pointer")]
    spare: RefCell<Vec<Box<Exchange>>>,
    census: Census,
    connections: Cell<usize>,
    refusing: Cell<usize>,
    /// Listeners that may still take connections.
    accepting: Cell<usize>,
    /// Wakes the worker's own task when the last connection and the last listener have ended.
    idle: RefCell<Option<Waker>>,
}

/// Where clients connect, as one worker sees it.
#[derive(Debug)]
pub struct Entry {
    /// What accepts them.
    pub listener: Listener,
    /// Which of the doorways it is.
    pub doorway: Arc<Doorway>,
}

/// Serves the connections of `entries` and of what is published later, until told to drain, and then until the last
/// request has ended or the drain's time is over. What runs then is broken off: clients are told as far as they can be,
/// and each request and each tunnel is counted and logged.
pub async fn run(
    handle: &Handle,
    published: Arc<Published>,
    shared: Arc<Shared>,
    index: usize,
    entries: Vec<Entry>,
    ready: impl FnOnce(Waker),
) {
    let view = View::new(published.current(), None, index);
    let number = Cell::new(view.edition().number);
    let shard = Shard::new(handle.clone(), shared, index);
    shard.adopt(view.backends());
    let view = RefCell::new(view);
    let (doors, settling, spare, census, connections, refusing, accepting, idle) = Default::default();
    let worker = Rc::new(Worker {
        shard,
        published,
        view,
        number,
        doors,
        settling,
        spare,
        census,
        connections,
        refusing,
        accepting,
        idle,
    });
    for Entry { listener, doorway } in entries {
        worker.open(listener, doorway);
    }
    keep_house(&worker);
    worker.keep_settling();
    let mut ready = Some(ready);
    poll_fn(|context| {
        if let Some(ready) = ready.take() {
            ready(context.waker().clone());
        }
        // It is woken for a new edition, too: who has no request would keep the old one for ever.
        worker.keep_up();
        worker.answer();
        if worker.shard.shared().is_leaving() {
            worker.shard.leave();
        }
        if worker.shard.shared().is_draining() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    // What has come before the order is seen first: one look at the kernel.
    handle.yield_now().await;
    worker.shard.drain();
    // Every connection looks up: the idle ones close, the listeners take their
    // last connections.
    handle.wake_all();
    let deadline = handle.now() + worker.view().snapshot().gateway.drain_timeout;
    if !worker.emptied(deadline).await {
        worker.shard.break_off();
        handle.wake_all();
        worker.emptied(handle.now() + LAST_WORDS).await;
    }
    worker.shard.access_log.hand_over();
}

/// Begins the tasks without which the worker would go on, but not for long.
fn keep_house(worker: &Rc<Worker>) {
    let handle = &worker.shard.handle;
    let (for_sweep, for_attend, for_lines) = (worker.clone(), worker.clone(), worker.clone());
    handle.keep("access log", AFTER_PANIC, move || hand_over_lines(for_lines.clone()));
    handle.keep("sweep", AFTER_PANIC, move || sweep(for_sweep.clone()));
    handle.keep("attend", AFTER_PANIC, move || attend(for_attend.clone()));
}

/// Looks for dead connections to backends, and brings the counters that nobody writes up to date.
async fn sweep(worker: Rc<Worker>) {
    let shard = &worker.shard;
    while !shard.is_draining() {
        shard.handle.sleep(SWEEP).await;
        // First, for it is to be told of a sweep that panics each time.
        worker.beat();
        shard.sweep(shard.handle.now());
        let view = worker.view.borrow().clone();
        let idle = view.backends().iter().map(|backend| backend.idle());
        view.edition().service_series.keep_idle(shard.index(), idle);
    }
}

/// Hands lines of the access log over a moment after the first of them.
async fn hand_over_lines(worker: Rc<Worker>) {
    let (shard, lines) = (&worker.shard, &worker.shard.access_log);
    loop {
        poll_fn(|context| lines.poll_pending(context)).await;
        shard.handle.sleep(GATHER).await;
        lines.hand_over();
    }
}

/// Looks at what other workers have running, as often as the shards are to settle with each other.
async fn settle(worker: Rc<Worker>) {
    let shard = &worker.shard;
    while !shard.is_draining() && shard.looks_at_others() {
        let interval = worker.view.borrow().snapshot().gateway.sync_interval;
        shard.handle.sleep(interval).await;
        shard.look_at_others(shard.handle.now());
    }
    worker.settling.set(false);
}

/// Attends to what other workers wake this one for.
async fn attend(worker: Rc<Worker>) {
    poll_fn(|context| {
        worker.shard.attend(context.waker());
        Poll::Pending
    })
    .await
}

impl Worker {
    /// What a request that begins now goes by.
    fn view(self: &Rc<Self>) -> Rc<View> {
        self.keep_up();
        self.view.borrow().clone()
    }

    /// Says how the thread is doing.
    fn beat(&self) {
        let (stats, counters) = (self.shard.handle.stats(), self.shard.counters());
        counters.set(Counter::Panics, stats.panics);
        let beat = Beat {
            cpu: thread_cpu_time(),
            wake_ups: stats.sleeps,
            tasks: stats.tasks as u64,
            timers: stats.timers as u64,
            sockets: stats.sockets as u64,
            buffers: stats.buffers as u64,
        };
        counters.pulse.beat(beat, self.shard.handle.now());
    }

    /// Tells of its connections, if somebody asks.
    fn answer(&self) {
        let desk = &self.shard.shared().desks[self.shard.index()];
        if let Some(most) = desk.question() {
            desk.answer(self.census.report(&self.view.borrow(), &self.doors.borrow(), most));
        }
    }

    /// Takes the edition that is published, if it is another one.
    fn keep_up(self: &Rc<Self>) {
        if self.published.number() != self.number.get() {
            self.adopt(self.published.current());
        }
    }

    /// Goes by `edition` from now on.
    #[cold]
    fn adopt(self: &Rc<Self>, edition: Arc<Edition>) {
        let (shard, index) = (&self.shard, self.shard.index());
        self.number.set(edition.number);
        let before = self.view.borrow().clone();
        let view = View::new(edition, Some(&before), index);
        shard.adopt(view.backends());
        *self.view.borrow_mut() = view.clone();
        self.keep_settling();
        let is_there = |doorway: &Arc<Doorway>| view.edition().listener(doorway).is_some();
        let mut doors = self.doors.borrow_mut();
        let gone: Vec<_> = doors.extract_if(.., |door| !is_there(&door.doorway)).collect();
        drop(doors);
        gone.iter().for_each(|door| door.close());
        if !gone.is_empty() {
            // Its listener takes what has queued up, and its idle connections end.
            shard.handle.wake_all();
        }
        for doorway in &view.edition().doorways {
            let sockets = std::iter::from_fn(|| doorway.take(index));
            sockets.for_each(|bound| match shard.handle.listen(bound) {
                Ok(listener) => self.open(listener, doorway.clone()),
                Err(error) => shard.tell(Event {
                    code: "listen_failed",
                    detail: "A worker cannot accept connections of a listener that a reload has added; restart the gateway.",
                    peer: Some(doorway.address()),
                    errno: error.raw_os_error(),
                    ..Event::default()
                }),
            });
        }
    }

    /// Begins to accept connections.
    fn open(self: &Rc<Self>, listener: Listener, doorway: Arc<Doorway>) {
        let door = Door::new(doorway);
        self.doors.borrow_mut().push(door.clone());
        self.shard.handle.spawn(accept::accept(Accepting::new(self), listener, door));
    }

    /// Begins to look at what other workers have running, if some service wants it and nobody does it yet.
    fn keep_settling(self: &Rc<Self>) {
        if !self.settling.get() && self.shard.looks_at_others() {
            self.settling.set(true);
            let worker = self.clone();
            self.shard.handle.keep("settle", AFTER_PANIC, move || settle(worker.clone()));
        }
    }

    /// Waits until nothing is left, but not beyond `deadline`, nor once the process wants what is left broken off; that
    /// counts until this worker has begun to. Whether nothing is left.
    async fn emptied(&self, deadline: Instant) -> bool {
        let is_over = || self.is_empty() || self.shard.shared().is_over() && !self.shard.is_over();
        let over = poll_fn(|context| {
            *self.idle.borrow_mut() = Some(context.waker().clone());
            self.answer();
            if is_over() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = self.shard.handle.timeout(deadline, pin!(over)).await;
        self.is_empty()
    }

    /// Whether there is no connection, and none can come.
    fn is_empty(&self) -> bool {
        self.connections.get() == 0 && self.accepting.get() == 0
    }

    /// Wakes the worker's own task when that is so.
    fn tell_if_empty(&self) {
        if self.is_empty()
            && let Some(waker) = self.idle.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// An exchange with recycled storage.
    fn exchange(&self) -> Box<Exchange> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes an exchange back.
    fn recycle(&self, mut exchange: Box<Exchange>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_EXCHANGES {
            exchange.clear();
            spare.push(exchange);
        }
    }
}

/// Counts a listener for as long as it may take connections.
#[derive(Debug)]
struct Accepting {
    worker: Rc<Worker>,
}

impl Accepting {
    fn new(worker: &Rc<Worker>) -> Accepting {
        worker.accepting.set(worker.accepting.get() + 1);
        Accepting { worker: worker.clone() }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.worker.accepting.set(self.worker.accepting.get() - 1);
        self.worker.tell_if_empty();
    }
}

/// Counts a connection for as long as it lives, however its task ends.
#[derive(Debug)]
struct Admission(Rc<Facts>);

impl Admission {
    fn new(worker: &Rc<Worker>, peer: Option<SocketAddr>, door: Rc<Door>) -> Admission {
        let facts = Census::enter(worker, peer, door, worker.shard.handle.now());
        worker.connections.set(worker.connections.get() + 1);
        worker.shard.counters().count(Counter::Connections);
        worker.shard.counters().count(Counter::ConnectionsOpen);
        Admission(facts)
    }

    /// Takes note of what the connection does from now on.
    fn note(&self, activity: Activity) {
        self.0.note(activity);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let worker = &self.0.worker;
        worker.census.leave(&self.0);
        worker.connections.set(worker.connections.get() - 1);
        worker.shard.counters().release(Counter::ConnectionsOpen);
        worker.tell_if_empty();
    }
}

/// Counts a connection that is being refused, from before its task first runs.
#[derive(Debug)]
struct Refusal {
    worker: Rc<Worker>,
}

impl Refusal {
    fn new(worker: &Rc<Worker>) -> Refusal {
        worker.refusing.set(worker.refusing.get() + 1);
        Refusal { worker: worker.clone() }
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        self.worker.refusing.set(self.worker.refusing.get() - 1);
    }
}
