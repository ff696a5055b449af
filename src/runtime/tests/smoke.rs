//! The thinnest path: connect, accept, echo, close.

use std::io::IoSlice;

use super::*;

#[test]
fn an_echo_comes_back_and_everything_is_returned() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listen(handle);
            handle.spawn(async move {
                let (socket, peer) = listener.accept().await.unwrap();
                assert!(peer.is_some());
                while let Some(chunk) = socket.recv().await.unwrap() {
                    socket.send(&[IoSlice::new(&chunk)]).await.unwrap();
                }
            });
            let socket = handle.connect(address).await.unwrap();
            let sent: Vec<u8> = (0..3_000_000u32).map(|index| (index % 251) as u8).collect();
            let mut received = Vec::new();
            for part in sent.chunks(50_000) {
                socket.send(&[IoSlice::new(&part[..7]), IoSlice::new(&part[7..])]).await.unwrap();
                let goal = received.len() + part.len();
                while received.len() < goal {
                    received.extend_from_slice(&socket.recv().await.unwrap().expect("more"));
                }
            }
            assert!(received == sent, "the bytes differ");
            socket.shutdown_write().unwrap();
            assert!(socket.recv().await.unwrap().is_none());
            drop(socket);
            settled(handle).await;
        });
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listen(handle);
            drop(listener);
            let error = loop {
                match handle.connect(address).await {
                    Err(error) => break error,
                    // On the kernel's drivers the listener may take a moment to go.
                    Ok(_) => handle.yield_now().await,
                }
            };
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        });
    });
}

#[test]
fn a_timer_fires_after_its_time() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let before = handle.now();
            handle.sleep(std::time::Duration::from_millis(20)).await;
            assert!(handle.now() - before >= std::time::Duration::from_millis(20));
            assert_eq!(handle.stats().timers, 0);
        });
    });
}

#[test]
fn a_kept_timer_wakes_at_the_time_that_it_was_given_last() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let millis = std::time::Duration::from_millis;
            let mut timer = handle.timer();
            // Later, sooner, and anew after it has fired.
            for times in [&[5][..], &[5, 30], &[60_000, 10], &[60_000, 5, 20, 8]] {
                let begun = handle.now();
                let mut deadline = begun;
                for &time in times {
                    deadline = begun + millis(time);
                    let waits = timer.timeout(deadline, std::future::pending::<()>());
                    assert!(poll_once(&mut std::pin::pin!(waits)).await.is_none());
                }
                let waits = timer.timeout(deadline, std::future::pending::<()>());
                assert!(waits.await.is_err(), "there is nothing else to end it");
                assert!(handle.now() >= deadline, "early");
                assert_eq!(handle.stats().timers, 1);
            }
            let done = timer.timeout(handle.now(), std::future::ready(1));
            assert_eq!(done.await, Ok(1), "work that is done is preferred");
            drop(timer);
            assert_eq!(handle.stats().timers, 0);
        });
    });
}
