//! The rows on the in-memory network: cut anywhere, in small pieces, late.

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tidegate::config::Config;
use tidegate::net::{Handle, Listener, Stream, connect};
use tidegate::runtime::{Network, Runtime};
use tidegate::shard::Shared;
use tidegate::snapshot::Snapshot;
use tidegate::snapshot::doorway::Doorway;
use tidegate::snapshot::publish::{Edition, Published};
use tidegate::worker;

use super::outcome::Outcome;
use super::{After, FLUSH, LAST, Row, rows};
use crate::harness::message::request_length;

const MILLISECOND: Duration = Duration::from_millis(1);

type Log = Rc<RefCell<Vec<Vec<u8>>>>;

fn public() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn backend() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3000))
}

fn snapshot() -> Arc<Snapshot> {
    let text = include_str!("../../../config/examples/minimal.toml");
    let mut config = Config::parse("minimal.toml", text).expect("an example");
    assert!(config.set_target("app", backend()));
    Arc::new(Snapshot::compile(&config).expect("an example"))
}

/// Sends all of `bytes`, unless the other side has gone; says whether that was with a reset.
async fn send(stream: &Stream, bytes: &[u8]) -> bool {
    let sent = stream.send(&[IoSlice::new(bytes)]).await;
    sent.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Everything to the end, and whether that was a reset.
async fn receive_all(stream: &Stream) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match stream.recv().await {
            Ok(Some(chunk)) => all.extend_from_slice(&chunk),
            Ok(None) => return (all, false),
            Err(_) => return (all, true),
        }
    }
}

/// The backend: as `kernel` has it.
async fn accept(listener: Listener, handle: Handle, row: Rc<Row>, log: Log) {
    while let Ok((socket, _)) = listener.accept().await {
        log.borrow_mut().push(Vec::new());
        let index = log.borrow().len() - 1;
        handle.spawn(converse(Stream::new(socket), row.clone(), log.clone(), index));
    }
}

async fn converse(stream: Stream, row: Rc<Row>, log: Log, index: usize) {
    let mut used = 0;
    let mut ended = false;
    while let Ok(Some(chunk)) = stream.recv().await {
        log.borrow_mut()[index].extend_from_slice(&chunk);
        loop {
            let request = {
                let log = log.borrow();
                let rest = &log[index][used..];
                request_length(rest).map(|length| rest[..length].to_vec())
            };
            let Some(request) = request.filter(|_| !ended) else { break };
            used += request.len();
            if request.starts_with(b"GET /canary ") || request.starts_with(b"GET /flush ") {
                send(&stream, LAST.as_bytes()).await;
                continue;
            }
            send(&stream, &row.reply).await;
            match row.after {
                After::Stay => {}
                After::Close => {
                    ended = true;
                    let _ = stream.shutdown_write();
                }
                After::Reset => return stream.reset(),
            }
        }
    }
}

/// The client: it sends the pieces that end at `cuts`, a millisecond apart.
async fn ask(handle: &Handle, row: &Row, cuts: &[usize]) -> (Vec<u8>, bool) {
    let stream = connect(handle, &public().into()).await.expect("the worker accepts");
    let bytes = row.sent();
    let (mut start, mut reset) = (0, false);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        reset |= send(&stream, &bytes[start..end]).await;
        start = end;
        handle.sleep(MILLISECOND).await;
    }
    if row.finish {
        let _ = stream.shutdown_write();
    }
    let (answer, reset_later) = receive_all(&stream).await;
    (answer, reset || reset_later)
}

/// Runs a row on a network of its own.
fn run(row: &Row, network: Network, cuts: &[usize], snapshot: &Arc<Snapshot>) -> Outcome {
    let runtime = Runtime::in_memory(network, 64);
    let handle = runtime.handle();
    let (log, row) = (Log::default(), Rc::new(row.clone()));
    let outcome = runtime.block_on(async {
        let origin = handle.listen_in_memory(backend()).expect("a free address");
        handle.spawn(accept(origin, handle.clone(), row.clone(), log.clone()));
        let listener = handle.listen_in_memory(public()).expect("a free address");
        let doorway = Doorway::taken(public());
        let entry = worker::Entry { listener, doorway: doorway.clone() };
        let published = Published::new(Edition::first(snapshot.clone(), vec![doorway], handle.now()));
        let shared = Shared::new(1);
        let ended = Rc::new(RefCell::new(false));
        handle.spawn({
            let (handle, shared, ended) = (handle.clone(), shared.clone(), ended.clone());
            async move {
                worker::run(&handle, published, shared, 0, vec![entry], |_| {}).await;
                *ended.borrow_mut() = true;
            }
        });
        let (answer, reset) = ask(handle, &row, cuts).await;
        let flush = connect(handle, &public().into()).await.expect("the worker accepts");
        send(&flush, FLUSH.as_bytes()).await;
        let (flushed, _) = receive_all(&flush).await;
        shared.drain();
        handle.wake_all();
        while !*ended.borrow() {
            handle.sleep(MILLISECOND).await;
        }
        // What is still on its way arrives.
        handle.sleep(MILLISECOND * 1000).await;
        let reached = log.borrow().clone();
        Outcome { answer, reset, reached, origin: backend().to_string(), flushed }
    });
    assert_eq!(handle.stats().panics, 0, "a task has panicked: {}", row.name);
    outcome
}

/// Runs every row in each of the ways that `ways` names.
fn run_all(ways: impl Fn(&Row) -> Vec<(String, Network, Vec<usize>)>) {
    let snapshot = snapshot();
    let mut wrong = Vec::new();
    for row in rows() {
        for (way, network, cuts) in ways(&row) {
            let differs = run(&row, network, &cuts, &snapshot).differs(&row);
            wrong.extend(differs.map(|what| format!("{way}: {what}")));
        }
    }
    let count = wrong.len();
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{count} differences:\n{}", wrong.join("\n"));
}

#[test]
fn every_row_in_one_piece() {
    run_all(|_| vec![("whole".to_owned(), Network::default(), Vec::new())]);
}

#[test]
fn every_row_one_byte_at_a_time() {
    run_all(|row| vec![("by bytes".to_owned(), Network::default(), (1..row.sent().len().min(2000)).collect())]);
}

#[test]
fn every_row_cut_in_two() {
    run_all(|row| {
        let length = row.send.len().min(2000);
        let step = (length / 7).max(1);
        let cuts = (1..length).step_by(step).chain([length.saturating_sub(1).max(1), length]);
        cuts.map(|cut| (format!("cut at {cut}"), Network::default(), vec![cut])).collect()
    });
}

#[test]
fn every_row_on_a_bad_network() {
    run_all(|row| {
        let network = |seed: u64| Network {
            seed,
            latency: Duration::ZERO..MILLISECOND * 3,
            // Large rows in tiny pieces would take longer than a refused client may go on sending.
            piece: (1 + (seed as usize * 13) % 40).max(row.send.len() / 200),
            window: 1 << (10 + seed % 6),
            ..Network::default()
        };
        (0..8).map(|seed| (format!("seed {seed}"), network(seed), Vec::new())).collect()
    });
}
