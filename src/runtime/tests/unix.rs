//! What Unix sockets do that TCP does not: their errors, their queue, their end.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::*;

fn path(bytes: &[u8]) -> Arc<Path> {
    Path::new(std::ffi::OsStr::from_bytes(bytes)).into()
}

#[test]
fn a_path_that_nobody_has_made_is_not_found() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let file = SocketFile::new();
            let error = in_time(handle, handle.connect_unix(file.path())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            settled(handle).await;
        });
    });
}

#[test]
fn a_path_whose_listener_is_gone_refuses() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, spot) = listen_over(handle, Carrier::Unix);
            drop(listener);
            settled(handle).await;
            let error = in_time(handle, connect(handle, &spot)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            settled(handle).await;
        });
    });
}

#[test]
fn paths_that_cannot_be_are_named() {
    for kind in KERNEL_DRIVERS {
        let runtime = runtime(kind, &Options::default());
        let handle = runtime.handle();
        runtime.block_on(async {
            for (bytes, words) in
                [(&[b'/'; 109][..], "more than 108 bytes"), (b"", "is empty"), (b"/tmp/a\0b", "a NUL")]
            {
                let error = in_time(handle, handle.connect_unix(&path(bytes))).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(words), "{error}");
            }
            // The longest that fits is looked for: it is a directory.
            let error = in_time(handle, handle.connect_unix(&path(&[b'/'; 108]))).await.unwrap_err();
            assert_ne!(error.kind(), ErrorKind::InvalidInput, "{error}");
            settled(handle).await;
        });
    }
}

#[test]
fn a_file_without_permission_is_named() {
    if !is_root() {
        for kind in KERNEL_DRIVERS {
            let runtime = runtime(kind, &Options::default());
            let handle = runtime.handle();
            runtime.block_on(async {
                let (_listener, spot) = listen_over(handle, Carrier::Unix);
                let Spot::Unix(file) = &spot else { unreachable!("asked for") };
                let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
                std::fs::set_permissions(file.path(), nobody).unwrap();
                let error = in_time(handle, connect(handle, &spot)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            });
        }
    } else {
        say("root may connect to anything, so this was not tested");
    }
}

/// A Unix listener whose queue has one place.
fn narrow(handle: &Handle, runtime: &Runtime) -> (Listener, Spot) {
    if runtime.driver_kind() == DriverKind::Memory {
        return listen_over(handle, Carrier::Unix);
    }
    let file = SocketFile::new();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&**file.path()).unwrap()).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let key = handle.driver().adopt_listener(socket).unwrap();
    (Listener::new(handle.clone(), key), Spot::Unix(file))
}

/// As [`on_every_driver`], with a queue of one place in memory.
fn on_every_driver_with_a_narrow_queue(test: impl Fn(&Runtime)) {
    for kind in KERNEL_DRIVERS {
        test(&runtime(kind, &Options::default()));
    }
    test(&Runtime::in_memory(Network { queue: 0, ..Network::default() }, 512));
}

#[test]
fn a_full_queue_is_waited_for() {
    on_every_driver_with_a_narrow_queue(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, spot) = narrow(handle, runtime);
            let first = in_time(handle, connect(handle, &spot)).await.unwrap();
            let held = handle.stats().sockets;
            let mut second = connect(handle, &spot);
            for _ in 0..5 {
                assert!(poll_once(&mut second).await.is_none(), "there is no room for it");
                handle.sleep(Duration::from_millis(3)).await;
            }
            assert_eq!(handle.stats().sockets, held, "an attempt that failed holds nothing");
            let turns = handle.stats().turns;
            assert!(turns < 200, "it asks now and then: {turns}");
            let (far, _) = in_time(handle, listener.accept()).await.unwrap();
            let second = in_time(handle, second).await.unwrap();
            let (further, _) = in_time(handle, listener.accept()).await.unwrap();
            for (near, far) in [(&first, &far), (&second, &further)] {
                send(near, b"in order").await;
                assert_eq!(receive(far, 8).await, b"in order");
            }
        });
        runtime.block_on(settled(handle));
    });
}

