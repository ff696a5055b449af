//! What a dropped operation leaves behind, one kind after the other.

use std::io::{ErrorKind, IoSlice};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use super::*;

/// Sends until the kernel takes no more; how many bytes were given to it.
async fn clog(socket: &Socket, place: &mut Place) {
    loop {
        let bytes = place.write(100_000);
        let mut sending = socket.send(&[IoSlice::new(&bytes)]);
        if poll_once(&mut sending).await.is_none() {
            return;
        }
    }
}

#[test]
fn bytes_for_nobody_wait_and_hold_no_buffer() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            assert!(near.is_quiet());
            near.watch();
            send(&far, b"early").await;
            until(handle, "nothing came", |_| !near.is_quiet()).await;
            assert_eq!(handle.stats().buffers, 0);
            assert_eq!(receive(&near, 5).await, b"early");
            assert!(near.is_quiet());
        });
    });
}

#[test]
fn bytes_for_a_dropped_receive_do_not_keep_the_last_buffer() {
    let options = Options { buffers: 1, ..Options::default() };
    on_every_driver_and_carrier_with(&options, |runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (left, left_peer) = pair_over(handle, carrier).await;
            let (right, right_peer) = pair_over(handle, carrier).await;
            assert!(poll_once(&mut left.recv()).await.is_none());
            send(&left_peer, b"for nobody").await;
            until(handle, "nothing came", |_| !left.is_quiet()).await;
            send(&right_peer, b"for somebody").await;
            assert_eq!(receive(&right, 12).await, b"for somebody");
            assert_eq!(receive(&left, 10).await, b"for nobody");
        });
    });
}

#[test]
fn a_closed_socket_that_waited_for_a_buffer_takes_nobodys_turn() {
    let options = Options { buffers: 1, ..Options::default() };
    on_every_driver_and_carrier_with(&options, |runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (holder, holder_peer) = pair_over(handle, carrier).await;
            let (closed, closed_peer) = pair_over(handle, carrier).await;
            let (waiting, waiting_peer) = pair_over(handle, carrier).await;
            send(&holder_peer, &[1; BUFFER_SIZE]).await;
            let held = in_time(handle, holder.recv()).await.unwrap().unwrap();
            send(&closed_peer, b"x").await;
            send(&waiting_peer, b"y").await;
            let mut starving = closed.recv();
            let mut turns = 0;
            until(handle, "never", |_| {
                turns += 1;
                turns > 3
            })
            .await;
            assert!(poll_once(&mut starving).await.is_none());
            handle.sleep(Duration::from_millis(2)).await;
            assert!(poll_once(&mut starving).await.is_none());
            let group = Group::new(handle);
            group.spawn(async move { assert_eq!(receive(&waiting, 1).await, b"y") });
            handle.sleep(Duration::from_millis(2)).await;
            drop(closed);
            let before = handle.now();
            drop(held);
            group.join().await;
            assert!(handle.now() - before < Duration::from_secs(5), "only its time limit has woken it");
        });
    });
}

#[test]
fn a_dropped_accept_loses_no_connection() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listen_over(handle, carrier);
            assert!(poll_once(&mut listener.accept()).await.is_none());
            let (mut near, mut taken, mut tags) = (Vec::new(), 0, Vec::new());
            for tag in 0..20u8 {
                let socket = connect(handle, &address).await.unwrap();
                send(&socket, &[tag]).await;
                near.push(socket);
                if tag % 3 == 0
                    && let Some(accepted) = poll_once(&mut listener.accept()).await
                {
                    tags.extend(receive(&accepted.unwrap().0, 1).await);
                    taken += 1;
                }
            }
            for _ in taken..20 {
                let (far, _) = in_time(handle, listener.accept()).await.unwrap();
                tags.extend(receive(&far, 1).await);
            }
            tags.sort_unstable();
            assert_eq!(tags, (0..20).collect::<Vec<_>>());
        });
        runtime.block_on(settled(handle));
    });
}

#[test]
fn connections_that_nobody_accepts_stay_with_the_kernel() {
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listen(handle);
            assert!(poll_once(&mut listener.accept()).await.is_none());
            let mut clients = Vec::new();
            for _ in 0..20 {
                clients.extend((0..20).map(|_| TcpStream::connect(address).unwrap()));
                handle.sleep(Duration::from_millis(1)).await;
                assert!(handle.stats().accepted <= 100, "{kind}: {} are held", handle.stats().accepted);
            }
            for _ in 0..clients.len() {
                in_time(handle, listener.accept()).await.unwrap();
            }
        });
        runtime.block_on(settled(handle));
    }
}

