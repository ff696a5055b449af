//! Streams on which short messages have come for a while: whatever comes then is received whole, in order, and not
//! faster than it is taken.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

/// More than two sockets hold that nobody reads from: how much they may hold grows as they are read.
const MUCH: usize = 32 << 20;

/// So many buffers may be kept by who does not take what has come, rather than all.
const FEW: usize = 64;

#[test]
fn much_behind_short_messages_comes_whole_and_so_do_short_ones_behind_it() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            let near = Rc::new(near);
            for _ in 0..3 {
                talk(&near, &far, STEADY).await;
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
            talk(&near, &far, STEADY).await;
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
            for piece in [1000, 100_000] {
                let group = Group::new(handle);
                let (near, far) = pair_over(handle, carrier).await;
                let (other_near, other_far) = pair_over(handle, carrier).await;
                talk(&near, &far, STEADY).await;
                // The receiving end waits again, as a connection does between its messages, and then does something else.
                assert!(poll_once(&mut far.recv()).await.is_none());
                let sent = Rc::new(Cell::new(0));
                let (said, pausing) = (sent.clone(), handle.clone());
                group.spawn(async move {
                    let mut place = Place::start(9);
                    while (place.position as usize) < MUCH {
                        send(&near, &place.write(piece.min(MUCH - place.position as usize))).await;
                        said.set(place.position as usize);
                        // Short pieces come one by one, and not as one.
                        if said.get() < FEW * piece {
                            pausing.yield_now().await;
                        }
                    }
                });
                let mut most = 0;
                for _ in 0..300 {
                    talk(&other_near, &other_far, 1).await;
                    most = most.max(handle.stats().buffers);
                }
                assert!(sent.get() < MUCH, "a sender must wait for who takes what it sends");
                assert!(most < FEW, "{most} buffers for pieces of {piece} bytes that nobody takes");
                let mut place = Place::start(9);
                while let Some(chunk) = in_time(handle, far.recv()).await.unwrap() {
                    place.check(&chunk);
                }
                assert_eq!((place.position as usize, sent.get()), (MUCH, MUCH));
                drop((far, other_near, other_far));
                group.join().await;
            }
            settled(handle).await;
        });
    });
}

#[test]
fn a_stream_can_be_closed_whatever_is_under_way_on_it() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let floods = [0, 100, 40_000, 500_000];
            for (flood, past) in floods.into_iter().flat_map(|flood| Past::ALL.map(|past| (flood, past))) {
                let (near, far) = pair_over(handle, carrier).await;
                past.happens(&near, &far).await;
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
