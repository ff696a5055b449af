//! Streams that have more than one buffer takes: large pieces, every byte once, and what comes behind them.

use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use super::super::buffer::LARGE_SIZE;
use super::*;

/// More than sockets hold, so that both sides have to wait for each other.
const MUCH: usize = 16 << 20;

/// All pieces of a stream until its end, checked.
async fn pieces(stream: &Socket, tag: u64) -> Vec<usize> {
    let (mut place, mut sizes) = (Place::start(tag), Vec::new());
    while let Some(chunk) = in_time(stream.handle(), stream.recv()).await.unwrap() {
        place.check(&chunk);
        sizes.push(chunk.len());
    }
    sizes
}

#[test]
fn much_comes_in_large_pieces_and_every_byte_once() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (near, far) = pair_over(handle, carrier).await;
            group.spawn(async move {
                let mut place = Place::start(7);
                while (place.position as usize) < MUCH {
                    let bytes = place.write(300_000.min(MUCH - place.position as usize));
                    send(&near, &bytes).await;
                }
            });
            let sizes = pieces(&far, 7).await;
            assert_eq!(sizes.iter().sum::<usize>(), MUCH);
            assert!(sizes.iter().all(|size| *size <= LARGE_SIZE));
            let large = sizes.iter().filter(|size| **size > BUFFER_SIZE).count();
            // In memory, a network decides how large pieces are.
            assert!(large > 10 || runtime.driver_kind() == DriverKind::Memory, "{large} of {}", sizes.len());
            group.join().await;
            drop(far);
            settled(handle).await;
        });
    });
}

#[test]
fn the_end_and_a_reset_behind_much_are_seen() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            for size in [BUFFER_SIZE, BUFFER_SIZE + LARGE_SIZE, 150_000] {
                let (near, far) = pair_over(handle, carrier).await;
                group.spawn(async move { send(&near, &Place::start(1).write(size)).await });
                assert_eq!(pieces(&far, 1).await.iter().sum::<usize>(), size);
                assert!(in_time(handle, far.recv()).await.unwrap().is_none(), "the end stays the end");

                let (near, far) = pair_over(handle, carrier).await;
                let bytes = Place::start(2).write(size);
                // What does not fit at once is given up with the reset.
                poll_once(&mut near.send(&[IoSlice::new(&bytes)])).await;
                let first = in_time(handle, far.recv()).await.unwrap().unwrap();
                // Unread bytes of its own make its close a reset, on a Unix socket as well.
                send(&far, b"never read").await;
                handle.sleep(Duration::from_millis(1)).await;
                near.reset();
                let mut received = first.len();
                let error = loop {
                    match in_time(handle, far.recv()).await {
                        Ok(Some(chunk)) => received += chunk.len(),
                        Ok(None) => panic!("a reset is no end"),
                        Err(error) => break error,
                    }
                };
                assert!(received <= size && error.kind() == ErrorKind::ConnectionReset, "{error}");
                assert!(in_time(handle, far.recv()).await.unwrap().is_none());
            }
            group.join().await;
            settled(handle).await;
        });
    });
}

#[test]
fn who_gets_no_large_buffer_goes_on_with_others() {
    for buffers in [8, 32] {
        on_every_driver_with(&Options { buffers, ..Options::default() }, |runtime| {
            let handle = runtime.handle();
            runtime.block_on(async {
                let group = Group::new(handle);
                let mut held = Vec::new();
                for _ in 0..2 {
                    let (near, far) = pair(handle).await;
                    group.spawn(async move { send(&near, &Place::start(3).write(200_000)).await });
                    handle.sleep(Duration::from_millis(1)).await;
                    let mut place = Place::start(3);
                    // The first piece is a usual one, and those behind it are as large as can be had; some are kept.
                    for keep in [false, true, true] {
                        let chunk = in_time(handle, far.recv()).await.unwrap().unwrap();
                        place.check(&chunk);
                        held.extend(keep.then_some(chunk));
                    }
                    while place.position < 200_000 {
                        place.check(&in_time(handle, far.recv()).await.unwrap().unwrap());
                    }
                }
                let large = held.iter().filter(|chunk| chunk.len() > BUFFER_SIZE).count();
                assert!(large <= buffers / 32, "{large}");
                drop(held);
                group.join().await;
                settled(handle).await;
            });
        });
    }
}
