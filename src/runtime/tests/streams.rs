//! What TCP does at the end of a connection, and how our sockets are set up.

use std::io::{ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SendFlags, SocketType, sockopt};

use super::*;

#[test]
fn each_direction_ends_by_itself() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            send(&near, b"last words").await;
            near.shutdown_write().unwrap();
            let error = near.send(&[IoSlice::new(b"more")]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert_eq!(receive(&far, 10).await, b"last words");
            for _ in 0..3 {
                assert!(in_time(handle, far.recv()).await.unwrap().is_none(), "the end stays the end");
            }
            // The other direction goes on, for a long time and many bytes.
            let group = Group::new(handle);
            group.spawn(async move {
                let mut place = Place::start(3);
                while place.position < 2_000_000 {
                    send(&far, &place.write(20_000)).await;
                }
                far.shutdown_write().unwrap();
            });
            let mut place = Place::start(3);
            while let Some(chunk) = in_time(handle, near.recv()).await.unwrap() {
                place.check(&chunk);
            }
            assert_eq!(place.position, 2_000_000);
            group.join().await;
            drop(near);
            settled(handle).await;
        });
    });
}

#[test]
fn a_reset_is_an_error_once_and_then_the_end() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            for past in Past::ALL {
                let (near, far) = pair(handle).await;
                past.happens(&far, &near).await;
                // Also to one who was waiting when it came.
                let mut waiting = near.recv();
                assert!(poll_once(&mut waiting).await.is_none());
                far.reset();
                let error = in_time(handle, waiting).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                assert!(in_time(handle, near.recv()).await.unwrap().is_none());
                let error = in_time(handle, near.send(&[IoSlice::new(b"x")])).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert!(!near.is_quiet());
            }
        });
        runtime.block_on(settled(handle));
    });
}

/// A reset that comes while nobody waits is told to the next who does, behind what has come before it.
#[test]
fn a_reset_between_messages_is_told_in_its_order() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            for past in Past::ALL {
                let (near, far) = pair(handle).await;
                past.happens(&far, &near).await;
                assert!(poll_once(&mut near.recv()).await.is_none());
                send(&far, b"last words").await;
                until(handle, "they have come", |_| !near.is_quiet()).await;
                far.reset();
                handle.sleep(Duration::from_millis(2)).await;
                let mut received = Vec::new();
                let end = loop {
                    match in_time(handle, near.recv()).await {
                        Ok(Some(chunk)) => received.extend_from_slice(&chunk),
                        end => break end,
                    }
                };
                assert!(end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
                // A reset may take with it what the system still had; never a part.
                assert!(received.is_empty() || received == b"last words", "{}", received.escape_ascii());
                assert!(in_time(handle, near.recv()).await.unwrap().is_none());
            }
            settled(handle).await;
        });
    });
}

#[test]
fn a_close_with_unread_bytes_is_a_reset() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            send(&near, b"never read").await;
            handle.sleep(Duration::from_millis(1)).await;
            drop(far);
            let error = in_time(handle, near.recv()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
    });
}

#[test]
fn a_reset_ends_a_send_that_waits() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            let big = vec![1; 16_000_000];
            let mut sending = near.send(&[IoSlice::new(&big)]);
            assert!(poll_once(&mut sending).await.is_none());
            handle.sleep(Duration::from_millis(1)).await;
            far.reset();
            let error = in_time(handle, sending).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            assert!(near.send(&[IoSlice::new(b"x")]).await.is_err());
        });
        runtime.block_on(settled(handle));
    });
}

/// With the default action of SIGPIPE, which Rust's start-up has switched off.
#[test]
fn a_send_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    alone(own_path!(a_send_to_a_peer_that_is_gone_is_an_error_and_no_signal), || {
        // SAFETY: the default action is no handler of ours.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        on_every_driver_and_carrier(|runtime, carrier| {
            let handle = runtime.handle();
            runtime.block_on(async {
                for parts in [vec![IoSlice::new(b"one")], vec![IoSlice::new(b"one"), IoSlice::new(b"two")]] {
                    let (near, far) = pair_over(handle, carrier).await;
                    drop(far);
                    assert!(in_time(handle, near.recv()).await.unwrap().is_none());
                    let patience = handle.now() + PATIENCE;
                    let error = loop {
                        if let Err(error) = in_time(handle, near.send(&parts)).await {
                            break error;
                        }
                        assert!(handle.now() < patience);
                        handle.sleep(Duration::from_millis(1)).await;
                    };
                    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
                }
            });
        });
    });
}

#[test]
fn more_parts_than_one_call_takes_are_sent() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            let bytes = Place::start(5).write(5000);
            let parts: Vec<IoSlice<'_>> = bytes.chunks(2).map(IoSlice::new).collect();
            in_time(handle, near.send(&parts)).await.unwrap();
            assert!(receive(&far, 5000).await == bytes);
        });
    });
}

