//! `config/examples/dns.toml`: targets by name. With a real name server they are tested in `tests/process`.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate::config::Config;

use crate::harness::{Boot, Gate, Gateway, Origin, PATIENCE, eventually, on_both_drivers};
use crate::health::{ask, ask_json};

/// A: four bytes of an address. SRV: see RFC 2782.
const TYPE_A: u8 = 1;
const TYPE_SRV: u8 = 33;

/// A name server with a few records; it ends when it is dropped.
struct NameServer {
    address: SocketAddr,
    records: Records,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The name, the type and the data of each record; `None` while the server is silent.
type Records = Arc<Mutex<Option<Vec<(&'static str, u8, Vec<u8>)>>>>;

impl NameServer {
    /// A server that says nothing.
    fn silent() -> NameServer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a time limit can be set");
        let address = socket.local_addr().expect("it is bound");
        let (records, ending): (Records, Arc<AtomicBool>) = Default::default();
        let state = (records.clone(), ending.clone());
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !state.1.load(Ordering::Acquire) {
                let Ok((length, peer)) = socket.recv_from(&mut question) else { continue };
                if let Some(records) = &*state.0.lock().expect("nobody panics with it") {
                    let sent = socket.send_to(&answer(&question[..length], records), peer);
                    sent.expect("loopback takes it");
                }
            }
        });
        NameServer { address, records, ending, thread: Some(thread) }
    }

    fn answers(self, records: Vec<(&'static str, u8, Vec<u8>)>) -> NameServer {
        *self.records.lock().expect("nobody panics with it") = Some(records);
        self
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the name server has failed");
    }
}

/// A name as it stands in a message (RFC 1035 section 3.1).
fn encode(name: &str) -> Vec<u8> {
    let labels =
        name.split('.').flat_map(|label| [&[u8::try_from(label.len()).expect("short")], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// The answer to a question: the records of its name and type, or NXDOMAIN where there is none of the name.
fn answer(question: &[u8], records: &[(&str, u8, Vec<u8>)]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("the end of a name") + 1;
    let name = question[12..end].to_ascii_lowercase();
    let of_name = || records.iter().filter(|(other, ..)| encode(other) == name);
    let found: Vec<&Vec<u8>> =
        of_name().filter(|(_, kind, _)| *kind == question[end + 1]).map(|(.., data)| data).collect();
    let code = if of_name().next().is_none() { 3 } else { 0 };
    let mut bytes = question[..2].to_vec();
    bytes.extend([0x85, 0x80 | code, 0, 1, 0, u8::try_from(found.len()).expect("few"), 0, 0, 0, 0]);
    bytes.extend(&question[12..end + 4]);
    for data in found {
        // The name is that of the question, and the TTL is a minute.
        bytes.extend([0xc0, 12, 0, question[end + 1], 0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).expect("short")]);
        bytes.extend(data);
    }
    bytes
}

fn a(last: u8) -> Vec<u8> {
    vec![127, 0, 0, last]
}

fn srv(weight: u8, port: u16, host: &str) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [vec![0, 1, 0, weight, high, low], encode(host)].concat()
}

/// The gateway of the example, with its own names, but with the ports of `origin`.
fn boot(origin: &Origin, server: &NameServer) -> Boot {
    let port = origin.address().port().to_string();
    let example = include_str!("../../config/examples/dns.toml");
    let text = example.replace(":3001\"", &format!(":{port}\""));
    let written = Config::parse("test.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    Gateway::from(include_str!("../../config/examples/dns.toml")).with(|config| {
        for (service, written) in config.services.iter_mut().zip(&written.services) {
            service.targets.clone_from(&written.targets);
        }
        config.gateway.dns.servers = vec![server.address];
        config.gateway.dns.min_ttl = Duration::from_millis(50);
    })
}

