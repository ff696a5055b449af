//! Starts the workers and the control thread; the one file that sees both planes.
//!
//! ```no_run
//! use tidegate::{config::Config, gateway::Gateway};
//!
//! let config = Config::parse("example.toml", "...").unwrap();
//! let gateway = Gateway::start(&config).unwrap();
//! println!("serving at {:?}", gateway.address("public"));
//! gateway.drain();
//! gateway.join().unwrap();
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Waker;
use std::thread::JoinHandle;

use crate::base::time::Instant;
use crate::config::{Config, Diagnostics, Driver, Pin};
use crate::control::access_log::{Orders, OutputError, Writer};
use crate::control::{self, Control};
use crate::net::{Bound, bind, is_taken};
use crate::runtime::{Choice, DriverKind, Fallback, Options, Runtime, pin_to_core, raise_descriptors};
use crate::shard::Shared;
use crate::snapshot::{ListenerId, Snapshot};
use crate::worker;

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    snapshot: Arc<Snapshot>,
    shared: Arc<Shared>,
    addresses: Vec<(Box<str>, SocketAddr)>,
    workers: Vec<Worker>,
    control: Control,
    access_log: Writer,
    fallback: Option<Fallback>,
}

#[derive(Debug)]
struct Worker {
    thread: JoinHandle<()>,
    waker: Waker,
    driver: DriverKind,
}

/// Why a gateway did not start. Nothing of it runs then.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong.
    Config(Diagnostics),
    /// An address cannot be listened at.
    Listen {
        /// Which: the name of a listener, or `admin`.
        name: String,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// A worker did not come up.
    Worker(io::Error),
    /// The access log cannot be written.
    AccessLog(OutputError),
}

/// A worker or the control thread has ended with a panic.
#[derive(Debug)]
pub struct Crashed;

/// What a worker says when it is up, or why it is not.
type Report = io::Result<(usize, Waker, DriverKind, Option<Fallback>)>;

impl Gateway {
    /// Starts a gateway; every worker is ready when this returns.
    ///
    /// # Errors
    /// See [`StartError`]. Addresses are bound all or none.
    pub fn start(config: &Config) -> Result<Gateway, StartError> {
        let mut snapshot = Snapshot::compile(config).map_err(StartError::Config)?;
        fit_descriptors(&mut snapshot);
        let snapshot = Arc::new(snapshot);
        let workers = snapshot.gateway.workers;
        let mut sockets: Vec<Vec<Bound>> = (0..workers).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for listener in &snapshot.listeners {
            let failed =
                |error| StartError::Listen { name: listener.name.to_string(), address: listener.address, error };
            let address = bind_for_all(listener.address, &mut sockets).map_err(failed)?;
            addresses.push((listener.name.clone(), address));
        }
        let shared = Shared::new(workers, snapshot.members(Instant::from_clock()), snapshot.routes.len());
        let access_log =
            Writer::start(snapshot.access_log.as_deref(), shared.clone()).map_err(StartError::AccessLog)?;
        let failed = |error| StartError::Listen { name: "admin".to_owned(), address: snapshot.admin, error };
        let control = Control::start(&snapshot, shared.clone()).map_err(failed)?;
        let (sender, reports) = channel();
        let mut threads = Vec::new();
        for (index, sockets) in sockets.into_iter().enumerate() {
            let (snapshot, shared, sender, failure) =
                (snapshot.clone(), shared.clone(), sender.clone(), sender.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            let body = move || run_worker(index, snapshot, shared, sockets, sender);
            match thread.spawn(body) {
                Ok(thread) => threads.push(thread),
                // Its report is a failure, and the others are stopped.
                Err(error) => drop(failure.send(Err(error))),
            }
        }
        drop(sender);
        let (workers, fallback) = match collect(threads, workers, &reports, &shared) {
            Ok(ready) => ready,
            Err(error) => {
                let _ = control.stop();
                return Err(StartError::Worker(error));
            }
        };
        Ok(Gateway { snapshot, shared, addresses, workers, control, access_log, fallback })
    }

    /// Where the listener `name` listens, with its real port.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses.iter().find(|(other, _)| **other == *name).map(|(_, address)| *address)
    }

