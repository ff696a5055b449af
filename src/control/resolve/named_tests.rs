//! Resolving against a real name server: BIND's named, on loopback, with a zone that changes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::answers::State;
use super::*;
use crate::upstream::members::Members;
use crate::upstream::targets::{TargetAddress, TargetSpec};

/// A name server with the zone `test`; it ends when it is dropped.
struct Named {
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
    serial: u32,
}

impl Named {
    /// A server with these records.
    async fn start(records: &str) -> Named {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("tidegate-named-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        // It cannot tell a port that the kernel chose: we ask for one and give it back. Should another have taken it by
        // then, named ends, and we try again.
        for _ in 0..20 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            write_zone(&directory, 1, records);
            if let Some(child) = spawn(&directory, address).await {
                return Named { directory, address, child, serial: 1 };
            }
        }
        panic!("named does not start; is it there? try `make test`");
    }

    /// Replaces all records.
    fn change(&mut self, records: &str) {
        self.serial += 1;
        write_zone(&self.directory, self.serial, records);
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it, as a crash would.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, where it was.
    async fn start_again(&mut self) {
        self.child = spawn(&self.directory, self.address).await.expect("its port is free");
    }

    fn config(&self) -> DnsConfig {
        let quick = Duration::from_millis;
        DnsConfig {
            servers: vec![self.address],
            min_ttl: quick(50),
            max_ttl: quick(400),
            timeout: quick(200),
            attempts: 2,
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn write_zone(directory: &std::path::Path, serial: u32, records: &str) {
    let head = format!("$TTL 1\n@ SOA ns root {serial} 60 60 60 1\n@ NS ns\nns A 127.0.0.1\n");
    // A reader sees the old file or the new one.
    std::fs::write(directory.join("new.zone"), head + records).unwrap();
    std::fs::rename(directory.join("new.zone"), directory.join("test.zone")).unwrap();
}

/// Starts named and waits until it answers, or ends.
async fn spawn(directory: &std::path::Path, address: SocketAddr) -> Option<Child> {
    let place = directory.display();
    let zone = |name: &str, file: &str| format!("zone \"{name}\" {{ type primary; file \"{file}\"; }};\n");
    // A zone whose file is missing is answered with SERVFAIL.
    let text = format!(
        "options {{ directory \"{place}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;\n\
         recursion no; dnssec-validation no; session-keyfile none; minimal-responses yes; }};\ncontrols {{}};\n{}{}",
        address.port(),
        zone("test", "test.zone"),
        zone("broken", "missing.zone"),
    );
    std::fs::write(directory.join("named.conf"), text).unwrap();
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let file = std::fs::File::create(directory.join("log")).unwrap();
    let mut command = Command::new("named");
    command.env("PATH", path).args(["-g", "-n", "1", "-c"]).arg(directory.join("named.conf"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut look = tokio::time::interval(Duration::from_millis(5));
    loop {
        look.tick().await;
        let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(tokio::time::Instant::now() < deadline, "named does not answer; it has said:\n{}", log());
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if answers(address) {
            return Some(child);
        }
    }
}

/// Whether a server answers a question for the zone's SOA.
fn answers(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let question = b"\x07\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x06\x00\x01";
    let mut answer = [0; 512];
    let sent = socket.send_to(question, address).is_ok();
    // No error, and one record.
    sent && socket.recv(&mut answer).is_ok_and(|length| length > 12 && answer[3] & 15 == 0 && answer[7] == 1)
}

/// A service whose names are being resolved.
struct Kept {
    service: Arc<Service>,
    counts: Arc<Counts>,
    _task: JoinSet<()>,
}

impl Kept {
    fn start(config: &DnsConfig, targets: &[TargetAddress]) -> Kept {
        let targets = targets.iter().map(|address| TargetSpec { address: address.clone(), weight: 1 });
        let service = Arc::new(Service::new(Arc::new(Members::new("users", 1))));
        service.configure(&targets.collect::<Vec<_>>(), None);
        let counts = Arc::new(Counts::default());
        let client = Arc::new(Client::new(config, counts.clone()).unwrap());
        let mut task = JoinSet::new();
        task.spawn(Keeper::new(service.clone(), client, config).run(None));
        Kept { service, counts, _task: task }
    }

    /// The addresses and weights of all targets.
    fn list(&self) -> Vec<String> {
        let endpoints = self.service.members.endpoints();
        endpoints.iter().map(|endpoint| format!("{} {}", endpoint.address(), endpoint.weight())).collect()
    }

    fn state(&self) -> State {
        self.service.sources()[0].state().clone()
    }

    async fn has(&self, list: &[&str]) {
        eventually(&format!("the targets are {list:?}"), || self.list() == list, || format!("{:?}", self.list())).await;
    }

    /// Waits until there is an error with these words.
    async fn fails(&self, words: &str) {
        let said = || self.state().error.unwrap_or_default();
        eventually(&format!("an error with {words:?}"), || said().contains(words), said).await;
    }

    /// Waits until the last answer was a good one.
    async fn is_well(&self) {
        let state = || format!("{:?}", self.state());
        let is_well = || self.state().answered.is_some() && self.state().error.is_none();
        eventually("a good answer", is_well, state).await;
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool, is: impl Fn() -> String) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut look = tokio::time::interval(Duration::from_millis(2));
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}, and it is {}", is());
        look.tick().await;
    }
}

fn host(name: &str) -> TargetAddress {
    TargetAddress::Name { host: name.into(), port: 80 }
}

fn srv(name: &str) -> TargetAddress {
    TargetAddress::Srv(name.into())
}

#[tokio::test]
async fn records_that_change_arrive_at_their_ttl() {
    let mut named = Named::start("users A 127.0.0.1\nusers A 127.0.0.2\nusers AAAA ::1\nalias CNAME users\n").await;
    let kept = Kept::start(&named.config(), &[host("alias.test"), TargetAddress::Ip(([127, 0, 0, 9], 80).into())]);
    kept.has(&["127.0.0.1:80 1", "127.0.0.2:80 1", "[::1]:80 1", "127.0.0.9:80 1"]).await;
    let before = kept.service.members.endpoints();
    let version = kept.service.members.version();
    named.change("users A 127.0.0.2\nusers A 127.0.0.3\nalias CNAME users\n");
    kept.has(&["127.0.0.2:80 1", "127.0.0.3:80 1", "127.0.0.9:80 1"]).await;
    // One change of all at once, and who stays is the same as before.
    assert_eq!(kept.service.members.version(), version + 1);
    assert!(Arc::ptr_eq(&before[1], &kept.service.members.endpoints()[0]));
    // Nothing changes: nobody is disturbed.
    let (asked, version) = (kept.counts.queries(), kept.service.members.version());
    eventually("it is asked again", || kept.counts.queries() >= asked + 4, String::new).await;
    assert_eq!(kept.service.members.version(), version);
}

#[tokio::test]
async fn names_that_are_gone_keep_their_last_good_answer() {
    let mut named = Named::start("users A 127.0.0.1\n").await;
    let kept = Kept::start(&named.config(), &[host("users.test.")]);
    kept.has(&["127.0.0.1:80 1"]).await;
    named.change("");
    kept.fails("it has no address (NXDOMAIN)").await;
    kept.has(&["127.0.0.1:80 1"]).await;
    named.change("users TXT \"no address\"\n");
    kept.fails("it has no address (no records)").await;
    kept.has(&["127.0.0.1:80 1"]).await;
    assert!(kept.counts.failures(Failure::NxDomain) > 0);
    named.change("users A 127.0.0.2\n");
    kept.has(&["127.0.0.2:80 1"]).await;
    kept.is_well().await;
}

#[tokio::test]
async fn a_server_that_dies_or_hangs_takes_nothing_away() {
    let mut named = Named::start("users A 127.0.0.1\n").await;
    let kept = Kept::start(&named.config(), &[host("users.test.")]);
    kept.has(&["127.0.0.1:80 1"]).await;
    named.kill();
    eventually("it fails", || kept.state().failures >= 3, String::new).await;
    kept.has(&["127.0.0.1:80 1"]).await;
    write_zone(&named.directory, 9, "users A 127.0.0.2\n");
    named.start_again().await;
    kept.has(&["127.0.0.2:80 1"]).await;
    kept.is_well().await;
    named.signal(rustix::process::Signal::STOP);
    kept.fails("no name server has answered within 400ms").await;
    kept.has(&["127.0.0.2:80 1"]).await;
    named.signal(rustix::process::Signal::CONT);
    kept.is_well().await;
    assert!(kept.counts.failures(Failure::Timeout) > 0);
}

#[tokio::test]
async fn errors_of_the_server_are_told_and_do_not_spread() {
    let named = Named::start("users A 127.0.0.1\n").await;
    for (name, words) in [("users.broken.", "Server Failure"), ("users.elsewhere.", "Query Refused")] {
        let kept = Kept::start(&named.config(), &[host(name), host("users.test.")]);
        kept.fails(words).await;
        kept.has(&["127.0.0.1:80 1"]).await;
        assert!(kept.counts.failures(Failure::Server) > 0);
    }
}

#[tokio::test]
async fn srv_records_give_ports_weights_and_the_lowest_priority() {
    let hosts = "u1 A 127.0.0.1\nu2 A 127.0.0.2\nu2 A 127.0.0.3\nu3 A 127.0.0.4\n";
    let records = |lines: &str| format!("{hosts}{lines}");
    let mut named = Named::start(&records(
        "_http._tcp.users SRV 10 10 8001 u1\n_http._tcp.users SRV 10 40 8002 u2\n_http._tcp.users SRV 20 99 8003 u3\n",
    ))
    .await;
    let kept = Kept::start(&named.config(), &[srv("_http._tcp.users.test")]);
    kept.has(&["127.0.0.1:8001 1", "127.0.0.2:8002 2", "127.0.0.3:8002 2"]).await;
    let authorities: Vec<String> =
        kept.service.members.endpoints().iter().map(|endpoint| endpoint.authority().to_owned()).collect();
    assert_eq!(authorities, ["u1.test:8001", "u2.test:8002", "u2.test:8002"]);
    // The first group is gone: the next one takes its place.
    named.change(&records("_http._tcp.users SRV 20 99 8003 u3\n"));
    kept.has(&["127.0.0.4:8003 1"]).await;
    // No such service, they say; no records; a target without an address.
    named.change(&records("_http._tcp.users SRV 0 0 0 .\n"));
    kept.fails("there is no such service").await;
    named.change(&records(""));
    kept.fails("it has no SRV record (NXDOMAIN)").await;
    named.change(&records("_http._tcp.users SRV 1 1 80 nowhere\n"));
    kept.fails("its target nowhere.test: it has no address (NXDOMAIN)").await;
    kept.has(&["127.0.0.4:8003 1"]).await;
    named.change(&records("_http._tcp.users SRV 1 0 80 u1\n_http._tcp.users SRV 1 0 80 u3\n"));
    kept.has(&["127.0.0.1:80 1", "127.0.0.4:80 1"]).await;
    kept.is_well().await;
}

#[tokio::test]
async fn an_answer_too_large_for_udp_comes_over_tcp() {
    // As many as named takes, and more than fit the 1232 bytes that are asked for.
    let records: String = (1..=100).map(|last| format!("many A 127.0.1.{last}\n")).collect();
    let named = Named::start(&records).await;
    let kept = Kept::start(&named.config(), &[host("many.test.")]);
    eventually("all are there", || kept.list().len() == 100, || format!("{:?}", kept.list())).await;
    kept.is_well().await;
}

#[tokio::test]
async fn a_ttl_of_nothing_is_raised_and_a_long_one_is_cut() {
    let named = Named::start("now 0 A 127.0.0.1\nlong 86400 A 127.0.0.2\n").await;
    for (name, holds) in [("now.test.", 50), ("long.test.", 400)] {
        let kept = Kept::start(&named.config(), &[host(name)]);
        kept.is_well().await;
        let state = kept.state();
        assert_eq!(state.due.since(state.answered.unwrap()), Duration::from_millis(holds), "{name}");
        let asked = kept.counts.queries();
        eventually("it is asked again", || kept.counts.queries() > asked, String::new).await;
    }
}

#[tokio::test]
async fn localhost_is_this_machine_and_asks_nobody() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let kept = Kept::start(&DnsConfig { servers: vec![nobody], ..DnsConfig::default() }, &[host("localhost")]);
    kept.has(&["127.0.0.1:80 1"]).await;
    assert_eq!((kept.counts.queries(), kept.state().error), (0, None));
}

#[tokio::test]
async fn who_waits_for_the_first_answers_is_told_also_when_there_are_none() {
    let named = Named::start("users A 127.0.0.1\n").await;
    let target = |name: &str| TargetSpec { address: host(name), weight: 1 };
    let service = Arc::new(Service::new(Arc::new(Members::new("users", 1))));
    service.configure(&[target("users.test."), target("nobody.test.")], None);
    let client = Arc::new(Client::new(&named.config(), Arc::default()).unwrap());
    let (first, mut asked) = tokio::sync::mpsc::channel(1);
    let mut task = JoinSet::new();
    task.spawn(Keeper::new(service.clone(), client, &named.config()).run(Some(first)));
    assert_eq!(asked.recv().await, None);
    assert_eq!(service.members.endpoints().len(), 1);
}