#[test]
fn names_are_resolved_before_the_first_request() {
    on_both_drivers(|driver| {
        let origin = Origin::start().reply("/users/7", 200, "Ada").reply("/orders/1", 200, "an anchor");
        let port = origin.address().port();
        let server = NameServer::silent().answers(vec![
            ("users.internal", TYPE_A, a(1)),
            ("_http._tcp.orders.internal", TYPE_SRV, srv(9, port, "o1.internal")),
            ("o1.internal", TYPE_A, a(1)),
        ]);
        let gateway = boot(&origin, &server).driver(driver).start();
        assert_eq!((gateway.get("/users/7").text(), gateway.get("/orders/1").text()), ("Ada", "an anchor"));
        let (_, view) = ask_json(&gateway, "/upstreams");
        let [users, orders] = [&view["services"][0], &view["services"][1]];
        let address = format!("127.0.0.1:{port}");
        assert_eq!(users["targets"][0]["address"], address.as_str());
        assert_eq!(users["targets"][0]["authority"], format!("users.internal:{port}").as_str());
        assert_eq!(orders["targets"][0]["authority"], format!("o1.internal:{port}").as_str());
        let name = &users["names"][0];
        assert_eq!((&name["name"], &name["error"]), (&"users.internal".into(), &serde_json::Value::Null));
        let ttl = name["asked_again_in_ms"].as_u64().expect("a time");
        assert!(name["answered_ago_ms"].is_u64() && (30_000..=60_000).contains(&ttl), "{name}");
        let metrics = ask(&gateway, "/metrics").text().to_owned();
        for line in [
            "tidegate_upstream_endpoints{service=\"orders\"} 1",
            "tidegate_dns_failures_total{reason=\"nxdomain\"} 0",
            "tidegate_dns_answer_age_seconds{service=\"users\",name=\"users.internal\"} ",
        ] {
            assert!(metrics.contains(&format!("\n{line}")), "{line} in {metrics}");
        }
    });
}

#[test]
fn a_silent_name_server_delays_the_start_but_does_not_prevent_it() {
    let origin = Origin::start().reply("/users/7", 200, "Ada");
    let server = NameServer::silent();
    let begun = Instant::now();
    let gateway = boot(&origin, &server).start();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1900) && took < PATIENCE, "{took:?}");
    let (status, view) = ask_json(&gateway, "/health/users");
    assert_eq!((status, &view["usable"], &view["targets"]), (503, &0.into(), &serde_json::json!([])));
    assert!((500..600).contains(&gateway.get("/users/7").status), "there is nobody to ask");
    // Once there is an answer, all is well.
    let _server = server.answers(vec![("users.internal", TYPE_A, a(1))]);
    eventually("the name is resolved", || ask_json(&gateway, "/health/users").0 == 200);
    assert_eq!(gateway.get("/users/7").text(), "Ada");
    // Of the other service, the server knows nothing.
    let error = || ask_json(&gateway, "/health/orders").1["names"][0]["error"].clone();
    eventually("the other is not", || error() == "it has no SRV record (NXDOMAIN)");
}

#[test]
fn a_target_that_is_gone_finishes_what_runs_there_and_keeps_no_connection() {
    on_both_drivers(|driver| {
        let gate = Gate::default();
        let passing = gate.clone();
        let leaving = Origin::scripted(move |conversation| {
            while let Some(request) = conversation.request() {
                if request.starts_with(b"GET /orders/slow ") {
                    passing.pass();
                }
                conversation.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold");
            }
        });
        let staying = Origin::start().reply("/orders/1", 200, "new");
        let at = |origin: &Origin| {
            let port = origin.address().port();
            vec![
                ("_http._tcp.orders.internal", TYPE_SRV, srv(9, port, "o1.internal")),
                ("o1.internal", TYPE_A, a(1)),
                ("users.internal", TYPE_A, a(1)),
            ]
        };
        let server = NameServer::silent().answers(at(&leaving));
        let often = |config: &mut Config| config.gateway.dns.max_ttl = Duration::from_millis(50);
        let gateway = boot(&staying, &server).with(often).driver(driver).start();
        let mut slow = gateway.connect();
        slow.send("GET /orders/slow HTTP/1.1\r\nHost: h\r\n\r\n");
        eventually("it runs", || leaving.connections() == 1);
        assert_eq!(gateway.get("/orders/1").text(), "old");
        assert_eq!((leaving.connections(), leaving.finished()), (2, 0));
        let server = server.answers(at(&staying));
        eventually("the connection that idles is closed", || leaving.finished() == 1);
        assert_eq!(gateway.get("/orders/1").text(), "new");
        gate.open();
        assert_eq!(slow.response().text(), "old");
        eventually("and the other, when it is free", || leaving.finished() == 2);
        drop(server);
    });
}
