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
//! # Between workers
//! A connection belongs to the worker that has opened it, and giving it to another means to close it and to open a new
//! one. So a line is served with its own worker's connections as far as it goes:
//!
//! - Who has waited for [`GRACE`] or has no connection on his worker at all asks the others. A worker whose line is
//!   empty gives him what idles there.
//! - A worker that has a line, too, gives a connection only if it still has its share without it: connections are
//!   divided as those who want them (who have one or wait) are. Where everybody has his share, none changes hands.
//! - Where there are fewer connections than workers with lines, a worker keeps a connection for [`TURN`] requests and
//!   then gives it to one that has none.
//!
//! No wake-up is lost, because both sides write before they read: who waits says so and then looks for a connection
//! once more; who gives one back does so and then looks for somebody who waits.

mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

pub use waiting::Waiting;

use super::endpoint::Endpoint;
use super::members::Members;

/// How long somebody waits for a connection of his own worker before he asks for those of others.
pub const GRACE: Duration = Duration::from_millis(1);

/// How many requests in a row one worker answers over a connection while a worker that has none waits for it.
pub const TURN: u32 = 16;

/// One worker's line for the connections of one service.
#[derive(Debug)]
pub struct Queue {
    members: Arc<Members>,
    worker: usize,
    /// Who waits, by numbers that only grow.
    line: RefCell<VecDeque<(u64, Option<Waker>)>>,
    next: Cell<u64>,
    /// Connections given back here while a worker without any asked.
    turn: Cell<u32>,
    /// What is given back is meant for others.
    handing_over: Cell<bool>,
}

/// A place in a line; it is left when this is dropped.
#[derive(Debug)]
pub struct Place {
    queue: Rc<Queue>,
    number: u64,
    asking: Cell<bool>,
}

/// The right to have one connection to a target; given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    queue: Rc<Queue>,
    endpoint: Arc<Endpoint>,
}

impl Queue {
    /// The empty line of `worker` for the service that has `members`.
    #[must_use]
    pub fn new(members: Arc<Members>, worker: usize) -> Rc<Queue> {
        let (line, next, turn, handing_over) = Default::default();
        Rc::new(Queue { members, worker, line, next, turn, handing_over })
    }

    /// Says how this worker is woken that others have news for; only the first time counts.
    pub fn listen(&self, waker: &Waker) {
        self.members.waiting().listen(self.worker, waker);
    }

    /// Whether nobody waits in this line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// The right to open a connection to `endpoint`, unless there are `most` already.
    #[must_use]
    pub fn lease(self: &Rc<Self>, endpoint: &Arc<Endpoint>, most: Option<u32>) -> Option<Lease> {
        if !endpoint.lease_connection(most.unwrap_or(u32::MAX)) {
            return None;
        }
        let waiting = self.members.waiting();
        waiting.set_leased(self.worker, waiting.leased(self.worker) + 1);
        Some(Lease { queue: self.clone(), endpoint: endpoint.clone() })
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
        Some(Place { queue: self.clone(), number, asking: Cell::new(false) })
    }

    /// Whether this worker has a connection, used or not, that those who wait here can hope for.
    #[must_use]
    pub fn has_connections(&self) -> bool {
        self.members.waiting().leased(self.worker) > 0
    }

    /// How many on other workers ask for what idles here.
    #[must_use]
    pub fn asked_for(&self) -> usize {
        self.members.waiting().asking_elsewhere(self.worker) as usize
    }

    /// Decides whether a connection that has just become free goes to another worker. Each question counts as a turn, so
    /// it is asked once for each.
    #[must_use]
    pub fn shall_hand_over(&self) -> bool {
        let waiting = self.members.waiting();
        if waiting.asking_elsewhere(self.worker) == 0 {
            return false;
        }
        if self.is_empty() {
            return true;
        }
        let shares = waiting.shares(self.worker);
        let turn = if shares.starving { self.turn.get() + 1 } else { 0 };
        let is_over = turn >= TURN;
        self.turn.set(if is_over { 0 } else { turn });
        is_over || shares.has_one_too_many()
    }

