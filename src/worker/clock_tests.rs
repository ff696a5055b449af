//! A worker on a virtual clock: what it does to the tick.
//!
//! Everything takes one tick of the timers to arrive, so that what arrives and what runs out can do so together.

use std::io::IoSlice;

use super::*;
use crate::config::Config;
use crate::net::{Stream, connect};
use crate::runtime::{Network, Runtime, TICK};
use crate::snapshot::Snapshot;

/// The time that a request has: a few ticks.
const TOTAL: Duration = Duration::from_millis(20);

/// How many ticks a backend thinks, in each run one more; at first it is in time, in the end it is not.
const THOUGHTS: std::ops::Range<u32> = 1..40;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole";

/// The gateway, beside a backend that thinks for so long.
struct World {
    handle: Handle,
    shared: Arc<Shared>,
}

impl World {
    /// `field` is the value of a response field that the gateway adds.
    fn start(handle: &Handle, thought: Duration, field: &str) -> World {
        let [public, backend] = [8080, 3001].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let origin = handle.listen_in_memory(backend).unwrap();
        let of_origin = handle.clone();
        handle.spawn(async move {
            while let Ok((socket, _)) = origin.accept().await {
                of_origin.spawn(answer(of_origin.clone(), Stream::new(socket), thought));
            }
        });
        let text = format!(
            "[gateway]\nworkers = 1\n[listeners.public]\naddress = \"{public}\"\n\
             [services.app]\ntargets = [\"{backend}\"]\ntimeout = \"{}ms\"\n\
             [routes.app]\npath = \"/*\"\nservice = \"app\"\nresponse_headers = {{ set = {{ X-Added = \"{field}\" }} }}\n",
            TOTAL.as_millis()
        );
        let config = Config::parse("deadline.toml", &text).unwrap_or_else(|faults| panic!("{faults}"));
        let snapshot = Arc::new(Snapshot::compile(&config).unwrap_or_else(|faults| panic!("{faults}")));
        let doorway = Doorway::taken(public);
        let published = Published::new(Edition::first(snapshot, vec![doorway.clone()], handle.now()));
        let entry = Entry { listener: handle.listen_in_memory(public).unwrap(), doorway };
        let (worker, shared) = (handle.clone(), Shared::new(1));
        let of_worker = shared.clone();
        handle.spawn(async move { run(&worker, published, of_worker, 0, vec![entry], |_| {}).await });
        World { handle: handle.clone(), shared }
    }

    async fn connect(&self) -> Stream {
        connect(&self.handle, &SocketAddr::from(([127, 0, 0, 1], 8080)).into()).await.unwrap()
    }

    /// Two clients that have sent their requests.
    async fn ask(&self, request: &[u8]) -> [Stream; 2] {
        let streams = [self.connect().await, self.connect().await];
        for stream in &streams {
            send(stream, request).await;
        }
        streams
    }

    fn count(&self, counter: Counter) -> u64 {
        self.shared.counters[0].get(counter)
    }
}

async fn answer(handle: Handle, stream: Stream, thought: Duration) {
    let mut received = Vec::new();
    while let Ok(Some(chunk)) = stream.recv().await {
        received.extend_from_slice(&chunk);
        if received.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            received.clear();
            handle.sleep(thought).await;
            // The gateway may have given up.
            let _ = stream.send(&[IoSlice::new(RESPONSE)]).await;
        }
    }
}

async fn send(stream: &Stream, bytes: &[u8]) {
    stream.send(&[IoSlice::new(bytes)]).await.unwrap();
}

/// Whether the response has the status 200. It is whole in any case.
async fn hear(stream: &Stream) -> bool {
    let mut received = Vec::new();
    while !received.ends_with(b"whole") && !received.ends_with(b"}\n") {
        let chunk = stream.recv().await.unwrap();
        received.extend_from_slice(&chunk.unwrap_or_else(|| panic!("not whole: {}", received.escape_ascii())));
    }
    received.starts_with(b"HTTP/1.1 200 ")
}

fn in_memory<T>(window: usize, test: impl AsyncFnOnce(&Handle) -> T) -> T {
    let runtime = Runtime::in_memory(Network { latency: TICK..TICK, window, ..Network::default() }, 16);
    let handle = runtime.handle();
    let tested = runtime.block_on(async {
        let tested = pin!(test(handle));
        handle.timeout(handle.now() + Duration::from_secs(3600), tested).await.expect("it ends")
    });
    assert_eq!(handle.stats().panics, 0, "a task has panicked");
    tested
}

