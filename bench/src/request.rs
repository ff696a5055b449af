//! One whole request, on the memory driver: the worker as it is in production, with its connection loop, router, pools,
//! metrics and access log, and around it a client and backends that do as little as they can.
//!
//! All of them share one thread and a virtual clock, and everything takes [`LATENCY`] to arrive, so that a run depends on
//! nothing but the code. What client, backends and the in-memory network cost is counted, too: it is the same in two
//! commits, unless they change it. Each iteration is one request on a connection that is kept.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidegate::config::Config;
use tidegate::net::{Handle, Listener, Stream, connect};
use tidegate::observe::counters::Counter;
use tidegate::runtime::{Network, Runtime};
use tidegate::shard::Shared;
use tidegate::snapshot::Snapshot;
use tidegate::snapshot::doorway::Doorway;
use tidegate::snapshot::publish::{Edition, Published};
use tidegate::worker;

use crate::samples::{BROWSER, RESPONSE, WRK};
use crate::{Case, Work};

/// How long anything is on its way.
const LATENCY: Duration = Duration::from_micros(20);

/// How long a request may take, on the virtual clock: longer than it does.
const PATIENCE: Duration = Duration::from_secs(1);

/// Receive buffers that the worker, the client and the backends have together.
const BUFFERS: usize = 64;

/// How many backends listen, from this port on.
const BACKENDS: u16 = 3;
const FIRST_PORT: u16 = 3001;

/// What a case needs.
#[derive(Clone)]
struct Scene {
    /// What is configured besides the listener, the service and the route.
    gateway: &'static str,
    service: &'static str,
    route: &'static str,
    /// How many other routes there are.
    others: usize,
    /// What the client sends, and the bytes that end it where it arrives.
    request: Vec<u8>,
    request_end: &'static [u8],
    /// What the backend answers.
    response: Rc<[u8]>,
}

/// The bytes that end a body, and nothing before its end.
const END: &[u8] = b"end.";

const LOG: &str = "[access_log]\n";

const ONE_TARGET: &str = "targets = [\"127.0.0.1:3001\"]\n";

const FEATURES_SERVICE: &str = r#"
targets = ["127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"]
balance = "round_robin"
retries = { attempts = 2, on = ["connect", "reset", "502", "503"], budget = 0.2 }
ejection = { consecutive_failures = 5, ejected_for = "10s" }
"#;

const FEATURES_ROUTE: &str = r#"
request_headers = { set = { X-Tenant = "a" }, remove = ["DNT"] }
response_headers = { set = { X-Frame-Options = "DENY" }, remove = ["Server"] }
"#;

pub(crate) fn cases() -> Vec<Case> {
    let plain = Scene {
        gateway: LOG,
        service: ONE_TARGET,
        route: "",
        others: 0,
        request: BROWSER.into(),
        request_end: b"\r\n\r\n",
        response: message(RESPONSE, 128).into(),
    };
    let upload = "POST /files HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 65536\r\n\r\n";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let scenes = [
        ("small", 1000, Scene { request: WRK.into(), ..plain.clone() }),
        ("browser", 1000, plain.clone()),
        ("browser_10000_routes", 1000, Scene { others: 9999, ..plain.clone() }),
        ("browser_without_log", 1000, Scene { gateway: "", ..plain.clone() }),
        ("features", 1000, Scene { service: FEATURES_SERVICE, route: FEATURES_ROUTE, ..plain.clone() }),
        ("upload_64k", 200, Scene { request: message(upload, 64 * 1024), request_end: END, ..plain.clone() }),
        ("download_chunked_64k", 200, Scene { response: chunked(chunks, 64 * 1024).into(), ..plain }),
    ];
    let case = |(name, counted, scene): (&str, u64, Scene)| {
        Case::new(format!("request/{name}"), counted, move || requests(scene.clone()))
    };
    scenes.into_iter().map(case).collect()
}

/// A head, and a body of so many bytes.
fn message(head: &str, length: usize) -> Vec<u8> {
    let mut bytes = head.as_bytes().to_vec();
    bytes.resize(bytes.len() + length - END.len(), b'x');
    bytes.extend_from_slice(END);
    bytes
}

