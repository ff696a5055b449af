//! A new process takes over: with the old one's sockets on SIGUSR2, or with those of a service manager.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::gateway::{BINARY, Setup, field};
use crate::load::Wrk;
use crate::on_both_drivers;
use crate::program::{Directory, Program, command, python, wait_for, wait_until};
use crate::reload::{Tunnel, events, origin};

on_both_drivers!(
    a_new_process_takes_over_under_load,
    a_new_process_that_fails_changes_nothing,
    who_has_handed_over_neither_starts_nor_reloads,
);

/// The process that has taken over, ended when this is dropped; it is nobody's child.
struct Successor(Pid);

impl Successor {
    fn of(line: &str) -> Successor {
        let pid = field(line, "pid").and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        Successor(pid.expect("the new process is named"))
    }

    fn is_there(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/comm", self.0.as_raw_pid())).is_ok_and(|name| name.trim() == "tidegate")
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = kill_process(self.0, Signal::TERM);
        }
        wait_until("the end of the new process", || !self.is_there());
    }
}

fn a_new_process_takes_over_under_load(driver: &'static str) {
    let over = Arc::new(AtomicBool::new(false));
    let origin = origin(over.clone());
    let setup = Setup::new(driver, origin.address).workers(2).gateway("watch = false").route("upgrade = true");
    let mut gateway = setup.start();
    let (public, admin) = (gateway.public, gateway.admin);
    let stream = events(&gateway);
    let mut tunnel = Tunnel::open(&gateway);
    let wrk = Wrk::start(public, "GET", "a", 64);
    // Each of these is a connection of its own, and so has to find a listener.
    let fresh = Arc::new(AtomicBool::new(true));
    let asking = std::thread::spawn({
        let fresh = fresh.clone();
        move || {
            let mut count = 0;
            while fresh.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(Client::connect(public).get("/").text(), "hello");
                count += 1;
            }
            count
        }
    });
    wait_until("the load", || gateway.metric("tidegate_requests_total") > 1000);
    gateway.program().signal(Signal::USR2);
    let line = gateway.program().errors().wait_for("the new process serves");
    let successor = Successor::of(&line);
    assert!(successor.is_there());
    tunnel.is_there();
    wait_until("the new process counts", || {
        let text = Client::connect(admin).get("/metrics").text();
        let count = text.lines().find_map(|line| line.strip_prefix("tidegate_requests_total ")?.parse().ok());
        count.is_some_and(|count: u64| count > 1000)
    });
    tunnel.is_there();
    drop(tunnel);
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(stream.join().unwrap() > 0);
    let status = gateway.wait_for_end();
    assert!(status.success(), "{status}");
    fresh.store(false, std::sync::atomic::Ordering::Relaxed);
    let count: u64 = asking.join().unwrap();
    let outcome = wrk.stop();
    eprintln!("{driver}: {outcome:?} and {count} connections through the change of a process");
    // wrk counts a connection that is closed after an answer that says so as no error, and connects again.
    assert!(outcome.answered > 1000 && outcome.failed() == 0 && count > 10, "{outcome:?} {count}");
}

fn a_new_process_that_fails_changes_nothing(driver: &'static str) {
    let origin = origin(Arc::default());
    let mut gateway = Setup::new(driver, origin.address).workers(2).gateway("watch = false").start();
    let good = fs::read_to_string(&gateway.file).unwrap();
    fs::write(&gateway.file, "nonsense").unwrap();
    gateway.program().signal(Signal::USR2);
    gateway.program().errors().wait_for("the hand-over has failed");
    assert_eq!(gateway.connect().get("/").text(), "hello");
    assert_eq!(gateway.metric("tidegate_config_last_reload_successful"), 1);
    // The next one is as good as the first.
    fs::write(&gateway.file, good).unwrap();
    gateway.program().signal(Signal::USR2);
    let successor = Successor::of(&gateway.program().errors().wait_for("the new process serves"));
    let public = gateway.public;
    assert!(gateway.wait_for_end().success());
    assert_eq!(Client::connect(public).get("/").text(), "hello");
    drop(successor);
    assert!(TcpStream::connect(public).is_err(), "nobody keeps the sockets");
}

fn who_has_handed_over_neither_starts_nor_reloads(driver: &'static str) {
    let over = Arc::new(AtomicBool::new(false));
    let origin = origin(over.clone());
    let setup = Setup::new(driver, origin.address).workers(2);
    let mut gateway = setup.start();
    // What the old process stays for.
    let stream = events(&gateway);
    wait_until("the stream", || gateway.metric("tidegate_upstream_connects_total") == 1);
    gateway.program().signal(Signal::USR2);
    let errors = gateway.program().errors();
    let successor = Successor::of(&errors.wait_for("the new process serves"));
    gateway.program().signal(Signal::USR2);
    errors.wait_for("send the signal to the one that serves");
    gateway.program().signal(Signal::HUP);
    errors.wait_for("this process drains, and takes no other configuration");
    // Both watch the file; a listener that is new in it belongs to the one that serves.
    let more = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = fs::read_to_string(&gateway.file).unwrap() + &format!("[listeners.more]\naddress = \"{more}\"\n");
    fs::write(&gateway.file, text).unwrap();
    errors.wait_for("a listener was added");
    for _ in 0..20 {
        assert_eq!(Client::connect(more).get("/").text(), "hello");
    }
    assert!(!errors.text().contains("cannot listen"), "{}", errors.text());
    assert!(successor.is_there());
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(stream.join().unwrap() > 0);
    assert!(gateway.wait_for_end().success());
    drop(successor);
}

fn minimal(public: SocketAddr) -> String {
    format!(
        "[gateway]\nworkers = 2\n[listeners.public]\naddress = \"{public}\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [routes.all]\npath = \"/*\"\nrespond = {{ status = 200, body = \"hello\" }}\n"
    )
}

#[test]
fn sockets_of_a_service_manager_are_used() {
    let directory = Directory::new();
    // The one who activates listens first, and has clients before the gateway is there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let file = directory.write("gateway.toml", minimal(address));
    let mut activated =
        Program::start(python("activate.py", &[&address.to_string(), BINARY, "run", "--config", &file]));
    activated.output().wait_for("listening");
    let mut early = Client::connect(address);
    early.ask("/");
    activated.output().wait_for("starting");
    assert_eq!(early.response().text(), "hello");
    for _ in 0..20 {
        assert_eq!(Client::connect(address).get("/").text(), "hello");
    }
    activated.signal(Signal::TERM);
    let finished = activated.finish();
    assert!(finished.status.success(), "{finished:?}");
}

#[test]
fn a_service_manager_is_told_and_its_watchdog_fed() {
    let directory = Directory::new();
    let path = directory.path("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let next = || {
        let mut bytes = [0; 512];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let wait = |words: &str| wait_for(words, || Some(next()).filter(|text| text.contains(words)));
    let file = directory.write("gateway.toml", minimal(([127, 0, 0, 1], 0).into()));
    let mut start = command(BINARY, &["run", "--config", &file]);
    start.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let mut gateway = Program::start(start);
    wait("READY=1");
    for _ in 0..5 {
        wait("WATCHDOG=1");
    }
    gateway.signal(Signal::HUP);
    assert!(wait("RELOADING=1").contains("MONOTONIC_USEC="));
    wait("READY=1");
    gateway.signal(Signal::TERM);
    wait("STOPPING=1");
    assert!(gateway.finish().status.success());
}
