//! The control thread: everything slow.
//!
//! A thread with a runtime of its own (tokio, for its ecosystem). It resolves the names of targets, asks after the
//! health of targets, answers operators on the admin listener and writes the workers' events to the log; it never sees
//! a request. What it finds out about targets it writes into the [`Members`] of their service.
//!
//! A panic in one of its tasks is logged and counted, and the task is begun anew.
//!
//! [`Members`]: crate::upstream::members::Members

pub mod access_log;
mod admin;
mod board;
mod log;
mod probe;
mod resolve;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::DnsConfig;
use crate::shard::Shared;
use crate::snapshot::Snapshot;
use crate::upstream::members::Members;
use crate::upstream::targets::{TargetAddress, TargetSpec};
use board::{Board, Service};
use resolve::{Client, Keeper};

/// How long a start waits for the first answers of name servers.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// From the end of a task that has crashed to its next beginning.
const AFTER_CRASH: Duration = Duration::from_secs(1);

/// The control thread, as the one who started it sees it.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts the thread, with the admin listener at the snapshot's address. When this returns, the members of each
    /// service are what is known of them: its addresses, and what name servers have answered within two seconds.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the thread not be made.
    pub fn start(snapshot: &Snapshot, shared: Arc<Shared>) -> io::Result<Control> {
        let listener = std::net::TcpListener::bind(snapshot.admin)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (board, dns) = (Arc::new(board(snapshot, &shared.members)), snapshot.gateway.dns.clone());
        let body = move || {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                let (name, events) = ("the task that writes events to the log".to_owned(), shared.clone());
                let make = move || log::write_events(events.clone());
                tasks.spawn(keep_alive(name, board.panics.clone(), AFTER_CRASH, make));
                start_resolving(&board, &dns, &mut tasks, ready);
                start_checking(&board, &mut tasks);
                admin::serve(listener, shared.clone(), board, stopped).await;
                tasks.shutdown().await;
                log::write_all(&shared, &mut log::Throttle::default());
            });
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(body)?;
        // It fails when the thread is gone, which is found out when it is joined.
        let _ = is_ready.recv();
        Ok(Control { address, stop, thread })
    }

    /// Where the admin listener is, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the thread and waits for its end.
    ///
    /// # Errors
    /// When it has panicked.
    pub fn stop(self) -> std::thread::Result<()> {
        // It is gone already if it has panicked; the join tells.
        let _ = self.stop.send(());
        self.thread.join()
    }
}

/// How many descriptors the thread takes at most for what the snapshot wants of it.
#[must_use]
pub fn descriptors(snapshot: &Snapshot) -> u64 {
    let wants = |wanted: bool, most: usize| if wanted { most as u64 } else { 0 };
    let checks = snapshot.services.iter().any(|service| service.health.is_some());
    let is_named = |target: &TargetSpec| matches!(target.address, TargetAddress::Name { .. } | TargetAddress::Srv(_));
    let names = snapshot.services.iter().any(|service| service.targets.iter().any(is_named));
    wants(checks, probe::OPEN_MOST) + wants(names, resolve::QUESTIONS_MOST)
}

/// The services of a snapshot, each with its members.
fn board(snapshot: &Snapshot, members: &[Arc<Members>]) -> Board {
    let services = snapshot.services.iter().zip(members).map(|(service, members)| {
        Arc::new(Service::new(members.clone(), service.targets.clone(), service.health.clone()))
    });
    Board { services: services.collect(), dns: Arc::default(), panics: Arc::default() }
}

/// Begins to resolve the targets that have names; those with addresses are members already. `ready` is told, or
/// dropped, once each name was asked for or has taken too long.
fn start_resolving(board: &Arc<Board>, dns: &DnsConfig, tasks: &mut JoinSet<()>, ready: std::sync::mpsc::Sender<()>) {
    let named: Vec<_> = board.services.iter().filter(|service| resolve::has_names(service)).cloned().collect();
    if named.is_empty() {
        return;
    }
    let client = match Client::new(dns, board.dns.clone()) {
        Ok(client) => Arc::new(client),
        Err(error) => {
            tracing::error!(%error, "names cannot be resolved; targets with names are not used");
            return;
        }
    };
    // Each task drops its sender once its names were asked for.
    let (first, mut asked) = mpsc::channel::<()>(1);
    for service in &named {
        let service = service.clone();
        let (client, dns, first) = (client.clone(), dns.clone(), Mutex::new(Some(first.clone())));
        let name = format!("the task that resolves the names of {}", service.name());
        let make = move || {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            Keeper::new(service.clone(), client.clone(), &dns).run(first)
        };
        tasks.spawn(keep_alive(name, board.panics.clone(), AFTER_CRASH, make));
    }
    drop(first);
    tasks.spawn(async move {
        // Nothing is ever sent: it ends when all senders are dropped.
        let in_time = tokio::time::timeout(FIRST_ANSWERS, asked.recv()).await.is_ok();
        for service in named.iter().filter(|service| service.members.endpoints().is_empty()) {
            let (service, why) = (service.name(), if in_time { "cannot be resolved" } else { "are not resolved yet" });
            tracing::warn!(service, "the names of its targets {why}; requests to it fail until they are");
        }
        let _ = ready.send(());
    });
}

/// Begins to ask after the targets of each service that wants it.
fn start_checking(board: &Arc<Board>, tasks: &mut JoinSet<()>) {
    let crowd = Arc::new(probe::Crowd::new(board.panics.clone()));
    for service in &board.services {
        let Some(checks) = service.checks.clone().map(Arc::new) else { continue };
        let (service, crowd) = (service.clone(), crowd.clone());
        let name = format!("the task that checks the targets of {}", service.name());
        let make = move || probe::watch(service.clone(), checks.clone(), crowd.clone());
        tasks.spawn(keep_alive(name, board.panics.clone(), AFTER_CRASH, make));
    }
}

/// Runs a task that does not end by itself, and begins it anew when it has crashed.
async fn keep_alive<F>(name: String, panics: Arc<AtomicU64>, pause: Duration, make: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        // Dropped, the set takes its task with it.
        let mut running = JoinSet::new();
        running.spawn(make());
        match running.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!("{name} has crashed and is begun anew: {error}");
                tokio::time::sleep(pause).await;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn a_task_that_crashes_is_begun_anew_and_counted() {
        let (panics, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let make = {
            let begun = begun.clone();
            move || {
                let begun = begun.clone();
                async move { assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "a crash that is meant") }
            }
        };
        keep_alive("a test".to_owned(), panics.clone(), Duration::from_millis(1), make).await;
        assert_eq!((panics.load(Ordering::Relaxed), begun.load(Ordering::Relaxed)), (2, 3));
    }
}
