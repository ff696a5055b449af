//! What the tests share: drivers, processes of their own, numbered bytes.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::super::driver::Driver;
use super::*;

/// Longer than anything takes that ends at all, also where each byte is checked, unoptimised, on a machine that is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// When the test's patience ends. On the virtual clock, on which a byte at a time
/// may take hours that cost nothing, that is much later.
fn patience(handle: &Handle) -> crate::base::time::Instant {
    let virtual_time = matches!(&*handle.driver(), Driver::Memory(_));
    handle.now() + PATIENCE * if virtual_time { 10_000 } else { 1 }
}

pub(super) const DRIVERS: [DriverKind; 3] = [DriverKind::Epoll, DriverKind::Memory, DriverKind::IoUring];
/// For what an in-memory network does not have: descriptors, signals, other threads.
pub(super) const KERNEL_DRIVERS: [DriverKind; 2] = [DriverKind::Epoll, DriverKind::IoUring];

/// Runs `test` on every driver that this machine has; all three, or the test fails.
pub(super) fn on_every_driver(test: impl Fn(&Runtime)) {
    on_every_driver_with(&Options::default(), test);
}

pub(super) fn on_every_driver_with(options: &Options, test: impl Fn(&Runtime)) {
    for kind in DRIVERS {
        let runtime = runtime(kind, options);
        assert_eq!(runtime.driver_kind(), kind);
        test(&runtime);
    }
}

/// What carries the streams of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Tcp,
    Unix,
}

/// Runs `test` on every driver, over TCP and over Unix sockets.
pub(super) fn on_every_driver_and_carrier(test: impl Fn(&Runtime, Carrier)) {
    on_every_driver_and_carrier_with(&Options::default(), test);
}

pub(super) fn on_every_driver_and_carrier_with(options: &Options, test: impl Fn(&Runtime, Carrier)) {
    for carrier in [Carrier::Tcp, Carrier::Unix] {
        on_every_driver_with(options, |runtime| test(runtime, carrier));
    }
}

/// A runtime on the driver `kind`.
pub(super) fn runtime(kind: DriverKind, options: &Options) -> Runtime {
    let driver = match kind {
        DriverKind::Memory => {
            let latency = Duration::ZERO..Duration::from_micros(50);
            return Runtime::in_memory(Network { latency, ..Network::default() }, options.buffers);
        }
        DriverKind::Epoll => Choice::Epoll,
        DriverKind::IoUring => Choice::IoUring,
    };
    Runtime::new(&Options { driver, ..*options }).expect("the driver is there").0
}

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A listener and its address on any driver.
pub(super) fn listen(handle: &Handle) -> (Listener, SocketAddr) {
    if let Ok(listener) = handle.listen_in_memory(loopback(80)) {
        return (listener, loopback(80));
    }
    let bound = bind(loopback(0)).expect("a free port");
    let address = bound.address().expect("bound");
    (handle.listen(bound).expect("adopted"), address)
}

/// Where a listener of either kind is.
#[derive(Debug, Clone)]
pub(super) enum Spot {
    Tcp(SocketAddr),
    Unix(Rc<SocketFile>),
}

/// The path of a Unix socket, which is removed with the last to know it.
#[derive(Debug)]
pub(super) struct SocketFile(Arc<Path>);

