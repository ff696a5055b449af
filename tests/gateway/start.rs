//! The start: addresses that are taken, for a moment or for good.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tidegate::gateway::StartError;
use tidegate::snapshot::doorway::ListenError;

use crate::harness::{Boot, Driver, Gateway, Origin, on_both_drivers, pass};

/// A port that somebody listens at. On this address of loopback nobody connects from the port once it is free.
fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

fn boot(address: SocketAddr, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/minimal.toml"))
        .driver(driver)
        .with(|config| *config.listeners[0].address.get_mut() = address)
}

#[test]
fn an_address_that_is_taken_for_a_moment_is_waited_for() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/a", 200, "ok");
        let (listener, address) = taken();
        let boot = boot(address, driver).service("app", origin.address());
        let starting = std::thread::spawn(move || boot.start());
        pass(Duration::from_millis(300));
        assert!(!starting.is_finished(), "it waits");
        drop(listener);
        let gateway = starting.join().expect("the gateway starts");
        assert_eq!(gateway.address(), address);
        assert_eq!(gateway.get("/a").text(), "ok");
    });
}

#[test]
fn an_address_that_stays_taken_is_named() {
    let (_listener, address) = taken();
    let started = tidegate::gateway::Gateway::start(boot(address, Driver::Epoll).config());
    let error = started.expect_err("somebody else listens there");
    let StartError::Listen(ListenError { name, address: named, error: why }) = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), named, why.kind()), ("public", &address.into(), ErrorKind::AddrInUse));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
