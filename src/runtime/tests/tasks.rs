//! A task that panics ends alone; a task that is always ready starves nobody.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::*;

/// A socket's other side whose task panics with a received chunk in its hands.
async fn with_a_task_that_panics(handle: &Handle) -> Socket {
    let (near, far) = pair(handle).await;
    handle.spawn(async move {
        let _chunk = far.recv().await.unwrap().unwrap();
        let _timer = poll_once(&mut far.handle().sleep(Duration::from_secs(3600))).await;
        panic!("this panic belongs to the test");
    });
    send(&near, b"bang").await;
    near
}

#[test]
fn a_task_that_panics_ends_alone() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (echo_near, echo_far) = pair(handle).await;
            handle.spawn(async move {
                while let Some(chunk) = echo_far.recv().await.unwrap() {
                    send(&echo_far, &chunk).await;
                }
            });
            for round in 1..=20 {
                let near = with_a_task_that_panics(handle).await;
                let ended = in_time(handle, near.recv()).await;
                assert!(ended.is_err() || ended.is_ok_and(|chunk| chunk.is_none()), "the connection is closed");
                assert_eq!(handle.stats().panics, round);
                send(&echo_near, b"still there?").await;
                assert_eq!(receive(&echo_near, 12).await, b"still there?");
            }
            drop(echo_near);
            settled(handle).await;
        });
    });
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("this panic in a drop belongs to the test");
        }
    }
}

#[test]
fn a_panic_in_a_drop_ends_alone() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        let guard = PanicsInDrop;
        handle.spawn(poll_fn(move |_| {
            let _kept = &guard;
            Poll::Ready(())
        }));
        let guard = PanicsInDrop;
        handle.spawn(poll_fn(move |_| {
            let _kept = &guard;
            panic!("this panic belongs to the test, and one in a drop follows");
        }));
        runtime.block_on(until(handle, "they did not end", |stats| stats.tasks == 0));
        assert_eq!(handle.stats().panics, 2);
        // One that is dropped with the runtime.
        let guard = PanicsInDrop;
        handle.spawn(poll_fn(move |_| {
            let _kept = &guard;
            Poll::Pending
        }));
    });
}

#[test]
fn a_task_that_is_kept_is_begun_anew_after_a_pause_until_it_ends_by_itself() {
    const PAUSE: Duration = Duration::from_millis(2);
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        let begun = Rc::new(RefCell::new(Vec::new()));
        let make = {
            let (handle, begun) = (handle.clone(), begun.clone());
            move || {
                begun.borrow_mut().push(handle.now());
                let (handle, round) = (handle.clone(), begun.borrow().len());
                assert!(round != 1, "this panic while a task is made belongs to the test");
                async move {
                    assert!(round != 2, "this panic at once belongs to the test");
                    handle.sleep(PAUSE).await;
                    assert!(round != 3, "this panic after a while belongs to the test");
                    let _guard = (round == 4).then(|| PanicsInDrop);
                    handle.yield_now().await;
                }
            }
        };
        handle.keep("test", PAUSE, make);
        runtime.block_on(until(handle, "it did not end", |stats| stats.tasks == 0));
        let begun = begun.borrow();
        assert_eq!((begun.len(), handle.stats().panics), (5, 4));
        assert!(begun.windows(2).all(|pair| pair[1] - pair[0] >= PAUSE), "{begun:?}");
    });
}

#[test]
fn a_task_that_is_kept_and_panics_keeps_its_worker_asleep_and_ends_with_it() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        let begun = Rc::new(Cell::new(0));
        let make = {
            let begun = begun.clone();
            move || {
                begun.set(begun.get() + 1);
                async { panic!("this panic belongs to the test") }
            }
        };
        handle.keep("test", Duration::from_secs(3600), make);
        runtime.block_on(async {
            until(handle, "it did not panic", |stats| stats.panics == 1).await;
            // A wake is not the end of the pause, and nobody else wakes it.
            handle.wake_all();
            handle.yield_now().await;
            let turns = handle.stats().turns;
            handle.sleep(Duration::from_millis(5)).await;
            assert!(handle.stats().turns - turns < 10, "it spins");
        });
        assert_eq!((begun.get(), handle.stats().tasks), (1, 1));
    });
}

/// Round trips and timers that must go on while something else is always ready.
async fn others_go_on(handle: &Handle) {
    let (near, far) = pair(handle).await;
    handle.spawn(async move {
        while let Some(chunk) = far.recv().await.unwrap() {
            send(&far, &chunk).await;
        }
    });
    for _ in 0..20 {
        send(&near, b"ping").await;
        assert_eq!(receive(&near, 4).await, b"ping");
        let before = handle.now();
        handle.sleep(Duration::from_millis(1)).await;
        assert!(handle.now() - before < Duration::from_secs(2), "a timer was starved");
    }
}

#[test]
fn a_task_that_wakes_itself_starves_nobody() {
    // The virtual clock stands still while a task is ready, so there a timer
    // in between would never fire; the clock is what is tested there.
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        let turns = Rc::new(Cell::new(0u64));
        for _ in 0..3 {
            let turns = turns.clone();
            handle.spawn(poll_fn(move |context| {
                turns.set(turns.get() + 1);
                context.waker().wake_by_ref();
                Poll::Pending
            }));
        }
        runtime.block_on(others_go_on(handle));
        assert!(turns.get() > 60);
    }
}

