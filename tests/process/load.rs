//! Load for the fault tests: wrk with an id in each request, and a witness who reads every answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::Signal;

use crate::client::{Client, value};
use crate::program::{Program, command};

/// What became of requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// 200, and with the right body.
    pub(crate) answered: u64,
    /// Another status.
    pub(crate) refused: u64,
    /// No response, or a part of one.
    pub(crate) cut: u64,
    /// An answer to another question.
    pub(crate) foreign: u64,
}

impl Outcome {
    /// Not answered, in whatever way.
    pub(crate) fn failed(self) -> u64 {
        self.refused + self.cut + self.foreign
    }

    pub(crate) fn and(self, other: Outcome) -> Outcome {
        Outcome {
            answered: self.answered + other.answered,
            refused: self.refused + other.refused,
            cut: self.cut + other.cut,
            foreign: self.foreign + other.foreign,
        }
    }
}

/// A wrk that runs until it is told to stop.
pub(crate) struct Wrk(Program);

impl Wrk {
    /// Its ids begin with `prefix`.
    pub(crate) fn start(front: SocketAddr, method: &str, prefix: &str, connections: usize) -> Wrk {
        let script = format!("{}/tests/process/lua/requests.lua", env!("CARGO_MANIFEST_DIR"));
        let (connections, url) = (format!("-c{connections}"), format!("http://{front}"));
        let arguments = ["-t1", &connections, "-d1h", "--timeout", "60s", "-s", &script, &url, "--", method, prefix];
        Wrk(Program::start(command("wrk", &arguments)))
    }

    /// Stops it; what it has seen. Requests that are on their way then are not counted.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Outcome {
        self.0.signal(Signal::INT);
        let text = self.0.finish().good();
        let line = text.lines().find(|line| line.starts_with("answered ")).unwrap_or_else(|| panic!("{text}"));
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().unwrap();
        Outcome { answered: number(1), refused: number(3), cut: number(5), foreign: number(7) }
    }
}

/// A client with one connection who looks at every answer: whether it is to its own question, and who gave it.
pub(crate) struct Witness {
    shared: Arc<Seen>,
    thread: JoinHandle<Outcome>,
}

#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answered: AtomicU64,
    /// When each target has answered last, and the how manieth answer that was.
    last: Mutex<HashMap<SocketAddr, (Instant, u64)>>,
}

impl Witness {
    /// Asks with GET; its ids begin with `prefix`.
    pub(crate) fn start(front: SocketAddr, prefix: String) -> Witness {
        let shared = Arc::new(Seen::default());
        let seen = shared.clone();
        Witness { shared, thread: std::thread::spawn(move || witness(front, &prefix, &seen)) }
    }

    /// How many good answers it has had.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// When this target has answered last.
    pub(crate) fn last(&self, target: SocketAddr) -> Option<Instant> {
        self.shared.last.lock().unwrap().get(&target).map(|(at, _)| *at)
    }

    /// How many answers there have been since the last of this target.
    pub(crate) fn since(&self, target: SocketAddr) -> u64 {
        let last = self.shared.last.lock().unwrap().get(&target).map_or(0, |(_, number)| *number);
        // The answer may be noted, and not yet counted.
        self.answered().saturating_sub(last)
    }

    pub(crate) fn stop(self) -> Outcome {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the witness has not panicked")
    }
}

fn witness(front: SocketAddr, prefix: &str, seen: &Seen) -> Outcome {
    let mut outcome = Outcome::default();
    let mut client = Client::connect(front);
    let mut number = 0_u64;
    while !seen.over.load(Ordering::Relaxed) {
        number += 1;
        let id = format!("{prefix}{number}");
        let asked = client.try_send(format!("GET /work?id={id} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let Ok(response) = asked.and_then(|()| client.try_response()) else {
            outcome.cut += 1;
            client = Client::connect(front);
            continue;
        };
        match response.status {
            200 if response.text() == id => {
                outcome.answered += 1;
                let target = value(&response.head, "x-target").and_then(address).expect("a target says its address");
                seen.last.lock().unwrap().insert(target, (Instant::now(), outcome.answered));
                seen.answered.store(outcome.answered, Ordering::Relaxed);
            }
            200 => outcome.foreign += 1,
            _ => outcome.refused += 1,
        }
        if value(&response.head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            client = Client::connect(front);
        }
    }
    outcome
}

/// An address and a port; nginx writes IPv6 addresses without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?))
}
