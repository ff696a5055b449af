//! Operations dropped at every moment, by a seed, while bytes flow both ways.
//!
//! Each round opens a few connections, of TCP or of Unix sockets, whose streams carry bytes that depend on
//! stream and position. Receives, accepts, connects, timers and sends are
//! polled a few times and dropped; chunks are held for a while; connections end
//! cleanly, cut or reset. After each round every byte is accounted for, and no
//! operation, buffer, timer, socket, task or descriptor is left.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::*;

/// Rounds on each driver, unless it is a soak.
const ROUNDS: u64 = 120;
/// Rounds that one runtime sees.
const ROUNDS_A_RUNTIME: u64 = 10;

#[test]
fn nothing_dropped_is_lost_on_epoll() {
    alone(own_path!(nothing_dropped_is_lost_on_epoll), || races(DriverKind::Epoll));
}

#[test]
fn nothing_dropped_is_lost_in_memory() {
    alone(own_path!(nothing_dropped_is_lost_in_memory), || races(DriverKind::Memory));
}

#[test]
fn nothing_dropped_is_lost_on_io_uring() {
    alone(own_path!(nothing_dropped_is_lost_on_io_uring), || races(DriverKind::IoUring));
}

fn races(kind: DriverKind) {
    let (began, dropped, mut seed) = (Instant::now(), Rc::new(Dropped::default()), first_seed());
    let first = seed;
    while soak().map_or(seed < first + ROUNDS, |soak| began.elapsed() < soak) {
        let _report = ReportSeed(kind, seed);
        let before = descriptors();
        few_rounds(kind, seed, &dropped);
        assert_eq!(descriptors(), before, "descriptors after the runtime is gone");
        seed += ROUNDS_A_RUNTIME;
    }
    say(&format!("{kind}: seeds {first} to {}, {:.1?}, dropped {dropped}", seed - 1, began.elapsed()));
    assert!(dropped.counts().iter().all(|&count| count >= 20), "too few races to prove anything");
}

fn first_seed() -> u64 {
    match (std::env::var("TIDEGATE_SEED"), soak()) {
        (Ok(seed), _) => seed.parse().expect("TIDEGATE_SEED is a number"),
        (Err(_), None) => 1,
        (Err(_), Some(_)) => fastrand::u64(1..1 << 40),
    }
}

struct ReportSeed(DriverKind, u64);

impl Drop for ReportSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("failed on {}: TIDEGATE_SEED={}", self.0, self.1));
        }
    }
}

/// A runtime with few or many buffers and queue entries, and some rounds on it.
fn few_rounds(kind: DriverKind, seed: u64, dropped: &Rc<Dropped>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let buffers = [1, 2, 3, 8, 64][random.usize(0..5)];
    let submissions = [1, 2, 8, 64][random.usize(0..4)];
    let options = Options { buffers, submissions, completions: submissions * 2, ..Options::default() };
    let runtime = if kind == DriverKind::Memory {
        let latency = Duration::ZERO..Duration::from_micros(random.u64(1..3000));
        let piece = [1, 7, 1000, 50_000, usize::MAX][random.usize(0..5)];
        Runtime::in_memory(
            Network { seed, latency, piece, window: random.usize(1..100_000), queue: random.usize(0..4) },
            buffers,
        )
    } else {
        runtime(kind, &options)
    };
    for round in 0..ROUNDS_A_RUNTIME {
        let before = descriptors();
        let carrier = if random.bool() { Carrier::Tcp } else { Carrier::Unix };
        let world = World::new(&runtime, carrier, seed + round, dropped);
        runtime.block_on(world.round());
        assert_eq!(descriptors(), before, "descriptors after a round");
        assert_eq!(runtime.handle().stats().panics, 0);
    }
}

/// Pending operations that were dropped.
#[derive(Default)]
struct Dropped {
    receives: Cell<u64>,
    accepts: Cell<u64>,
    connects: Cell<u64>,
    timers: Cell<u64>,
    sends: Cell<u64>,
    ends: Cell<u64>,
}

