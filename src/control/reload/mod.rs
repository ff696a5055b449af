//! Replaces what runs by what another configuration says, without losing a request.
//!
//! A reload compiles on a thread of its own, binds the listeners that are new, gets new services ready and then publishes
//! all of it at once. Whatever is wrong on the way refuses it whole: the old edition serves on, and the log, the one who
//! asked and `/metrics` are told the same.
//!
//! Whoever asks while a reload runs is answered by the next one, together with all others who do: a signal that comes a
//! hundred times a second makes no queue.

mod report;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::access_log::{self, OutputError};
use super::aside::aside;
use super::board::Board;
use super::care::Care;
use super::descriptors::fit_descriptors;
use super::supervisor;
use super::watch::content;
use crate::base::time::{Instant, unix_millis};
use crate::config::{Config, Diagnostics};
use crate::shard::Shared;
use crate::snapshot::doorway::{Doorway, ListenError};
use crate::snapshot::publish::{Edition, Published};
use crate::snapshot::{Admin, Snapshot};
use report::{brief, tell};

/// How often editions that are no longer published are looked at: they are dropped once no worker has them.
const CLEARANCE: Duration = Duration::from_secs(1);

/// How many may wait for a reload; another one is told to come again.
const WAITING_MOST: usize = 256;

/// Reads the configuration anew, from wherever the gateway was started with.
pub type Load = Arc<dyn Fn() -> Result<Config, Diagnostics> + Send + Sync>;

/// What a reload has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The number of the edition that runs now.
    pub number: u64,
    /// How many there are now.
    pub routes: usize,
    /// How many there are now.
    pub services: usize,
    /// Where listeners were added.
    pub opened: Vec<String>,
    /// Where listeners were removed; their connections end after what they carry.
    pub closed: Vec<String>,
    /// What the configuration has changed and only a restart can obey.
    pub needs_restart: Vec<String>,
    /// What is perhaps not what was meant, as `tidegate check` says it.
    pub warnings: Vec<String>,
}

/// Why a reload was refused. What ran before runs on.
#[derive(Debug)]
pub enum Refused {
    /// The configuration is wrong.
    Config(Diagnostics),
    /// An address cannot be listened at.
    Listen(ListenError),
    /// The access log cannot be written.
    AccessLog(OutputError),
    /// The gateway was not started from a file, or no longer takes orders, or has too many.
    Impossible(&'static str),
}

/// How a reload has ended; all who have waited for the same one get the same.
pub type Outcome = Result<Arc<Reloaded>, Arc<Refused>>;

/// What asks for reloads; it can be cloned and sent around.
#[derive(Clone, Debug)]
pub struct ReloadHandle {
    orders: mpsc::Sender<Order>,
}

pub(super) struct Order {
    wanted: Wanted,
    /// Who asks, for the log.
    cause: &'static str,
    reply: oneshot::Sender<Outcome>,
}

/// What a reload is to make run.
enum Wanted {
    /// This.
    Config(Box<Config>),
    /// What the files say now.
    Files,
    /// The same, if they say something else than at the last attempt.
    Changes,
}

impl fmt::Debug for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Order").field("cause", &self.cause).finish_non_exhaustive()
    }
}

impl ReloadHandle {
    pub(super) fn new() -> (ReloadHandle, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(WAITING_MOST);
        (ReloadHandle { orders }, receiver)
    }

    /// Reads the configuration anew and makes it run; `cause` is who asks, in a word for the log.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn reload(&self, cause: &'static str) -> Outcome {
        self.order(Wanted::Files, cause)?.await.unwrap_or_else(|_| Err(Arc::new(Refused::Impossible(ENDING))))
    }

    /// Makes `config` run; waits until it does. This blocks, and must not be called on the control thread.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn apply(&self, config: &Config) -> Outcome {
        let order = self.order(Wanted::Config(Box::new(config.clone())), "program")?;
        order.blocking_recv().unwrap_or_else(|_| Err(Arc::new(Refused::Impossible(ENDING))))
    }

    /// Makes the files run if they say something else than at the last attempt.
    pub(super) async fn changed(&self) -> Outcome {
        self.order(Wanted::Changes, "file change")?.await.unwrap_or_else(|_| Err(Arc::new(Refused::Impossible(ENDING))))
    }

    fn order(&self, wanted: Wanted, cause: &'static str) -> Result<oneshot::Receiver<Outcome>, Arc<Refused>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.orders.try_send(Order { wanted, cause, reply });
        sent.map(|()| answer).map_err(|error| {
            Arc::new(Refused::Impossible(match error {
                mpsc::error::TrySendError::Full(_) => "too many wait for a reload already; try again in a moment",
                mpsc::error::TrySendError::Closed(_) => ENDING,
            }))
        })
    }
}

