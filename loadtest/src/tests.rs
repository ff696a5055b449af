//! The generator against servers that do, and do not do, what they should.

use crate::backend::Backend;
use crate::idle;
use crate::load::report::{Failure, Report};
use crate::load::{Edge, Plan, run};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A backend on a thread of its own, until it is dropped.
struct Origin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = channel();
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut backend = Backend::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 128).unwrap();
            tell.send(backend.address()).unwrap();
            backend.serve(|| asked.load(Ordering::Relaxed)).unwrap();
        });
        Self { address: told.recv().unwrap(), stop, thread: Some(thread) }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn plan(address: SocketAddr) -> Plan {
    Plan {
        address,
        paths: vec!["/".to_owned()],
        connections: 8,
        measured: Duration::from_secs(1),
        warmup: Duration::from_millis(20),
        rate: None,
        close: false,
        upload: 0,
        fields: 3,
        expect: Some(128),
        timeout: Duration::from_secs(5),
    }
}

fn report(plan: &Plan) -> Report {
    run(plan, |_| Ok(())).unwrap()
}

fn good(plan: &Plan) -> Report {
    let report = report(plan);
    assert!(report.failures.is_empty() && report.requests > 0, "{}", report.json());
    report
}

#[test]
fn a_closed_loop_keeps_its_connections_busy() {
    let origin = Origin::start();
    let (mut edges, plan) = (Vec::new(), plan(origin.address));
    let started = Instant::now();
    let report = run(&plan, |edge| {
        edges.push((edge, Instant::now()));
        Ok(())
    });
    let report = report.unwrap();
    assert_eq!((report.failures.len(), report.reopened), (0, 0), "{}", report.json());
    assert_eq!(report.received, report.requests * 128);
    // One at a time on each of eight connections.
    let [(Edge::Begin, begun), (Edge::End, ended)] = edges[..] else { panic!("{edges:?}") };
    let measured = ended - started - plan.warmup;
    let most = measured.as_secs_f64() / report.quantile(0.0).as_secs_f64() * 8.0;
    assert!(report.requests > 0 && (report.requests as f64) <= most, "{}", report.json());
    // However late this machine is, neither edge comes before its time.
    assert!(begun - started >= plan.warmup && measured >= plan.measured, "{edges:?}");
}

#[test]
fn an_open_loop_sends_at_its_rate_whatever_the_server_could_take() {
    let origin = Origin::start();
    let report = good(&Plan { rate: Some(1000.0), ..plan(origin.address) });
    let measured = report.json()["latency_us"]["count"].as_u64().unwrap();
    assert_eq!(measured, 1000, "{}", report.json());
}

#[test]
fn bodies_of_any_size_go_both_ways() {
    let origin = Origin::start();
    for (size, upload) in [(0, 0), (0, 1), (10 * 1024, 0), (1024 * 1024, 0), (1, 64 * 1024), (1024 * 1024, 1024 * 1024)]
    {
        let report =
            good(&Plan { paths: vec![format!("/a?size={size}")], upload, expect: Some(size), ..plan(origin.address) });
        assert_eq!(report.received, report.requests * size, "{size}, {upload}");
    }
}

#[test]
fn a_connection_may_be_for_one_request() {
    let origin = Origin::start();
    let report = good(&Plan { close: true, ..plan(origin.address) });
    assert_eq!(report.reopened, 0);
    good(&Plan { close: true, rate: Some(500.0), ..plan(origin.address) });
}

#[test]
fn many_fields_and_many_connections_work() {
    let origin = Origin::start();
    good(&Plan { fields: 60, connections: 200, ..plan(origin.address) });
}

#[test]
fn a_wrong_length_and_a_wrong_status_are_failures() {
    let origin = Origin::start();
    let report = report(&Plan { expect: Some(127), ..plan(origin.address) });
    assert_eq!(report.requests, 0);
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&Failure::Length]);
    let (address, _thread) = server(|mut stream, _| {
        while request(&mut stream) {
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let report = self::report(&plan(address));
    assert_eq!((report.requests, report.failures.keys().collect::<Vec<_>>()), (0, vec![&Failure::Status(503)]));
}

#[test]
fn paths_are_asked_for_in_turn() {
    let origin = Origin::start();
    let paths: Vec<_> = [10, 20, 30].iter().map(|size| format!("/?size={size}")).collect();
    let report = good(&Plan { paths, connections: 1, expect: None, ..plan(origin.address) });
    let mean = report.received as f64 / report.requests as f64;
    assert!((mean - 20.0).abs() < 1.0, "{mean}");
}

/// A server with a thread for each connection, which is given its number.
fn server(serve: impl Fn(TcpStream, u64) + Send + Sync + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (serve, count) = (Arc::new(serve), AtomicU64::new(0));
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (serve, number) = (Arc::clone(&serve), count.fetch_add(1, Ordering::Relaxed));
            std::thread::spawn(move || serve(stream, number));
        }
    });
    (address, thread)
}

