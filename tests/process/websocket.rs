//! WebSocket conversations through the gateway: npm's `ws` and Python's `websockets`, each as client and as server.
//!
//! The clients (`node/client.cjs`, `python/ws_client.py`) check text, binary, pings, fragments, megabytes, close codes,
//! subprotocols, compression and refusals; here is what a WebSocket library does not let itself be made to do.

use std::io::Read;
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc::channel;

use crate::client::value;
use crate::gateway::{Gateway, Setup};
use crate::on_both_drivers;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, command, wait_until};

on_both_drivers!(
    conversations,
    a_thousand_tunnels_at_once,
    early_bytes_and_half_closes,
    an_answer_other_than_101_is_a_response,
    a_route_without_upgrade_makes_no_tunnel,
);

/// Tunnels that are open at once, where the process may have so many descriptors.
const TUNNELS: u64 = 1000;

/// What each client checks.
const STEPS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Library {
    Node,
    Python,
}

use Library::{Node, Python};

impl Library {
    fn start(self, script: &str, arguments: &[&str]) -> Program {
        let root = env!("CARGO_MANIFEST_DIR");
        let program = match self {
            Node => "node".to_owned(),
            Python => format!("{root}/.tools/python/bin/python3"),
        };
        let kind = if self == Node { "node" } else { "python" };
        let mut command = command(&program, &[&format!("{root}/tests/process/{kind}/{script}")]);
        command.args(arguments).env("NODE_PATH", format!("{root}/.tools/node/node_modules"));
        command.env("PYTHONUNBUFFERED", "1");
        Program::start(command)
    }

    fn client(self, arguments: &[&str]) -> Program {
        self.start(if self == Node { "client.cjs" } else { "ws_client.py" }, arguments)
    }

    /// A server, and where it is.
    fn server(self) -> (Program, SocketAddr) {
        let server = self.start(if self == Node { "server.cjs" } else { "ws_server.py" }, &[]);
        let line = server.output().wait_for("port ");
        let port: u16 = line.trim().trim_start_matches("port ").parse().unwrap();
        (server, SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

fn start(driver: &'static str, target: SocketAddr) -> Gateway {
    Setup::new(driver, target).workers(2).route("upgrade = true").start()
}

fn conversations(driver: &'static str) {
    for server in [Node, Python] {
        let (_server, target) = server.server();
        let gateway = start(driver, target);
        for client in [Node, Python] {
            let text = client.client(&[&gateway.public.to_string()]).finish().good();
            let steps = text.lines().filter(|line| line.starts_with("ok ")).count();
            assert_eq!(steps, STEPS, "{client:?} through {driver} to {server:?}: {text}");
        }
        gateway.wait_for_open(0);
        gateway.stop();
    }
}

fn a_thousand_tunnels_at_once(driver: &'static str) {
    // The gateway has two sockets for each, and needs some for itself.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let tunnels = TUNNELS.min((most / 2).saturating_sub(100));
    if tunnels < TUNNELS {
        println!("only {tunnels} tunnels, for `ulimit -Hn` is {most}");
    }
    for (client, server) in [(Node, Python), (Python, Node)] {
        let (_server, target) = server.server();
        let gateway = start(driver, target);
        let text = client.client(&[&gateway.public.to_string(), &tunnels.to_string()]).finish().good();
        assert!(text.contains(&format!("all of {tunnels} are open")), "{client:?} to {server:?}: {text}");
        gateway.wait_for_open(0);
        assert_eq!(gateway.metric("tidegate_task_panics_total"), 0);
        gateway.stop();
    }
}

const UPGRADE: &str = "HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";

fn early_bytes_and_half_closes(driver: &'static str) {
    let (send, received) = channel::<Vec<u8>>();
    let origin = Origin::start(move |request| {
        request.stream().set_read_timeout(Some(PATIENCE))?;
        let mut all = Vec::new();
        if request.path == "/backend-ends-first" {
            request.send(format!("{SWITCHING}early"))?;
            request.stream().shutdown(Shutdown::Write)?;
            request.rest(&mut all)?;
        } else {
            request.send(SWITCHING)?;
            request.rest(&mut all)?;
            request.send(&all)?;
        }
        send.send(all).expect("the test is there");
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let gateway = start(driver, origin.address);
    let late = vec![b'x'; 1_000_000];

    // The client speaks before it has had the 101, and ends its side; all comes back after that.
    let mut client = gateway.connect();
    client.send(format!("GET /client-ends-first {UPGRADE}early"));
    assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
    client.send(&late);
    client.shutdown();
    let mut back = Vec::new();
    client.large_reader().read_to_end(&mut back).unwrap();
    assert!(back == [b"early", &late[..]].concat(), "{} bytes have come back", back.len());
    assert_eq!(received.recv_timeout(PATIENCE).unwrap().len(), back.len());

    // The backend ends its side at once; the client goes on.
    let mut client = gateway.connect();
    client.send(format!("GET /backend-ends-first {UPGRADE}"));
    assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
    let mut text = String::new();
    client.large_reader().read_to_string(&mut text).unwrap();
    assert_eq!(text, "early");
    client.send(&late);
    client.shutdown();
    assert!(received.recv_timeout(PATIENCE).unwrap() == late, "not all has come");
    gateway.wait_for_open(0);
    gateway.stop();
}

fn an_answer_other_than_101_is_a_response(driver: &'static str) {
    let refused = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 9\r\n\r\nwho, you?";
    let required = "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: test/2\r\n\
                    Transfer-Encoding: chunked\r\n\r\n5\r\nnewer\r\n0\r\n\r\n";
    let origin = Origin::start(move |request| match request.path.as_str() {
        "/refuse" => request.send(refused),
        "/newer" => request.send(required),
        _ => request.reply("hello"),
    });
    let gateway = start(driver, origin.address);
    // One connection: after an ordinary response, it is as good as before.
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(format!("GET /refuse {UPGRADE}"));
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (401, "who, you?"), "{response:?}");
        assert_eq!(value(&response.head, "www-authenticate"), Some("Bearer"));
        client.send(format!("GET /newer {UPGRADE}"));
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (426, "newer"), "{response:?}");
        client.send(format!("GET /ignored {UPGRADE}"));
        assert_eq!(client.response().text(), "hello");
        assert_eq!(client.get("/").text(), "hello");
    }
    drop(client);
    gateway.wait_for_open(0);
    gateway.stop();
}

fn a_route_without_upgrade_makes_no_tunnel(driver: &'static str) {
    let origin = Origin::start(|request| {
        let head = request.head.clone();
        request.reply(&head)
    });
    let gateway = Setup::new(driver, origin.address).start();
    let mut client = gateway.connect();
    client.send(format!("GET / {UPGRADE}"));
    let response = client.response();
    assert_eq!((response.status, value(&response.text(), "upgrade")), (200, None), "{response:?}");
    gateway.stop();

    // The libraries' servers say what they miss.
    for server in [Node, Python] {
        let (_server, target) = server.server();
        let gateway = Setup::new(driver, target).start();
        let mut client = gateway.connect();
        client.send(format!("GET / {UPGRADE}"));
        assert_eq!(client.response().status, 426, "{server:?}");
        wait_until("no connection to a backend in use", || gateway.metric("tidegate_requests_total") == 1);
        gateway.stop();
    }
}