impl Dropped {
    fn counts(&self) -> [u64; 6] {
        [&self.receives, &self.accepts, &self.connects, &self.timers, &self.sends, &self.ends].map(Cell::get)
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [receives, accepts, connects, timers, sends, ends] = self.counts();
        write!(formatter, "{receives} receives, {accepts} accepts, {connects} connects, {timers} timers, ")?;
        write!(formatter, "{sends} sends, {ends} waits for the end")
    }
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Clean,
    Cut,
    Reset,
}

/// What one connection is to do.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Bytes from the client, and to it.
    up: u64,
    down: u64,
    ending: Ending,
    /// Who ends it, unless it ends cleanly, and after how many received bytes.
    client_cuts: bool,
    cut_after: u64,
}

/// One side of a connection.
struct Side {
    out: Place,
    out_total: u64,
    into: Place,
    into_total: u64,
    ending: Ending,
    /// How many bytes to receive before cutting the connection, on the side that does.
    cut_after: Option<u64>,
}

struct World {
    handle: Handle,
    carrier: Carrier,
    group: Group,
    random: RefCell<fastrand::Rng>,
    dropped: Rc<Dropped>,
    plans: RefCell<HashMap<u64, Plan>>,
    /// Clients that have not ended.
    clients: Cell<usize>,
}

/// Something that happens once.
#[derive(Default)]
struct Flag(Cell<bool>, RefCell<Option<Waker>>);