#[test]
fn ready_tasks_take_turns() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        let counts: Vec<Rc<Cell<u64>>> = (0..10).map(|_| Rc::default()).collect();
        for count in counts.clone() {
            handle.spawn(poll_fn(move |context| {
                count.set(count.get() + 1);
                context.waker().wake_by_ref();
                Poll::Pending
            }));
        }
        runtime.block_on(async {
            for _ in 0..100 {
                handle.yield_now().await;
            }
        });
        assert!(counts.iter().all(|count| (99..=101).contains(&count.get())), "{counts:?}");
    });
}

/// Runs `ready` again and again in a task, and sees that others have turns between.
fn starves_nobody<F: Future + 'static>(runtime: &Runtime, ready: impl Fn(Handle) -> F + 'static) {
    let handle = runtime.handle();
    let (their, count) = (handle.clone(), Rc::new(Cell::new(0)));
    let counted = count.clone();
    handle.spawn(async move {
        loop {
            ready(their.clone()).await;
            counted.set(counted.get() + 1);
            assert!(counted.get() < 100_000, "nobody else had a turn");
        }
    });
    runtime.block_on(async {
        for _ in 0..100 {
            handle.yield_now().await;
        }
    });
    assert_eq!(handle.stats().panics, 0);
    assert!(count.get() > 100);
}

#[test]
fn a_loop_over_timers_that_are_due_starves_nobody() {
    on_every_driver(|runtime| starves_nobody(runtime, |handle| async move { handle.sleep(Duration::ZERO).await }));
}

#[test]
fn a_loop_over_connects_that_fail_at_once_starves_nobody() {
    // The memory driver has no connect that fails before the network has seen it.
    for kind in KERNEL_DRIVERS {
        // The system refuses a stream to everybody, without a packet.
        let everybody = std::net::SocketAddr::from(([255, 255, 255, 255], 9));
        starves_nobody(&runtime(kind, &Options::default()), move |handle| async move {
            assert!(handle.connect(everybody).await.is_err());
        });
    }
}

#[test]
fn a_stream_that_always_has_more_starves_nobody() {
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        let (listener, address) = listen(handle);
        // A thread of its own, faster than the worker that also counts.
        let fast = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            while stream.write_all(&[7; 200_000]).is_ok() {}
        });
        let received = Rc::new(Cell::new(0));
        let sum = received.clone();
        runtime.block_on(async {
            let (socket, _) = listener.accept().await.unwrap();
            handle.spawn(async move {
                while let Ok(Some(chunk)) = socket.recv().await {
                    sum.set(sum.get() + chunk.len());
                }
            });
            others_go_on(handle).await;
        });
        assert!(received.get() > 1_000_000, "the fast stream was starved instead");
        drop(runtime);
        fast.join().unwrap();
    }
}

#[test]
fn a_peer_that_always_takes_more_starves_nobody() {
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        let sink = TcpListener::bind(loopback(0)).unwrap();
        let address = sink.local_addr().unwrap();
        let fast = std::thread::spawn(move || {
            let (mut stream, mut buffer) = (sink.accept().unwrap().0, vec![0; 1 << 20]);
            while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
        });
        runtime.block_on(async {
            let socket = handle.connect(address).await.unwrap();
            handle.spawn(async move {
                // Small sends, so that the peer is always faster.
                loop {
                    send(&socket, b"x").await;
                }
            });
            others_go_on(handle).await;
        });
        drop(runtime);
        fast.join().unwrap();
    }
}

#[test]
fn one_task_waits_for_more_than_its_budget() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listen(handle);
            let (mut near, mut far) = (Vec::new(), Vec::new());
            for _ in 0..300 {
                near.push(handle.connect(address).await.unwrap());
                far.push(listener.accept().await.unwrap().0);
            }
            // All are pending: that is no work, and no reason to run again.
            let any = |from: usize| {
                let near = &near;
                poll_fn(move |context| {
                    let found =
                        near[from..].iter().position(|socket| Pin::new(&mut socket.recv()).poll(context).is_ready());
                    found.map_or(Poll::Pending, |index| Poll::Ready(from + index))
                })
            };
            let before = handle.stats().turns;
            assert!(handle.timeout(handle.now() + Duration::from_millis(20), Box::pin(any(0))).await.is_err());
            let turns = handle.stats().turns - before;
            assert!(turns < 700, "{} turns of waiting", turns);
            send(&far[299], b"z").await;
            assert_eq!(in_time(handle, Box::pin(any(0))).await, 299);
        });
    });
}

#[test]
fn a_deadline_does_not_count_where_nobody_may_look_any_more() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let past = crate::base::time::Instant::ZERO;
            let (near, far) = pair(handle).await;
            let mut waiting = near.recv();
            assert!(poll_once(&mut waiting).await.is_none());
            send(&far, b"here").await;
            until(handle, "it has come", |_| !near.is_quiet()).await;
            let mut timer = handle.timer();
            // All that may be done in a turn.
            while poll_once(&mut handle.sleep_until(past)).await.is_some() {}
            let received = timer.timeout(past, waiting).await.expect("it was there in time").unwrap();
            assert_eq!(&received.unwrap()[..], b"here");
            assert!(timer.timeout(past, near.recv()).await.is_err(), "nothing more was there");
        });
    });
}
