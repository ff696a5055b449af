//! Bodies on their way: at once, in bounded memory, in the framing that each side understands.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::exchange::gateway;
use crate::harness::message::{dechunk, find, normal};
use crate::harness::{Boot, Counter, Driver, Gateway, Origin, eventually, on_both_drivers, uninterrupted};

const MIB: usize = 1024 * 1024;

/// More than the buffers of all sockets on the way hold.
const LARGE: usize = 96 * MIB;

/// How long nothing moves until we call it stuck.
const STUCK: Duration = Duration::from_millis(150);

fn without_limits(origin: &Origin, driver: Driver) -> Boot {
    Gateway::from(include_str!("../../config/examples/limits.toml")).service("app", origin.address()).driver(driver)
}

#[test]
fn events_arrive_at_once() {
    on_both_drivers(|driver| {
        for head in
            ["Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", "Content-Type: text/event-stream\r\n"]
        {
            let (next, turns) = channel();
            let turns = Mutex::new(turns);
            let chunked = head.contains("chunked");
            let origin = Origin::scripted(move |conversation| {
                conversation.request();
                conversation.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n"));
                while let Ok(event) = turns.lock().expect("no panic").recv() {
                    let event = format!("data: {event}\n\n");
                    if chunked {
                        conversation.send(format!("{:x}\r\n{event}\r\n", event.len()));
                    } else {
                        conversation.send(event);
                    }
                }
                conversation.send(if chunked { "0\r\n\r\n" } else { "" });
            });
            let gateway = gateway(&origin, driver);
            let mut client = gateway.connect();
            client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
            client.read_until("\r\n\r\n");
            for event in 10..20 {
                next.send(event).expect("the origin waits");
                assert_eq!(client.read_until("\n\n\r\n"), format!("a\r\ndata: {event}\n\n\r\n").as_bytes());
            }
            drop(next);
            assert_eq!(client.read_until("0\r\n\r\n"), b"0\r\n\r\n");
        }
    });
}

