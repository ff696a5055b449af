//! Reloads of a gateway that serves: under load, with streams and tunnels open, from files that come and go.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::Client;
use crate::gateway::{BINARY, Gateway, Setup, field};
use crate::load::Wrk;
use crate::on_both_drivers;
use crate::origin::{Origin, Request};
use crate::program::{Directory, Program, command, pause, wait_until};

on_both_drivers!(
    reloads_under_load_cut_nobody,
    a_hundred_signals_a_second_are_borne,
    a_thousand_routes_are_reloaded_without_a_leak,
    ten_thousand_routes_take_bounded_memory,
);

/// Answers with the id of the request, counts on `/events` for as long as the test goes on, and is an echo behind a switch.
pub(crate) fn origin(over: Arc<AtomicBool>) -> Origin {
    Origin::start(move |request| match request.path.split_once('?') {
        None if request.path == "/events" => count(request, &over),
        None if request.path == "/tunnel" => echo(request),
        Some((_, id)) => request.reply(&id.replace("id=", "")),
        None => request.reply("hello"),
    })
}

fn count(request: &mut Request, over: &AtomicBool) -> std::io::Result<()> {
    request.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let event = format!("data: {number}\n\n");
        request.send(format!("{:x}\r\n{event}\r\n", event.len()))?;
        pause(Duration::from_millis(5));
    }
    request.send("0\r\n\r\n")
}

fn echo(request: &mut Request) -> std::io::Result<()> {
    request.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")?;
    let mut lines = BufReader::new(request.stream().try_clone()?);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        request.send(std::mem::take(&mut line))?;
    }
    Ok(())
}

/// A stream of events that somebody reads to its end; how many there were.
pub(crate) fn events(gateway: &Gateway) -> JoinHandle<usize> {
    let mut client = gateway.connect();
    client.ask("/events");
    client.head().unwrap();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        while client.chunk(&mut all).expect("the stream goes on to its end") > 0 {}
        let text = String::from_utf8(all).unwrap();
        let numbers: Vec<&str> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
        for (number, event) in numbers.iter().enumerate() {
            assert_eq!(*event, format!("data: {number}"));
        }
        numbers.len()
    })
}

/// A connection that has become an echo.
pub(crate) struct Tunnel(std::net::TcpStream);

