//! A real Prometheus scrapes a real gateway, and promtool judges what it gets.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::access_log::echo;
use crate::client::Client;
use crate::gateway::{Gateway, Setup};
use crate::load::Wrk;
use crate::on_both_drivers;
use crate::origin::Origin;
use crate::program::{Directory, Program, command, pause, run, wait_for, wait_until};

on_both_drivers!(scraped_and_asked, scraped_often_under_load);

/// Where the files for Prometheus are.
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus");

/// Prometheus on a free port, with a directory of its own.
struct Prometheus {
    address: SocketAddr,
    _program: Program,
    _directory: Directory,
}

impl Prometheus {
    /// One that scrapes `target` twice a second, under the rules of the project.
    fn start(target: SocketAddr) -> Prometheus {
        let directory = Directory::new();
        let sample = std::fs::read_to_string(format!("{FILES}/scrape.yml")).unwrap();
        let address = sample.split("targets: [\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a target");
        assert!(sample.contains("scrape_interval: 15s"));
        let sample = sample.replace(address, &target.to_string()).replace(": 15s", ": 500ms");
        let file = directory.write("scrape.yml", sample);
        directory.write("rules.yml", std::fs::read_to_string(format!("{FILES}/rules.yml")).unwrap());
        let data = format!("--storage.tsdb.path={}", directory.path("data"));
        let file = format!("--config.file={file}");
        let program = Program::start(command("prometheus", &[&file, &data, "--web.listen-address=127.0.0.1:0"]));
        let line = program.errors().wait_for("Listening on");
        let address = line.split("address=").nth(1).and_then(|text| text.trim().parse().ok()).expect("an address");
        program.errors().wait_for("Server is ready");
        Prometheus { address, _program: program, _directory: directory }
    }

    /// The value of the one series that a query gives, if it does.
    fn ask(&self, query: &str) -> Option<f64> {
        let path = format!("/api/v1/query?query={query}");
        let answer: Value = serde_json::from_str(&Client::connect(self.address).get(&path).text()).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"]["result"].get(0)?["value"][1].as_str()?.parse().ok()
    }

    /// The unit of a family of series, if it is known.
    fn unit(&self, family: &str) -> Option<String> {
        let path = format!("/api/v1/metadata?metric={family}");
        let answer: Value = serde_json::from_str(&Client::connect(self.address).get(&path).text()).unwrap();
        Some(answer["data"][family].get(0)?["unit"].as_str()?.to_owned())
    }
}

/// The text for who does not ask for another format.
fn scrape(gateway: &Gateway) -> String {
    Client::connect(gateway.admin).get("/metrics").text()
}

/// What promtool says of a text.
fn check(text: &str) -> (bool, String) {
    let directory = Directory::new();
    let file = std::fs::File::open(directory.write("metrics", text)).unwrap();
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::from(file)).output();
    let output = output.unwrap_or_else(|error| panic!("promtool does not start: {error}; try `make test`"));
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn scraped_and_asked(driver: &'static str) {
    let gateway = Setup::new(driver, Origin::plain().address).workers(2).start();
    for _ in 0..7 {
        assert_eq!(gateway.connect().get("/").status, 200);
    }
    let counted = || scrape(&gateway).contains("tidegate_service_requests_total{service=\"app\",status=\"200\"} 7\n");
    wait_until("all to be counted", counted);
    let (good, faults) = check(&scrape(&gateway));
    assert!(good && faults.is_empty(), "{faults}");
    assert!(!check("a_total{x=1} 1\n").0, "it does find faults");
    assert!(scrape(&gateway).contains("\ntidegate_log_dropped_total{reason=\"queue_full\"} 0\n"));

    let prometheus = Prometheus::start(gateway.admin);
    let seven = |query: &str| wait_for(query, || prometheus.ask(query).filter(|value| *value == 7.0));
    seven("sum(tidegate_service_requests_total%7Bservice=%22app%22%7D)");
    seven("tidegate_route_requests_total%7Broute=%22app%22,method=%22GET%22,status=%222xx%22%7D");
    seven("tidegate_service_duration_seconds_count%7Bservice=%22app%22%7D");
    seven("tidegate_route_duration_seconds_bucket%7Broute=%22app%22,le=%22%2BInf%22%7D");
    assert_eq!(prometheus.ask("up%7Bjob=%22tidegate%22%7D"), Some(1.0));
    assert!(prometheus.ask("process_resident_memory_bytes%7Bjob=%22tidegate%22%7D").unwrap() > 1e6);
    let started = prometheus.ask("time()-process_start_time_seconds%7Bjob=%22tidegate%22%7D").unwrap();
    assert!((-2.0..600.0).contains(&started), "{started}");
    // There are units in OpenMetrics only: it is what Prometheus prefers.
    assert_eq!(prometheus.unit("tidegate_service_duration_seconds").as_deref(), Some("seconds"));
    // The rules are evaluated, too.
    wait_for("a recorded series", || prometheus.ask("tidegate:service_requests:rate5m%7Bservice=%22app%22%7D"));
}

#[test]
fn promtool_finds_the_rules_and_the_sample_well() {
    for (what, file) in [("rules", "rules.yml"), ("config", "scrape.yml")] {
        let said = run("promtool", &["check", what, &format!("{FILES}/{file}")]).good();
        assert!(said.contains("SUCCESS"), "{said}");
    }
}

#[test]
fn alerts_fire_when_they_are_to() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/promtool/rules_test.yml");
    let said = run("promtool", &["test", "rules", tests]).good();
    assert!(said.contains("SUCCESS"), "{said}");
}

/// Fifty times a second, for a while.
fn scraped_often_under_load(driver: &'static str) {
    const SCRAPES: u32 = 150;
    let gateway = Setup::new(driver, echo().address).workers(2).start();
    let wrk = Wrk::start(gateway.public, "GET", "scraped", 8);
    let mut scraper = Client::connect(gateway.admin);
    let start = Instant::now();
    let mut before = 0.0;
    for scrape in 0..SCRAPES {
        let response = scraper.get("/metrics");
        assert_eq!(response.status, 200);
        let text = response.text();
        let line = text.lines().find_map(|line| line.strip_prefix("tidegate_requests_total "));
        let requests: f64 = line.unwrap().parse().unwrap();
        assert!(requests >= before, "it only grows");
        before = requests;
        pause((Duration::from_millis(20) * (scrape + 1)).saturating_sub(start.elapsed()));
    }
    let outcome = wrk.stop();
    println!("{driver}: {SCRAPES} scrapes in {:?}, {outcome:?}", start.elapsed());
    assert_eq!(outcome.failed(), 0, "{outcome:?}");
    assert!(outcome.answered > 100 && before > 0.0, "{outcome:?}");
}
