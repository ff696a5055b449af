//! Tunnels between two pairs of sockets: in memory, on a bad network, and on real ones.

use std::rc::Rc;

use super::*;
use crate::net::{Address, Listener, bind, connect};
use crate::pipeline::Door;
use crate::policy::forwarded::ClientAddress;
use crate::runtime::{Choice, DriverKind, Network, Options, Runtime, Socket};
use crate::shard::Shared;
use crate::snapshot::ListenerId;
use crate::snapshot::doorway::Doorway;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes that ends at all; in memory time is virtual.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_IN_MEMORY: Duration = Duration::from_secs(3600);

const RULES: TunnelRules = TunnelRules { idle: None, lifetime: None, stall: None };

/// A runtime of each kind; the memory driver also cuts everything into small pieces, late.
fn on_every_runtime(test: impl AsyncFn(&Handle)) {
    let bad = |seed: u64| Network {
        seed,
        latency: Duration::ZERO..Duration::from_millis(3),
        piece: 1 + (seed as usize * 613) % 4000,
        window: 1 << (10 + seed % 6),
        ..Network::default()
    };
    let memory = [Network::default()].into_iter().chain((1..8).map(bad));
    for runtime in memory.map(|network| Runtime::in_memory(network, 16)).chain(kernel()) {
        run(&runtime, &test);
    }
}

/// Both drivers of the kernel.
fn kernel() -> impl Iterator<Item = Runtime> {
    let choices = [Choice::Epoll, Choice::IoUring].into_iter();
    choices.map(|driver| Runtime::new(&Options { driver, buffers: 16, ..Options::default() }).unwrap().0)
}

fn run(runtime: &Runtime, test: impl AsyncFn(&Handle)) {
    let handle = runtime.handle();
    let patience = if runtime.driver_kind() == DriverKind::Memory { PATIENCE_IN_MEMORY } else { PATIENCE };
    runtime.block_on(async {
        let tested = pin!(test(handle));
        assert!(handle.timeout(handle.now() + patience, tested).await.is_ok(), "it hangs");
    });
    assert_eq!(handle.stats().panics, 0, "a task has panicked");
}

fn listen(handle: &Handle, port: u16) -> (Listener, Address) {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    if let Ok(listener) = handle.listen_in_memory(address) {
        return (listener, address.into());
    }
    let bound = bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = bound.address().unwrap();
    (handle.listen(bound).unwrap(), address.into())
}

/// Two ends of a connection.
async fn pair(handle: &Handle, port: u16) -> (Stream, Stream) {
    let (listener, address) = listen(handle, port);
    let near = connect(handle, &address).await.unwrap();
    let (far, _): (Socket, _) = listener.accept().await.unwrap();
    (near, Stream::new(far))
}

/// What a tunnel came to, when it has.
#[derive(Default)]
struct Outcome {
    end: Cell<Option<TunnelEnd>>,
    traffic: Traffic<'static>,
}

/// The far ends of a tunnel that runs as a task, and what becomes of it.
struct Ends {
    client: Stream,
    origin: Stream,
    outcome: Rc<Outcome>,
    shard: Rc<Shard>,
}

async fn open(handle: &Handle, rules: TunnelRules) -> Ends {
    open_with(handle, rules, b"", b"").await
}

/// A tunnel in which these bytes have come before it began.
async fn open_with(handle: &Handle, rules: TunnelRules, early_up: &[u8], early_down: &[u8]) -> Ends {
    let (client, near) = pair(handle, 1).await;
    let (upstream, origin) = pair(handle, 2).await;
    let mut near = Client {
        timer: handle.timer(),
        stream: near,
        reader: Reader::default(),
        address: ClientAddress::default(),
        listener: ListenerId::default(),
        port: None,
        door: Door::new(Doorway::taken(([127, 0, 0, 1], 1).into())),
    };
    let mut reader = Reader::default();
    for (far, stream, reader, bytes) in
        [(&client, &near.stream, &mut near.reader, early_up), (&origin, &upstream, &mut reader, early_down)]
    {
        send(far, bytes).await;
        while reader.bytes().len() < bytes.len() {
            assert!(reader.fill(stream).await.unwrap());
        }
    }
    let (outcome, shard) = (Rc::new(Outcome::default()), Shard::new(handle.clone(), Shared::new(1), 0));
    let (result, runs) = (outcome.clone(), shard.clone());
    handle.spawn(async move {
        let tunnel = Tunnel::new(upstream, reader, rules, None);
        let (end, reset) = tunnel.run(&runs, &mut near, &result.traffic).await;
        result.end.set(Some(end));
        if reset {
            return near.stream.reset();
        }
        // As the worker ends a connection: what is still unread must not make the close a reset.
        let _ = near.stream.shutdown_write();
        while let Ok(Some(_)) = near.stream.recv().await {}
    });
    Ends { client, origin, outcome, shard }
}

