//! Waiting for a connection to a target, where `max_connections` bounds how many there are.
//!
//! ```toml
//! [services.users]
//! targets = ["127.0.0.1:3001"]
//! pool = { max_connections = 100, queue = 128, queue_timeout = "1s" }
//! ```
//!
//! The bound is of the whole process, exactly: a connection is leased from its target with one compare-and-swap when it
//! is opened, and given back when it closes. Who finds no connection waits in a line of his worker, first come, first
//! served; `queue` bounds the lines of all workers together.
//!
//! No wake-up is lost, because both sides write before they read: who waits says so and then looks for a connection
//! once more; who gives one back does so and then looks for somebody who waits. Workers do not see each other's lines,
//! so somebody who has waiters on other workers wakes those workers, and gives up what he does not need himself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use super::endpoint::Endpoint;
use super::members::Members;

/// How each worker is woken that others have news for.
#[derive(Debug)]
pub struct Wakers(Box<[OnceLock<Waker>]>);

/// Who waits for a connection to the targets of one service, in the whole process.
#[derive(Debug)]
pub struct Waiting {
    total: AtomicU32,
    /// For each worker.
    workers: Box<[AtomicU32]>,
}

/// One worker's line for the connections of one service.
#[derive(Debug)]
pub struct Queue {
    members: Arc<Members>,
    wakers: Arc<Wakers>,
    worker: usize,
    line: RefCell<VecDeque<(u64, Option<Waker>)>>,
    next: Cell<u64>,
}

/// A place in a line; it is left when this is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Rc<Queue>,
    number: u64,
}

/// The right to have one connection to a target; given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    queue: Rc<Queue>,
    endpoint: Arc<Endpoint>,
}

impl Wakers {
    /// Places for the wakers of `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Wakers> {
        Arc::new(Wakers((0..workers).map(|_| OnceLock::new()).collect()))
    }

    /// Says how `worker` is woken; only the first time counts.
    pub fn set(&self, worker: usize, waker: Waker) {
        let _ = self.0[worker].set(waker);
    }

    fn wake(&self, worker: usize) {
        if let Some(waker) = self.0[worker].get() {
            waker.wake_by_ref();
        }
    }
}