/// A response that is there when the time runs out goes out, and is not counted as cut. There are two clients, who do the
/// same at the same time: what is sent while another task is ready goes out at the end of the turn.
#[test]
fn a_response_that_comes_as_the_time_runs_out_is_in_time() {
    let in_time = |thought| {
        in_memory(64 * 1024, async |handle| {
            let world = World::start(handle, thought, "short");
            let clients = world.ask(REQUEST).await;
            let in_time = hear(&clients[0]).await;
            assert_eq!(hear(&clients[1]).await, in_time, "both have the same time");
            let answered = if in_time { Counter::Responses2xx } else { Counter::Responses5xx };
            assert_eq!((world.count(answered), world.count(Counter::ResponsesCut)), (2, 0), "after {thought:?}");
            in_time
        })
    };
    let outcomes: Vec<bool> = THOUGHTS.map(|ticks| in_time(TICK * ticks)).collect();
    let good = outcomes.iter().take_while(|&&in_time| in_time).count();
    assert!(good > 0 && good < outcomes.len(), "{outcomes:?}");
    assert!(outcomes[good..].iter().all(|in_time| !in_time), "{outcomes:?}");
}

/// If the client has no room for all of it, it is late all the same, and at once, also while the client goes on sending.
#[test]
fn a_response_that_the_client_does_not_take_is_cut_when_the_time_is_over() {
    let upload = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    for request in [REQUEST, upload] {
        let outcomes: Vec<bool> = THOUGHTS.map(|ticks| cut_in_time(request, ticks)).collect();
        let cut = outcomes.iter().take_while(|&&cut| cut).count();
        assert!(cut > 0 && cut < outcomes.len(), "{outcomes:?}");
        assert!(outcomes[cut..].iter().all(|cut| !cut), "{outcomes:?}");
    }
}

/// Whether what clients do not take is cut, rather than refused before it has begun; either at the end of the time.
fn cut_in_time(request: &'static [u8], ticks: u32) -> bool {
    in_memory(512, async |handle| {
        let asked = handle.now();
        let world = World::start(handle, TICK * ticks, &"x".repeat(1000));
        for client in world.ask(request).await {
            let ticking = handle.clone();
            handle.spawn(async move {
                // What the gateway does not take waits; it stays open for longer than anything here takes.
                while request != REQUEST && client.send(&[IoSlice::new(b"some")]).await.is_ok() {
                    ticking.sleep(TICK).await;
                }
                ticking.sleep(TOTAL * 100).await;
                drop(client);
            });
        }
        // A connection to the gateway, one to the backend, and what is on its way.
        handle.sleep_until(asked + TOTAL + TICK * 8).await;
        let (cut, refused) = (world.count(Counter::ResponsesCut), world.count(Counter::Responses5xx));
        assert!((cut, refused) == (2, 0) || (cut, refused) == (0, 2), "{ticks} ticks: {cut} cut, {refused} refused");
        cut == 2
    })
}

/// A last request with these chunks.
macro_rules! chunks {
    ($chunks:literal) => {
        concat!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", $chunks)
    };
}

/// A client that has announced its last request, and sent nothing behind it, is not waited for.
#[test]
fn who_has_sent_all_is_left_at_once_and_others_may_finish() {
    // What the client sends, what it sends once it has the response, and whether it is left before it closes.
    let table = [
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "", true),
        ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", "", true),
        ("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody", "", true),
        (chunks!("4\r\nbody\r\n0\r\nA: b\r\n\r\n"), "", true),
        (chunks!("4\r\nbody\r\n0\r\nA: b\r\n"), "\r\n", false),
        ("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbo", "dy", false),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nmore", "", false),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\r\n", "", false),
    ];
    for (request, rest, left) in table {
        in_memory(64 * 1024, async |handle| {
            let world = World::start(handle, TICK, "short");
            let client = world.connect().await;
            send(&client, request.as_bytes()).await;
            assert!(hear(&client).await, "{request}");
            // A reset would be an error.
            assert!(client.recv().await.unwrap().is_none(), "{request}");
            assert_eq!(world.count(Counter::ConnectionsOpen), u64::from(!left), "{request}");
            if !rest.is_empty() {
                send(&client, rest.as_bytes()).await;
            }
            handle.sleep(TICK * 4).await;
            assert_eq!(world.count(Counter::ConnectionsOpen), u64::from(!left), "{request}");
            drop(client);
            handle.sleep(TICK * 4).await;
            assert_eq!(world.count(Counter::ConnectionsOpen), 0, "{request}");
        });
    }
}