const ENDING: &str = "the gateway is ending";
const DRAINING: &str = "this process drains, and takes no other configuration";

/// How reloads have gone so far.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    succeeded: AtomicU64,
    refused: AtomicU64,
    /// When what runs was taken, in milliseconds since 1970.
    taken: AtomicU64,
    /// Why the last one was refused, if it was.
    fault: Mutex<Option<String>>,
}

impl Reloads {
    /// Those that succeeded and those that were refused.
    pub(super) fn counts(&self) -> [u64; 2] {
        [&self.succeeded, &self.refused].map(|count| count.load(Ordering::Relaxed))
    }

    /// When what runs was taken, in milliseconds since 1970.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Why the last one was refused, if it was.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn start(&self) {
        self.taken.store(unix_millis(), Ordering::Relaxed);
    }

    fn note(&self, outcome: &Outcome) {
        match outcome {
            Ok(_) => {
                self.succeeded.fetch_add(1, Ordering::Relaxed);
                self.start();
            }
            Err(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        let fault = outcome.as_ref().err().map(|refused| brief(refused));
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// What carries reloads out.
pub(super) struct Reloader {
    published: Arc<Published>,
    shared: Arc<Shared>,
    board: Arc<Board>,
    care: Care,
    load: Option<Load>,
    /// What the files said when they were last read.
    read: u64,
}

impl Reloader {
    pub(super) fn new(
        published: Arc<Published>,
        shared: Arc<Shared>,
        board: Arc<Board>,
        care: Care,
        load: Option<Load>,
    ) -> Reloader {
        let files = published.current().snapshot.files.clone();
        let read = if load.is_some() { content(&files) } else { 0 };
        board.watch(files);
        Reloader { published, shared, board, care, load, read }
    }

    /// Carries out what is asked for, until it is dropped.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut former: Vec<Arc<Edition>> = Vec::new();
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                () = tokio::time::sleep(CLEARANCE), if !former.is_empty() => {
                    drop_unused(&mut former);
                    continue;
                }
            };
            // Where one reload follows the other, there is no quiet second.
            drop_unused(&mut former);
            // This thread keeps a handle, so there is always somebody who could ask.
            let Some(Order { mut wanted, mut cause, reply }) = order else { return };
            let mut waiting = vec![reply];
            // Those who want a configuration of their own have to wait for it; all others are content with one reading.
            let mut later = Vec::new();
            while let Ok(other) = orders.try_recv() {
                match (&wanted, &other.wanted) {
                    (Wanted::Files, Wanted::Files | Wanted::Changes) | (Wanted::Changes, Wanted::Changes) => {
                        waiting.push(other.reply);
                    }
                    (Wanted::Changes, Wanted::Files) => {
                        (wanted, cause) = (Wanted::Files, other.cause);
                        waiting.push(other.reply);
                    }
                    _ => later.push(other),
                }
            }
            former.extend(self.carry_out(wanted, cause, waiting).await);
            for Order { wanted, cause, reply } in later {
                former.extend(self.carry_out(wanted, cause, vec![reply]).await);
            }
        }
    }

    /// Carries one reload out, and tells everybody; returns the edition that it has replaced.
    async fn carry_out(
        &mut self,
        wanted: Wanted,
        cause: &'static str,
        waiting: Vec<oneshot::Sender<Outcome>>,
    ) -> Option<Arc<Edition>> {
        let began = Instant::from_clock();
        let (outcome, before) = match self.replace(wanted).await {
            Ok(Some((reloaded, before))) => (Ok(Arc::new(reloaded)), Some(before)),
            // Nobody is told of what has not happened.
            Ok(None) => return None,
            Err(refused) => (Err(Arc::new(refused)), None),
        };
        if !self.shared.is_leaving() {
            supervisor::ready();
        }
        self.board.reloads.note(&outcome);
        tell(&outcome, cause, Instant::from_clock() - began);
        for reply in waiting {
            // Who has asked may have gone.
            let _ = reply.send(outcome.clone());
        }
        before
    }

    /// Makes what is wanted run; returns what that was and the edition before, or nothing where nothing has changed.
    async fn replace(&mut self, wanted: Wanted) -> Result<Option<(Reloaded, Arc<Edition>)>, Refused> {
        // Its listeners are another process's by now, or nobody's.
        let is_draining = || self.shared.is_draining();
        if is_draining() {
            return if matches!(wanted, Wanted::Changes) { Ok(None) } else { Err(Refused::Impossible(DRAINING)) };
        }
        let current = self.published.current();
        let (load, running, known, watched) = (self.load.clone(), current.clone(), self.read, self.board.watched());
        let made = aside("reload", move || match (wanted, load) {
            (Wanted::Config(config), _) => {
                supervisor::reloading();
                (known, None, prepare(*config, &running).map(Some))
            }
            (_, None) => (known, None, Err(Refused::Impossible("the gateway was not started from a file"))),
            (wanted, Some(load)) => {
                let news = matches!(wanted, Wanted::Changes).then_some(known);
                let Some(Reading { read, files, config }) = Reading::of(&load, &running.snapshot.files, watched, news)
                else {
                    return (known, None, Ok(None));
                };
                let prepared = config.map_err(Refused::Config).and_then(|config| prepare(config, &running));
                (read, Some(files), prepared.map(Some))
            }
        });
        let crashed = Refused::Impossible("the configuration could not be compiled: a crash, see the log");
        let (read, files, prepared) = made.await.unwrap_or((known, None, Err(crashed)));
        self.read = read;
        files.into_iter().for_each(|files| self.board.watch(files));
        let Some(Prepared { edition, opened, closed, needs_restart, warnings }) = prepared? else { return Ok(None) };
        if is_draining() {
            return Err(Refused::Impossible(DRAINING));
        }
        let services = self.care.prepare(&edition).await;
        self.care.take_over(&edition, services);
        let (number, edition) = (edition.number, Arc::new(edition));
        let (routes, services) = (edition.snapshot.routes.len(), edition.snapshot.services.len());
        let stays = |doorway: &&Arc<Doorway>| edition.doorways.iter().any(|other| Arc::ptr_eq(doorway, other));
        current.doorways.iter().filter(|doorway| !stays(doorway)).for_each(|doorway| doorway.close_spares());
        let before = self.published.replace(edition);
        self.shared.wake_workers();
        Ok(Some((Reloaded { number, routes, services, opened, closed, needs_restart, warnings }, before)))
    }
}