impl SocketFile {
    /// A path that nothing else has.
    pub(super) fn new() -> Rc<SocketFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-{}-{number}.sock", std::process::id());
        let path: PathBuf = std::env::temp_dir().join(name);
        // One may be left from a process of this number that was killed.
        let _ = std::fs::remove_file(&path);
        Rc::new(SocketFile(path.into()))
    }

    pub(super) fn path(&self) -> &Arc<Path> {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A listener of either kind and where it is, on any driver.
pub(super) fn listen_over(handle: &Handle, carrier: Carrier) -> (Listener, Spot) {
    if carrier == Carrier::Tcp {
        let (listener, address) = listen(handle);
        return (listener, Spot::Tcp(address));
    }
    let file = SocketFile::new();
    if let Ok(listener) = handle.listen_in_memory_at_path(file.path()) {
        return (listener, Spot::Unix(file));
    }
    let bound = UnixListener::bind(file.path()).expect("a free path");
    bound.set_nonblocking(true).expect("set");
    let key = handle.driver().adopt_listener(bound.into()).expect("adopted");
    (Listener::new(handle.clone(), key), Spot::Unix(file))
}

/// Begins to connect to a listener of either kind.
pub(super) fn connect(handle: &Handle, spot: &Spot) -> Connect {
    match spot {
        Spot::Tcp(address) => handle.connect(*address),
        Spot::Unix(file) => handle.connect_unix(file.path()),
    }
}

/// Two ends of a TCP connection.
pub(super) async fn pair(handle: &Handle) -> (Socket, Socket) {
    pair_over(handle, Carrier::Tcp).await
}

/// Two ends of a connection of either kind.
pub(super) async fn pair_over(handle: &Handle, carrier: Carrier) -> (Socket, Socket) {
    let (listener, spot) = listen_over(handle, carrier);
    let near = connect(handle, &spot).await.expect("connected");
    let (far, _) = listener.accept().await.expect("accepted");
    (near, far)
}

/// `work`, or a failed test.
pub(super) async fn in_time<F: Future + Unpin>(handle: &Handle, work: F) -> F::Output {
    handle.timeout(patience(handle), work).await.expect("it takes far too long")
}

/// Polls `work` once.
pub(super) async fn poll_once<F: Future + Unpin>(work: &mut F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut *work).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Waits until the kernel and the network have nothing left to do for `done` to hold.
pub(super) async fn until(handle: &Handle, what: &str, mut done: impl FnMut(&Stats) -> bool) {
    let patience = patience(handle);
    while !done(&handle.stats()) {
        assert!(handle.now() < patience, "{what}: {:?}", handle.stats());
        // On the virtual clock nothing arrives while a task is ready.
        handle.sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until nothing is held any more.
pub(super) async fn settled(handle: &Handle) {
    until(handle, "left over", |stats| {
        let held = stats.operations + stats.accepted + stats.buffers + stats.unsent;
        stats.tasks + stats.timers + stats.sockets + held == 0
    })
    .await;
}

pub(super) async fn send(socket: &Socket, bytes: &[u8]) {
    in_time(socket.handle(), socket.send(&[IoSlice::new(bytes)])).await.expect("sent");
}

/// Receives exactly `count` bytes.
pub(super) async fn receive(socket: &Socket, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let chunk = in_time(socket.handle(), socket.recv()).await.expect("received");
        bytes.extend_from_slice(&chunk.expect("more"));
    }
    assert_eq!(bytes.len(), count);
    bytes
}

/// So many rounds of short messages make a stream one on which short messages come.
pub(super) const STEADY: usize = 12;

/// Sends short messages from one end of a pair to the other and back.
pub(super) async fn talk(near: &Socket, far: &Socket, rounds: usize) {
    for round in 0..rounds {
        let message = [round as u8; 100];
        send(near, &message).await;
        assert_eq!(receive(far, 100).await, message);
        send(far, &message).await;
        assert_eq!(receive(near, 100).await, message);
    }
}

/// What has been on a stream before a test does something with it: drivers receive by it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Past {
    Fresh,
    OneMessage,
    ShortMessages,
    LongPieces,
    LargePieces,
}

impl Past {
    pub(super) const ALL: [Past; 5] =
        [Past::Fresh, Past::OneMessage, Past::ShortMessages, Past::LongPieces, Past::LargePieces];

    pub(super) async fn happens(self, near: &Socket, far: &Socket) {
        match self {
            Past::Fresh => {}
            Past::OneMessage => talk(near, far, 1).await,
            Past::ShortMessages => talk(near, far, STEADY).await,
            // Short ones first: a receive that goes on is ended by a long one.
            Past::LongPieces => {
                talk(near, far, STEADY).await;
                exchange(near, far, 3 * BUFFER_SIZE / 4).await;
            }
            // A buffer that is filled, and behind it, in the socket by then, more than another holds.
            Past::LargePieces => exchange(near, far, 5 * BUFFER_SIZE / 2).await,
        }
    }
}

/// Sends so many bytes from one end of a pair to the other and back.
async fn exchange(near: &Socket, far: &Socket, count: usize) {
    for (from, to) in [(near, far), (far, near)] {
        let mut place = Place::start(5);
        send(from, &place.clone().write(count)).await;
        place.check(&receive(to, count).await);
    }
}

/// The bytes of the stream `tag` from `from` on: no two streams, and no two
/// places of a stream, look alike.
fn bytes_of(tag: u64, from: u64, count: usize) -> Vec<u8> {
    let words = (from / 8..(from + count as u64).div_ceil(8)).flat_map(|index| {
        let mut word = (tag ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()
    });
    words.skip((from % 8) as usize).take(count).collect()
}

/// A place in the bytes of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) tag: u64,
    pub(super) position: u64,
}

impl Place {
    pub(super) fn start(tag: u64) -> Place {
        Place { tag, position: 0 }
    }

    /// The next `count` bytes.
    pub(super) fn write(&mut self, count: usize) -> Vec<u8> {
        let bytes = bytes_of(self.tag, self.position, count);
        self.position += count as u64;
        bytes
    }

    /// Checks that `bytes` are the next ones.
    pub(super) fn check(&mut self, bytes: &[u8]) {
        let expected = bytes_of(self.tag, self.position, bytes.len());
        let wrong = expected.iter().zip(bytes).position(|(expected, found)| expected != found);
        assert_eq!(wrong, None, "stream {:x} is wrong so far behind {}", self.tag, self.position);
        self.position += bytes.len() as u64;
    }
}

/// Tasks that are waited for, and whose panics are the test's.
#[derive(Clone)]
pub(super) struct Group {
    handle: Handle,
    state: Rc<GroupState>,
}

#[derive(Default)]
struct GroupState {
    live: Cell<usize>,
    failed: Cell<bool>,
    joining: RefCell<Option<Waker>>,
}

struct Member(Rc<GroupState>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.live.set(self.0.live.get() - 1);
        if std::thread::panicking() {
            self.0.failed.set(true);
        }
        if let Some(waker) = self.0.joining.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Group {
    pub(super) fn new(handle: &Handle) -> Group {
        Group { handle: handle.clone(), state: Rc::default() }
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.state.live.set(self.state.live.get() + 1);
        let member = Member(self.state.clone());
        self.handle.spawn(async move {
            let _member = member;
            work.await;
        });
    }

    pub(super) async fn join(&self) {
        let all = poll_fn(|context| {
            *self.state.joining.borrow_mut() = Some(context.waker().clone());
            if self.state.live.get() == 0 || self.state.failed.get() { Poll::Ready(()) } else { Poll::Pending }
        });
        let ended = self.handle.timeout(patience(&self.handle), all).await;
        assert!(!self.state.failed.get(), "a task of the test failed, see above");
        assert!(ended.is_ok(), "{} tasks hang: {:?}", self.state.live.get(), self.handle.stats());
    }
}

/// How many descriptors this process has; only meaningful in a process of its own.
pub(super) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

/// Whether this machine's tests run as root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A line for who reads the test's output.
pub(super) fn say(line: &str) {
    eprintln!("# {line}");
}

/// The seconds that a soak gives each driver, if this is one.
pub(super) fn soak() -> Option<Duration> {
    let seconds = std::env::var("TIDEGATE_SOAK_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("TIDEGATE_SOAK_SECONDS is a number")))
}

/// Runs `test`, whose full path is `name`, in a process of its own: limits,
/// signals and descriptors are the whole process's.
pub(super) fn alone(name: &str, test: impl FnOnce()) {
    const MARK: &str = "TIDEGATE_TEST_ALONE";
    let (_, name) = name.split_once("::").expect("a path within the crate");
    if std::env::var(MARK).is_ok_and(|running| running == name) {
        let limit = Duration::from_secs(100) + soak().unwrap_or_default();
        std::thread::spawn(move || {
            #[expect(clippy::disallowed_methods, reason = "a time is what it waits for")]
            std::thread::sleep(limit);
            say("it hangs");
            std::process::abort();
        });
        return test();
    }
    let itself = std::env::current_exe().expect("this test's file");
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"];
    let output = Command::new(itself).args(arguments).env(MARK, name).output().expect("it starts");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{}\n{text}{errors}", output.status);
    errors.lines().filter_map(|line| line.strip_prefix("# ")).for_each(say);
}

/// The full path of a test, for [`alone`].
macro_rules! own_path {
    ($name:ident) => {
        concat!(module_path!(), "::", stringify!($name))
    };
}
pub(super) use own_path;