    /// All listeners by name, in the order of the file.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.addresses.iter().map(|(name, address)| (&**name, *address))
    }

    /// Where operators connect, with its real port.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.control.address()
    }

    /// What runs.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What the process shares: counters, events.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The driver of the workers.
    #[must_use]
    pub fn driver(&self) -> DriverKind {
        self.workers.first().map_or(DriverKind::Epoll, |worker| worker.driver)
    }

    /// Why the workers are not on io_uring, if `auto` would have wanted it.
    #[must_use]
    pub fn fallback(&self) -> Option<&Fallback> {
        self.fallback.as_ref()
    }

    /// What the writer of the access log can be told, such as to open its file anew.
    #[must_use]
    pub fn access_log(&self) -> &Orders {
        self.access_log.orders()
    }

    /// Tells the workers to finish what runs and to stop; returns at once.
    pub fn drain(&self) {
        self.shared.drain();
        self.workers.iter().for_each(|worker| worker.waker.wake_by_ref());
    }

    /// Waits until all workers have stopped, then stops the control thread.
    ///
    /// # Errors
    /// When one of them has crashed.
    pub fn join(self) -> Result<(), Crashed> {
        let ended: Vec<_> = self.workers.into_iter().map(|worker| worker.thread.join()).collect();
        // A pipe that nobody reads is no crash.
        let _ = self.access_log.stop();
        let control = self.control.stop();
        if control.is_err() || ended.iter().any(Result::is_err) { Err(Crashed) } else { Ok(()) }
    }
}

/// Descriptors of the process itself, operators included.
const OWN_DESCRIPTORS: u64 = 24;

/// Descriptors of one worker, its listeners not counted.
const WORKER_DESCRIPTORS: u64 = 6;

/// Fewer connections on a worker than this are worth a warning.
const FEW_CONNECTIONS: usize = 1024;

/// Gets the descriptors that the connections of clients and to backends take. Where there are not so many, fewer
/// clients are admitted, and a quarter is left for backends: a client whose request cannot be sent on for want of
/// a descriptor had better waited.
fn fit_descriptors(snapshot: &mut Snapshot) {
    let workers = snapshot.gateway.workers as u64;
    let own = OWN_DESCRIPTORS
        + control::descriptors(snapshot)
        + workers * (WORKER_DESCRIPTORS + snapshot.listeners.len() as u64);
    let connections = &mut snapshot.gateway.connections_per_worker;
    let limit = raise_descriptors(own + workers * *connections as u64 * 2);
    let room = limit.saturating_sub(own) / workers * 3 / 4;
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    if room < *connections {
        let advice = "raise `ulimit -n`, or lower connections_per_worker";
        if room < FEW_CONNECTIONS {
            tracing::warn!(limit, "descriptors for {room} connections on each worker, not for {connections}; {advice}");
        } else {
            tracing::info!(limit, "descriptors for {room} connections on each worker, not for {connections}; {advice}");
        }
        *connections = room;
    }
}

/// Binds `address` once for each worker, and says where that is.
fn bind_for_all(address: SocketAddr, sockets: &mut [Vec<Bound>]) -> io::Result<SocketAddr> {
    wait_until_free(address)?;
    let mut address = address;
    for sockets in sockets {
        let bound = bind(address)?;
        // With port 0 the first one has found the port for the others.
        address = bound.address()?;
        sockets.push(bound);
    }
    Ok(address)
}

