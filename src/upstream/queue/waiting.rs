//! What the workers tell each other of the connections of one service: who waits, who asks, who has how many.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

/// Who waits for a connection to the targets of one service, in the whole process.
#[derive(Debug)]
pub struct Waiting {
    total: AtomicU32,
    asking: AtomicU32,
    workers: Box<[Line]>,
}

/// What one worker tells the others. It alone writes the numbers.
#[derive(Debug, Default)]
struct Line {
    waiting: AtomicU32,
    /// Of those who wait, how many want connections of other workers.
    asking: AtomicU32,
    /// Connections of this worker, whether they are used or not.
    leased: AtomicU32,
    waker: OnceLock<Waker>,
}

/// How connections and those who want them are divided between one worker and all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) leased_here: u64,
    /// Requests here that have a connection or wait for one.
    pub(super) demand_here: u64,
    pub(super) leased: u64,
    pub(super) demand: u64,
    /// Somebody asks who has no connection at all.
    pub(super) starving: bool,
}

impl Waiting {
    /// Nobody waits.
    #[must_use]
    pub fn new(workers: usize) -> Waiting {
        let workers = (0..workers).map(|_| Line::default()).collect();
        Waiting { total: AtomicU32::new(0), asking: AtomicU32::new(0), workers }
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

    /// Wakes every worker that has a line.
    pub fn wake(&self) {
        if !self.is_empty() {
            self.wake_others(usize::MAX, |line| line.waiting.load(Ordering::SeqCst) > 0);
        }
    }

    /// Says how `worker` is woken; only the first time counts.
    pub(super) fn listen(&self, worker: usize, waker: &Waker) {
        self.workers[worker].waker.get_or_init(|| waker.clone());
    }

    pub(super) fn enter(&self, worker: usize, most: u32) -> bool {
        let more = |waiting: u32| (waiting < most).then(|| waiting + 1);
        let entered = self.total.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok();
        if entered {
            self.workers[worker].waiting.fetch_add(1, Ordering::SeqCst);
        }
        entered
    }

    /// One who waits wants connections of others; those who may have some to spare are woken.
    pub(super) fn ask(&self, worker: usize) {
        self.workers[worker].asking.fetch_add(1, Ordering::SeqCst);
        self.asking.fetch_add(1, Ordering::SeqCst);
        // Who has a line has nothing that idles; when the line ends, he looks for those who ask.
        self.wake_others(worker, |line| {
            line.waiting.load(Ordering::SeqCst) == 0 && line.leased.load(Ordering::SeqCst) > 0
        });
    }

    pub(super) fn leave(&self, worker: usize, asking: bool) {
        let line = &self.workers[worker];
        if asking {
            line.asking.fetch_sub(1, Ordering::SeqCst);
            self.asking.fetch_sub(1, Ordering::SeqCst);
        }
        line.waiting.fetch_sub(1, Ordering::SeqCst);
        self.total.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn leased(&self, worker: usize) -> u32 {
        self.workers[worker].leased.load(Ordering::Relaxed)
    }

    pub(super) fn set_leased(&self, worker: usize, leased: u32) {
        self.workers[worker].leased.store(leased, Ordering::SeqCst);
    }

    /// How many on other workers ask.
    pub(super) fn asking_elsewhere(&self, worker: usize) -> u32 {
        match self.asking.load(Ordering::SeqCst) {
            0 => 0,
            all => all.saturating_sub(self.workers[worker].asking.load(Ordering::SeqCst)),
        }
    }

    pub(super) fn shares(&self, worker: usize) -> Shares {
        let mut shares = Shares::default();
        for (index, line) in self.workers.iter().enumerate() {
            let leased = u64::from(line.leased.load(Ordering::Relaxed));
            let demand = leased + u64::from(line.waiting.load(Ordering::Relaxed));
            shares.leased += leased;
            shares.demand += demand;
            if index == worker {
                (shares.leased_here, shares.demand_here) = (leased, demand);
            } else {
                shares.starving |= leased == 0 && line.asking.load(Ordering::Relaxed) > 0;
            }
        }
        shares
    }

    /// Wakes the other workers that have a line.
    pub(super) fn wake_lines(&self, worker: usize) {
        self.wake_others(worker, |line| line.waiting.load(Ordering::SeqCst) > 0);
    }

    /// Wakes the other workers that have less than their share.
    pub(super) fn wake_poor(&self, worker: usize) {
        let all = self.shares(worker);
        self.wake_others(worker, |line| {
            let leased = u64::from(line.leased.load(Ordering::Relaxed));
            let waiting = u64::from(line.waiting.load(Ordering::SeqCst));
            waiting > 0 && leased * all.demand < all.leased.max(1) * (leased + waiting)
        });
    }

    pub(super) fn wake_worker(&self, worker: usize) {
        if let Some(waker) = self.workers[worker].waker.get() {
            waker.wake_by_ref();
        }
    }

    fn wake_others(&self, worker: usize, is_meant: impl Fn(&Line) -> bool) {
        let others = self.workers.iter().enumerate().filter(|(index, line)| *index != worker && is_meant(line));
        for (_, line) in others {
            if let Some(waker) = line.waker.get() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Shares {
    /// Whether this worker, with one connection less, would still have its share.
    pub(super) fn has_one_too_many(&self) -> bool {
        self.leased_here > 0 && (self.leased_here - 1) * self.demand >= self.leased * self.demand_here
    }
}
