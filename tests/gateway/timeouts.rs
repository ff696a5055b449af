//! `config/examples/timeouts.toml`: how long a backend may take.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use tidegate::base::units::Setting;

use crate::harness::{Boot, Counter, Driver, Gate, Gateway, Origin, on_both_drivers};

const SHORT: Duration = Duration::from_millis(80);

fn boot(address: SocketAddr, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/timeouts.toml")).service("app", address).driver(driver)
}

/// An address whose queue of connections is full, so that no more are taken, for as long as the rest is kept.
pub(crate) fn black_hole() -> (SocketAddr, OwnedFd, Vec<TcpStream>) {
    let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("loopback can do that");
    rustix::net::bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("loopback can do that");
    rustix::net::listen(&listener, 1).expect("loopback can do that");
    let address = rustix::net::getsockname(&listener).expect("loopback can do that");
    let address = SocketAddr::try_from(address).expect("loopback can do that");
    let mut fill = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, SHORT) {
        fill.push(stream);
    }
    (address, listener, fill)
}

#[test]
fn a_backend_that_does_not_accept_is_given_up() {
    let (address, _listener, _fill) = black_hole();
    on_both_drivers(|driver| {
        let short = |gateway: Boot| gateway.with(|config| config.services[0].timeouts.connect = Some(SHORT));
        let gateway = short(boot(address, driver)).start();
        let response = gateway.get("/a");
        assert_eq!((response.status, response.code()), (504, "connect_timeout"));
        assert_eq!(gateway.count(Counter::UpstreamConnectErrors), 1);
        let total =
            |gateway: Boot| gateway.with(|config| config.services[0].timeouts.total = Some(Setting::On(SHORT / 2)));
        let gateway = total(short(boot(address, driver))).start();
        assert_eq!(gateway.get("/a").code(), "total_timeout");
    });
}

#[test]
fn a_backend_that_is_not_there_is_502() {
    on_both_drivers(|driver| {
        let gateway = Gateway::from(include_str!("../../config/examples/timeouts.toml")).driver(driver).start();
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            let response = client.response();
            assert_eq!((response.status, response.code()), (502, "connect_failed"));
        }
    });
}

#[test]
fn a_backend_that_does_not_answer_is_given_up() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_to_end();
        });
        let gateway = boot(origin.address(), driver)
            .with(|config| {
                config.services[0].timeouts.first_byte = Some(Setting::On(SHORT));
                config.routes[1].timeouts.first_byte = Some(Setting::On(SHORT * 2));
            })
            .start();
        let mut client = gateway.connect();
        for path in ["/a", "/reports/a"] {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
            let response = client.response();
            assert_eq!((response.status, response.code()), (504, "first_byte_timeout"));
            assert!(!response.closes(), "the client's connection is as good as before");
        }
        // What nobody answered is closed, and does not come back from the pool.
        assert_eq!(origin.settled(0, 2).len(), 2);
    });
}

#[test]
fn the_time_for_the_first_byte_begins_with_the_last_of_the_request() {
    let origin = Origin::start().reply("/a", 200, "ok");
    let gateway = boot(origin.address(), Driver::Epoll)
        .with(|config| config.services[0].timeouts.first_byte = Some(Setting::On(SHORT)))
        .start();
    let mut client = gateway.connect();
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx");
    // The backend is asked and waits for longer than the time.
    let begun = std::time::Instant::now();
    crate::harness::eventually("some time", || begun.elapsed() > SHORT * 2);
    client.send("y");
    assert_eq!(client.response().status, 200);
}