#[test]
fn chunks_keep_their_shape_and_trailers_go_both_ways() {
    on_both_drivers(|driver| {
        let reply =
            "HTTP/1.1 200 OK\r\nTrailer: X-Out\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npong\r\n0\r\nX-Out: 2\r\n\r\n";
        let origin = Origin::start().reply_bytes("/a", reply);
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client
            .send("POST /a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTrailer: X-In\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("4\r\nping\r\n0\r\nX-In: 1\r\n\r\n");
        let response = client.response();
        assert_eq!(
            normal(response.head.as_bytes()),
            "HTTP/1.1 200 OK\r\nTrailer: X-Out\r\nTransfer-Encoding: chunked\r\nX-Request-Id: {id}\r\nVia: 1.1 tidegate\r\n\r\n"
        );
        assert_eq!(response.framed, b"4\r\npong\r\n0\r\nX-Out: 2\r\n\r\n");
        assert_eq!(
            normal(&origin.all_received()),
            "POST /a HTTP/1.1\r\nHost: h\r\nTrailer: X-In\r\nTransfer-Encoding: chunked\r\n\
             Connection: TE\r\nTE: trailers\r\n{for h}\r\n\r\n4\r\nping\r\n0\r\nX-In: 1\r\n\r\n"
        );
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_backend() {
    on_both_drivers(|driver| {
        let (report, reports) = channel();
        let report = Mutex::new(report);
        let origin = Origin::scripted(move |conversation| {
            conversation.request();
            conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
            let stream = conversation.stream();
            stream.set_write_timeout(Some(STUCK)).expect("it can be set");
            let piece = vec![b'x'; 64 * 1024];
            let (mut sent, mut reported) = (0, false);
            while sent < LARGE {
                match uninterrupted(|| stream.write(&piece[..piece.len().min(LARGE - sent)])) {
                    Ok(some) => sent += some,
                    Err(_) if !std::mem::replace(&mut reported, true) => {
                        report.lock().expect("no panic").send(sent).expect("the test waits");
                        stream.set_write_timeout(None).expect("it can be set");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            conversation.read_to_end();
        });
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let sent = reports.recv().expect("the origin is stopped");
        assert!(sent < LARGE / 2, "{sent} bytes were taken from the backend, and nobody read one");
        let response = client.response();
        assert_eq!(response.body.len(), LARGE);
        assert!(response.body.iter().all(|byte| *byte == b'x'));
    });
}

#[test]
fn a_backend_that_does_not_read_stops_the_client() {
    on_both_drivers(|driver| {
        let (go, goes) = channel();
        let goes = Mutex::new(goes);
        let origin = Origin::scripted(move |conversation| {
            goes.lock().expect("no panic").recv().expect("the test says when");
            let request = conversation.request().expect("a request");
            assert!(request.ends_with(b"\r\n\r\nx") || request.len() > LARGE);
            conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        });
        let gateway = without_limits(&origin, driver).start();
        let mut client = gateway.connect();
        client.send(format!("PUT /backups/a HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n"));
        let sent = client.send_until_stuck(STUCK);
        assert!(sent < LARGE / 2, "{sent} bytes were taken from the client, and nobody read one");
        go.send(()).expect("the origin waits");
        client.send(vec![b'x'; LARGE - sent]);
        assert_eq!(client.response().status, 200);
    });
}

#[test]
fn a_large_body_goes_through_unchanged_both_ways() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            let request = conversation.request().expect("a request");
            let body = request.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
            let body = &request[body..];
            conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            conversation.send(body);
            conversation.read_to_end();
        });
        let gateway = gateway(&origin, driver);
        let body: Vec<u8> = (0..5 * MIB as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut client = gateway.connect();
        client.send(format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(&body);
        assert!(client.response().body == body, "the body has changed");
    });
}

#[test]
fn a_body_in_thousands_of_tiny_chunks_goes_through_unchanged_both_ways() {
    let data: Vec<u8> = (0..9000_u32).map(|at| b"0123456789abcdefghijk"[at as usize % 21]).collect();
    let mut tiny: Vec<u8> = data.iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
    tiny.extend_from_slice(b"0\r\n\r\n");
    on_both_drivers(|driver| {
        let mut reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        reply.extend_from_slice(&tiny);
        let origin = Origin::start().reply_bytes("/a", reply);
        let gateway = gateway(&origin, driver);
        let mut client = gateway.connect();
        let mut request = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        request.extend_from_slice(&tiny);
        for turn in 1..=2 {
            client.send(&request);
            let response = client.response();
            assert!(response.status == 200 && response.body == data, "the response's body has changed");
            assert!(client.is_quiet());
            assert_eq!(origin.connections(), 1, "in turn {turn} the connection is used");
        }
        let mut reached = &origin.all_received()[..];
        for _ in 1..=2 {
            let head = find(reached, b"\r\n\r\n").expect("a head") + 4;
            let (body, used) = dechunk(&reached[head..]).expect("a whole body");
            assert!(body == data, "the request's body has changed");
            reached = &reached[head + used..];
        }
        assert!(reached.is_empty());
    });
}

/// Where only the end of the connection ends the body, a client that was given up must not take it for the end.
#[test]
fn a_client_that_stalls_in_a_body_until_close_is_reset() {
    on_both_drivers(|driver| {
        let origin = Origin::scripted(|conversation| {
            conversation.request();
            conversation.send("HTTP/1.1 200 OK\r\n\r\n");
            conversation.send(vec![b'x'; LARGE]);
        });
        let gateway = without_limits(&origin, driver)
            .with(|config| config.gateway.limits.idle_timeout = Duration::from_secs(1))
            .start();
        let mut client = gateway.connect();
        client.send("GET /a HTTP/1.0\r\nHost: h\r\n\r\n");
        eventually("it is given up", || gateway.count(Counter::ResponsesCut) == 1);
        let end = client.end();
        assert!(end.reset, "{} bytes and a clean end", end.bytes.len());
        assert!(end.bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && end.bytes.len() < LARGE);
    });
}