    /// Closes `connection` with what it has leased, for the sake of other workers.
    pub fn hand_over<T>(&self, connection: T) {
        self.handing_over.set(true);
        drop(connection);
        self.handing_over.set(false);
    }

    /// Wakes the first of this line: something has become free.
    pub fn wake_first(&self) {
        let first = self.line.borrow_mut().front_mut().and_then(|(_, waker)| waker.take());
        if let Some(waker) = first {
            waker.wake();
        }
    }

    /// Tells those who wait that a connection may be opened.
    fn freed(&self) {
        let waiting = self.members.waiting();
        if waiting.is_empty() {
            return;
        }
        if self.is_empty() {
            waiting.wake_lines(self.worker);
        } else if self.handing_over.get() || self.shall_hand_over() {
            waiting.wake_poor(self.worker);
        } else {
            self.wake_first();
        }
    }
}

impl Place {
    /// Whether it is this one's turn; if not, `context` is woken when it may be.
    #[must_use]
    pub fn is_first(&self, context: &Context<'_>) -> bool {
        let mut line = self.queue.line.borrow_mut();
        let Ok(at) = line.binary_search_by_key(&self.number, |(number, _)| *number) else { return true };
        // Also the first waits, if it finds nothing.
        line[at].1 = Some(context.waker().clone());
        at == 0
    }

