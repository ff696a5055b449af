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
use crate::control::leave::DrainHandle;
use crate::control::operations::Operations;
use crate::control::reload::{Load, Outcome, ReloadHandle};
use crate::control::upgrade::UpgradeHandle;
use crate::control::{self, Control};
use crate::net::{Address, Handed};
use crate::observe::counters::Counter;
use crate::runtime::{Choice, DriverKind, Fallback, Options, Runtime, pin_to_core};
use crate::shard::Shared;
use crate::snapshot::Snapshot;
use crate::snapshot::doorway::{Doorway, ListenError};
use crate::snapshot::publish::{Edition, Published};
use crate::worker;

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    published: Arc<Published>,
    shared: Arc<Shared>,
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
    Listen(ListenError),
    /// A worker did not come up.
    Worker(io::Error),
    /// The access log cannot be written.
    AccessLog(OutputError),
}

/// What a gateway may be started with.
#[derive(Default)]
pub struct Start {
    /// Reads the configuration anew, for reloads.
    pub load: Option<Load>,
    /// Listening sockets that somebody else has bound: the service manager, or the process before.
    pub sockets: Vec<Handed>,
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
        Gateway::start_with(config, Start::default())
    }

    /// Starts a gateway with what its process has.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_with(config: &Config, start: Start) -> Result<Gateway, StartError> {
        let Start { load, sockets: mut handed } = start;
        let mut snapshot = Snapshot::compile(config).map_err(StartError::Config)?;
        control::fit_descriptors(&mut snapshot, None);
        let count = snapshot.gateway.workers;
        let mut doorways: Vec<Arc<Doorway>> = Vec::new();
        for listener in &snapshot.listeners {
            let opened = Doorway::open(&listener.name, listener.address, count, &doorways, &mut handed);
            doorways.push(opened.map_err(StartError::Listen)?);
        }
        let (shared, admin) = (Shared::new(count), snapshot.admin.clone());
        let access_log =
            Writer::start(snapshot.access_log.as_deref(), shared.clone()).map_err(StartError::AccessLog)?;
        let published = Published::new(Edition::first(Arc::new(snapshot), doorways, Instant::from_clock()));
        let failed = |error| match admin {
            Some(admin) => StartError::Listen(ListenError { name: "admin".to_owned(), address: admin.address, error }),
            None => StartError::Worker(error),
        };
        let control = Control::start(published.clone(), shared.clone(), load, &mut handed).map_err(failed)?;
        for Handed { asked, .. } in handed {
            tracing::warn!("a socket at {asked} was handed over, and no listener asks for that address: it is closed");
        }
        let (sender, reports) = channel();
        let mut threads = Vec::new();
        for index in 0..count {
            let (published, shared, sender, failure) =
                (published.clone(), shared.clone(), sender.clone(), sender.clone());
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            let alarm = control.drain().clone();
            match thread.spawn(move || alarm.guard("a worker", || run_worker(index, published, shared, sender))) {
                Ok(thread) => threads.push(thread),
                // Its report is a failure, and the others are stopped.
                Err(error) => drop(failure.send(Err(error))),
            }
        }
        drop(sender);
        let (workers, fallback) = match collect(threads, count, &reports, &shared) {
            Ok(ready) => ready,
            Err(error) => {
                let _ = control.stop();
                return Err(StartError::Worker(error));
            }
        };
        shared.wake_with(workers.iter().map(|worker| worker.waker.clone()));
        // What was published before they could be woken is seen now.
        shared.wake_workers();
        Ok(Gateway { published, shared, workers, control, access_log, fallback })
    }

    /// Makes `config` run instead of what runs; requests and connections go on. It returns when it runs, and blocks until
    /// then.
    ///
    /// # Errors
    /// See [`Refused`]: what ran before runs on.
    ///
    /// [`Refused`]: control::reload::Refused
    pub fn reload(&self, config: &Config) -> Outcome {
        self.control.reload().apply(config)
    }

    /// What asks for reloads of what the gateway was started with.
    #[must_use]
    pub fn reload_handle(&self) -> &ReloadHandle {
        self.control.reload()
    }

    /// What hands over to a new process.
    #[must_use]
    pub fn upgrade_handle(&self) -> &UpgradeHandle {
        self.control.upgrade()
    }

    /// Where the listener `name` listens, with its real port.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses().into_iter().find(|(other, _)| **other == *name).map(|(_, address)| address)
    }

    /// All listeners by name, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Box<str>, SocketAddr)> {
        let edition = self.published.current();
        let listeners = edition.snapshot.listeners.iter().zip(&edition.doorways);
        listeners.map(|(listener, doorway)| (listener.name.clone(), doorway.address())).collect()
    }

    /// Where operators connect, with its real port, if they can.
    #[must_use]
    pub fn admin_address(&self) -> Option<&Address> {
        self.control.address()
    }

    /// What operators can make the process do; to be set by who started it.
    #[must_use]
    pub fn operations(&self) -> &Arc<Operations> {
        self.control.operations()
    }

    /// What runs.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.current().snapshot.clone()
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

    /// Tells the workers to finish what runs and to stop, after the configured delay; returns at once.
    pub fn drain(&self) {
        self.control.drain().drain();
    }

    /// What orders the gateway to drain, for who does not own it.
    #[must_use]
    pub fn drain_handle(&self) -> &DrainHandle {
        self.control.drain()
    }

    /// Waits until all workers have stopped, then stops the control thread.
    ///
    /// # Errors
    /// When one of them has crashed.
    pub fn join(self) -> Result<(), Crashed> {
        let ended: Vec<_> = self.workers.into_iter().map(|worker| worker.thread.join()).collect();
        let unfinished: u64 = self.shared.counters.iter().map(|counters| counters.get(Counter::Unfinished)).sum();
        if unfinished > 0 {
            let text = "requests and upgraded connections were broken off; the log and the access log say which";
            match self.shared.is_over() {
                true => tracing::warn!(unfinished, "{text}"),
                false => tracing::warn!(unfinished, "{text}; `drain_timeout` says how long they may take"),
            }
        }
        // A pipe that nobody reads is no crash.
        let _ = self.access_log.stop();
        let control = self.control.stop();
        if control.is_err() || ended.iter().any(Result::is_err) { Err(Crashed) } else { Ok(()) }
    }
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