/// Waits a while for an address that is taken: the kernel needs a moment to take the sockets of a process that was killed
/// out of its io_uring instances.
fn wait_until_free(address: SocketAddr) -> io::Result<()> {
    for _ in 0..20 {
        if !is_taken(address)? {
            return Ok(());
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing tells when an address is free, and nobody is served yet"
        )]
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Waits until every worker is up; if one does not come up, all stop.
fn collect(
    threads: Vec<JoinHandle<()>>,
    count: usize,
    reports: &Receiver<Report>,
    shared: &Shared,
) -> io::Result<(Vec<Worker>, Option<Fallback>)> {
    let mut ready: Vec<Option<(Waker, DriverKind)>> = (0..count).map(|_| None).collect();
    let (mut fallback, mut failed) = (None, None);
    for _ in 0..count {
        match reports.recv() {
            Ok(Ok((index, waker, driver, why))) => {
                ready[index] = Some((waker, driver));
                fallback = fallback.or(why);
            }
            Ok(Err(error)) => failed = Some(error),
            Err(_) => failed = failed.or_else(|| Some(io::Error::other("it ended before it was up"))),
        }
    }
    if let Some(error) = failed {
        shared.drain();
        ready.into_iter().flatten().for_each(|(waker, _)| waker.wake());
        let _: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        return Err(error);
    }
    let workers = threads.into_iter().zip(ready).filter_map(|(thread, ready)| {
        let (waker, driver) = ready?;
        Some(Worker { thread, waker, driver })
    });
    Ok((workers.collect(), fallback))
}

fn run_worker(index: usize, snapshot: Arc<Snapshot>, shared: Arc<Shared>, sockets: Vec<Bound>, report: Sender<Report>) {
    let driver = match snapshot.gateway.driver {
        Driver::Auto => Choice::Auto,
        Driver::IoUring => Choice::IoUring,
        Driver::Epoll => Choice::Epoll,
    };
    let made = pin(index, &snapshot).and_then(|()| Runtime::new(&Options { driver, ..Options::default() }));
    let (runtime, fallback) = match made {
        Ok(made) => made,
        Err(error) => return drop(report.send(Err(error))),
    };
    let handle = runtime.handle();
    let entries = sockets.into_iter().zip(0..).map(|(bound, index)| {
        let door = worker::Door { listener: ListenerId(index), port: Some(bound.address()?.port()) };
        handle.listen(bound).map(|listener| worker::Entry { listener, door })
    });
    let entries = match entries.collect::<io::Result<Vec<_>>>() {
        Ok(entries) => entries,
        Err(error) => return drop(report.send(Err(error))),
    };
    let kind = runtime.driver_kind();
    // Nobody listens to the report when another worker has failed to come up.
    let ready = move |waker| drop(report.send(Ok((index, waker, kind, fallback))));
    runtime.block_on(worker::run(handle, snapshot, shared, index, entries, ready));
}

/// Keeps this worker on a core of its own, where that is asked for or, by default, where each has one.
fn pin(index: usize, snapshot: &Snapshot) -> io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match snapshot.gateway.pin {
        Pin::On => pin_to_core(index),
        Pin::Auto if snapshot.gateway.workers == cores => pin_to_core(index),
        Pin::Auto | Pin::Off => Ok(()),
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(diagnostics) => write!(formatter, "{diagnostics}"),
            StartError::Listen { name, address, error } => {
                write!(formatter, "cannot listen at {address} ({name}): {error}")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => write!(formatter, "; stop what listens there, or choose another port"),
                    io::ErrorKind::PermissionDenied => {
                        write!(formatter, "; ports below 1024 need CAP_NET_BIND_SERVICE")
                    }
                    io::ErrorKind::AddrNotAvailable => write!(formatter, "; this machine does not have that address"),
                    _ => Ok(()),
                }
            }
            StartError::Worker(error) => write!(formatter, "a worker did not start: {error}"),
            StartError::AccessLog(error) => write!(formatter, "{error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl fmt::Display for Crashed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a thread of the gateway crashed; its panic is in the log")
    }
}

impl std::error::Error for Crashed {}