    /// Asks for the connections of other workers, too. Whoever has asked has to look for a connection once more.
    pub fn ask(&self) {
        if !self.asking.replace(true) {
            self.queue.members.waiting().ask(self.queue.worker);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Queue { members, worker, line, .. } = &*self.queue;
        let waiting = members.waiting();
        {
            let mut line = line.borrow_mut();
            if let Ok(at) = line.binary_search_by_key(&self.number, |(number, _)| *number) {
                line.remove(at);
            }
        }
        waiting.leave(*worker, self.asking.get());
        // There may be more than one free connection, or it was not needed after all.
        if !self.queue.is_empty() {
            self.queue.wake_first();
        } else if !waiting.is_empty() {
            waiting.wake_lines(*worker);
            if waiting.asking_elsewhere(*worker) > 0 {
                // What idles here was for this line.
                waiting.wake_worker(*worker);
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Queue { members, worker, .. } = &*self.queue;
        let waiting = members.waiting();
        waiting.set_leased(*worker, waiting.leased(*worker) - 1);
        self.endpoint.release_connection();
        self.queue.freed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Instant;
    use crate::upstream::endpoint::{EndpointSpec, Health};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;
    use std::thread::Thread;

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
        let members = members(2);
        let endpoint = members.endpoints()[0].clone();
        let here = Queue::new(members.clone(), 0);
        let there = Queue::new(members.clone(), 1);
        let woken = unpark();
        there.listen(&woken.clone().into());
        let first = here.lease(&endpoint, Some(1)).unwrap();
        assert!(here.lease(&endpoint, Some(1)).is_none() && there.lease(&endpoint, Some(1)).is_none());

        let (one, two) = (here.enter(3).unwrap(), here.enter(3).unwrap());
        let three = there.enter(3).unwrap();
        assert!(here.enter(3).is_none() && there.enter(3).is_none(), "no more than three wait");
        let waiter = unpark();
        let waker = Waker::from(waiter.clone());
        let context = Context::from_waker(&waker);
        assert!(one.is_first(&context) && !two.is_first(&context));
        drop(first);
        assert_eq!(waiter.1.load(Ordering::SeqCst), 1, "the first of the line is woken, and nobody else");
        drop(one);
        assert_eq!(waiter.1.load(Ordering::SeqCst), 2, "who leaves wakes the next");
        assert!(two.is_first(&context));
        assert_eq!(woken.1.load(Ordering::SeqCst), 0, "and other workers only when nobody is left here");
        drop(two);
        assert_eq!(woken.1.load(Ordering::SeqCst), 1);
        drop(three);
        assert!(members.waiting().is_empty() && here.is_empty() && there.is_empty());
        assert!(!here.shall_hand_over());
    }

    #[test]
    fn connections_change_hands_only_where_somebody_has_less_than_his_share() {
        let members = members(2);
        let endpoint = members.endpoints()[0].clone();
        let here = Queue::new(members.clone(), 0);
        let there = Queue::new(members, 1);
        let lease = |queue: &Rc<Queue>, count: usize| -> Vec<Lease> {
            (0..count).map(|_| queue.lease(&endpoint, Some(8)).expect("there is one")).collect()
        };
        let enter = |queue: &Rc<Queue>, count: usize| -> Vec<Place> {
            let places: Vec<_> = (0..count).map(|_| queue.enter(99).expect("there is room")).collect();
            places.iter().for_each(Place::ask);
            places
        };
        let mut leased_here = lease(&here, 8);
        assert!(!here.shall_hand_over(), "nobody asks");
        let quiet = there.enter(99).unwrap();
        assert!(!here.shall_hand_over() && here.asked_for() == 0, "who has only begun to wait does not ask");
        let mut waiting_there = enter(&there, 1);
        assert!(here.shall_hand_over() && here.asked_for() == 1 && !there.shall_hand_over());
        // Of those who wait, two thirds are there: so many of the connections go over, one after the other.
        drop(quiet);
        let waiting_here = enter(&here, 8);
        waiting_there.extend(enter(&there, 15));
        let mut leased_there = Vec::new();
        while here.shall_hand_over() {
            here.hand_over(leased_here.pop());
            leased_there.extend(lease(&there, 1));
        }
        assert_eq!((leased_here.len(), leased_there.len()), (3, 5));
        assert!(!there.shall_hand_over());
        drop((waiting_here, waiting_there));
        assert_eq!((here.asked_for(), there.asked_for()), (0, 0));
    }

    #[test]
    fn one_connection_is_taken_in_turns() {
        let members = members(2);
        let endpoint = members.endpoints()[0].clone();
        let here = Queue::new(members.clone(), 0);
        let there = Queue::new(members, 1);
        let lease = here.lease(&endpoint, Some(1)).unwrap();
        let (own, other) = (here.enter(9).unwrap(), there.enter(9).unwrap());
        assert!(here.has_connections() && !there.has_connections());
        other.ask();
        for _ in 1..TURN {
            assert!(!here.shall_hand_over());
        }
        assert!(here.shall_hand_over() && !here.shall_hand_over());
        let (mine, woken) = (unpark(), unpark());
        there.listen(&woken.clone().into());
        let waker = Waker::from(mine.clone());
        assert!(own.is_first(&Context::from_waker(&waker)));
        here.hand_over(lease);
        assert_eq!((mine.1.load(Ordering::SeqCst), woken.1.load(Ordering::SeqCst)), (0, 1), "it is for the other one");
        drop(other);
        drop(own);
    }

    #[test]
    fn who_waits_is_woken_when_the_targets_change() {
        let members = members(1);
        let queue = Queue::new(members.clone(), 0);
        let woken = unpark();
        queue.listen(&woken.clone().into());
        let endpoint = members.endpoints()[0].clone();
        members.set_health(&endpoint, Health::Up, Instant::ZERO);
        assert_eq!(woken.1.load(Ordering::SeqCst), 0, "nobody waits");
        let place = queue.enter(1).unwrap();
        members.set_health(&endpoint, Health::Down, Instant::ZERO);
        assert_eq!(woken.1.load(Ordering::SeqCst), 1);
        drop(place);
    }

    #[test]
    fn no_wake_up_is_lost_and_no_bound_broken_between_threads() {
        const WORKERS: usize = 4;
        const ROUNDS: usize = 2000;
        const MOST: u32 = 2;
        let members = members(WORKERS);
        let endpoint = members.endpoints()[0].clone();
        let used = AtomicU32::new(0);
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (members, endpoint, used, done) = (&members, &endpoint, &used, &done);
                scope.spawn(move || {
                    let queue = Queue::new(members.clone(), worker);
                    let waker = Waker::from(unpark());
                    queue.listen(&waker);
                    let context = Context::from_waker(&waker);
                    for _ in 0..ROUNDS {
                        let lease = queue.lease(endpoint, Some(MOST)).unwrap_or_else(|| {
                            let place = queue.enter(WORKERS as u32).expect("there is room for all");
                            place.ask();
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
