//! Targets that fail, one at a time and two together, under load: what is answered, lost, sent again and sent twice.
//!
//! The targets are an nginx with three server blocks and two servers of our own that misbehave on demand
//! (`python/faulty.py`). Each keeps a log of what has arrived, and each request has an id of its own: what was executed
//! twice is counted where it was executed. wrk asks with GET and with POST, and a witness compares each answer with its
//! question. The tables are printed: `cargo test --test process faults -- --nocapture`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::backends::{free_addresses, start_nginx};
use crate::gateway::{Gateway, Setup};
use crate::load::{Outcome, Witness, Wrk};
use crate::on_both_drivers;
use crate::program::{Directory, pause, wait_for, wait_until};
use crate::targets::{Arrival, Faulty, Nginx};

on_both_drivers!(no_request_is_lost_while_targets_fail);

/// What happens to a target.
#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
    /// A mode of `python/faulty.py`.
    Mode(&'static str),
}

/// Who fails.
#[derive(Clone, Copy)]
enum Who {
    First,
    Second,
    /// Its three server blocks at once.
    Nginx,
}

/// What is promised to GET.
#[derive(Clone, Copy, PartialEq)]
enum Promise {
    /// Every request is answered.
    Lossless,
    /// The client has had the head: what the faulty target has cut stays cut, and no more than that.
    Cut,
    /// Most targets are gone; most requests are answered all the same once that is known.
    Recovers,
}

struct Case {
    name: &'static str,
    faults: &'static [(Who, Fault)],
    promise: Promise,
}

const fn case(name: &'static str, faults: &'static [(Who, Fault)], promise: Promise) -> Case {
    Case { name, faults, promise }
}

/// One target of three.
const ALONE: &[Case] = &[
    case("kill", &[(Who::First, Fault::Kill)], Promise::Lossless),
    case("freeze", &[(Who::First, Fault::Freeze)], Promise::Lossless),
    case("slow", &[(Who::First, Fault::Mode("slow"))], Promise::Lossless),
    case("half-close", &[(Who::First, Fault::Mode("half_close"))], Promise::Lossless),
    case("reset", &[(Who::First, Fault::Mode("reset"))], Promise::Lossless),
    case("500", &[(Who::First, Fault::Mode("status_500"))], Promise::Lossless),
    case("wrong framing, head", &[(Who::First, Fault::Mode("bad_head"))], Promise::Lossless),
    case("wrong framing, body", &[(Who::First, Fault::Mode("bad_chunk"))], Promise::Cut),
    case("reset mid-body", &[(Who::First, Fault::Mode("reset_in_body"))], Promise::Cut),
    case("end mid-body", &[(Who::First, Fault::Mode("short_body"))], Promise::Cut),
];

/// Two targets of five, and then three of five.
const TOGETHER: &[Case] = &[
    case("kill + freeze", &[(Who::First, Fault::Kill), (Who::Second, Fault::Freeze)], Promise::Lossless),
    case(
        "slow + 500",
        &[(Who::First, Fault::Mode("slow")), (Who::Second, Fault::Mode("status_500"))],
        Promise::Lossless,
    ),
    case(
        "half-close + reset",
        &[(Who::First, Fault::Mode("half_close")), (Who::Second, Fault::Mode("reset"))],
        Promise::Lossless,
    ),
    case(
        "kill + reset mid-body",
        &[(Who::First, Fault::Kill), (Who::Second, Fault::Mode("reset_in_body"))],
        Promise::Cut,
    ),
    case("nginx killed, 3 of 5", &[(Who::Nginx, Fault::Kill)], Promise::Recovers),
    case("nginx frozen, 3 of 5", &[(Who::Nginx, Fault::Freeze)], Promise::Recovers),
];

/// One target of three again, found by health checks alone.
const CHECKED: &[Case] = &[
    case("kill, health checks only", &[(Who::First, Fault::Kill)], Promise::Lossless),
    case("freeze, health checks only", &[(Who::First, Fault::Freeze)], Promise::Lossless),
];

