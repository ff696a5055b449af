//! Short sends, which wait for the end of the turn while other tasks are ready.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use super::*;

/// More than one round takes.
const MANY: usize = 150;

/// Twice as many are more than one round takes, and small ones have room in a Unix socket: of several tasks that wait for
/// room on the same socket, only the last is woken.
const FEW: usize = 40;

/// A task that is ready beside whoever calls this, until the end of the turn.
fn company(group: &Group) {
    group.spawn(async {});
}

/// Receives until the end.
async fn all_of(socket: &Socket) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = in_time(socket.handle(), socket.recv()).await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

#[test]
fn who_is_alone_sends_at_once_and_others_before_the_next_look_at_the_kernel() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            let (group, turns) = (Group::new(handle), handle.clone());
            group.spawn(async move {
                let sending = near.send(&[IoSlice::new(b"a")]);
                assert!(sending.is_done(), "nobody else is ready");
                in_time(&turns, sending).await.unwrap();
            });
            group.join().await;
            assert_eq!(all_of(&far).await, b"a");
            drop(far);

            let (near, far) = pair_over(handle, carrier).await;
            let (inner, turns) = (Group::new(handle), handle.clone());
            group.spawn(async move {
                let before = turns.stats().turns;
                let mut sending = near.send(&[IoSlice::new(b"b"), IoSlice::new(b"c")]);
                assert!(!sending.is_done(), "another task is ready");
                sending.departed().await;
                assert!(sending.is_done() && turns.stats().turns == before);
                in_time(&turns, sending).await.unwrap();
                company(&inner);
                let long = vec![b'd'; 5000];
                let sending = near.send(&[IoSlice::new(&long)]);
                assert!(sending.is_done(), "what is long does not wait");
                in_time(&turns, sending).await.unwrap();
                inner.join().await;
            });
            company(&group);
            let all = all_of(&far).await;
            assert!(all.starts_with(b"bc") && all[2..] == [b'd'; 5000], "{} bytes", all.len());
            group.join().await;
            drop(far);
            settled(handle).await;
        });
    });
}

#[test]
fn many_that_send_in_one_turn_are_all_heard() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let mut ends = Vec::new();
            for tag in 0..MANY as u64 {
                let (near, far) = pair_over(handle, carrier).await;
                group.spawn(async move { send(&near, &Place::start(tag).write(700)).await });
                ends.push((tag, far));
            }
            for (tag, far) in &ends {
                let all = all_of(far).await;
                assert_eq!(all.len(), 700);
                Place::start(*tag).check(&all);
            }
            drop(ends);
            group.join().await;
            settled(handle).await;
        });
    });
}

/// Short and long ones of one socket, begun in the same turn and more than fits, until its peer reads.
#[test]
fn sends_of_one_socket_keep_their_order_also_when_there_is_no_room() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            let (total, waited) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let (said, had_to_wait) = (total.clone(), waited.clone());
            let (inner, sender) = (Group::new(handle), handle.clone());
            group.spawn(async move {
                let mut place = Place::start(4);
                for round in 0..400 {
                    company(&inner);
                    let sizes = [10, 4000, 0, 4096, if round % 7 == 0 { 60_000 } else { 100 }, 3000, 1];
                    let pieces = sizes.map(|size| place.write(size));
                    let mut sendings: Vec<_> = pieces.iter().map(|piece| near.send(&[IoSlice::new(piece)])).collect();
                    for sending in &mut sendings {
                        sending.departed().await;
                        had_to_wait.set(had_to_wait.get() + usize::from(!sending.is_done()));
                    }
                    for sending in sendings {
                        in_time(&sender, sending).await.unwrap();
                    }
                }
                said.set(place.position);
                inner.join().await;
            });
            // It fills what there is before anything is read, and then waits.
            until(handle, "the sender must have to wait", |stats| stats.unsent > 0).await;
            let mut place = Place::start(4);
            while let Some(chunk) = in_time(handle, far.recv()).await.unwrap() {
                place.check(&chunk);
            }
            assert_eq!(place.position, total.get());
            assert!(waited.get() > 0);
            group.join().await;
            drop(far);
            settled(handle).await;
        });
    });
}