impl Waiting {
    /// Nobody waits.
    #[must_use]
    pub fn new(workers: usize) -> Waiting {
        Waiting { total: AtomicU32::new(0), workers: (0..workers).map(|_| AtomicU32::new(0)).collect() }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.total.load(Ordering::SeqCst)
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn enter(&self, worker: usize, most: u32) -> bool {
        let more = |waiting: u32| (waiting < most).then(|| waiting + 1);
        let entered = self.total.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok();
        if entered {
            self.workers[worker].fetch_add(1, Ordering::SeqCst);
        }
        entered
    }

    fn leave(&self, worker: usize) {
        self.workers[worker].fetch_sub(1, Ordering::SeqCst);
        self.total.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Queue {
    /// The empty line of `worker` for the service that has `members`.
    #[must_use]
    pub fn new(members: Arc<Members>, wakers: Arc<Wakers>, worker: usize) -> Rc<Queue> {
        Rc::new(Queue { members, wakers, worker, line: RefCell::default(), next: Cell::new(0) })
    }

    /// Whether nobody waits in this line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// The right to open a connection to `endpoint`, unless there are `most` already.
    #[must_use]
    pub fn lease(self: &Rc<Self>, endpoint: &Arc<Endpoint>, most: Option<u32>) -> Option<Lease> {
        let leased = endpoint.lease_connection(most.unwrap_or(u32::MAX));
        leased.then(|| Lease { queue: self.clone(), endpoint: endpoint.clone() })
    }

    /// A place at the end of the line, unless `most` wait in all lines of the service.
    #[must_use]
    pub fn enter(self: &Rc<Self>, most: u32) -> Option<Place> {
        if !self.members.waiting().enter(self.worker, most) {
            return None;
        }
        let number = self.next.get();
        self.next.set(number + 1);
        self.line.borrow_mut().push_back((number, None));
        // Connections that idle on other workers count, too.
        self.wake_others(|_| true);
        Some(Place { queue: self.clone(), number })
    }

    /// Whether an idle connection is needed more by another worker than by this one. Where both have waiters, each gets
    /// his share.
    #[must_use]
    pub fn is_wanted_elsewhere(&self) -> bool {
        let all = self.members.waiting().len();
        if all == 0 {
            return false;
        }
        let here = u32::try_from(self.line.borrow().len()).unwrap_or(u32::MAX);
        fastrand::u32(0..all) >= here
    }

    /// How many wait in the lines of all workers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.members.waiting().len() as usize
    }

    /// Wakes the first of this line: something has become free.
    pub fn wake_first(&self) {
        let first = self.line.borrow_mut().front_mut().and_then(|(_, waker)| waker.take());
        if let Some(waker) = first {
            waker.wake();
        }
    }

    /// Tells those who wait that something has become free.
    fn freed(&self) {
        let waiting = self.members.waiting();
        if !waiting.is_empty() {
            self.wake_first();
            self.wake_others(|worker| waiting.workers[worker].load(Ordering::SeqCst) > 0);
        }
    }

    /// Wakes the other workers that are meant.
    fn wake_others(&self, is_meant: impl Fn(usize) -> bool) {
        let others = (0..self.members.waiting().workers.len()).filter(|&worker| worker != self.worker);
        for worker in others.filter(|&worker| is_meant(worker)) {
            self.wakers.wake(worker);
        }
    }
}

impl Place {
    /// Whether it is this one's turn; if not, `context` is woken when it may be.
    #[must_use]
    pub fn is_first(&self, context: &Context<'_>) -> bool {
        let mut line = self.queue.line.borrow_mut();
        let Some(at) = line.iter().position(|(number, _)| *number == self.number) else { return true };
        // Also the first waits, if it finds nothing.
        line[at].1 = Some(context.waker().clone());
        at == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.line.borrow_mut().retain(|(number, _)| *number != self.number);
        self.queue.members.waiting().leave(self.queue.worker);
        // There may be more than one free connection, or it was not needed after all.
        self.queue.wake_first();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.release_connection();
        self.queue.freed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Instant;
    use crate::upstream::endpoint::EndpointSpec;
    use std::task::Wake;
    use std::thread::Thread;
    use std::time::Duration;

    fn members(workers: usize) -> Arc<Members> {
        let members = Members::new("users", workers);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let spec = EndpointSpec { address: address.into(), authority: "a".into(), weight: 1 };
        members.update(vec![spec], Instant::ZERO);
        Arc::new(members)
    }

    struct Unpark(Thread, AtomicU32);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.unpark();
        }
    }

    fn unpark() -> Arc<Unpark> {
        Arc::new(Unpark(std::thread::current(), AtomicU32::new(0)))
    }

    #[test]
    fn a_line_is_served_in_order_and_bounded_over_all_workers() {
        let (members, wakers) = (members(2), Wakers::new(2));
        let endpoint = members.endpoints()[0].clone();
        let here = Queue::new(members.clone(), wakers.clone(), 0);
        let there = Queue::new(members.clone(), wakers.clone(), 1);
        let woken = unpark();
        wakers.set(1, woken.clone().into());
        let first = here.lease(&endpoint, Some(1)).unwrap();
        assert!(here.lease(&endpoint, Some(1)).is_none() && there.lease(&endpoint, Some(1)).is_none());

        let (one, two) = (here.enter(3).unwrap(), here.enter(3).unwrap());
        let three = there.enter(3).unwrap();
        assert!(here.enter(3).is_none() && there.enter(3).is_none(), "no more than three wait");
        let waiter = unpark();
        let waker = Waker::from(waiter.clone());
        let context = Context::from_waker(&waker);
        assert!(one.is_first(&context) && !two.is_first(&context));
        let before = woken.1.load(Ordering::SeqCst);
        drop(first);
        assert_eq!(waiter.1.load(Ordering::SeqCst), 1, "the first of the line is woken, and nobody else");
        assert!(woken.1.load(Ordering::SeqCst) > before, "and so is the other worker");
        drop(one);
        assert_eq!(waiter.1.load(Ordering::SeqCst), 2, "who leaves wakes the next");
        assert!(two.is_first(&context));
        drop((two, three));
        assert!(members.waiting().is_empty() && here.is_empty() && there.is_empty());
        assert!(!here.is_wanted_elsewhere());
    }

    #[test]
    fn a_connection_is_shared_between_those_who_wait() {
        let (members, wakers) = (members(2), Wakers::new(2));
        let here = Queue::new(members.clone(), wakers.clone(), 0);
        let there = Queue::new(members, wakers, 1);
        let other = there.enter(9).unwrap();
        assert!(here.is_wanted_elsewhere() && !there.is_wanted_elsewhere());
        let own = here.enter(9).unwrap();
        let given = (0..1000).filter(|_| here.is_wanted_elsewhere()).count();
        assert!((300..700).contains(&given), "{given} of 1000 where 500 are expected");
        drop((other, own));
    }

    #[test]
    fn no_wake_up_is_lost_and_no_bound_broken_between_threads() {
        const WORKERS: usize = 4;
        const ROUNDS: usize = 2000;
        const MOST: u32 = 2;
        let (members, wakers) = (members(WORKERS), Wakers::new(WORKERS));
        let endpoint = members.endpoints()[0].clone();
        let used = AtomicU32::new(0);
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (members, wakers, endpoint, used, done) = (&members, &wakers, &endpoint, &used, &done);
                scope.spawn(move || {
                    let queue = Queue::new(members.clone(), wakers.clone(), worker);
                    let waker = Waker::from(unpark());
                    wakers.set(worker, waker.clone());
                    let context = Context::from_waker(&waker);
                    for _ in 0..ROUNDS {
                        let lease = queue.lease(endpoint, Some(MOST)).unwrap_or_else(|| {
                            let place = queue.enter(WORKERS as u32).expect("there is room for all");
                            loop {
                                let found = place.is_first(&context).then(|| queue.lease(endpoint, Some(MOST)));
                                if let Some(lease) = found.flatten() {
                                    return lease;
                                }
                                // Others need at most as long as this for a round; who waits longer was forgotten.
                                let began = std::time::Instant::now();
                                std::thread::park_timeout(Duration::from_secs(20));
                                assert!(began.elapsed() < Duration::from_secs(20), "a wake-up was lost");
                            }
                        });
                        assert!(used.fetch_add(1, Ordering::SeqCst) < MOST);
                        std::thread::yield_now();
                        used.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(done.load(Ordering::SeqCst), WORKERS as u32);
        assert_eq!((endpoint.connections(), members.waiting().len()), (0, 0));
    }
}
