//! Wakes from other threads: none is lost, and late ones do no harm.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use Options;

/// A number that another thread raises, and the task that waits for it.
#[derive(Default)]
struct Mailbox {
    sent: AtomicU64,
    waker: Mutex<Option<Waker>>,
    gave_up: AtomicBool,
}

impl Mailbox {
    async fn past(&self, seen: u64) -> u64 {
        poll_fn(|context| {
            *self.waker.lock().unwrap() = Some(context.waker().clone());
            assert!(!self.gave_up.load(Ordering::SeqCst), "a wake was lost");
            let sent = self.sent.load(Ordering::SeqCst);
            if sent > seen { Poll::Ready(sent) } else { Poll::Pending }
        })
        .await
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Each wake is answered before the next, so each races with going to sleep.
#[test]
fn no_wake_is_lost_to_a_worker_that_goes_to_sleep() {
    const WAKES: u64 = 3000;
    on_every_driver(|runtime| {
        let began = Instant::now();
        let mailbox = Arc::new(Mailbox::default());
        let (answer, answers) = mpsc::channel();
        let theirs = mailbox.clone();
        let thread = thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(1);
            for wake in 1..=WAKES {
                theirs.sent.store(wake, Ordering::SeqCst);
                theirs.wake();
                let answered = answers.recv_timeout(PATIENCE);
                if answered != Ok(wake) {
                    theirs.gave_up.store(true, Ordering::SeqCst);
                    theirs.wake();
                    return;
                }
                // A different moment of the worker's way to sleep each time.
                for _ in 0..random.u32(0..2000) {
                    std::hint::spin_loop();
                }
            }
        });
        runtime.block_on(async {
            let mut seen = 0;
            while seen < WAKES {
                seen = mailbox.past(seen).await;
                answer.send(seen).unwrap();
            }
        });
        thread.join().unwrap();
        say(&format!("{}: {WAKES} wakes, each answered, in {:.1?}", runtime.driver_kind(), began.elapsed()));
    });
}

#[test]
fn wakes_of_many_threads_reach_many_tasks() {
    const THREADS: u64 = 4;
    const WAKES: u64 = 5000;
    on_every_driver(|runtime| {
        let group = Group::new(runtime.handle());
        let mailboxes: Vec<Arc<Mailbox>> = (0..THREADS * 2).map(|_| Arc::default()).collect();
        for mailbox in mailboxes.clone() {
            group.spawn(async move {
                let mut seen = 0;
                while seen < WAKES {
                    seen = mailbox.past(seen).await;
                }
            });
        }
        let threads: Vec<_> = mailboxes
            .chunks(2)
            .map(|pair| {
                let pair = pair.to_vec();
                thread::spawn(move || {
                    for _ in 0..WAKES {
                        for mailbox in &pair {
                            mailbox.sent.fetch_add(1, Ordering::SeqCst);
                            mailbox.wake();
                        }
                    }
                })
            })
            .collect();
        // No deadline here: on the virtual clock it would be over at once.
        runtime.block_on(poll_fn(|_| Poll::Ready(())));
        let joined = Rc::new(Cell::new(false));
        for thread in threads {
            thread.join().unwrap();
        }
        runtime.block_on(async {
            group.join().await;
            joined.set(true);
        });
        assert!(joined.get());
    });
}

#[test]
fn a_thread_that_never_stops_waking_starves_nobody() {
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        let stop = Arc::new(AtomicBool::new(false));
        runtime.block_on(async {
            let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (waker, stop) = (waker.clone(), stop.clone());
                    thread::spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            waker.wake_by_ref();
                        }
                    })
                })
                .collect();
            for _ in 0..20 {
                let before = handle.now();
                handle.sleep(Duration::from_millis(1)).await;
                assert!(handle.now() - before < Duration::from_secs(2), "{kind}: a timer was starved");
            }
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

/// The waker of a task that has ended.
fn waker_of_an_ended_task(runtime: &Runtime) -> Waker {
    let kept = Rc::new(Cell::new(None));
    let slot = kept.clone();
    runtime.handle().spawn(poll_fn(move |context| {
        slot.set(Some(context.waker().clone()));
        Poll::Ready(())
    }));
    runtime.block_on(until(runtime.handle(), "it did not end", |stats| stats.tasks == 0));
    kept.take().expect("it has run")
}

#[test]
fn wakes_that_come_too_late_do_no_harm_and_leave_nothing() {
    alone(own_path!(wakes_that_come_too_late_do_no_harm_and_leave_nothing), || {
        let before = descriptors();
        on_every_driver(|runtime| {
            let waker = waker_of_an_ended_task(runtime);
            waker.wake_by_ref();
            let theirs = waker.clone();
            thread::spawn(move || theirs.wake()).join().unwrap();
            // Its slot is another task's by now, which is not woken by it.
            runtime.block_on(async { runtime.handle().yield_now().await });
            assert_eq!(runtime.handle().stats().tasks, 0);
        });
        for kind in DRIVERS {
            let runtime = runtime(kind, &Options::default());
            let waker = waker_of_an_ended_task(&runtime);
            // One while nobody looks, and one after the runtime's end.
            let (early, late) = (waker.clone(), waker.clone());
            thread::spawn(move || early.wake()).join().unwrap();
            drop(runtime);
            late.wake_by_ref();
            thread::spawn(move || late.wake()).join().unwrap();
            drop(waker);
        }
        assert_eq!(descriptors(), before, "a late wake keeps its worker's bell");
    });
}

#[test]
fn wakes_that_race_with_the_end_of_a_runtime_leave_nothing() {
    alone(own_path!(wakes_that_race_with_the_end_of_a_runtime_leave_nothing), || {
        let before = descriptors();
        for round in 0..100 {
            let runtime = runtime(KERNEL_DRIVERS[round % 2], &Options::default());
            let waker = waker_of_an_ended_task(&runtime);
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let waker = waker.clone();
                    thread::spawn(move || (0..500).for_each(|_| waker.wake_by_ref()))
                })
                .collect();
            drop(waker);
            drop(runtime);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!(descriptors(), before);
    });
}
