//! The access log and the operations log where nobody takes them: full disks, pipes without a reader, and files that are
//! moved away under load.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::Client;
use crate::gateway::{BINARY, Gateway, Setup, field};
use crate::load::Wrk;
use crate::on_both_drivers;
use crate::origin::Origin;
use crate::program::{Directory, Program, pause, run, wait_until};

on_both_drivers!(a_full_disk, a_file_that_is_moved_under_load, a_pipe_that_nobody_reads);

const DROPPED_BY_QUEUE: &str = "tidegate_access_log_dropped_total{reason=\"queue_full\"}";
const DROPPED_BY_DISK: &str = "tidegate_access_log_dropped_total{reason=\"write_failed\"}";
const WRITTEN: &str = "tidegate_access_log_written_total";

fn start(driver: &'static str, origin: &Origin, output: &str) -> Gateway {
    Setup::new(driver, origin.address).section(&format!("[access_log]\noutput = {output}")).start()
}

/// A backend that answers with the id of the request.
pub(crate) fn echo() -> Origin {
    Origin::start(|request| {
        let id = request.path.split_once("id=").map_or("none", |(_, id)| id).to_owned();
        request.reply(&id)
    })
}

/// A pipe with a name, and the end of it that nobody reads from yet.
fn pipe(directory: &Directory, name: &str) -> (String, File) {
    let path = directory.path(name);
    run("mkfifo", &[&path]).good();
    let end = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    (path, end)
}

/// Every line of a file is whole; how many there are.
fn lines(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{path} ends with a whole line");
    for line in text.lines() {
        let good = serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["status"] == 200);
        assert!(good, "{line}");
    }
    text.lines().count() as u64
}

/// The disk has no room: requests are served, lines are counted, and it is told once. When there is room again, lines are
/// written again.
fn a_full_disk(driver: &'static str) {
    let (origin, directory) = (echo(), Directory::new());
    let path = directory.path("access.log");
    symlink("/dev/full", &path).unwrap();
    let gateway = start(driver, &origin, &format!("{{ file = \"{path}\" }}"));
    let wrk = Wrk::start(gateway.public, "GET", "a", 8);
    gateway.program().errors().wait_for("the access log cannot be written: No space left on device");
    let before = gateway.metric(DROPPED_BY_DISK);
    wait_until("more lines are dropped", || gateway.metric(DROPPED_BY_DISK) > before + 1000);
    assert_eq!(gateway.metric(WRITTEN), 0);
    fs::remove_file(&path).unwrap();
    gateway.program().signal(Signal::USR1);
    gateway.program().errors().wait_for("the access log is written again");
    wait_until("lines are written", || gateway.metric(WRITTEN) > 1000);
    let outcome = wrk.stop();
    assert!(outcome.answered > 1000 && outcome.failed() == 0, "{outcome:?}");
    let told = gateway.program().errors().text().matches("the access log cannot be written").count();
    assert_eq!(told, 1, "it is told once");
    gateway.stop();
    assert!(lines(&path) > 1000);
}