#[test]
fn the_whole_exchange_has_a_time() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            let request = conversation.request().unwrap();
            if !request.starts_with(b"GET /silent") {
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            }
            conversation.read_to_end();
        });
        let gateway = boot(origin.address(), driver)
            .with(|config| config.services[0].timeouts.total = Some(Setting::On(SHORT)))
            .start();
        assert_eq!(gateway.get("/silent").code(), "total_timeout");
        // Too late for a status: the client sees fewer bytes than announced, and an end.
        let mut client = gateway.connect();
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let end = client.end();
        assert!(end.bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && end.bytes.ends_with(b"\r\n\r\nhalf"));
        assert_eq!(gateway.count(Counter::ResponsesCut), 1);
        // This route has no end.
        let mut client = gateway.connect();
        client.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
        client.read_until("half");
        let begun = std::time::Instant::now();
        crate::harness::eventually("some time", || begun.elapsed() > SHORT * 2);
        assert!(client.is_quiet());
    });
}

#[test]
fn a_backend_that_takes_no_more_is_given_up() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let passing = gate.clone();
        let origin = Origin::scripted(move |conversation| {
            conversation.read_until(b"\r\n\r\n");
            passing.pass();
        });
        let gateway = boot(origin.address(), driver)
            .with(|config| {
                config.services[0].timeouts.send = Some(Setting::On(SHORT));
                config.defaults.limits = Some(Setting::Off);
            })
            .start();
        let mut client = gateway.connect();
        client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
        // The sockets between here and there take some megabytes before anybody has to wait.
        let piece = vec![b'x'; 1024 * 1024];
        while client.is_quiet() && client.try_send(&piece).is_ok() {}
        let response = client.response();
        assert_eq!((response.status, response.code(), response.closes()), (504, "send_timeout", true));
        gate.open();
    });
}

#[test]
fn a_backend_that_falls_silent_is_cut_off() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.read_until(b"\r\n\r\n");
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            conversation.read_to_end();
        });
        let gateway = boot(origin.address(), driver)
            .with(|config| {
                config.services[0].timeouts.between_bytes = Some(Setting::On(SHORT));
            })
            .start();
        let mut patient = gateway.connect();
        patient.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
        patient.read_until("half");
        let mut client = gateway.connect();
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let end = client.end();
        assert!(end.bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && end.bytes.ends_with(b"\r\n\r\nhalf"));
        assert_eq!(gateway.count(Counter::ResponsesCut), 1);
        assert!(patient.is_quiet(), "its route has no such limit");
    });
}

/// A route with a short time of its own, where its service has a long one.
#[test]
fn a_route_may_wait_less_than_its_service() {
    const LONG: Duration = Duration::from_secs(60);
    let (address, _listener, _fill) = black_hole();
    on_both_drivers(|driver| {
        let gateway = boot(address, driver)
            .with(|config| {
                config.services[0].timeouts.connect = Some(LONG);
                config.services[0].timeouts.total = Some(Setting::Off);
                config.routes[1].timeouts.connect = Some(SHORT);
            })
            .start();
        assert_eq!(gateway.get("/reports/a").code(), "connect_timeout");

        let gate = Gate::default();
        let passing = gate.clone();
        let origin = Origin::scripted(move |conversation| {
            conversation.read_until(b"\r\n\r\n");
            if conversation.index == 0 {
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            }
            passing.pass();
        });
        let gateway = boot(origin.address(), driver)
            .with(|config| {
                let [service, route] = [&mut config.services[0].timeouts, &mut config.routes[1].timeouts];
                (service.send, service.between_bytes) = (Some(Setting::On(LONG)), Some(Setting::On(LONG)));
                (route.send, route.between_bytes) = (Some(Setting::On(SHORT)), Some(Setting::On(SHORT)));
                config.defaults.limits = Some(Setting::Off);
            })
            .start();
        let mut client = gateway.connect();
        client.send("GET /reports/a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(client.end().bytes.ends_with(b"\r\n\r\nhalf"));
        let mut client = gateway.connect();
        client.send("PUT /reports/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
        let piece = vec![b'x'; 1024 * 1024];
        while client.is_quiet() && client.try_send(&piece).is_ok() {}
        let response = client.response();
        assert_eq!((response.status, response.code()), (504, "send_timeout"));
        gate.open();
    });
}