#[test]
fn a_listener_that_goes_takes_its_waiting_connections_along() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listen_over(handle, carrier);
            assert!(poll_once(&mut listener.accept()).await.is_none());
            let near = connect(handle, &address).await.unwrap();
            let _ = poll_once(&mut listener.accept()).await;
            drop(listener);
            // An end or a reset; what counts is that it is not left open.
            let ended = in_time(handle, near.recv()).await;
            assert!(ended.is_err() || ended.is_ok_and(|chunk| chunk.is_none()));
            drop(near);
            settled(handle).await;
        });
    });
}

#[test]
fn a_dropped_send_cuts_its_connection() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            let mut sent = Place::start(7);
            clog(&near, &mut sent).await;
            let error = near.send(&[IoSlice::new(b"more")]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected);
            assert!(!near.is_quiet(), "a poisoned connection is not for the pool");
            // The other direction still works.
            send(&far, b"back").await;
            assert_eq!(receive(&near, 4).await, b"back");
            drop(near);
            let mut received = Place::start(7);
            while let Some(chunk) = in_time(handle, far.recv()).await.unwrap() {
                received.check(&chunk);
            }
            assert!(received.position > 0 && received.position < sent.position);
            drop(far);
            settled(handle).await;
        });
    });
}

#[test]
fn a_send_goes_behind_the_one_under_way() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            let mut place = Place::start(9);
            let big = place.write(8_000_000);
            let first = near.send(&[IoSlice::new(&big)]);
            assert!(!first.is_done());
            let tail = place.write(1000);
            let second = near.send(&[IoSlice::new(&tail)]);
            let group = Group::new(handle);
            group.spawn(async move {
                let mut place = Place::start(9);
                while let Some(chunk) = in_time(far.handle(), far.recv()).await.unwrap() {
                    place.check(&chunk);
                }
                assert_eq!(place.position, 8_001_000);
            });
            in_time(handle, second).await.unwrap();
            // All of it is out with the second, so this drop cuts nothing.
            drop(first);
            in_time(handle, near.send(&[IoSlice::new(b"")])).await.unwrap();
            near.shutdown_write().unwrap();
            group.join().await;
        });
    });
}

#[test]
fn dropped_connects_close_their_descriptors() {
    alone(own_path!(dropped_connects_close_their_descriptors), || {
        let all = KERNEL_DRIVERS.into_iter().flat_map(|kind| [(kind, Carrier::Tcp), (kind, Carrier::Unix)]);
        for (kind, carrier) in all {
            let runtime = runtime(kind, &Options::default());
            let handle = runtime.handle();
            runtime.block_on(async {
                let (listener, address) = listen_over(handle, carrier);
                let before = descriptors();
                for polls in 0..300 {
                    let mut connect = connect(handle, &address);
                    for _ in 0..polls % 4 {
                        if poll_once(&mut connect).await.is_some() {
                            break;
                        }
                        handle.yield_now().await;
                    }
                }
                until(handle, "left over", |stats| stats.sockets == 1 && stats.operations == 0).await;
                assert_eq!(descriptors(), before, "{kind}");
                drop(listener);
            });
        }
    });
}

/// A few connections that send both ways for ever.
async fn busy_streams(handle: &Handle) {
    for tag in 0..8 {
        let (near, far) = pair(handle).await;
        for socket in [near, far] {
            let socket = Rc::new(socket);
            let writer = socket.clone();
            handle.spawn(async move {
                let bytes = Place::start(tag).write(100_000);
                while writer.send(&[IoSlice::new(&bytes)]).await.is_ok() {}
            });
            handle.spawn(async move { while let Ok(Some(_)) = socket.recv().await {} });
        }
    }
}

#[test]
fn a_runtime_that_ends_in_the_middle_closes_everything() {
    alone(own_path!(a_runtime_that_ends_in_the_middle_closes_everything), || {
        let before = descriptors();
        for round in 0..60 {
            let buffers = [1, 4, 512][round / 3 % 3];
            let runtime = runtime(DRIVERS[round % 3], &Options { buffers, ..Options::default() });
            let handle = runtime.handle();
            let kept = runtime.block_on(async {
                busy_streams(handle).await;
                let (listener, address) = listen(handle);
                let connect = handle.connect(address);
                let _ = poll_once(&mut listener.accept()).await;
                for _ in 0..round % 11 {
                    handle.yield_now().await;
                }
                handle.spawn(async move {
                    let _accepted = listener.accept().await;
                    std::future::pending::<()>().await;
                });
                // One that outlives the runtime, and can do nothing any more.
                Some(connect)
            });
            let began = std::time::Instant::now();
            drop(runtime);
            assert!(began.elapsed() < Duration::from_secs(4), "the kernel does not let go");
            drop(kept);
            assert_eq!(descriptors(), before, "round {round}");
        }
    });
}
