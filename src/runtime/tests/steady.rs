//! Streams on which short messages have come for a while: whatever comes then is received whole, in order, and not
//! faster than it is taken.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

/// Short messages that have gone to and fro before a stream is looked at.
const ROUNDS: usize = 12;

/// More than two sockets hold.
const MUCH: usize = 32 << 20;

/// Sends short messages from one end of a pair to the other and back.
async fn talk(near: &Socket, far: &Socket, rounds: usize) {
    for round in 0..rounds {
        let message = [round as u8; 100];
        send(near, &message).await;
        assert_eq!(receive(far, 100).await, message);
        send(far, &message).await;
        assert_eq!(receive(near, 100).await, message);
    }
}

#[test]
fn much_behind_short_messages_comes_whole_and_so_do_short_ones_behind_it() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            let near = Rc::new(near);
            for _ in 0..3 {
                talk(&near, &far, ROUNDS).await;
                let sender = near.clone();
                group.spawn(async move {
                    let mut place = Place::start(3);
                    while (place.position as usize) < MUCH / 16 {
                        send(&sender, &place.write(300_000.min(MUCH / 16 - place.position as usize))).await;
                    }
                });
                let mut place = Place::start(3);
                while (place.position as usize) < MUCH / 16 {
                    place.check(&in_time(handle, far.recv()).await.unwrap().unwrap());
                }
                group.join().await;
            }
            talk(&near, &far, ROUNDS).await;
            drop(near);
            assert!(in_time(handle, far.recv()).await.unwrap().is_none());
            drop(far);
            settled(handle).await;
        });
    });
}

#[test]
fn what_nobody_takes_stops_its_sender_and_nobody_else() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            let (other_near, other_far) = pair_over(handle, carrier).await;
            talk(&near, &far, ROUNDS).await;
            // The receiving end waits again, as a connection does between its messages, and then does something else.
            assert!(poll_once(&mut far.recv()).await.is_none());
            let done = Rc::new(Cell::new(false));
            let is_done = done.clone();
            group.spawn(async move {
                let mut place = Place::start(9);
                while (place.position as usize) < MUCH {
                    send(&near, &place.write(100_000.min(MUCH - place.position as usize))).await;
                }
                is_done.set(true);
            });
            talk(&other_near, &other_far, 300).await;
            assert!(!done.get(), "a sender must wait for who takes what it sends");
            let mut place = Place::start(9);
            while let Some(chunk) = in_time(handle, far.recv()).await.unwrap() {
                place.check(&chunk);
            }
            assert_eq!(place.position as usize, MUCH);
            assert!(done.get());
            drop((far, other_near, other_far));
            group.join().await;
            settled(handle).await;
        });
    });
}

#[test]
fn a_stream_can_be_closed_whatever_is_under_way_on_it() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            for flood in [0, 100, 40_000, 500_000] {
                let (near, far) = pair_over(handle, carrier).await;
                talk(&near, &far, ROUNDS).await;
                assert!(poll_once(&mut far.recv()).await.is_none());
                let bytes = vec![1; flood];
                let sending = near.send(&[std::io::IoSlice::new(&bytes)]);
                handle.yield_now().await;
                drop(far);
                drop(sending);
                drop(near);
                settled(handle).await;
            }
        });
    });
}