/// The file is moved away again and again under load, each time with a signal: no line is lost, torn or there twice.
fn a_file_that_is_moved_under_load(driver: &'static str) {
    const MOVES: usize = 20;
    let (origin, directory) = (echo(), Directory::new());
    let path = directory.path("access.log");
    let gateway = start(driver, &origin, &format!("{{ file = \"{path}\" }}"));
    let wrk = Wrk::start(gateway.public, "GET", "a", 8);
    let moved = |number: usize| format!("{path}.{number}");
    for number in 0..MOVES {
        wait_until("the file has lines", || fs::metadata(&path).is_ok_and(|file| file.len() > 0));
        fs::rename(&path, moved(number)).unwrap();
        gateway.program().signal(Signal::USR1);
        wait_until("the file is there again", || fs::exists(&path).unwrap());
    }
    let outcome = wrk.stop();
    assert!(outcome.answered > 0 && outcome.failed() == 0, "{outcome:?}");
    wait_until("all requests are over", || gateway.open() == 0);
    let requests = gateway.metric("tidegate_requests_total");
    // A request whose client has gone when wrk was stopped may have no status.
    let gone = gateway.metric("tidegate_clients_gone_total");
    assert_eq!((gateway.metric(DROPPED_BY_QUEUE), gateway.metric(DROPPED_BY_DISK)), (0, 0));
    gateway.stop();
    let all: Vec<String> = (0..MOVES).map(moved).chain([path.clone()]).collect();
    let (mut count, mut ids) = (0, std::collections::HashSet::new());
    for file in &all {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{file} ends with a whole line");
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            count += 1;
            ids.insert(line["request_id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!((count, ids.len() as u64), (requests, requests), "{gone} clients were gone");
}

/// Nobody reads standard output: requests are served, lines are dropped and counted, what is written is whole, and the
/// process ends in time.
fn a_pipe_that_nobody_reads(driver: &'static str) {
    let (origin, directory) = (echo(), Directory::new());
    let (path, mut end) = pipe(&directory, "stdout");
    let through = ["sh", "-c", "path=$1; shift; exec \"$@\" > \"$path\"", "sh", &path];
    let log = "[access_log]\noutput = \"stdout\"\nqueue = \"256KiB\"";
    let gateway = Setup::new(driver, origin.address).section(log).through(&through).start();
    let wrk = Wrk::start(gateway.public, "GET", "a", 8);
    wait_until("lines are dropped", || gateway.metric(DROPPED_BY_QUEUE) > 1000);
    let told = gateway.program().errors().wait_for("the access log takes no more lines");
    for words in ["\"level\":\"WARN\"", "\"output\":\"standard output\"", "see whether who reads it still does"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // Somebody reads again: what comes is whole, and goes on.
    let mut text = Vec::new();
    let mut piece = [0; 64 * 1024];
    let before = gateway.metric(WRITTEN);
    wait_until("lines are written again", || {
        match end.read(&mut piece) {
            Ok(count) => text.extend_from_slice(&piece[..count]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        gateway.metric(WRITTEN) > before + 1000
    });
    let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for line in BufReader::new(&text[..whole]).lines() {
        let line = line.unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
    }
    let before = gateway.metric(DROPPED_BY_QUEUE);
    wait_until("lines are dropped again", || gateway.metric(DROPPED_BY_QUEUE) > before + 1000);
    let outcome = wrk.stop();
    assert!(outcome.answered > 1000 && outcome.failed() == 0, "{outcome:?}");
    let mut rest = end.try_clone().unwrap();
    wait_until("the end of it to be told", || {
        while rest.read(&mut piece).is_ok_and(|count| count > 0) {}
        gateway.program().errors().text().contains("the access log keeps up again")
    });
    let began = Instant::now();
    gateway.stop();
    assert!(began.elapsed() < Duration::from_secs(8), "the end does not wait for a reader for ever");
}

/// Nobody reads standard error: requests are served, a reload and a drain go on, and the lines that were lost are told.
#[test]
fn a_log_that_nobody_reads() {
    let (origin, directory) = (echo(), Directory::new());
    let (path, end) = pipe(&directory, "stderr");
    let setup = Setup::new("epoll", origin.address);
    let file = directory.write("gateway.toml", setup.text());
    let script = "path=$1; shift; exec \"$@\" 2> \"$path\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", &path, BINARY, "run", "--config", &file]);
    let mut program = Program::start(command);
    let (mut said, mut end) = (String::new(), end);
    let mut read = |said: &mut String, words: &str| {
        wait_until(words, || {
            let mut piece = [0; 4096];
            match end.read(&mut piece) {
                Ok(count) => said.push_str(&String::from_utf8_lossy(&piece[..count])),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            said.lines().any(|line| line.contains(words) && line.ends_with('}'))
        });
    };
    read(&mut said, "\"admin\"");
    let address = |key: &str, line: &str| field(line, key).and_then(|text| text.parse().ok()).expect("an address");
    let listening = said.lines().find(|line| line.contains("\"listener\":\"public\"")).unwrap();
    let serving = said.lines().find(|line| line.contains("\"admin\"")).unwrap();
    let (public, admin) = (address("address", listening), address("admin", serving));
    // The pipe is full from now on.
    let mut filler = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
    while filler.write(&[b'x'; 512]).is_ok() {}
    let ask = |address, request: &str| {
        let mut client = Client::connect(address);
        client.send(request);
        client.response()
    };
    for _ in 0..20 {
        let refused = ask(public, "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(refused.status, 400, "a request that is told of in the log");
        assert_eq!(ask(public, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
        let reloaded = ask(admin, "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(reloaded.status, 200, "the control thread goes on");
        pause(Duration::from_millis(20));
    }
    let began = Instant::now();
    program.signal(Signal::TERM);
    let finished = program.finish();
    assert!(finished.status.success(), "{finished:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "the end does not wait for a reader for ever");
}