/// Connections of wrk, for GET and for POST.
const CONNECTIONS: (usize, usize) = (8, 4);

/// For how long a fault lasts.
fn hold() -> Duration {
    let seconds = std::env::var("TIDEGATE_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::from_millis(600), |seconds: u64| Duration::from_secs(seconds / 20 + 1))
}

/// The targets, which are there for all cases.
struct Farm {
    nginx: Nginx,
    first: Faulty,
    second: Faulty,
}

impl Farm {
    fn start() -> Farm {
        Farm { nginx: Nginx::start(), first: Faulty::start(), second: Faulty::start() }
    }

    fn three(&self) -> Vec<SocketAddr> {
        vec![self.nginx.addresses[0], self.first.address, self.nginx.addresses[1]]
    }

    fn five(&self) -> Vec<SocketAddr> {
        let [one, two, three] = self.nginx.addresses;
        vec![one, self.first.address, two, self.second.address, three]
    }

    fn begin(&self, who: Who, fault: Fault) {
        let signal = |signal| match who {
            Who::First => self.first.signal(signal),
            Who::Second => self.second.signal(signal),
            Who::Nginx => self.nginx.signal(signal),
        };
        match (who, fault) {
            (_, Fault::Kill) => signal(Signal::KILL),
            (_, Fault::Freeze) => signal(Signal::STOP),
            (Who::First, Fault::Mode(mode)) => self.first.set(mode),
            (Who::Second, Fault::Mode(mode)) => self.second.set(mode),
            (Who::Nginx, Fault::Mode(mode)) => panic!("nginx knows no {mode}"),
        }
    }

    /// Ends a fault; the targets that are well again.
    fn end(&mut self, who: Who, fault: Fault) -> Vec<SocketAddr> {
        match (who, fault) {
            (Who::First, Fault::Kill) => self.first.restart(),
            (Who::Second, Fault::Kill) => self.second.restart(),
            (Who::Nginx, Fault::Kill) => self.nginx.restart(),
            (Who::First, Fault::Freeze) => self.first.signal(Signal::CONT),
            (Who::Second, Fault::Freeze) => self.second.signal(Signal::CONT),
            (Who::Nginx, _) => self.nginx.signal(Signal::CONT),
            (Who::First, Fault::Mode(_)) => self.first.set("healthy"),
            (Who::Second, Fault::Mode(_)) => self.second.set("healthy"),
        }
        match who {
            Who::First => vec![self.first.address],
            Who::Second => vec![self.second.address],
            Who::Nginx => self.nginx.addresses.to_vec(),
        }
    }

    /// What has arrived anywhere.
    fn arrivals(&self) -> impl Iterator<Item = Arrival> {
        [self.nginx.arrivals(), self.first.arrivals(), self.second.arrivals()].into_iter().flatten()
    }
}

/// What a case has shown.
struct Line {
    name: &'static str,
    get: Outcome,
    post: Outcome,
    /// Ids that arrived more than once, of GET and of POST.
    duplicated: (usize, usize),
    /// Ids of POST that have arrived.
    arrived: u64,
    /// GET requests that a target has answered wrongly.
    hits: u64,
    retried: Option<u64>,
    /// From the end of the fault to the first good answer of the last target to recover.
    recovery: Duration,
}

/// Puts load on `front`, lets the targets fail and recover, and counts.
#[track_caller]
fn measure(number: usize, case: &Case, farm: &mut Farm, targets: &[SocketAddr], front: SocketAddr) -> Line {
    let prefix = |kind: &str| format!("{kind}{number}-");
    let get = Wrk::start(front, "GET", &prefix("g"), CONNECTIONS.0);
    let post = Wrk::start(front, "POST", &prefix("p"), CONNECTIONS.1);
    let witness = Witness::start(front, prefix("w"));
    wait_until("an answer of each target", || targets.iter().all(|target| witness.last(*target).is_some()));
    let some_load = || {
        let before = witness.answered();
        wait_until("load", || witness.answered() > before + 50);
    };
    some_load();
    for (who, fault) in case.faults {
        farm.begin(*who, *fault);
    }
    pause(hold());
    let mut recovering = Vec::new();
    for (who, fault) in case.faults {
        let well = farm.end(*who, *fault);
        recovering.extend(well.into_iter().map(|target| (target, Instant::now())));
    }
    let recovered = |(target, since): &(SocketAddr, Instant)| {
        let answered = || witness.last(*target).filter(|at| at > since);
        wait_for(&format!("{target} to be used again after {}", case.name), answered) - *since
    };
    let recovery = recovering.iter().map(recovered).max().unwrap_or_default();
    some_load();
    let get = get.stop().and(witness.stop());
    let post = post.stop();

    let Counts { of, hits } = count(farm, &prefix(""));
    let of = |method: &str, least: usize| {
        of.iter().filter(|((other, _), count)| other == method && **count >= least).count()
    };
    Line {
        name: case.name,
        get,
        post,
        duplicated: (of("GET", 2), of("POST", 2)),
        arrived: of("POST", 1) as u64,
        hits,
        retried: None,
        recovery,
    }
}

/// What the targets have seen of a case.
struct Counts {
    /// How often each method and id has arrived.
    of: HashMap<(String, String), usize>,
    /// How often a target has answered a GET wrongly.
    hits: u64,
}

fn count(farm: &Farm, prefix: &str) -> Counts {
    let mut counts = Counts { of: HashMap::new(), hits: 0 };
    for Arrival { method, id, mode } in farm.arrivals().filter(|arrival| arrival.id[1..].starts_with(prefix)) {
        let is_right = mode == "healthy" || mode.starts_with(|first: char| first.is_ascii_digit());
        counts.hits += u64::from(!is_right && method == "GET");
        *counts.of.entry((method, id)).or_default() += 1;
    }
    counts
}

/// The lines as a table in Markdown.
fn table(title: &str, lines: &[Line]) -> String {
    let mut text = format!(
        "\n{title}\n\n| fault | GET answered | GET failed | of them cut | faulty answers | retried | GET at two targets \
         | POST answered | POST failed | POST duplicated | recovery |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for line in lines {
        let Line { name, get, post, duplicated, hits, recovery, .. } = line;
        let retried = line.retried.map_or("-".to_owned(), |count| count.to_string());
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {hits} | {retried} | {} | {} | {} | {} | {} ms |",
            get.answered,
            get.failed(),
            get.cut,
            duplicated.0,
            post.answered,
            post.failed(),
            duplicated.1,
            recovery.as_millis(),
        );
    }
    text
}