#[test]
fn a_stream_is_over_when_both_directions_are() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            far.shutdown_write().unwrap();
            assert!(in_time(handle, near.recv()).await.unwrap().is_none());
            for _ in 0..5 {
                assert!(poll_once(&mut near.over()).await.is_none(), "the peer still listens");
                handle.sleep(Duration::from_millis(1)).await;
            }
            let mut over = near.over();
            assert!(poll_once(&mut over).await.is_none());
            near.shutdown_write().unwrap();
            in_time(handle, over).await;
            in_time(handle, near.over()).await;

            let (near, far) = pair_over(handle, carrier).await;
            far.reset();
            in_time(handle, near.over()).await;
            match in_time(handle, near.recv()).await {
                Ok(None) => assert_eq!(carrier, Carrier::Unix, "which knows no resets"),
                Ok(Some(_)) => panic!("nothing was sent"),
                Err(error) => assert_eq!((error.kind(), carrier), (ErrorKind::ConnectionReset, Carrier::Tcp)),
            }
            in_time(handle, near.over()).await;
        });
        runtime.block_on(settled(handle));
    });
}

/// io_uring's polls also answer to a half-close that nobody asked for.
#[test]
fn a_worker_sleeps_while_a_half_closed_peer_does_not_read() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            for early in [true, false] {
                let (near, far) = pair_over(handle, carrier).await;
                if early {
                    far.shutdown_write().unwrap();
                    assert!(in_time(handle, near.recv()).await.unwrap().is_none());
                }
                let bytes = Place::start(1).write(16_000_000);
                let group = Group::new(handle);
                group.spawn(async move {
                    send(&near, &bytes).await;
                    assert!(poll_once(&mut near.over()).await.is_none());
                });
                handle.sleep(Duration::from_millis(5)).await;
                if !early {
                    far.shutdown_write().unwrap();
                }
                handle.sleep(Duration::from_millis(5)).await;
                let before = handle.stats().turns;
                handle.sleep(Duration::from_millis(100)).await;
                let turns = handle.stats().turns - before;
                assert!(turns < 30, "{}: {turns} turns in which nothing could happen", runtime.driver_kind());
                let mut place = Place::start(1);
                while let Some(chunk) = in_time(handle, far.recv()).await.unwrap() {
                    place.check(&chunk);
                }
                assert_eq!(place.position, 16_000_000);
                group.join().await;
            }
        });
        runtime.block_on(settled(handle));
    });
}

/// One task sends, one receives, and one waits for the end; each is woken.
#[test]
fn who_waits_for_the_end_takes_nobodys_wake() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, carrier).await;
            let (near, group) = (std::rc::Rc::new(near), Group::new(handle));
            let (sender, receiver, waiter) = (near.clone(), near.clone(), near);
            group.spawn(async move {
                send(&sender, &Place::start(1).write(8_000_000)).await;
                sender.shutdown_write().unwrap();
            });
            group.spawn(async move { assert_eq!(receive(&receiver, 4).await, b"fine") });
            group.spawn(async move { in_time(waiter.handle(), waiter.over()).await });
            handle.sleep(Duration::from_millis(5)).await;
            let mut place = Place::start(1);
            while let Some(chunk) = in_time(handle, far.recv()).await.unwrap() {
                place.check(&chunk);
            }
            assert_eq!(place.position, 8_000_000);
            send(&far, b"fine").await;
            far.shutdown_write().unwrap();
            group.join().await;
        });
        runtime.block_on(settled(handle));
    });
}

#[test]
fn urgent_data_does_not_hide_what_comes_after_it() {
    // The memory driver has no urgent data.
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listen(handle);
            let client = std::net::TcpStream::connect(address).unwrap();
            let (socket, _) = in_time(handle, listener.accept()).await.unwrap();
            for round in 0..3 {
                for (bytes, flags) in
                    [(b"abc", SendFlags::empty()), (b"de!", SendFlags::OOB), (b"fgh", SendFlags::empty())]
                {
                    assert_eq!(rustix::net::send(&client, bytes, flags), Ok(3));
                }
                if round > 0 {
                    handle.sleep(Duration::from_millis(2)).await;
                }
                // The urgent byte itself is out of band.
                assert_eq!(receive(&socket, 8).await, b"abcdefgh");
            }
        });
    }
}

/// Runs `news` on the far end and sees that the near end has noticed, which is idle after `past`.
async fn is_noticed(
    handle: &Handle,
    carrier: Carrier,
    watched: bool,
    past: Past,
    news: impl AsyncFnOnce(Socket) -> Option<Socket>,
) {
    let (near, far) = pair_over(handle, carrier).await;
    past.happens(&far, &near).await;
    if watched {
        near.watch();
    }
    for _ in 0..3 {
        handle.sleep(Duration::from_millis(1)).await;
        assert!(near.is_quiet(), "nothing has come");
    }
    let _kept = news(far).await;
    until(handle, "it was not noticed", |_| !near.is_quiet()).await;
    assert!(!near.is_quiet(), "and it stays so");
}

