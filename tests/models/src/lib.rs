//! The parking protocol of the runtime, explored by loom in every interleaving.
//!
//! The file under test is the runtime's own, with loom's atomics in the place
//! of the standard library's. Each model ends only when the worker has seen all
//! wakes: one that is lost leaves it asleep for ever, which loom reports as a
//! deadlock. The models with a part left out are there to show that the right
//! one would notice.
#![cfg(test)]

#[path = "../../../src/runtime/parker.rs"]
mod parker;

/// What the parker finds in the place of the runtime's `sync`.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

use std::sync::Arc;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::thread;

use parker::Parker;

/// The two sides of the handshake, ours or a broken one.
trait Handshake: 'static {
    fn new() -> Self;
    fn prepare(&self);
    fn awake(&self);
    fn notify(&self) -> bool;
}

impl Handshake for Parker {
    fn new() -> Self {
        Parker::new()
    }
    fn prepare(&self) {
        Parker::prepare(self);
    }
    fn awake(&self) {
        Parker::awake(self);
    }
    fn notify(&self) -> bool {
        Parker::notify(self)
    }
}

/// The same without the fence of one side: 0 the worker's, 1 the waker's.
struct Unfenced<const SIDE: usize>(AtomicBool);

impl<const SIDE: usize> Handshake for Unfenced<SIDE> {
    fn new() -> Self {
        Unfenced(AtomicBool::new(false))
    }
    fn prepare(&self) {
        self.0.store(true, Ordering::Relaxed);
        if SIDE != 0 {
            fence(Ordering::SeqCst);
        }
    }
    fn awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
    fn notify(&self) -> bool {
        if SIDE != 1 {
            fence(Ordering::SeqCst);
        }
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

struct Shared<P> {
    parker: P,
    /// How much was pushed to the queue. Relaxed, which is weaker than any real queue.
    pushed: AtomicUsize,
    /// The eventfd: it remembers a ring until the worker has slept.
    bell: Notify,
}

/// `wakers` threads push once each; the worker sleeps until it has seen all.
///
/// With more than one waker a thread is preempted at most three times: without that
/// bound the model would take hours.
fn model<P: Handshake + Send + Sync>(wakers: usize, worker_looks_again: bool) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = (wakers > 1).then_some(3);
    builder.check(move || {
        let shared = Arc::new(Shared { parker: P::new(), pushed: AtomicUsize::new(0), bell: Notify::new() });
        let threads: Vec<_> = (0..wakers)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.pushed.fetch_add(1, Ordering::Relaxed);
                    if shared.parker.notify() {
                        shared.bell.notify();
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < wakers {
            shared.parker.prepare();
            if !worker_looks_again || shared.pushed.load(Ordering::Relaxed) == seen {
                shared.bell.wait();
            }
            shared.parker.awake();
            seen = shared.pushed.load(Ordering::Relaxed);
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn no_wake_is_lost() {
    model::<Parker>(1, true);
}

#[test]
fn no_wake_of_two_threads_is_lost() {
    model::<Parker>(2, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_without_its_fence_is_caught() {
    model::<Unfenced<0>>(1, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_waker_without_its_fence_is_caught() {
    model::<Unfenced<1>>(1, true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_does_not_look_again_is_caught() {
    model::<Parker>(1, false);
}
