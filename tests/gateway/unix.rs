//! `config/examples/unix.toml`: targets behind Unix sockets.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use tidegate::config::Config;

use crate::harness::{Boot, Counter, Directory, Driver, Gateway, Origin, eventually, on_both_drivers};
use crate::health::ask_json;

/// Answers every request on `listener` with the head that it had.
fn serve(listener: UnixListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || converse(stream));
        }
    });
}

fn converse(mut stream: UnixStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).is_ok_and(|length| length == 0) {
                return;
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The example, with the socket in `directory` and `origin` as the other target.
fn boot(directory: &Directory, origin: Option<&Origin>, driver: Driver) -> Boot {
    let example = include_str!("../../config/examples/unix.toml");
    let mut text = example.replace("/run/app.sock", &directory.file("app.sock").display().to_string());
    if let Some(origin) = origin {
        text = text.replace(":3001\"", &format!(":{}\"", origin.address().port()));
    }
    let written = Config::parse("test.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    let boot = Gateway::from(&text).with(|config| {
        for (service, written) in config.services.iter_mut().zip(&written.services) {
            service.targets.clone_from(&written.targets);
        }
    });
    boot.driver(driver)
}

#[test]
fn a_socket_is_asked_and_checked_like_any_target() {
    on_both_drivers(|driver| {
        let directory = Directory::new();
        let listener = UnixListener::bind(directory.file("app.sock")).expect("a new socket");
        serve(listener);
        let gateway = boot(&directory, None, driver).start();
        let mut client = gateway.connect();
        for (path, host) in [("/a", "shop.example.com"), ("/own", "localhost")] {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"));
            let response = client.response();
            assert!(response.text().contains(&format!("\r\nHost: {host}\r\n")), "{}", response.text());
        }
        // With one over TCP it takes turns.
        let origin = Origin::named("over TCP");
        let gateway = boot(&directory, Some(&origin), driver).start();
        let over_tcp = (0..10).filter(|_| gateway.get("/both").text().starts_with("over TCP")).count();
        assert_eq!(over_tcp, 5);
        eventually("it is up", || ask_json(&gateway, "/health/app").1["targets"][0]["health"] == "up");
        let (_, health) = ask_json(&gateway, "/health/app");
        let address = format!("unix:{}", directory.file("app.sock").display());
        assert_eq!(health["targets"][0]["address"], address.as_str());
    });
}

#[test]
fn a_socket_that_is_not_there_is_a_target_that_is_down() {
    let directory = Directory::new();
    let origin = Origin::start().reply("/both", 200, "over TCP");
    let gateway = boot(&directory, Some(&origin), Driver::Epoll).start();
    let ask = |what: &str| {
        let before = gateway.count(Counter::UpstreamConnectErrors);
        for _ in 0..4 {
            assert_eq!(gateway.get("/both").text(), "over TCP");
        }
        assert!(gateway.count(Counter::UpstreamConnectErrors) > before, "{what}: the socket has its turns");
    };
    ask("no file");
    // A file where nobody listens, as after a crash, is no better.
    drop(UnixListener::bind(directory.file("app.sock")).expect("a new socket"));
    ask("a file that is left");
    eventually("it is down", || ask_json(&gateway, "/health/app").1["targets"][0]["health"] == "down");
    let response = gateway.get("/a");
    assert_eq!((response.status, response.code(), response.field("retry-after")), (503, "no_target", Some("1")));
}