impl Tunnel {
    pub(crate) fn open(gateway: &Gateway) -> Tunnel {
        let mut client = gateway.connect();
        client.send("GET /tunnel HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
        Tunnel(client.socket().try_clone().unwrap())
    }

    #[track_caller]
    pub(crate) fn is_there(&mut self) {
        self.0.write_all(b"hello\n").unwrap();
        let mut line = String::new();
        BufReader::new(&self.0).read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
    }
}

/// The configuration of the `turn`th reload: other routes each time, and now and then another listener.
fn text(setup: &Setup, turn: usize) -> String {
    let routes = (0..turn % 50).map(|number| {
        format!("[routes.more{number}]\npath = \"/more/{turn}/{number}/*\"\nrespond = {{ status = 204 }}\n")
    });
    let listener = if turn % 10 < 5 { "" } else { "[listeners.second]\naddress = \"127.0.0.1:0\"\n" };
    setup.text() + &routes.collect::<String>() + listener
}

fn reloads_under_load_cut_nobody(driver: &'static str) {
    let over = Arc::new(AtomicBool::new(false));
    let origin = origin(over.clone());
    // A connection that is closed after so many requests is closed by no reload.
    let setup = Setup::new(driver, origin.address).workers(2).gateway("watch = false").route("upgrade = true");
    let setup = setup.gateway("limits.requests_per_connection = false");
    let gateway = setup.clone().start();
    let streams: Vec<_> = (0..4).map(|_| events(&gateway)).collect();
    let mut tunnel = Tunnel::open(&gateway);
    let wrk = Wrk::start(gateway.public, "GET", "a", 64);
    wait_until("the load", || gateway.metric("tidegate_requests_total") > 1000);
    let (mut good, mut bad) = (0, 0);
    for turn in 0..250 {
        tunnel.is_there();
        if turn % 5 == 4 {
            bad += 1;
            let answer = gateway.reload(&format!("{}\n[routes.wrong]\nservice = \"nobody\"\n", text(&setup, turn)));
            assert_eq!(answer.status, 422, "{}", answer.text());
            assert!(answer.text().contains("nobody"), "{}", answer.text());
        } else {
            good += 1;
            let answer = gateway.reload(&text(&setup, turn));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    tunnel.is_there();
    assert_eq!((good, bad), (200, 50));
    let outcome = wrk.stop();
    over.store(true, Ordering::Relaxed);
    let read: usize = streams.into_iter().map(|stream| stream.join().unwrap()).sum();
    eprintln!("{driver}: {outcome:?} through {good} reloads and {bad} refused ones; {read} events");
    assert!(outcome.answered > 1000 && outcome.failed() == 0, "{outcome:?}");
    assert!(read > 0);
    // 64 of wrk, which first connects once to see whether it can; four streams and the tunnel.
    assert!(gateway.metric("tidegate_connections_total") <= 64 + 1 + 4 + 1, "somebody had to connect again");
    assert_eq!(gateway.metric("tidegate_config_reloads_total{result=\"succeeded\"}"), 200);
    assert_eq!(gateway.metric("tidegate_config_reloads_total{result=\"refused\"}"), 50);
    assert_eq!(gateway.metric("tidegate_config_last_reload_successful"), 0, "the last one was wrong");
    drop(tunnel);
    gateway.stop();
}

fn a_hundred_signals_a_second_are_borne(driver: &'static str) {
    let origin = origin(Arc::default());
    let gateway = Setup::new(driver, origin.address).workers(2).start();
    let wrk = Wrk::start(gateway.public, "GET", "a", 16);
    wait_until("the load", || gateway.metric("tidegate_requests_total") > 100);
    for _ in 0..200 {
        gateway.program().signal(Signal::HUP);
        pause(Duration::from_millis(10));
    }
    let succeeded = || gateway.metric("tidegate_config_reloads_total{result=\"succeeded\"}");
    wait_until("reloads", || succeeded() > 0);
    let outcome = wrk.stop();
    eprintln!("{driver}: {outcome:?} through 200 signals and {} reloads", succeeded());
    assert!(outcome.answered > 100 && outcome.failed() == 0, "{outcome:?}");
    assert!(succeeded() <= 200);
    gateway.stop();
}

fn a_thousand_routes_are_reloaded_without_a_leak(driver: &'static str) {
    let origin = origin(Arc::default());
    let setup = Setup::new(driver, origin.address).workers(2).gateway("watch = false");
    let gateway = setup.clone().start();
    let text = |turn: usize| {
        let routes = (0..1000).map(|number| {
            format!("[routes.r{turn}-{number}]\npath = \"/r/{turn}/{number}/{{id}}/*\"\nservice = \"app\"\n")
        });
        setup.text() + &routes.collect::<String>()
    };
    let reload = |turn: usize| {
        let answer = gateway.reload(&text(turn));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(gateway.connect().get(&format!("/r/{turn}/7/1/x")).status, 200);
    };
    let turns = if crate::is_soak() { 1000 } else { 100 };
    (0..turns / 2).for_each(reload);
    let before = gateway.memory();
    (turns / 2..turns).for_each(reload);
    let after = gateway.memory();
    eprintln!("{driver}: {before:?} after {} reloads of 1,000 routes, {after:?} after {turns}", turns / 2);
    // A snapshot of these is several MiB; the allocator keeps one or two more.
    assert!(after.resident < before.resident + 32 * 1024 * 1024, "{before:?} {after:?}");
    gateway.stop();
}

/// Ten thousand routes of all kinds to a thousand services: started with, reloaded, and each found.
fn ten_thousand_routes_take_bounded_memory(driver: &'static str) {
    const ROUTES: usize = 10_000;
    const SERVICES: usize = 1000;
    let origin = origin(Arc::default());
    let mut setup = Setup::new(driver, origin.address).workers(2).gateway("watch = false");
    let services = (0..SERVICES).map(|number| format!("[services.s{number}]\ntargets = [\"{}\"]\n", origin.address));
    let routes = (0..ROUTES).map(|number| {
        let keys = match number % 4 {
            0 => format!("path = \"/below/{number}/*\"\nheaders = {{ x-version = \"1\" }}"),
            1 => format!("path = \"/captured/{number}/{{id}}/orders/{{order}}\"\nmethods = [\"GET\"]"),
            2 => format!("hosts = [\"t{number}.example.com\", \"*.t{number}.example.com\"]"),
            _ => format!("path = \"~ ^/expression/{number}/[0-9]+$\""),
        };
        format!("[routes.r{number}]\nservice = \"s{}\"\n{keys}\n", number % SERVICES)
    });
    setup = setup.section(&services.chain(routes).collect::<String>());
    let gateway = setup.clone().start();
    let mut client = gateway.connect();
    let ask_all = |client: &mut Client| {
        for number in (0..ROUTES).step_by(997) {
            let (host, path) = match number % 4 {
                0 => ("a".to_owned(), format!("/below/{number}/x")),
                1 => ("a".to_owned(), format!("/captured/{number}/7/orders/8")),
                2 => (format!("www.t{number}.example.com"), "/".to_owned()),
                _ => ("a".to_owned(), format!("/expression/{number}/9")),
            };
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Version: 1\r\n\r\n"));
            assert_eq!(client.response().status, 200, "{number}");
        }
    };
    ask_all(&mut client);
    let started = gateway.memory();
    // The old one and the new one are there at once while it reloads.
    for _ in 0..5 {
        assert_eq!(gateway.reload(&setup.text()).status, 200);
        ask_all(&mut client);
    }
    let reloaded = gateway.memory();
    eprintln!("{driver}: {started:?} with 10,000 routes, {reloaded:?} after reloads");
    assert!(started.peak < 256 << 20 && reloaded.peak < 384 << 20, "{started:?} {reloaded:?}");
    gateway.stop();
}

/// A gateway that reads `file`, and answers `/` with a text that the file gives.
struct Watching {
    program: Program,
    public: std::net::SocketAddr,
}

impl Watching {
    fn start(file: &str) -> Watching {
        let program = Program::start(command(BINARY, &["run", "--config", file]));
        let line = program.errors().wait_for("\"listener\":\"public\"");
        let public = field(&line, "address").and_then(|text| text.parse().ok()).expect("an address");
        program.errors().wait_for("\"admin\"");
        Watching { program, public }
    }

    fn says(&self) -> String {
        Client::connect(self.public).get("/").text()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        wait_until(text, || self.says() == text);
    }

    fn stop(mut self) {
        self.program.signal(Signal::TERM);
        let finished = self.program.finish();
        assert!(finished.status.success(), "{finished:?}");
    }
}

fn saying(text: &str) -> String {
    format!(
        "[listeners.public]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [routes.all]\npath = \"/*\"\nrespond = {{ status = 200, body = \"{text}\" }}\n"
    )
}

#[test]
fn a_file_that_is_written_renamed_removed_and_linked_is_watched() {
    let directory = Directory::new();
    let file = directory.write("gateway.toml", saying("first"));
    let gateway = Watching::start(&file);
    gateway.wait_for("first");
    // As an editor does.
    let other = directory.write("gateway.toml.new", saying("renamed"));
    fs::rename(other, &file).unwrap();
    gateway.wait_for("renamed");
    // In place.
    directory.write("gateway.toml", saying("written"));
    gateway.wait_for("written");
    directory.write("gateway.toml", "nonsense");
    gateway.program.errors().wait_for("the reload was refused");
    assert_eq!(gateway.says(), "written");
    fs::remove_file(&file).unwrap();
    gateway.program.errors().wait_for("cannot read the file");
    assert_eq!(gateway.says(), "written");
    directory.write("gateway.toml", saying("back"));
    gateway.wait_for("back");
    gateway.stop();
}

#[test]
fn a_directory_that_is_replaced_is_watched() {
    let directory = Directory::new();
    let of = |name: &str, text: &str| {
        let path = directory.path(name);
        fs::create_dir(&path).unwrap();
        fs::write(format!("{path}/gateway.toml"), saying(text)).unwrap();
        path
    };
    let (first, second, third) = (of("one", "first"), of("two", "second"), of("three", "third"));
    // As orchestrators publish files: a link to a directory, replaced by a rename.
    let link = directory.path("current");
    symlink(&first, &link).unwrap();
    let gateway = Watching::start(&format!("{link}/gateway.toml"));
    gateway.wait_for("first");
    let next = directory.path("next");
    symlink(&second, &next).unwrap();
    fs::rename(&next, &link).unwrap();
    gateway.wait_for("second");
    // The directory itself goes, and another one comes in its place.
    fs::rename(&second, directory.path("old")).unwrap();
    fs::rename(&third, &second).unwrap();
    gateway.wait_for("third");
    gateway.stop();
}

#[test]
fn a_file_that_is_not_watched_is_read_when_somebody_asks() {
    let directory = Directory::new();
    let unwatched = |text: &str| format!("[gateway]\nwatch = false\n{}", saying(text));
    let file = directory.write("gateway.toml", unwatched("first"));
    let gateway = Watching::start(&file);
    directory.write("gateway.toml", unwatched("second"));
    // Two looks would be over.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(gateway.says(), "first");
        pause(Duration::from_millis(50));
    }
    gateway.program.signal(Signal::HUP);
    gateway.wait_for("second");
    gateway.stop();
}

#[test]
fn includes_come_and_go_and_a_refused_one_is_read_again_once_it_is_right() {
    let directory = Directory::new();
    let route = |path: &str, text: &str| {
        format!("[routes.{text}]\npath = \"{path}\"\nrespond = {{ status = 200, body = \"{text}\" }}\n")
    };
    fs::create_dir(directory.path("routes")).unwrap();
    directory.write("routes/a.toml", route("/*", "first"));
    let head = "include = [\"routes/*.toml\"]\n[listeners.public]\naddress = \"127.0.0.1:0\"\n\
                [admin]\naddress = \"127.0.0.1:0\"\n";
    let file = directory.write("gateway.toml", head);
    let gateway = Watching::start(&file);
    gateway.wait_for("first");
    directory.write("routes/b.toml", route("/", "second"));
    gateway.wait_for("second");
    fs::remove_file(directory.path("routes/b.toml")).unwrap();
    gateway.wait_for("first");
    // A file that is named is missed, and nobody has to touch the others once it is there.
    directory.write("gateway.toml", head.replace("routes/*.toml", "routes/*.toml\", \"more.toml"));
    gateway.program.errors().wait_for("more.toml");
    assert_eq!(gateway.says(), "first");
    directory.write("more.toml", route("/", "more"));
    gateway.wait_for("more");
    gateway.stop();
}

#[test]
fn a_directory_of_routes_that_vanishes_is_refused_and_an_empty_file_is_meant() {
    let directory = Directory::new();
    let route = |text: &str| {
        format!(
            "[routes.{text}]\npath = \"/*\"\nrespond = {{ status = 200, body = \"{text}\" }}\n[services.idle]\ntargets = [\"unix:/nowhere/idle.sock\"]\n"
        )
    };
    fs::create_dir(directory.path("routes")).unwrap();
    directory.write("routes/a.toml", route("first"));
    let head = "include = [\"routes/*.toml\"]\n[listeners.public]\naddress = \"127.0.0.1:0\"\n\
                [admin]\naddress = \"127.0.0.1:0\"\n[routes.own]\npath = \"/\"\npriority = -1\n\
                respond = { status = 200, body = \"own\" }\n";
    let file = directory.write("gateway.toml", head);
    let gateway = Watching::start(&file);
    gateway.wait_for("first");
    fs::rename(directory.path("routes"), directory.path("away")).unwrap();
    let line = gateway.program.errors().wait_for("the reload was refused");
    assert!(line.contains("gateway.toml:1:12: `") && line.contains("routes/*.toml` names no file any more"), "{line}");
    assert_eq!(gateway.says(), "first");
    directory.write("away/a.toml", route("second"));
    fs::rename(directory.path("away"), directory.path("routes")).unwrap();
    gateway.wait_for("second");
    gateway.program.errors().wait_for("no route leads to service `idle`");
    directory.write("routes/a.toml", "");
    gateway.wait_for("own");
    gateway.stop();
}

#[test]
fn an_include_that_is_refused_for_its_listener_is_taken_once_it_is_mended() {
    let directory = Directory::new();
    let file = directory.write("gateway.toml", saying("first"));
    let gateway = Watching::start(&file);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = |address: &str| format!("[listeners.more]\naddress = \"{address}\"\n");
    directory.write("more.toml", more(&taken.local_addr().unwrap().to_string()));
    directory.write("gateway.toml", format!("include = [\"more.toml\"]\n{}", saying("second")));
    gateway.program.errors().wait_for("the reload was refused");
    assert_eq!(gateway.says(), "first");
    // Nothing else changes than the file that only the refused configuration has.
    directory.write("more.toml", more("127.0.0.1:0"));
    gateway.wait_for("second");
    gateway.program.errors().wait_for("a listener was added");
    gateway.stop();
}

#[test]
fn a_long_diagnosis_is_cut_in_the_log() {
    let directory = Directory::new();
    let file = directory.write("gateway.toml", saying("first"));
    let gateway = Watching::start(&file);
    let wrong = |number: usize| format!("[routes.wrong{number}]\npath = \"/{number}\"\nservice = \"nobody\"\n");
    directory.write("gateway.toml", saying("second") + &(0..1000).map(wrong).collect::<String>());
    let line = gateway.program.errors().wait_for("the reload was refused");
    assert!(line.contains("wrong0") && line.contains("and 995 more, which `tidegate check`"), "{line}");
    assert!(line.len() < 4096, "{}", line.len());
    assert_eq!(gateway.says(), "first");
    gateway.stop();
}