#[test]
fn an_idle_connection_notices_bytes_an_end_and_a_reset() {
    on_every_driver_and_carrier(|runtime, carrier| {
        let handle = runtime.handle();
        runtime.block_on(async {
            for (watched, past) in [false, true].into_iter().flat_map(|watched| Past::ALL.map(|past| (watched, past))) {
                is_noticed(handle, carrier, watched, past, async |far| {
                    send(&far, b"?").await;
                    Some(far)
                })
                .await;
                is_noticed(handle, carrier, watched, past, async |far| {
                    far.shutdown_write().unwrap();
                    Some(far)
                })
                .await;
                is_noticed(handle, carrier, watched, past, async |far| {
                    drop(far);
                    None
                })
                .await;
                is_noticed(handle, carrier, watched, past, async |far| {
                    far.reset();
                    None
                })
                .await;
            }
            settled(handle).await;
        });
    });
}

/// A listener whose queue is full: the system drops what knocks.
fn black_hole() -> (std::os::fd::OwnedFd, std::net::SocketAddr, Vec<std::os::fd::OwnedFd>) {
    let socket = || {
        let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
    };
    let hole = socket();
    rustix::net::bind(&hole, &loopback(0)).unwrap();
    rustix::net::listen(&hole, 0).unwrap();
    let address = rustix::net::getsockname(&hole).unwrap().try_into().unwrap();
    let fill = (0..4).map(|_| {
        let filler = socket();
        let _ = rustix::net::connect(&filler, &address);
        filler
    });
    let fill = fill.collect();
    (hole, address, fill)
}

#[test]
fn a_connect_that_is_never_answered_ends_with_its_deadline() {
    alone(own_path!(a_connect_that_is_never_answered_ends_with_its_deadline), || {
        for kind in KERNEL_DRIVERS {
            let runtime = runtime(kind, &Options::default());
            let handle = runtime.handle();
            let (_hole, address, _fill) = black_hole();
            let before = descriptors();
            runtime.block_on(async {
                let deadline = handle.now() + Duration::from_millis(30);
                for _ in 0..20 {
                    assert!(handle.timeout(deadline, handle.connect(address)).await.is_err());
                }
                assert!(handle.now() >= deadline);
                settled(handle).await;
            });
            assert_eq!(descriptors(), before);
        }
    });
}

/// In a process of its own, so that all sockets found are the test's.
#[test]
fn sockets_are_closed_on_exec_and_send_without_delay() {
    alone(own_path!(sockets_are_closed_on_exec_and_send_without_delay), || {
        for kind in KERNEL_DRIVERS {
            let runtime = runtime(kind, &Options::default());
            let handle = runtime.handle();
            runtime.block_on(async {
                let (listener, address) = listen(handle);
                let near = handle.connect(address).await.unwrap();
                let far = listener.accept().await.unwrap().0;
                send(&near, b"x").await;
                receive(&far, 1).await;
                assert_eq!(inspect_sockets(), 3, "{kind}: a listener and two ends");
            });
        }
    });
}

/// How many TCP sockets there are, each of which must be set up right.
fn inspect_sockets() -> usize {
    let mut found = 0;
    for number in 3..200 {
        // SAFETY: it is only asked about; a number that is no descriptor answers with an error.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let Ok(flags) = rustix::io::fcntl_getfd(fd) else { continue };
        let Ok(domain) = sockopt::socket_domain(fd) else { continue };
        if domain == AddressFamily::INET {
            assert!(flags.contains(FdFlags::CLOEXEC), "{number} survives an exec");
            assert!(sockopt::tcp_nodelay(fd).unwrap(), "{number} delays");
            // SAFETY: asking for the flags takes no argument.
            let status = unsafe { libc::fcntl(number, libc::F_GETFL) };
            assert!(status & libc::O_NONBLOCK != 0, "{number} blocks");
            found += 1;
        }
    }
    found
}

#[test]
fn a_timer_never_fires_early_and_hardly_late() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            for micros in [1, 500, 999, 1000, 1001, 3000, 70_000] {
                let before = handle.now_exactly();
                let deadline = before + Duration::from_micros(micros);
                handle.sleep_until(deadline).await;
                assert!(handle.now_exactly() >= deadline, "early");
            }
            if runtime.driver_kind() == DriverKind::Memory {
                return;
            }
            // Work between the last look at the clock and the sleep is no reason to be late.
            let mut late = Vec::new();
            for _ in 0..15 {
                handle.yield_now().await;
                let deadline = handle.now() + Duration::from_millis(20);
                let busy = std::time::Instant::now();
                while busy.elapsed() < Duration::from_millis(18) {}
                handle.sleep_until(deadline).await;
                late.push(handle.now() - deadline);
            }
            late.sort_unstable();
            assert!(late[7] < Duration::from_millis(10), "late by {late:?}");
        });
    });
}

#[test]
fn a_timeout_prefers_the_work_that_is_done() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let past = crate::base::time::Instant::ZERO;
            assert_eq!(handle.timeout(past, std::future::ready(1)).await, Ok(1));
            assert!(handle.timeout(past, std::future::pending::<()>()).await.is_err());
            let never = handle.timeout(crate::base::time::Instant::NEVER, handle.sleep(Duration::from_millis(2)));
            assert!(never.await.is_ok());
            assert_eq!(handle.stats().timers, 0);
        });
    });
}