/// It was begun, and nobody can tell from outside whether it has gone out: so it does, as one that is sent at once.
#[test]
fn a_staged_send_that_is_dropped_is_made_and_poisons_only_where_there_is_no_room() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            let (inner, sender) = (Group::new(handle), handle.clone());
            group.spawn(async move {
                company(&inner);
                let before = near.send(&[IoSlice::new(b"1")]);
                let behind = near.send(&[IoSlice::new(b"2")]);
                assert!(!before.is_done() && !behind.is_done());
                drop(before);
                assert!(near.is_whole());
                in_time(&sender, behind).await.unwrap();
                company(&inner);
                let mut late = near.send(&[IoSlice::new(b"3")]);
                assert!(poll_once(&mut late).await.is_none());
                sender.yield_now().await;
                drop(late);
                assert!(near.is_whole());
                let mut sent = 3;
                let piece = [b'4'; 4096];
                loop {
                    company(&inner);
                    let mut sending = near.send(&[IoSlice::new(&piece)]);
                    sending.departed().await;
                    if !sending.is_done() {
                        break;
                    }
                    sent += piece.len();
                }
                assert!(!near.is_whole() && sent > piece.len());
                let error = near.send(&[IoSlice::new(b"5")]).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotConnected);
                inner.join().await;
            });
            group.join().await;
            let all = all_of(&far).await;
            assert!(all.starts_with(b"1234") && !all.contains(&b'5'));
            drop(far);
            settled(handle).await;
        });
    });
}

#[test]
fn the_end_comes_behind_what_is_staged() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            let inner = Group::new(handle);
            group.spawn(async move {
                company(&inner);
                let sending = near.send(&[IoSlice::new(b"last words")]);
                near.shutdown_write().unwrap();
                sending.await.unwrap();
                inner.join().await;
            });
            assert_eq!(all_of(&far).await, b"last words");
            group.join().await;
            drop(far);
            settled(handle).await;
        });
    });
}

/// More than a round takes, on one socket, of two tasks and of the one that the runtime itself runs.
#[test]
fn whoever_sends_on_a_socket_is_told() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            let (near, readers) = (Rc::new(near), Group::new(handle));
            readers.spawn(async move {
                assert_eq!(all_of(&far).await, [b"main".to_vec(), b"task".repeat(2 * FEW)].concat());
            });
            for _ in 0..2 {
                let (socket, sender) = (near.clone(), handle.clone());
                group.spawn(async move {
                    let sendings: Vec<_> = (0..FEW).map(|_| socket.send(&[IoSlice::new(b"task")])).collect();
                    for sending in sendings {
                        in_time(&sender, sending).await.unwrap();
                    }
                });
            }
            let sending = near.send(&[IoSlice::new(b"main")]);
            assert!(!sending.is_done());
            in_time(handle, sending).await.unwrap();
            group.join().await;
            drop(near);
            readers.join().await;
            settled(handle).await;
        });
    });
}

#[test]
fn a_staged_send_to_a_peer_that_is_gone_is_an_error() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair(handle).await;
            far.reset();
            handle.sleep(Duration::from_millis(2)).await;
            let (inner, sender) = (Group::new(handle), handle.clone());
            group.spawn(async move {
                company(&inner);
                let mut first = near.send(&[IoSlice::new(b"first")]);
                let second = near.send(&[IoSlice::new(b"second")]);
                first.departed().await;
                assert!(!first.is_done());
                let error = in_time(&sender, first).await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
                assert!(in_time(&sender, second).await.is_err() && !near.is_whole());
                inner.join().await;
            });
            group.join().await;
            settled(handle).await;
        });
    });
}

/// More than the kernel does of io_uring's work in one call, and no more than it does in all calls of a turn.
const RECEIVERS: usize = 60;

#[test]
fn what_comes_together_is_received_in_one_turn() {
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let turns = Rc::new(RefCell::new(Vec::new()));
            let mut senders = Vec::new();
            for _ in 0..RECEIVERS {
                // Over Unix sockets, where what is sent has come when the call returns.
                let (near, far) = pair_over(handle, Carrier::Unix).await;
                let (turns, handle) = (turns.clone(), handle.clone());
                senders.push(near);
                group.spawn(async move {
                    assert_eq!(&*far.recv().await.unwrap().unwrap(), b"x");
                    turns.borrow_mut().push(handle.stats().turns);
                });
            }
            // All of them wait, and the kernel knows.
            handle.yield_now().await;
            handle.yield_now().await;
            let before = handle.stats().turns;
            for sender in &senders {
                send(sender, b"x").await;
            }
            assert_eq!(handle.stats().turns, before, "nobody has looked while all of it was sent");
            group.join().await;
            assert_eq!(*turns.borrow(), [before + 1; RECEIVERS], "{kind:?}");
            drop(senders);
            settled(handle).await;
        });
    }
}