/// The configuration as the files say it.
struct Reading {
    /// What the files said, as [`content`] has it.
    read: u64,
    /// The files that are to be watched from now on.
    files: Vec<PathBuf>,
    config: Result<Config, Diagnostics>,
}

impl Reading {
    /// Reads the files; nothing where they say what `known` stands for. `running` are those of what runs, and `watched`
    /// those that were watched so far.
    fn of(load: &Load, running: &[PathBuf], watched: Vec<PathBuf>, known: Option<u64>) -> Option<Reading> {
        let mut files = watched;
        // Before the files are read, so that a change while they are is not lost.
        let mut read = content(&files);
        if known == Some(read) {
            return None;
        }
        supervisor::reloading();
        let mut config = load();
        for _ in 0..TURNS {
            let named = match &config {
                Ok(config) => config.files().to_vec(),
                Err(faults) => union(running, faults.source().paths()),
            };
            if named == files {
                break;
            }
            // Those that are named for the first time may have changed since they were read: once more, in that order.
            files = named;
            read = content(&files);
            config = load();
        }
        Some(Reading { read, files, config })
    }
}

/// How often files are read again because they name others than before.
const TURNS: usize = 3;

/// What is in one of the lists, once.
fn union(one: &[PathBuf], other: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = one.to_vec();
    all.extend(other.iter().filter(|path| !one.contains(path)).cloned());
    all
}