#[test]
fn a_full_queue_ends_with_the_deadline_or_with_the_listener() {
    on_every_driver_with_a_narrow_queue(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, spot) = narrow(handle, runtime);
            let _first = in_time(handle, connect(handle, &spot)).await.unwrap();
            let held = handle.stats().sockets;
            let deadline = handle.now() + Duration::from_millis(30);
            for _ in 0..20 {
                assert!(handle.timeout(deadline, connect(handle, &spot)).await.is_err());
            }
            assert!(handle.now() >= deadline);
            assert_eq!((handle.stats().timers, handle.stats().sockets), (0, held));
            let mut waiting = connect(handle, &spot);
            assert!(poll_once(&mut waiting).await.is_none());
            drop(listener);
            let error = in_time(handle, waiting).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
        runtime.block_on(settled(handle));
    });
}

#[test]
fn a_reset_is_an_end_unless_something_was_left_unread() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, Carrier::Unix).await;
            send(&far, b"last words").await;
            far.reset();
            assert_eq!(receive(&near, 10).await, b"last words");
            assert!(in_time(handle, near.recv()).await.unwrap().is_none());
            let error = in_time(handle, near.send(&[std::io::IoSlice::new(b"x")])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);

            let (near, far) = pair_over(handle, Carrier::Unix).await;
            send(&near, b"never read").await;
            handle.sleep(Duration::from_millis(1)).await;
            far.reset();
            assert_eq!(in_time(handle, near.recv()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert!(in_time(handle, near.recv()).await.unwrap().is_none(), "an error once, and then the end");
        });
        runtime.block_on(settled(handle));
    });
}

#[test]
fn who_has_closed_is_over_though_its_bytes_are_unread() {
    on_every_driver(|runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (near, far) = pair_over(handle, Carrier::Unix).await;
            send(&far, b"unread").await;
            drop(far);
            in_time(handle, near.over()).await;
            assert_eq!(receive(&near, 6).await, b"unread");
            assert!(in_time(handle, near.recv()).await.unwrap().is_none());
        });
        runtime.block_on(settled(handle));
    });
}

/// A receive stops at descriptors: a short one does not mean that there is no more.
#[test]
fn descriptors_that_a_peer_sends_are_closed_and_hide_nothing() {
    alone(own_path!(descriptors_that_a_peer_sends_are_closed_and_hide_nothing), || {
        for kind in KERNEL_DRIVERS {
            let runtime = runtime(kind, &Options::default());
            let handle = runtime.handle();
            runtime.block_on(async {
                let (listener, spot) = listen_over(handle, Carrier::Unix);
                let Spot::Unix(file) = &spot else { unreachable!("asked for") };
                let client = std::os::unix::net::UnixStream::connect(file.path()).unwrap();
                let (socket, peer) = in_time(handle, listener.accept()).await.unwrap();
                assert_eq!(peer, None);
                let before = descriptors();
                for round in 0..3 {
                    for _ in 0..3 {
                        send_descriptor(&client, b"abc");
                    }
                    if round > 0 {
                        handle.sleep(Duration::from_millis(2)).await;
                    }
                    assert_eq!(receive(&socket, 9).await, b"abcabcabc");
                }
                assert_eq!(descriptors(), before, "{kind}");
            });
        }
    });
}

/// Sends `bytes`, and with them the stream's own descriptor.
fn send_descriptor(stream: &std::os::unix::net::UnixStream, bytes: &[u8]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [std::os::fd::AsFd::as_fd(stream)];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let sent = rustix::net::sendmsg(stream, &[std::io::IoSlice::new(bytes)], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

/// In a process of its own, so that all sockets found are the test's.
#[test]
fn unix_sockets_are_closed_on_exec_and_never_block() {
    alone(own_path!(unix_sockets_are_closed_on_exec_and_never_block), || {
        for kind in KERNEL_DRIVERS {
            let runtime = runtime(kind, &Options::default());
            let handle = runtime.handle();
            runtime.block_on(async {
                let (_near, _far) = pair_over(handle, Carrier::Unix).await;
                let mut found = 0;
                for number in 3..200 {
                    // SAFETY: it is only asked about; a number that is no descriptor answers with an error.
                    let fd = unsafe { BorrowedFd::borrow_raw(number) };
                    let Ok(flags) = rustix::io::fcntl_getfd(fd) else { continue };
                    if sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX) {
                        assert!(flags.contains(FdFlags::CLOEXEC), "{number} survives an exec");
                        // SAFETY: asking for the flags takes no argument.
                        let status = unsafe { libc::fcntl(number, libc::F_GETFL) };
                        assert!(status & libc::O_NONBLOCK != 0, "{number} blocks");
                        found += 1;
                    }
                }
                assert!(found >= 2, "{kind}: two ends, and found {found}");
            });
        }
    });
}