fn run_worker(index: usize, published: Arc<Published>, shared: Arc<Shared>, report: Sender<Report>) {
    let edition = published.current();
    let driver = match edition.snapshot.gateway.driver {
        Driver::Auto => Choice::Auto,
        Driver::IoUring => Choice::IoUring,
        Driver::Epoll => Choice::Epoll,
    };
    let made = pin(index, &edition.snapshot).and_then(|()| Runtime::new(&Options { driver, ..Options::default() }));
    let (runtime, fallback) = match made {
        Ok(made) => made,
        Err(error) => return drop(report.send(Err(error))),
    };
    let handle = runtime.handle();
    let sockets = edition
        .doorways
        .iter()
        .flat_map(|doorway| std::iter::from_fn(move || doorway.take(index)).map(move |bound| (doorway.clone(), bound)));
    let entries =
        sockets.map(|(doorway, bound)| handle.listen(bound).map(|listener| worker::Entry { listener, doorway }));
    let entries = match entries.collect::<io::Result<Vec<_>>>() {
        Ok(entries) => entries,
        Err(error) => return drop(report.send(Err(error))),
    };
    drop(edition);
    let kind = runtime.driver_kind();
    shared.counters[index].pulse.set_driver(kind.name());
    // Nobody listens to the report when another worker has failed to come up.
    let ready = move |waker| drop(report.send(Ok((index, waker, kind, fallback))));
    runtime.block_on(worker::run(handle, published, shared, index, entries, ready));
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
            StartError::Listen(error) => error.fmt(formatter),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_worker_crashes_the_others_drain_and_the_end_tells() {
        let text = "[listeners.public]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
                    [gateway]\nworkers = 2\n[routes.all]\npath = \"/*\"\nrespond = { status = 204 }\n";
        let mut gateway = Gateway::start(&Config::parse("test.toml", text).unwrap()).unwrap();
        let alarm = gateway.drain_handle().clone();
        let crashing = std::thread::spawn(move || alarm.guard("a worker", || panic!("a crash that is meant")));
        let (waker, driver) = (Waker::noop().clone(), gateway.driver());
        gateway.workers.push(Worker { thread: crashing, waker, driver });
        // Nobody else tells the two others to stop.
        assert!(gateway.join().is_err());
    }
}
