//! Clients and backends that come and go: nothing is left behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::backends::Backend;
use crate::client::Client;
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::origin::Origin;
use crate::program::wait_until;

on_both_drivers!(
    ten_thousand_connections_come_and_go,
    clients_that_close_their_side,
    clients_that_vanish,
    a_backend_is_killed_and_comes_back,
);

/// Connections that come and go in all.
const CONNECTIONS: usize = 10_000;

/// A gateway that lets go of idle connections to backends soon, so that they can be told from lost ones.
fn start(driver: &'static str, target: SocketAddr) -> (Gateway, usize) {
    let gateway = Setup::new(driver, target).workers(2).service("pool = { idle_timeout = \"500ms\" }").start();
    wait_until("a metric", || gateway.open() == 0);
    let baseline = lowest(&gateway);
    (gateway, baseline)
}

/// The descriptors of the gateway, without those of an operator who is just leaving.
fn lowest(gateway: &Gateway) -> usize {
    (0..20).map(|_| gateway.descriptors()).min().unwrap_or(0)
}

/// Nothing is open any more, all descriptors are back, and it still serves.
#[track_caller]
fn assert_clean(gateway: &Gateway, baseline: usize) {
    gateway.wait_for_open(0);
    wait_until("the descriptors to be given back", || gateway.descriptors() <= baseline);
    assert_eq!(gateway.metric("tidegate_task_panics_total"), 0);
    assert_eq!(gateway.connect().get("/").status, 200);
}

fn ten_thousand_connections_come_and_go(driver: &'static str) {
    let origin = Origin::plain();
    let (gateway, baseline) = start(driver, origin.address);
    let address = gateway.public;
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                for number in 0..CONNECTIONS / 2 {
                    come_and_go(address, number + half);
                }
            });
        }
    });
    wait_until("the last of them", || gateway.metric("tidegate_connections_total") >= (CONNECTIONS * 9 / 10) as u64);
    assert_clean(&gateway, baseline);
    gateway.stop();
}

/// A short visit, of one kind or another.
fn come_and_go(address: SocketAddr, number: usize) {
    let mut client = Client::connect(address);
    match number % 5 {
        0 => {}
        1 => client.reset(),
        2 => client.send("GET / HTTP/1.1\r\nHo"),
        3 => {
            client.ask("/");
            client.reset();
        }
        _ => assert_eq!(client.get("/").status, 200),
    }
}

fn clients_that_close_their_side(driver: &'static str) {
    let origin = Origin::plain();
    let (gateway, baseline) = start(driver, origin.address);
    for number in 0..500 {
        let mut client = gateway.connect();
        match number % 3 {
            0 => {}
            1 => {
                client.ask("/");
                client.shutdown();
                assert_eq!(client.response().text(), "hello");
            }
            // Half a body, and no more of it will come.
            _ => client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello"),
        }
        client.shutdown();
        if number % 3 == 2 {
            assert_eq!(client.response().status, 400);
        }
        assert!(client.is_ended(), "{number}");
    }
    assert_clean(&gateway, baseline);
    gateway.stop();
}

fn clients_that_vanish(driver: &'static str) {
    let origin = Origin::start(|request| {
        if request.path == "/" {
            return request.reply("hello");
        }
        request.send("HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")?;
        request.send(vec![b'x'; 20_000_000])
    });
    let (gateway, baseline) = start(driver, origin.address);
    let vanish = 200;
    for number in 0..vanish {
        let mut client = gateway.connect();
        client.ask("/large");
        assert!(client.head().unwrap().starts_with("HTTP/1.1 200 OK"));
        if number % 2 == 0 {
            client.reset();
        }
    }
    assert_clean(&gateway, baseline);
    assert_eq!(gateway.metric("tidegate_clients_gone_total"), vanish);
    gateway.stop();
}

fn a_backend_is_killed_and_comes_back(driver: &'static str) {
    let backend = Backend::python();
    let (gateway, baseline) = start(driver, backend.address);
    let (good, bad, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let address = backend.address;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                while !over.load(Ordering::Relaxed) {
                    let response = client.get("/hello");
                    let count = if response.status == 200 { &good } else { &bad };
                    assert!(matches!(response.status, 200 | 502), "{response:?}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let load = || good.load(Ordering::Relaxed);
        wait_until("some load", || load() > 200);
        backend.program().signal(Signal::KILL);
        wait_until("errors", || bad.load(Ordering::Relaxed) > 50);
        let restarted = Backend::python_at(address);
        let before = load();
        wait_until("the load to go on", || load() > before + 200);
        over.store(true, Ordering::Relaxed);
        restarted
    });
    println!(
        "{driver}: {} requests were answered, {} got 502 while the backend was away",
        good.into_inner(),
        bad.into_inner()
    );
    gateway.wait_for_open(0);
    wait_until("the descriptors to be given back", || gateway.descriptors() <= baseline);
    gateway.stop();
}
