//! The gateway as a process of its own.

use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::{Client, Response};
use crate::probe::{self, Memory};
use crate::program::{Directory, Finished, Program, wait_for, wait_until};

/// The built binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// A configuration with one route, to be changed by lines of its sections.
#[derive(Clone)]
pub(crate) struct Setup {
    driver: &'static str,
    workers: usize,
    targets: Vec<String>,
    gateway: String,
    listener: String,
    admin: String,
    service: String,
    route: String,
    wrapper: Vec<String>,
    /// Whole sections, in front of all others.
    sections: String,
}

impl Setup {
    /// One worker, and everything goes to `target`.
    pub(crate) fn new(driver: &'static str, target: SocketAddr) -> Setup {
        Setup::to(driver, [target])
    }

    /// One worker, and everything goes to `targets`.
    pub(crate) fn to(driver: &'static str, targets: impl IntoIterator<Item = impl ToString>) -> Setup {
        let (gateway, listener, admin, service, route, wrapper, sections) = Default::default();
        let targets = targets.into_iter().map(|target| format!("\"{}\"", target.to_string())).collect();
        Setup { driver, workers: 1, targets, gateway, listener, admin, service, route, wrapper, sections }
    }

    pub(crate) fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    /// Adds a line to `[gateway]`.
    pub(crate) fn gateway(mut self, line: &str) -> Setup {
        self.gateway += &format!("{line}\n");
        self
    }

    /// Asks this name server, and no other.
    pub(crate) fn resolver(self, server: SocketAddr) -> Setup {
        self.gateway(&format!("dns = {{ servers = [\"{server}\"], min_ttl = \"1s\" }}"))
    }

    /// Adds a section.
    pub(crate) fn section(mut self, text: &str) -> Setup {
        self.sections += &format!("{text}\n");
        self
    }

    /// Adds a line to `[listeners.public]`.
    pub(crate) fn listener(mut self, line: &str) -> Setup {
        self.listener += &format!("{line}\n");
        self
    }

    /// Adds a line to `[admin]`.
    pub(crate) fn admin(mut self, line: &str) -> Setup {
        self.admin += &format!("{line}\n");
        self
    }

    /// Adds a line to `[services.app]`.
    pub(crate) fn service(mut self, line: &str) -> Setup {
        self.service += &format!("{line}\n");
        self
    }

    /// Adds a line to `[routes.app]`.
    pub(crate) fn route(mut self, line: &str) -> Setup {
        self.route += &format!("{line}\n");
        self
    }

    /// Starts the gateway through another program, such as `prlimit`.
    pub(crate) fn through(mut self, wrapper: &[&str]) -> Setup {
        self.wrapper.extend(wrapper.iter().map(|&word| word.to_owned()));
        self
    }

    /// The configuration file.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.sections, self.usual_text())
    }

    fn usual_text(&self) -> String {
        let Setup { driver, workers, targets, gateway, listener, admin, service, route, .. } = self;
        let targets = targets.join(", ");
        format!(
            "[gateway]\ndriver = \"{driver}\"\nworkers = {workers}\npin = false\n{gateway}\n\
             [listeners.public]\naddress = \"127.0.0.1:0\"\n{listener}\n[admin]\naddress = \"127.0.0.1:0\"\n{admin}\n\
             [services.app]\ntargets = [{targets}]\n{service}\n\
             [routes.app]\npath = \"/*\"\nservice = \"app\"\nlimits = {{ body = false }}\n{route}\n"
        )
    }

    /// Starts the gateway and waits until it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Gateway {
        let directory = Directory::new();
        let file = directory.write("gateway.toml", self.text());
        let mut words = self.wrapper.iter().map(String::as_str).chain([BINARY, "run", "--config", &file]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        let program = Program::start(command);
        let serving = program.errors().wait_for("\"admin\"");
        let listening = program.errors().wait_for("\"listener\":\"public\"");
        let address =
            |line: &str, name: &str| field(line, name).and_then(|text| text.parse().ok()).expect("an address");
        if self.driver != "auto" {
            assert_eq!(field(&serving, "driver"), Some(self.driver), "{serving}");
        }
        let (public, admin) = (address(&listening, "address"), address(&serving, "admin"));
        Gateway { program, public, admin, file, _directory: directory }
    }
}

/// The gateway, serving.
pub(crate) struct Gateway {
    program: Program,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Its configuration.
    pub(crate) file: String,
    _directory: Directory,
}

impl Gateway {
    /// The process.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// The address of something behind it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    /// A new connection of a client.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.public)
    }

    /// A value of `/metrics`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = Client::connect(self.admin).get("/metrics").text();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let value = line.and_then(|line| line.split(' ').nth(1)).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Makes `text` its configuration file, and asks it to read that; the answer.
    #[track_caller]
    pub(crate) fn reload(&self, text: &str) -> Response {
        std::fs::write(&self.file, text).unwrap();
        let mut client = Client::connect(self.admin);
        client.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        client.response()
    }

    /// Client connections that are open now.
    #[track_caller]
    pub(crate) fn open(&self) -> u64 {
        self.metric("tidegate_connections_open")
    }

    /// Waits until so many client connections are open.
    #[track_caller]
    pub(crate) fn wait_for_open(&self, count: u64) {
        wait_until(&format!("{count} open connections"), || self.open() == count);
    }

    /// Descriptors that the process has.
    pub(crate) fn descriptors(&self) -> usize {
        probe::descriptors(self.pid())
    }

    /// Memory that the process has.
    pub(crate) fn memory(&self) -> Memory {
        probe::memory(self.pid())
    }

    /// Time of a processor that the process has used.
    pub(crate) fn cpu(&self) -> Duration {
        probe::cpu(self.pid())
    }

    /// Ends it and expects that it ends well.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.program.signal(Signal::TERM);
        let finished = self.program.finish();
        assert!(finished.status.success(), "{finished:?}");
        assert!(!finished.errors.contains("panicked") && !finished.errors.contains("a panic,"), "{finished:?}");
    }

    /// Waits until it ends by itself, whoever else has its streams then; says how.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.program.ended())
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        self.program.finish()
    }
}

/// The value of a field in a line of the log: `"name":"value"` or `"name":7`.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{name}\":"))?;
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => rest.split([',', '}']).next(),
    }
}

/// Whether the gateway can be on io_uring here.
pub(crate) fn has_io_uring() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let target = SocketAddr::from(([127, 0, 0, 1], 9));
        let gateway = Setup::new("auto", target).start();
        let line = gateway.program().errors().wait_for("\"admin\"");
        let has = field(&line, "driver") == Some("io_uring");
        if !has {
            eprintln!("the tests on io_uring pass without a word more, for there is none here: {line}");
        }
        has
    })
}