impl Outcome {
    async fn ended(&self, handle: &Handle) -> TunnelEnd {
        loop {
            match self.end.get() {
                Some(end) => return end,
                None => handle.sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

async fn send(stream: &Stream, bytes: &[u8]) {
    stream.send(&[IoSlice::new(bytes)]).await.unwrap();
}

async fn receive(stream: &Stream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        bytes.extend_from_slice(&stream.recv().await.unwrap().expect("more"));
    }
    assert_eq!(bytes.len(), count);
    bytes
}

/// Everything until the end or an error.
async fn receive_all(stream: &Stream) -> (Vec<u8>, Result<(), io::ErrorKind>) {
    let mut bytes = Vec::new();
    loop {
        match stream.recv().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error.kind())),
        }
    }
}

/// Bytes that tell where they belong.
fn numbered(seed: u8, count: usize) -> Vec<u8> {
    (0..count).map(|place| (place as u8).wrapping_mul(31).wrapping_add((place >> 8) as u8) ^ seed).collect()
}

#[test]
fn bytes_go_both_ways_and_each_direction_ends_by_itself() {
    on_every_runtime(async |handle| {
        let ends = open(handle, RULES).await;
        send(&ends.client, b"ping").await;
        assert_eq!(receive(&ends.origin, 4).await, b"ping");
        send(&ends.origin, b"pong").await;
        assert_eq!(receive(&ends.client, 4).await, b"pong");
        send(&ends.client, b"last words").await;
        ends.client.shutdown_write().unwrap();
        assert_eq!(receive_all(&ends.origin).await, (b"last words".to_vec(), Ok(())));
        // The other direction goes on.
        let Ends { client, origin, outcome, .. } = ends;
        let long = numbered(7, 100_000);
        let sent = long.clone();
        handle.spawn(async move {
            send(&origin, &sent).await;
            origin.shutdown_write().unwrap();
            origin.over().await;
        });
        assert!(receive_all(&client).await == (long, Ok(())));
        assert_eq!(outcome.ended(handle).await, TunnelEnd::Closed);
        assert_eq!((outcome.traffic.up(), outcome.traffic.down()), (14, 100_004));
    });
}

#[test]
fn what_came_early_goes_first() {
    on_every_runtime(async |handle| {
        let ends = open_with(handle, RULES, b"early up", b"early down").await;
        assert_eq!(receive(&ends.client, 10).await, b"early down");
        assert_eq!(receive(&ends.origin, 8).await, b"early up");
        send(&ends.client, b", late").await;
        assert_eq!(receive(&ends.origin, 6).await, b", late");
        ends.origin.shutdown_write().unwrap();
        ends.client.shutdown_write().unwrap();
        assert_eq!(ends.outcome.ended(handle).await, TunnelEnd::Closed);
        assert_eq!((ends.outcome.traffic.up(), ends.outcome.traffic.down()), (14, 10));
    });
}