/// Reads a request without a body; `false` at the end of the stream.
fn request(stream: &mut TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

fn answer(stream: &mut TcpStream) -> bool {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n";
    stream.write_all(&[head.as_slice(), &[b'x'; 128]].concat()).is_ok()
}

#[test]
fn what_a_server_does_wrong_is_told_by_kind() {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let kind = |timeout: Duration, serve: fn(&mut TcpStream)| {
        let (address, _thread) = server(move |mut stream, _| {
            if request(&mut stream) {
                serve(&mut stream);
            }
        });
        let report = report(&Plan { timeout, connections: 2, ..plan(address) });
        assert_eq!(report.requests, 0, "{}", report.json());
        report.failures.into_keys().collect::<Vec<_>>()
    };
    // However long this machine takes over what is done at once.
    let patience = Duration::from_secs(30);
    assert_eq!(kind(patience, |_| {}), [Failure::Closed]);
    assert_eq!(kind(patience, |stream| drop(stream.write_all(HALF))), [Failure::Closed]);
    assert_eq!(kind(patience, |stream| drop(stream.write_all(b"220 not HTTP at all\r\n\r\n"))), [Failure::Malformed]);
    let silent = kind(Duration::from_millis(100), |stream| drop(stream.read(&mut [0])));
    assert_eq!(silent, [Failure::Timeout]);
}

#[test]
fn a_reset_is_told_from_an_end() {
    // A socket that is closed with unread bytes is reset.
    let (address, _thread) = server(|mut stream, _| drop(stream.read(&mut [0])));
    let report = report(&Plan { connections: 2, ..plan(address) });
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&Failure::Reset]);
}

#[test]
fn nobody_at_the_address_is_a_failure_to_connect() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for close in [false, true] {
        let report = report(&Plan { close, ..plan(address) });
        assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&Failure::Connect]);
    }
}

#[test]
fn a_server_that_closes_in_good_order_is_asked_on_a_new_connection() {
    let (address, _thread) = server(|mut stream, _| {
        if request(&mut stream) {
            let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 128\r\n\r\n";
            let _ = stream.write_all(&[head.as_slice(), &[b'x'; 128]].concat());
        }
    });
    let report = good(&plan(address));
    assert!(report.reopened >= report.requests, "{}", report.json());
}

/// Lets this thread do nothing for a while, as a server in trouble does.
fn stall(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::thread::park_timeout(duration.saturating_sub(start.elapsed()));
    }
}

/// Answers at once, but for one stall of all its connections that lasts so long.
fn stalling(duration: Duration) -> SocketAddr {
    let from = Instant::now() + Duration::from_millis(150);
    let stalled = Mutex::new(false);
    let (address, _thread) = server(move |mut stream, _| {
        while request(&mut stream) {
            let mut stalled = stalled.lock().unwrap();
            if !*stalled && Instant::now() > from {
                stall(duration);
                *stalled = true;
            }
            drop(stalled);
            if !answer(&mut stream) {
                break;
            }
        }
    });
    address
}

#[test]
fn a_stall_is_charged_with_every_request_of_its_time() {
    let silence = Duration::from_millis(200);
    let measured = Duration::from_millis(600);
    let plan = |rate| Plan { rate, measured, connections: 4, ..plan(stalling(silence)) };
    // Of 600 ms, 200 were silent: a third of all requests came too late, by 100 ms on average.
    let open = good(&plan(Some(1000.0)));
    assert!(open.quantile(0.85) > silence / 3, "{}", open.json());
    assert!(open.quantile(0.99) > silence * 9 / 10, "{}", open.json());
    // The closed loop has sent four requests in that time: hardly anything to see.
    let closed = good(&plan(None));
    assert!(closed.quantile(0.85) < silence / 3, "{}", closed.json());
}

#[test]
fn a_server_that_cannot_keep_up_is_found_out() {
    let (address, _thread) = server(|mut stream, _| {
        while request(&mut stream) {
            stall(Duration::from_millis(50));
            if !answer(&mut stream) {
                break;
            }
        }
    });
    // It takes at most forty a second, and is asked for a thousand.
    let report = report(&Plan { rate: Some(1000.0), connections: 2, ..plan(address) });
    assert!(report.requests <= 42, "{}", report.json());
    assert!(report.failures.get(&Failure::Unsent).is_some_and(|unsent| *unsent > 100), "{}", report.json());
}

#[test]
fn idle_connections_stay_until_the_server_closes_them() {
    let origin = Origin::start();
    let held = idle::open(origin.address, 50, "/").unwrap();
    assert_eq!((held.len(), idle::still_open(&held).unwrap()), (50, 50));
    drop(origin);
    assert_eq!(idle::still_open(&held).unwrap(), 0);
    assert!(idle::open(held[0].peer_addr().unwrap(), 1, "/").is_err());
}