/// A head, and a body of so many bytes in chunks of 4 KiB.
fn chunked(head: &str, length: usize) -> Vec<u8> {
    let mut bytes = head.as_bytes().to_vec();
    for _ in 0..length / 4096 {
        bytes.extend_from_slice(b"1000\r\n");
        bytes.resize(bytes.len() + 4096, b'x');
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn public() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn snapshot(scene: &Scene) -> Arc<Snapshot> {
    let Scene { gateway, service, route, others, .. } = scene;
    let other = |i| format!("[routes.r{i}]\npath = \"/api/service-{i:05}/users/*\"\nservice = \"app\"\n");
    let others: String = (0..*others).map(other).collect();
    let text = format!(
        "[gateway]\nworkers = 1\nlimits = {{ requests_per_connection = false }}\n{gateway}\
         [listeners.public]\naddress = \"{}\"\n[services.app]\n{service}\
         [routes.app]\npath = \"/*\"\nservice = \"app\"\n{route}{others}",
        public()
    );
    let config = Config::parse("bench.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    Arc::new(Snapshot::compile(&config).unwrap_or_else(|faults| panic!("{faults}")))
}

/// The client and the world that it is in.
struct Client {
    stream: Stream,
    request: Vec<u8>,
    /// How long each response is.
    expected: usize,
    shared: Arc<Shared>,
}

fn requests(scene: Scene) -> Work {
    let network = Network { latency: LATENCY..LATENCY, ..Network::default() };
    let runtime = Runtime::in_memory(network, BUFFERS);
    let handle = runtime.handle();
    let begun = pin!(begin(handle.clone(), scene));
    let client = runtime.block_on(handle.timeout(handle.now() + PATIENCE, begun)).expect("the first response comes");
    Box::new(move |times| {
        let (handle, before) = (runtime.handle(), client.answered());
        let deadline = handle.now() + PATIENCE.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX));
        let asked = pin!(client.ask(times));
        runtime.block_on(handle.timeout(deadline, asked)).expect("all responses come");
        assert_eq!(client.answered() - before, times, "each request is answered with success");
        assert_eq!(handle.stats().panics, 0, "no task panics");
        assert_eq!(client.shared.access_log.dropped(), 0, "no line is dropped");
    })
}

/// Starts backends and a worker, and asks once.
async fn begin(handle: Handle, scene: Scene) -> Client {
    let snapshot = snapshot(&scene);
    let Scene { request, request_end, response, .. } = scene;
    for port in FIRST_PORT..FIRST_PORT + BACKENDS {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = handle.listen_in_memory(address).expect("a free address");
        handle.spawn(accept(listener, handle.clone(), request_end, response.clone()));
    }
    let listener = handle.listen_in_memory(public()).expect("a free address");
    let doorway = Doorway::taken(public());
    let entry = worker::Entry { listener, doorway: doorway.clone() };
    let published = Published::new(Edition::first(snapshot, vec![doorway], handle.now()));
    let shared = Shared::new(1);
    let (of_worker, shared_with_worker) = (handle.clone(), shared.clone());
    handle.spawn(async move {
        worker::run(&of_worker, published, shared_with_worker, 0, vec![entry], |_| {}).await;
    });
    let stream = connect(&handle, &public().into()).await.expect("the worker accepts");
    // No head ends like that.
    let end = &response[response.len() - 2 * END.len()..];
    let mut received = Vec::new();
    send(&stream, &request).await;
    receive(&stream, |chunk| {
        received.extend_from_slice(chunk);
        received.ends_with(end)
    })
    .await;
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", received.escape_ascii());
    Client { stream, request, expected: received.len(), shared }
}

impl Client {
    /// Sends requests, each when the last is answered. As a writer of the access log that keeps up, it gives buffers back.
    async fn ask(&self, times: u64) {
        let log = self.shared.access_log.of(0);
        for _ in 0..times {
            send(&self.stream, &self.request).await;
            let mut left = self.expected;
            receive(&self.stream, |chunk| {
                left = left.checked_sub(chunk.len()).expect("all responses are of one length");
                left == 0
            })
            .await;
            while let Some(batch) = log.take() {
                log.give_back(batch);
            }
        }
    }

    /// Responses of the class 2xx so far.
    fn answered(&self) -> u64 {
        self.shared.counters[0].get(Counter::Responses2xx)
    }
}

/// A backend: it answers each request when that has ended.
async fn accept(listener: Listener, handle: Handle, request_end: &'static [u8], response: Rc<[u8]>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (stream, response) = (Stream::new(socket), response.clone());
        handle.spawn(async move {
            while receive(&stream, |chunk| chunk.ends_with(request_end)).await {
                send(&stream, &response).await;
            }
        });
    }
}

async fn send(stream: &Stream, bytes: &[u8]) {
    stream.send(&[IoSlice::new(bytes)]).await.expect("the other side receives");
}

/// Receives until `is_last` says so; false at the end of the stream.
async fn receive(stream: &Stream, mut is_last: impl FnMut(&[u8]) -> bool) -> bool {
    while let Some(chunk) = stream.recv().await.expect("no reset") {
        if is_last(&chunk) {
            return true;
        }
    }
    false
}