impl Flag {
    fn set(&self) {
        self.0.set(true);
        if let Some(waker) = self.1.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl World {
    fn new(runtime: &Runtime, carrier: Carrier, seed: u64, dropped: &Rc<Dropped>) -> Rc<World> {
        let handle = runtime.handle().clone();
        let (group, random) = (Group::new(&handle), RefCell::new(fastrand::Rng::with_seed(seed)));
        let (plans, clients, dropped) = (RefCell::default(), Cell::default(), dropped.clone());
        Rc::new(World { handle, carrier, group, random, dropped, plans, clients })
    }

    fn roll(&self, below: u64) -> u64 {
        self.random.borrow_mut().u64(0..below)
    }

    fn soon(&self) -> crate::base::time::Instant {
        self.handle.now() + Duration::from_micros(self.roll(3000))
    }

    async fn round(self: &Rc<World>) {
        let (listener, spot) = listen_over(&self.handle, self.carrier);
        self.clients.set(1 + self.roll(12) as usize);
        for _ in 0..self.clients.get() {
            let plan = self.draw_plan();
            let tag = self.random.borrow_mut().u64(..);
            self.plans.borrow_mut().insert(tag, plan);
            let (world, spot) = (self.clone(), spot.clone());
            self.group.spawn(async move { world.client(&spot, tag, plan).await });
        }
        let world = self.clone();
        self.group.spawn(async move { world.serve(listener).await });
        self.group.join().await;
        let unserved = self.plans.borrow().values().filter(|plan| plan.ending == Ending::Clean).count();
        assert_eq!(unserved, 0, "connections never accepted");
        settled(&self.handle).await;
    }

    fn draw_plan(&self) -> Plan {
        let ending = [Ending::Clean, Ending::Clean, Ending::Cut, Ending::Reset][self.roll(4) as usize];
        // The largest is more than the kernel takes for a peer that does not read.
        let sizes = [1, 100, 20_000, if ending == Ending::Clean { 100_000 } else { 16_000_000 }];
        let size = || self.roll(sizes[self.roll(4) as usize]);
        let (up, down) = (size(), size());
        let client_cuts = self.roll(2) == 0;
        let cut_after = self.roll(if client_cuts { down } else { up }.min(30_000) + 1);
        Plan { up, down, ending, client_cuts, cut_after }
    }

    async fn client(self: &Rc<World>, spot: &Spot, tag: u64, plan: Plan) {
        let socket = self.connect(spot).await;
        in_time(&self.handle, socket.send(&[IoSlice::new(&tag.to_le_bytes())])).await.expect("sent");
        let (out, into) = (Place::start(tag), Place::start(!tag));
        let cut_after = (plan.client_cuts && plan.ending != Ending::Clean).then_some(plan.cut_after);
        let ending = plan.ending;
        self.talk(socket, Side { out, into, out_total: plan.up, into_total: plan.down, ending, cut_after }).await;
        self.clients.set(self.clients.get() - 1);
    }

    /// Accepts for as long as there are clients.
    async fn serve(self: &Rc<World>, listener: Listener) {
        while self.clients.get() > 0 {
            if let Some(accepted) = self.accept(&listener).await {
                let (socket, _) = accepted.expect("accepted");
                let world = self.clone();
                self.group.spawn(async move { world.server(socket).await });
            }
        }
    }

    async fn server(self: &Rc<World>, socket: Socket) {
        let mut first = Vec::new();
        while first.len() < 8 {
            match self.recv(&socket).await {
                Ok(Some(chunk)) => first.extend_from_slice(&chunk),
                // A connect that was dropped, or a connection cut before it began.
                Ok(None) => return,
                Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
        let tag = u64::from_le_bytes(first[..8].try_into().expect("8 bytes"));
        let plan = self.plans.borrow_mut().remove(&tag).expect("a stream that begins as one of ours, once");
        let (out, mut into) = (Place::start(!tag), Place::start(tag));
        into.check(&first[8..]);
        let cut_after = (!plan.client_cuts && plan.ending != Ending::Clean).then_some(plan.cut_after);
        let ending = plan.ending;
        self.talk(socket, Side { out, into, out_total: plan.down, into_total: plan.up, ending, cut_after }).await;
    }

    /// Sends and receives at the same time, until the connection ends as planned.
    async fn talk(self: &Rc<World>, socket: Socket, side: Side) {
        let Side { out, mut into, ending, .. } = side;
        let (socket, stop) = (Rc::new(socket), Rc::new(Flag::default()));
        let (world, writer, writer_stop) = (self.clone(), socket.clone(), stop.clone());
        self.group.spawn(async move {
            let all = world.write(&writer, out, side.out_total, &writer_stop).await;
            assert!(all || ending != Ending::Clean, "a send failed");
            if all && (ending == Ending::Clean || world.roll(2) == 0) {
                let shut = writer.shutdown_write();
                assert!(shut.is_ok() || ending != Ending::Clean, "shutdown: {shut:?}");
            }
            leave(writer, ending);
        });
        let ended = self.read(&socket, &mut into, side.cut_after).await;
        assert!(into.position <= side.into_total, "more bytes than were sent");
        if ending == Ending::Clean {
            ended.expect("a clean end");
            assert_eq!(into.position, side.into_total, "bytes are missing");
        }
        if side.cut_after.is_some() {
            stop.set();
        }
        leave(socket, if side.cut_after.is_some() { ending } else { Ending::Cut });
    }

    /// Receives until the end, an error, or enough.
    async fn read(&self, socket: &Socket, place: &mut Place, enough: Option<u64>) -> io::Result<()> {
        while enough.is_none_or(|enough| place.position < enough) {
            let Some(mut chunk) = self.recv(socket).await? else { return Ok(()) };
            assert!(!chunk.is_empty(), "a chunk without bytes");
            match self.roll(6) {
                0 => {
                    let at = self.roll(chunk.len() as u64) as usize;
                    place.check(&chunk[..at]);
                    chunk.advance(at);
                    self.pause().await;
                    place.check(&chunk);
                }
                1 => {
                    let chunk = chunk.detach();
                    self.pause().await;
                    place.check(&chunk);
                }
                _ => place.check(&chunk),
            }
        }
        Ok(())
    }

    /// Sends all, unless told to stop or the connection breaks; whether all is out.
    async fn write(&self, socket: &Socket, mut place: Place, total: u64, stop: &Flag) -> bool {
        while place.position < total {
            let most = [3, 1000, 80_000, 4_000_000][self.roll(4) as usize];
            let bytes = place.write((1 + self.roll(most)).min(total - place.position) as usize);
            let (first, second) = bytes.split_at(self.roll(bytes.len() as u64 + 1) as usize);
            let mut sending = socket.send(&[IoSlice::new(first), IoSlice::new(second)]);
            let begun = !sending.is_done();
            let sent = poll_fn(|context| {
                if stop.0.get() {
                    return Poll::Ready(None);
                }
                *stop.1.borrow_mut() = Some(context.waker().clone());
                Pin::new(&mut sending).poll(context).map(Some)
            });
            match sent.await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
                    return false;
                }
                None => {
                    drop(sending);
                    // A short one has gone out all the same.
                    if begun && !socket.is_whole() {
                        count(&self.dropped.sends);
                        let later = socket.send(&[IoSlice::new(b"x")]).await;
                        assert!(later.is_err(), "a send after one that was dropped");
                    }
                    return false;
                }
            }
            if self.roll(8) == 0 {
                self.pause().await;
            }
        }
        true
    }

    async fn connect(&self, spot: &Spot) -> Socket {
        loop {
            let mut connect = connect(&self.handle, spot);
            match self.roll(3) {
                0 => {
                    for _ in 0..self.roll(4) {
                        if let Some(ended) = poll_once(&mut connect).await {
                            return ended.expect("connected");
                        }
                        self.pause().await;
                    }
                }
                1 => {
                    if let Ok(ended) = self.handle.timeout(self.soon(), connect).await {
                        return ended.expect("connected");
                    }
                }
                _ => return in_time(&self.handle, connect).await.expect("connected"),
            }
            count(&self.dropped.connects);
        }
    }

    async fn accept(&self, listener: &Listener) -> Option<io::Result<(Socket, Option<SocketAddr>)>> {
        let mut accept = listener.accept();
        if self.roll(2) == 0 {
            if let Ok(accepted) = self.handle.timeout(self.soon(), accept).await {
                return Some(accepted);
            }
        } else {
            for _ in 0..1 + self.roll(3) {
                if let Some(accepted) = poll_once(&mut accept).await {
                    return Some(accepted);
                }
                self.pause().await;
            }
        }
        count(&self.dropped.accepts);
        None
    }

    async fn recv(&self, socket: &Socket) -> io::Result<Option<Chunk>> {
        loop {
            match self.roll(8) {
                0 => socket.watch(),
                1 => {
                    let _ = socket.is_quiet();
                    if poll_once(&mut socket.over()).await.is_none() {
                        count(&self.dropped.ends);
                    }
                }
                2 => match self.handle.timeout(self.soon(), socket.recv()).await {
                    Ok(received) => return received,
                    Err(_) => count(&self.dropped.receives),
                },
                3 | 4 => {
                    let mut recv = socket.recv();
                    for _ in 0..1 + self.roll(3) {
                        if let Some(received) = poll_once(&mut recv).await {
                            return received;
                        }
                        self.pause().await;
                    }
                    count(&self.dropped.receives);
                }
                _ => return in_time(&self.handle, socket.recv()).await,
            }
            self.pause().await;
        }
    }

    /// Lets a little time pass, or only a turn.
    async fn pause(&self) {
        match self.roll(5) {
            0 => self.handle.sleep(Duration::from_micros(self.roll(1500))).await,
            1 => {
                let mut dropped = self.handle.sleep(Duration::from_micros(1 + self.roll(5000)));
                if poll_once(&mut dropped).await.is_none() {
                    count(&self.dropped.timers);
                }
            }
            _ => self.handle.yield_now().await,
        }
    }
}

/// The last of a socket's two users closes it as planned.
fn leave(socket: Rc<Socket>, ending: Ending) {
    if let Some(socket) = Rc::into_inner(socket)
        && ending == Ending::Reset
    {
        socket.reset();
    }
}