/// Drops the editions that no worker has any more.
fn drop_unused(former: &mut Vec<Arc<Edition>>) {
    former.retain(|edition| Arc::strong_count(edition) > 1);
}

/// An edition that could be published.
struct Prepared {
    edition: Edition,
    opened: Vec<String>,
    closed: Vec<String>,
    needs_restart: Vec<String>,
    warnings: Vec<String>,
}

/// Compiles a configuration to follow `running`, and binds the listeners that it has not.
fn prepare(mut config: Config, running: &Edition) -> Result<Prepared, Refused> {
    let before = &running.snapshot;
    let mut needs_restart = Vec::new();
    // First as it is: what a start would refuse, a reload refuses, too.
    let wanted = Snapshot::compile(&config).map_err(Refused::Config)?;
    if let Some(vanished) = config.vanished(&before.patterns) {
        return Err(Refused::Config(vanished));
    }
    let mut note = |key: &str, is: String, wanted: String| {
        if is != wanted {
            needs_restart.push(format!("{key} is {is} and would be {wanted}"));
        }
    };
    note("[gateway] workers", before.gateway.workers.to_string(), wanted.gateway.workers.to_string());
    note("[gateway] driver", before.gateway.driver.to_string(), wanted.gateway.driver.to_string());
    note("[gateway] pin", before.gateway.pin.to_string(), wanted.gateway.pin.to_string());
    let place =
        |admin: Option<&Admin>| admin.map_or_else(|| "off".to_owned(), |admin| format!("\"{}\"", admin.address));
    note("[admin] address", place(before.admin.as_ref()), place(wanted.admin.as_ref()));
    let mut snapshot = if wanted.gateway.workers == before.gateway.workers {
        wanted
    } else {
        // Each worker has scratch memory of its own in it.
        config.gateway.workers = before.gateway.workers;
        Snapshot::compile(&config).map_err(Refused::Config)?
    };
    (snapshot.gateway.driver, snapshot.gateway.pin) = (before.gateway.driver, before.gateway.pin);
    snapshot.admin = Admin::reloaded(before.admin.as_ref(), snapshot.admin.as_ref());
    fit_descriptors(&mut snapshot, Some(before.gateway.connections_per_worker));
    let output = |snapshot: &Snapshot| snapshot.access_log.as_ref().map(|log| log.output.clone());
    if let Some(log) = snapshot.access_log.as_ref().filter(|log| output(before).as_ref() != Some(&log.output)) {
        access_log::check(log).map_err(Refused::AccessLog)?;
    }
    let (doorways, opened) = open_all(&snapshot, running).map_err(Refused::Listen)?;
    let listeners = before.listeners.iter().zip(&running.doorways);
    let gone = listeners.filter(|(_, doorway)| !doorways.iter().any(|other| Arc::ptr_eq(doorway, other)));
    let closed = gone.map(|(listener, doorway)| format!("{} ({})", listener.name, doorway.address())).collect();
    let edition = running.next(Arc::new(snapshot), doorways, Instant::from_clock());
    let warnings = config.warnings().compact().lines().map(str::to_owned).collect();
    Ok(Prepared { edition, opened, closed, needs_restart, warnings })
}

/// The doorways of a snapshot's listeners: those that are open already, and new ones, all or none.
fn open_all(snapshot: &Snapshot, running: &Edition) -> Result<(Vec<Arc<Doorway>>, Vec<String>), ListenError> {
    let (mut doorways, mut opened) = (Vec::new(), Vec::new());
    for listener in &snapshot.listeners {
        if let Some(doorway) = running.doorway_for(listener) {
            doorways.push(doorway.clone());
            continue;
        }
        let ours: Vec<_> = running.doorways.iter().chain(&doorways).cloned().collect();
        let doorway =
            Doorway::open(&listener.name, listener.address, snapshot.gateway.workers, &ours, &mut Vec::new())?;
        opened.push(format!("{} ({})", listener.name, doorway.address()));
        doorways.push(doorway);
    }
    Ok((doorways, opened))
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Config(diagnostics) => diagnostics.fmt(formatter),
            Refused::Listen(error) => error.fmt(formatter),
            Refused::AccessLog(error) => error.fmt(formatter),
            Refused::Impossible(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for Refused {}