/// What of the promises is broken.
fn broken(line: &Line, promise: Promise) -> Vec<String> {
    let (get, name) = (&line.get, line.name);
    let mut broken = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            broken.push(format!("{name}: {what}"));
        }
    };
    expect(line.duplicated.1 == 0, "a POST has arrived at two targets, or twice at one");
    expect(line.post.answered <= line.arrived, "a POST was answered that has arrived nowhere");
    expect(get.foreign + line.post.foreign == 0, "an answer to another question");
    expect(get.answered > 0 && line.post.answered > 0, "no load");
    // Without ejection, a target of three would have had a third of them.
    expect(line.hits * 10 <= get.answered, "the faulty target was asked on and on");
    match promise {
        Promise::Lossless => expect(get.failed() == 0, "a GET has failed"),
        Promise::Cut => expect(get.failed() <= line.hits, "more GETs have failed than met the faulty target"),
        Promise::Recovers => expect(get.answered > get.failed(), "more GETs have failed than were answered"),
    }
    broken
}

const EJECTION: &str =
    r#"ejection = { statuses = ["500", "502", "503", "504"], ejected_for = "200ms", longest = "800ms" }"#;
const CHECKS: &str = "ejection = false\nhealth = { path = \"/health\", interval = \"100ms\", timeout = \"100ms\", healthy = 1, unhealthy = 2 }";