/// Each side sends much and receives at the same time.
#[test]
fn two_busy_directions_share_the_worker() {
    on_every_runtime(async |handle| {
        const MUCH: usize = 400_000;
        let Ends { client, origin, outcome, .. } = open(handle, RULES).await;
        let (client, origin, left) = (Rc::new(client), Rc::new(origin), Rc::new(Cell::new(4)));
        for (side, own, other) in [(&client, 1, 2), (&origin, 2, 1)] {
            let (writer, reader, done) = (side.clone(), side.clone(), left.clone());
            handle.spawn(async move {
                for piece in numbered(own, MUCH).chunks(20_000) {
                    send(&writer, piece).await;
                }
                writer.shutdown_write().unwrap();
                done.set(done.get() - 1);
            });
            let done = left.clone();
            handle.spawn(async move {
                assert!(receive_all(&reader).await == (numbered(other, MUCH), Ok(())));
                done.set(done.get() - 1);
            });
        }
        while left.get() > 0 || outcome.end.get().is_none() {
            assert_eq!(handle.stats().panics, 0, "a task has panicked");
            handle.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(outcome.end.get(), Some(TunnelEnd::Closed));
        assert_eq!((outcome.traffic.up(), outcome.traffic.down()), (MUCH as u64, MUCH as u64));
    });
}

/// Sends until nothing more is taken for a while, which must be before `limit`.
async fn fill_up(stream: &Stream, limit: usize) {
    let (handle, piece, mut sent) = (stream.handle(), vec![5; 16 * 1024], 0);
    loop {
        let sending = stream.send(&[IoSlice::new(&piece)]);
        if handle.timeout(handle.now() + SECOND / 4, sending).await.is_err() {
            return;
        }
        sent += piece.len();
        assert!(sent < limit, "more and more is taken");
    }
}

#[test]
fn nothing_is_received_while_the_other_side_does_not_take() {
    on_every_runtime(async |handle| {
        let ends = open(handle, RULES).await;
        let before = handle.stats().buffers;
        // What the kernel holds for four sockets is much, but it is bounded.
        fill_up(&ends.client, 64 << 20).await;
        assert_eq!(handle.stats().buffers, before, "a side that waits keeps a buffer from the others");
        // The other direction is not held up.
        send(&ends.origin, b"still here").await;
        assert_eq!(receive(&ends.client, 10).await, b"still here");
    });
}

#[test]
fn a_side_that_takes_nothing_is_cut_after_the_send_timeout() {
    on_every_runtime(async |handle| {
        let ends = open(handle, TunnelRules { stall: Some(SECOND / 2), ..RULES }).await;
        fill_up(&ends.client, 64 << 20).await;
        assert_eq!(ends.outcome.ended(handle).await, TunnelEnd::Stalled(Side::Upstream));
        // Bytes are missing: neither side may take this for an end.
        assert!(receive_all(&ends.client).await.1.is_err());
        assert!(receive_all(&ends.origin).await.1.is_err());
    });
}

#[test]
fn who_is_broken_off_sees_an_error_only_if_bytes_are_missing() {
    on_every_runtime(async |handle| {
        for is_full in [false, true] {
            let ends = open(handle, RULES).await;
            send(&ends.client, b"ping").await;
            receive(&ends.origin, 4).await;
            if is_full {
                fill_up(&ends.client, 64 << 20).await;
            }
            ends.shard.break_off();
            handle.wake_all();
            assert_eq!(ends.outcome.ended(handle).await, TunnelEnd::Drain);
            for side in [&ends.client, &ends.origin] {
                assert_eq!(receive_all(side).await.1.is_err(), is_full);
            }
        }
    });
}

#[test]
fn what_comes_as_it_is_broken_off_is_delivered_also_beside_others() {
    on_every_runtime(async |handle| {
        let (ends, others) = (open(handle, RULES).await, handle.clone());
        // While another task is ready, what is short goes out at the end of the turn.
        handle.spawn(async move {
            for _ in 0..1000 {
                others.yield_now().await;
            }
        });
        send(&ends.client, b"last words").await;
        ends.shard.break_off();
        assert_eq!(ends.outcome.ended(handle).await, TunnelEnd::Drain);
        assert_eq!(receive_all(&ends.origin).await, (b"last words".to_vec(), Ok(())));
        assert_eq!(receive_all(&ends.client).await, (Vec::new(), Ok(())));
    });
}

#[test]
fn a_reset_of_one_side_is_a_reset_of_the_other() {
    on_every_runtime(async |handle| {
        let Ends { client, origin, outcome, .. } = open(handle, RULES).await;
        send(&client, b"x").await;
        receive(&origin, 1).await;
        client.reset();
        assert_eq!(receive_all(&origin).await.1, Err(io::ErrorKind::ConnectionReset));
        assert_eq!(outcome.ended(handle).await, TunnelEnd::Reset(Side::Client));

        let Ends { client, origin, outcome, .. } = open(handle, RULES).await;
        send(&client, b"x").await;
        receive(&origin, 1).await;
        origin.reset();
        assert_eq!(receive_all(&client).await.1, Err(io::ErrorKind::ConnectionReset));
        assert_eq!(outcome.ended(handle).await, TunnelEnd::Reset(Side::Upstream));
    });
}

/// The backend says its last and closes for good, while the client goes on and on.
#[test]
fn a_side_that_is_gone_has_its_last_words_delivered() {
    let overtaken = Cell::new(0);
    on_every_runtime(async |handle| {
        let Ends { client, origin, outcome, .. } = open(handle, RULES).await;
        let words = numbered(9, 30_000);
        let (client, chats) = (Rc::new(client), Rc::new(Cell::new(true)));
        let (writer, may_chat) = (client.clone(), chats.clone());
        handle.spawn(async move {
            while may_chat.get() && writer.send(&[IoSlice::new(b"chatter")]).await.is_ok() {
                writer.handle().sleep(Duration::from_millis(1)).await;
            }
        });
        handle.spawn({
            let words = words.clone();
            async move {
                send(&origin, &words).await;
                origin.shutdown_write().unwrap();
                origin.recv().await.unwrap();
            }
        });
        let (received, ended) = receive_all(&client).await;
        let end = outcome.ended(handle).await;
        chats.set(false);
        match end {
            TunnelEnd::Gone(Side::Upstream) => assert!(received == words && ended == Ok(())),
            // The backend has closed with chatter unread. On a bad network the reset that answers more of it may
            // overtake what was sent before, and then the client must not take what it has for all.
            TunnelEnd::Reset(Side::Upstream) => {
                assert!(words.starts_with(&received) && ended == Err(io::ErrorKind::ConnectionReset));
                overtaken.set(overtaken.get() + 1);
            }
            end => panic!("{end:?}"),
        }
    });
    assert!(overtaken.get() < 8, "in order on the kernel's drivers and on a good network");
}

#[test]
fn a_client_that_ended_and_then_vanished_frees_the_backend() {
    on_every_runtime(async |handle| {
        let Ends { client, origin, outcome, .. } = open(handle, RULES).await;
        client.shutdown_write().unwrap();
        assert_eq!(receive_all(&origin).await, (Vec::new(), Ok(())));
        client.reset();
        // Though the backend says nothing, which would find it out.
        assert_eq!(outcome.ended(handle).await, TunnelEnd::Gone(Side::Client));
        drop(origin);
    });
}

#[test]
fn an_idle_tunnel_ends_when_both_directions_have_been_idle() {
    // Real time would have to be waited for.
    for seed in 0..4 {
        let network = Network { seed, latency: Duration::ZERO..Duration::from_millis(3), ..Network::default() };
        run(&Runtime::in_memory(network, 16), async |handle| {
            let ends = open(handle, TunnelRules { idle: Some(SECOND * 10), ..RULES }).await;
            for round in 0..5 {
                handle.sleep(SECOND * 9).await;
                assert_eq!(ends.outcome.end.get(), None);
                // One direction is enough, whichever it is.
                let (from, to) =
                    if round % 2 == 0 { (&ends.client, &ends.origin) } else { (&ends.origin, &ends.client) };
                send(from, b"x").await;
                receive(to, 1).await;
            }
            let before = handle.now();
            assert_eq!(ends.outcome.ended(handle).await, TunnelEnd::Idle);
            let waited = handle.now() - before;
            assert!(waited >= SECOND * 9 && waited <= SECOND * 11, "{waited:?}");
            assert_eq!(receive_all(&ends.client).await, (Vec::new(), Ok(())));
            assert_eq!(receive_all(&ends.origin).await, (Vec::new(), Ok(())));
        });
    }
}

#[test]
fn a_busy_tunnel_ends_with_its_lifetime() {
    run(&Runtime::in_memory(Network::default(), 16), async |handle| {
        let rules = TunnelRules { idle: Some(SECOND * 2), lifetime: Some(SECOND * 30), ..RULES };
        let before = handle.now();
        let ends = open(handle, rules).await;
        while ends.outcome.end.get().is_none() {
            let _ = ends.client.send(&[IoSlice::new(b"x")]).await;
            handle.sleep(SECOND).await;
        }
        assert_eq!(ends.outcome.ended(handle).await, TunnelEnd::Lifetime);
        let lasted = handle.now() - before;
        assert!(lasted >= SECOND * 30 && lasted <= SECOND * 32, "{lasted:?}");
    });
}

/// As the runtime is dropped when a drain's time is over.
#[test]
fn a_tunnel_that_is_dropped_leaves_nothing() {
    on_every_runtime(async |handle| {
        let (client, near) = pair(handle, 1).await;
        let (upstream, origin) = pair(handle, 2).await;
        {
            let (mut client_reader, mut upstream_reader, traffic) = <(Reader, Reader, Traffic)>::default();
            let rules = TunnelRules { idle: Some(SECOND), ..RULES };
            let work = pin!(tunnel(&near, &mut client_reader, &upstream, &mut upstream_reader, &rules, &traffic));
            send(&client, b"x").await;
            let cut = handle.timeout(handle.now() + SECOND / 20, work).await;
            assert!(cut.is_err());
        }
        drop((near, upstream));
        assert_eq!(receive_all(&origin).await, (b"x".to_vec(), Ok(())));
        assert_eq!(receive_all(&client).await, (Vec::new(), Ok(())));
        drop((client, origin));
        while handle.stats().sockets + handle.stats().operations > 0 {
            handle.sleep(Duration::from_millis(1)).await;
        }
        // The one that is the test's own patience.
        assert_eq!((handle.stats().timers, handle.stats().buffers), (1, 0));
    });
}

#[test]
fn a_tunnel_over_a_unix_socket_delivers_all_and_ends() {
    for runtime in kernel().chain([Runtime::in_memory(Network::default(), 16)]) {
        run(&runtime, async |handle| {
            let path: std::sync::Arc<std::path::Path> =
                std::env::temp_dir().join(format!("tidegate-tunnel-{}.sock", std::process::id())).into();
            let _ = std::fs::remove_file(&path);
            let memory = handle.listen_in_memory_at_path(&path).ok();
            let kernel = memory.is_none().then(|| std::os::unix::net::UnixListener::bind(&path).unwrap());
            let upstream = connect(handle, &Address::Unix(path.clone())).await.unwrap();
            let (client, near) = pair(handle, 1).await;
            let mut near = Client {
                timer: handle.timer(),
                stream: near,
                reader: Reader::default(),
                address: ClientAddress::default(),
                listener: ListenerId::default(),
                port: None,
                door: Door::new(Doorway::taken(([127, 0, 0, 1], 1).into())),
            };
            let words = numbered(3, 10_000);
            match (&memory, kernel) {
                (Some(listener), _) => {
                    let origin = Stream::new(listener.accept().await.unwrap().0);
                    send(&origin, &words).await;
                }
                (None, Some(listener)) => {
                    use std::io::Write;
                    let (mut origin, _) = listener.accept().unwrap();
                    origin.write_all(&words).unwrap();
                }
                (None, None) => unreachable!("one of them listens"),
            }
            // The backend is gone by now, and all that it said is still to be read.
            let (traffic, tunnel) = (Traffic::default(), Tunnel::new(upstream, Reader::default(), RULES, None));
            let shard = Shard::new(handle.clone(), Shared::new(1), 0);
            let (end, _) = tunnel.run(&shard, &mut near, &traffic).await;
            assert_eq!(end, TunnelEnd::Gone(Side::Upstream));
            drop(near);
            assert!(receive_all(&client).await == (words, Ok(())));
            let _ = std::fs::remove_file(&path);
        });
    }
}
