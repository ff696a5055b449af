//! Too few buffers, queue entries and descriptors, and too many signals.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Streams at a time.
const MANY: u64 = 60;

/// Sends `size` numbered bytes over each of [`MANY`] connections, in one task each.
async fn transfers(handle: &Handle, size: usize, hold: Duration) {
    let group = Group::new(handle);
    let (listener, address) = listen(handle);
    for tag in 0..MANY {
        let near = in_time(handle, handle.connect(address)).await.unwrap();
        let far = in_time(handle, listener.accept()).await.unwrap().0;
        group.spawn(async move {
            let mut place = Place::start(tag);
            while (place.position as usize) < size {
                let bytes = place.write(10_000.min(size - place.position as usize));
                send(&near, &bytes).await;
            }
        });
        group.spawn(async move {
            let mut place = Place::start(tag);
            while let Some(chunk) = far.recv().await.unwrap() {
                place.check(&chunk);
                if !hold.is_zero() && place.position == chunk.len() as u64 {
                    far.handle().sleep(hold).await;
                }
            }
            assert_eq!(place.position as usize, size);
        });
    }
    drop(listener);
    group.join().await;
    settled(handle).await;
}

#[test]
fn few_buffers_serve_many_streams() {
    for buffers in [1, 2, 5] {
        on_every_driver_with(&Options { buffers, ..Options::default() }, |runtime| {
            runtime.block_on(transfers(runtime.handle(), 60_000, Duration::from_millis(1)));
        });
    }
}

#[test]
fn tiny_queues_serve_many_streams() {
    let options = Options { submissions: 1, completions: 2, ..Options::default() };
    on_every_driver_with(&options, |runtime| {
        runtime.block_on(transfers(runtime.handle(), 60_000, Duration::ZERO));
    });
}

/// Hundreds of completions at one moment for a queue that holds two.
#[test]
fn a_completion_queue_that_overflows_loses_nothing() {
    let options = Options { submissions: 1, completions: 2, ..Options::default() };
    on_every_driver_with(&options, |runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let group = Group::new(handle);
            let (listener, address) = listen(handle);
            let mut near = Vec::new();
            for tag in 0..300u64 {
                near.push(in_time(handle, handle.connect(address)).await.unwrap());
                let far = in_time(handle, listener.accept()).await.unwrap().0;
                group.spawn(async move {
                    let mut place = Place::start(tag);
                    place.check(&receive(&far, 1000).await);
                });
            }
            // All wait; then all are served without a turn in between.
            handle.sleep(Duration::from_millis(5)).await;
            for (tag, socket) in near.iter().enumerate() {
                let bytes = Place::start(tag as u64).write(1000);
                assert!(socket.send(&[io::IoSlice::new(&bytes)]).is_done());
            }
            group.join().await;
        });
        runtime.block_on(settled(handle));
    });
}

#[test]
fn a_worker_without_buffers_sleeps() {
    on_every_driver_with(&Options { buffers: 2, ..Options::default() }, |runtime| {
        let handle = runtime.handle();
        runtime.block_on(async {
            let (mut held, mut keep) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                let (near, far) = pair(handle).await;
                send(&near, b"held").await;
                held.push(in_time(handle, far.recv()).await.unwrap().unwrap());
                keep.push((near, far));
            }
            let group = Group::new(handle);
            for _ in 0..30 {
                let (near, far) = pair(handle).await;
                send(&near, b"waits").await;
                group.spawn(async move { assert_eq!(receive(&far, 5).await, b"waits") });
                keep.push((near, pair(handle).await.1));
            }
            handle.sleep(Duration::from_millis(10)).await;
            let before = handle.stats().turns;
            handle.sleep(Duration::from_millis(100)).await;
            let turns = handle.stats().turns - before;
            assert!(turns < 30, "{turns} turns in which nothing could happen");
            assert_eq!(handle.stats().buffers, 2);
            drop(held);
            group.join().await;
        });
    });
}

/// Leaves room for `room` more descriptors.
fn limit_descriptors(room: usize) {
    let limits = getrlimit(Resource::Nofile);
    let current = Some((descriptors() - 1 + room) as u64);
    setrlimit(Resource::Nofile, Rlimit { current, maximum: limits.maximum }).expect("lowered");
}

fn is_shortage(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE)
}