/// The gateway as it is meant to be before targets of which `failing` may fail at once.
fn gateway(driver: &'static str, targets: &[SocketAddr], failing: usize, health: &str) -> Gateway {
    // Until checks have found a target down, each third request is sent again; ejection comes before that is too much.
    let budget = if health == CHECKS { 1.0 } else { 0.2 };
    let on = r#"["connect", "reset", "timeout", "500", "502", "503", "504"]"#;
    Setup::to(driver, targets)
        .workers(2)
        .gateway("limits = { requests_per_connection = false }")
        .service("first_byte_timeout = \"400ms\"")
        .service(&format!("retries = {{ attempts = {}, on = {on}, budget = {budget} }}", failing + 1))
        .service(health)
        .start()
}

fn no_request_is_lost_while_targets_fail(driver: &'static str) {
    let mut farm = Farm::start();
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    let groups = [(ALONE, 1, EJECTION), (TOGETHER, 2, EJECTION), (CHECKED, 1, CHECKS)];
    let cases =
        groups.iter().flat_map(|(cases, failing, health)| cases.iter().map(move |case| (case, *failing, health)));
    for (number, (case, failing, health)) in cases.enumerate() {
        let targets = if failing == 1 { farm.three() } else { farm.five() };
        let gateway = gateway(driver, &targets, failing, health);
        let mut line = measure(number, case, &mut farm, &targets, gateway.public);
        line.retried = Some(gateway.metric("tidegate_retries_total"));
        gateway.stop();
        problems.extend(broken(&line, case.promise));
        lines.push(line);
    }
    println!("{}", table(&format!("Targets that fail, {driver}, two workers:"), &lines));
    assert!(problems.is_empty(), "{driver}: {problems:#?}");
}

/// The count is worth something only if it sees what it is there for.
#[test]
fn the_count_sees_what_a_careless_proxy_does() {
    let mut farm = Farm::start();
    let mut lines = Vec::new();
    let cases = [&ALONE[3], &ALONE[8]];
    for (number, case) in cases.into_iter().enumerate() {
        // Sends everything again, POST too, and never ejects.
        let again = "error timeout non_idempotent";
        let (_proxy, _directory, address) = proxy(&farm.three(), &format!("proxy_next_upstream {again};"));
        let targets = farm.three();
        lines.push(measure(number, case, &mut farm, &targets, address));
    }
    let (_proxy, _directory, address) = proxy(&farm.three(), "proxy_next_upstream off;");
    let targets = farm.three();
    lines.push(measure(cases.len(), &ALONE[0], &mut farm, &targets, address));
    println!("{}", table("Targets that fail, behind careless proxies:", &lines));
    let [again, cut, never] = &lines[..] else { unreachable!("three lines") };
    assert!(again.duplicated.1 > 0 && again.duplicated.0 > 0, "what is sent twice is seen to arrive twice");
    assert!(cut.get.cut > 0 && cut.get.cut <= cut.hits, "what is cut is counted as cut");
    assert!(never.get.failed() > 0 && never.get.answered > 0, "what is lost is counted as lost");
    assert!(broken(again, Promise::Lossless).iter().any(|what| what.contains("POST")));
    assert!(broken(never, Promise::Lossless).iter().any(|what| what.contains("GET")));
}

/// nginx as a proxy before these targets.
fn proxy(targets: &[SocketAddr], options: &str) -> (crate::program::Program, Directory, SocketAddr) {
    wait_for("an nginx that starts", || {
        let (directory, [address]) = (Directory::new(), free_addresses());
        let servers: String = targets.iter().map(|target| format!("server {target} max_fails=0;\n")).collect();
        let http = format!(
            "access_log off;\nupstream app {{\n {servers} keepalive 64;\n}}\n\
             server {{\n listen {address};\n location / {{\n  proxy_pass http://app;\n  proxy_http_version 1.1;\n  \
             proxy_set_header Connection \"\";\n  proxy_read_timeout 1s;\n  {options}\n }}\n}}\n"
        );
        let program = start_nginx(&directory, &http)?;
        Some((program, directory, address))
    })
}
