//! Signals: what runs may finish, within a time; a second signal does not wait.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{Client, value};
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::origin::Origin;
use crate::program::{PATIENCE, wait_until};

on_both_drivers!(
    what_runs_is_finished,
    a_body_on_its_way_is_finished,
    idle_connections_are_closed,
    what_takes_too_long_is_broken_off,
    a_second_signal_does_not_wait,
    who_has_connected_before_the_signal_is_served,
);

/// A backend that answers `/slow` when the test says so, and says when it was asked.
struct Gate {
    origin: Origin,
    asked: Receiver<()>,
    answer: Sender<()>,
}

impl Gate {
    fn new() -> Gate {
        let ((was_asked, asked), (answer, may_answer)) = (channel(), channel());
        let may_answer = Mutex::new(may_answer);
        let origin = Origin::start(move |request| {
            if request.path == "/slow" {
                let _ = was_asked.send(());
                let gate = may_answer.lock().unwrap_or_else(PoisonError::into_inner);
                gate.recv().map_err(std::io::Error::other)?;
            }
            request.take_body()?;
            request.reply("hello")
        });
        Gate { origin, asked, answer }
    }

    /// A client whose request waits at the backend.
    #[track_caller]
    fn begin(&self, gateway: &Gateway) -> Client {
        let mut client = gateway.connect();
        client.ask("/slow");
        self.asked.recv_timeout(PATIENCE).unwrap();
        client
    }
}

fn wait_for_drain(gateway: &Gateway) {
    gateway.program().errors().wait_for("draining");
    wait_until("the listener's end", || Client::try_connect(gateway.public).is_err());
}

fn what_runs_is_finished(driver: &'static str) {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let gate = Gate::new();
        let gateway = Setup::new(driver, gate.origin.address).workers(2).start();
        let mut clients = [gate.begin(&gateway)];
        gateway.program().signal(signal);
        wait_for_drain(&gateway);
        gate.answer.send(()).unwrap();
        for client in &mut clients {
            let response = client.response();
            assert_eq!((response.status, response.text().as_str()), (200, "hello"));
            assert_eq!(value(&response.head, "connection"), Some("close"), "{}", response.head);
            assert!(client.is_ended());
        }
        let finished = gateway.finish();
        assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    }
}

fn a_body_on_its_way_is_finished(driver: &'static str) {
    let gate = Gate::new();
    let gateway = Setup::new(driver, gate.origin.address).start();
    let mut client = gateway.connect();
    client.send("POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
    gate.asked.recv_timeout(PATIENCE).unwrap();
    gateway.program().signal(Signal::TERM);
    wait_for_drain(&gateway);
    client.send("world");
    gate.answer.send(()).unwrap();
    assert_eq!(client.response().status, 200);
    assert_eq!(gateway.finish().status.code(), Some(0));
}

fn idle_connections_are_closed(driver: &'static str) {
    let gate = Gate::new();
    let gateway = Setup::new(driver, gate.origin.address).start();
    let mut idle: Vec<Client> = (0..20).map(|_| gateway.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").status, 200);
    }
    let begun = Instant::now();
    gateway.program().signal(Signal::TERM);
    assert!(idle.iter_mut().all(Client::is_ended));
    assert_eq!(gateway.finish().status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "nothing ran, and the drain took {:?}", begun.elapsed());
}

fn what_takes_too_long_is_broken_off(driver: &'static str) {
    let gate = Gate::new();
    let gateway = Setup::new(driver, gate.origin.address).gateway("drain_timeout = \"300ms\"").start();
    let mut client = gate.begin(&gateway);
    let begun = Instant::now();
    gateway.program().signal(Signal::TERM);
    assert_eq!(client.response().status, 503);
    let finished = gateway.finish();
    assert!(finished.errors.contains("drain_timeout") && finished.errors.contains("unfinished"), "{finished:?}");
    // The operator has set the time, and it was kept to.
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    let took = begun.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

fn a_second_signal_does_not_wait(driver: &'static str) {
    for second in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let gate = Gate::new();
        let gateway = Setup::new(driver, gate.origin.address).start();
        let mut client = gate.begin(&gateway);
        gateway.program().signal(Signal::TERM);
        gateway.program().errors().wait_for("draining");
        let begun = Instant::now();
        gateway.program().signal(second);
        assert_eq!(client.response().status, 503);
        let finished = gateway.finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.errors.contains("second signal"), "{finished:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

fn who_has_connected_before_the_signal_is_served(driver: &'static str) {
    let gate = Gate::new();
    let gateway = Setup::new(driver, gate.origin.address).workers(2).start();
    let mut kept = gateway.connect();
    assert_eq!(kept.get("/").status, 200);
    // More than a worker accepts in one turn. While the process is stopped, the kernel accepts for it, and the signal finds the connections in its queues.
    gateway.program().signal(Signal::STOP);
    let mut queued: Vec<Client> = (0..400).map(|_| gateway.connect()).collect();
    for client in queued.iter_mut().chain([&mut kept]) {
        client.ask("/");
    }
    gateway.program().signal(Signal::TERM);
    gateway.program().signal(Signal::CONT);
    for (number, client) in queued.iter_mut().chain([&mut kept]).enumerate() {
        let response = client.try_response().unwrap_or_else(|error| panic!("no response to client {number}: {error}"));
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
        assert!(client.is_ended());
    }
    drop((queued, kept));
    assert_eq!(gateway.finish().status.code(), Some(0));
}