/// Accepts one; where descriptors are short, pauses and tries again, as callers should.
async fn accept_patiently(handle: &Handle, listener: &Listener, shortages: &Cell<u32>) -> Socket {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                assert!(is_shortage(&error), "{error}");
                shortages.set(shortages.get() + 1);
                handle.sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[test]
fn descriptors_run_out_and_come_back() {
    alone(own_path!(descriptors_run_out_and_come_back), || {
        for kind in KERNEL_DRIVERS {
            let runtime = runtime(kind, &Options::default());
            let handle = runtime.handle();
            let unlimited = getrlimit(Resource::Nofile);
            runtime.block_on(async {
                let (listener, address) = listen(handle);
                let mut clients: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
                limit_descriptors(4);
                let shortages = Rc::new(Cell::new(0));
                let accepted: Rc<Cell<Vec<Socket>>> = Rc::default();
                let (worker, count, sockets) = (handle.clone(), shortages.clone(), accepted.clone());
                let group = Group::new(handle);
                group.spawn(async move {
                    for _ in 0..10 {
                        let socket = accept_patiently(&worker, &listener, &count).await;
                        let mut all = sockets.take();
                        all.push(socket);
                        sockets.set(all);
                    }
                });
                until(handle, "no shortage", |_| shortages.get() > 3).await;
                let error = handle.connect(address).await.unwrap_err();
                assert!(is_shortage(&error), "{error}");
                // What was accepted works on; what waits is served when there is room.
                clients.truncate(9);
                drop(accepted.take());
                until(handle, "no recovery", |_| {
                    let all = accepted.take();
                    let enough = all.len() >= 3;
                    accepted.set(all);
                    enough
                })
                .await;
                setrlimit(Resource::Nofile, unlimited).unwrap();
                group.join().await;
                handle.connect(address).await.expect_err("nobody listens any more");
                drop(accepted.take());
                say(&format!("{kind}: EMFILE {} times", shortages.get()));
                settled(handle).await;
            });
        }
    });
}

extern "C" fn nothing(_: libc::c_int) {}

/// Interrupts this process's calls, every 100 microseconds; not restarted.
fn signal_storm() {
    // SAFETY: all zero is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler does nothing, which is safe at any moment.
    assert_eq!(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) }, 0);
    let every = libc::timeval { tv_sec: 0, tv_usec: 100 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the pointer is valid, and nobody asks for the old value.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);
}

#[test]
fn signals_interrupt_nothing() {
    alone(own_path!(signals_interrupt_nothing), || {
        signal_storm();
        on_every_driver(|runtime| {
            let handle = runtime.handle();
            runtime.block_on(async {
                transfers(handle, 100_000, Duration::from_millis(1)).await;
                let before = handle.now();
                handle.sleep(Duration::from_millis(30)).await;
                assert!(handle.now() - before >= Duration::from_millis(30), "a timer fired early");
            });
        });
    });
}

#[test]
fn two_workers_share_a_port() {
    for kind in KERNEL_DRIVERS {
        let first = bind(loopback(0)).unwrap();
        let address: SocketAddr = first.address().unwrap();
        let second = bind(address).unwrap();
        assert!(is_taken(address).unwrap());
        let (report, reports) = std::sync::mpsc::channel();
        let workers: Vec<_> = [first, second]
            .into_iter()
            .map(|bound| {
                let report = report.clone();
                std::thread::spawn(move || {
                    let runtime = runtime(kind, &Options::default());
                    let handle = runtime.handle();
                    runtime.block_on(async {
                        let listener = handle.listen(bound).unwrap();
                        let mut served = 0;
                        loop {
                            let (socket, _) = in_time(handle, listener.accept()).await.unwrap();
                            let order = receive(&socket, 1).await;
                            if order == b"q" {
                                return report.send(served).unwrap();
                            }
                            served += 1;
                            send(&socket, b"!").await;
                        }
                    });
                })
            })
            .collect();
        let served = visit_both(address, &reports);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(served.iter().sum::<u32>(), 200);
        assert!(served.iter().all(|&served| served > 20), "{kind}: {served:?}");
    }
}

/// Two hundred visits, then as many farewells as both workers need to end.
fn visit_both(address: SocketAddr, reports: &std::sync::mpsc::Receiver<u32>) -> Vec<u32> {
    use std::io::{Read, Write};
    let visit = |order: &[u8]| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(order).unwrap();
        let mut answer = [0];
        let _ = client.read(&mut answer);
        answer[0]
    };
    for _ in 0..200 {
        assert_eq!(visit(b"."), b'!');
    }
    visit(b"q");
    let mut served = vec![reports.recv_timeout(PATIENCE).unwrap()];
    // The first one's socket is gone, so this reaches the second.
    while let Err(_none) = reports.try_recv().map(|count| served.push(count)) {
        if let Ok(mut client) = TcpStream::connect(address) {
            let _ = client.write_all(b"q");
            let _ = client.read(&mut [0]);
        }
        if let Ok(count) = reports.recv_timeout(Duration::from_millis(100)) {
            served.push(count);
            break;
        }
    }
    served
}
