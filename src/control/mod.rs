//! The control thread: everything slow.
//!
//! A thread with a runtime of its own (tokio, for its ecosystem). It resolves the names of targets, asks after the
//! health of targets, carries out reloads, answers operators on the admin listener and writes the workers' events to the
//! log; it never sees a request. What it finds out about targets it writes into the [`Members`] of their service.
//!
//! What else operators can make the process do is set from outside, in [`Operations`].
//!
//! A panic in one of its tasks is logged and counted, and the task is begun anew.
//!
//! [`Members`]: crate::upstream::members::Members

pub mod access_log;
mod admin;
mod aside;
mod board;
mod care;
mod descriptors;
pub mod leave;
pub mod log;
pub mod operations;
mod probe;
pub mod reload;
mod resolve;
pub mod supervisor;
pub mod upgrade;
mod watch;

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::net::{Address, Handed};
use crate::shard::Shared;
use crate::snapshot::publish::Published;
use admin::{Listening, Views};
use board::Board;
use care::Care;
pub use descriptors::fit_descriptors;
use leave::DrainHandle;
use operations::Operations;
use reload::{Load, Order, ReloadHandle, Reloader};
use upgrade::UpgradeHandle;

/// From the end of a task that has crashed to its next beginning.
const AFTER_CRASH: Duration = Duration::from_secs(1);

/// The control thread, as the one who started it sees it.
#[derive(Debug)]
pub struct Control {
    address: Option<Address>,
    operations: Arc<Operations>,
    reload: ReloadHandle,
    drain: DrainHandle,
    upgrade: UpgradeHandle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts the thread, with the admin listener at the snapshot's address if it has one. When this returns, the members of each
    /// service are what is known of them: its addresses, and what name servers have answered within two seconds. `load`
    /// reads the configuration anew, if that can be done.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the thread not be made.
    pub fn start(
        published: Arc<Published>,
        shared: Arc<Shared>,
        load: Option<Load>,
        handed: &mut Vec<Handed>,
    ) -> io::Result<Control> {
        let edition = published.current();
        let inherited = handed.extract_if(.., |handed| handed.asked == upgrade::ADMIN).last();
        let listening = edition.snapshot.admin.as_ref().map(|admin| match inherited {
            Some(inherited) => Listening::adopt(&admin.address, inherited.socket),
            None => Listening::bind(&admin.address),
        });
        let listening = listening.transpose()?;
        let address = listening.as_ref().map(|listening| listening.address().clone());
        let operations = Arc::<Operations>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (reload, orders) = ReloadHandle::new();
        let drain = DrainHandle::new(shared.clone(), published.clone());
        let upgrade = UpgradeHandle {
            published: published.clone(),
            drain: drain.clone(),
            admin: listening.as_ref().and_then(|listening| listening.copy().ok()).map(Arc::new),
            handed_over: Arc::default(),
        };
        let duties = Duties {
            published,
            shared,
            load,
            reload: reload.clone(),
            drain: drain.clone(),
            operations: operations.clone(),
            handed_over: upgrade.handed_over.clone(),
        };
        let alarm = drain.clone();
        let body = move || runtime.block_on(duties.carry_out(listening, orders, ready, stopped));
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || alarm.guard("the control thread", body))?;
        // It fails when the thread is gone, which is found out when it is joined.
        let _ = is_ready.recv();
        Ok(Control { address, operations, reload, drain, upgrade, stop, thread })
    }

    /// What orders the gateway to drain.
    #[must_use]
    pub fn drain(&self) -> &DrainHandle {
        &self.drain
    }

    /// What hands over to a new process.
    #[must_use]
    pub fn upgrade(&self) -> &UpgradeHandle {
        &self.upgrade
    }

    /// What asks for reloads.
    #[must_use]
    pub fn reload(&self) -> &ReloadHandle {
        &self.reload
    }

    /// What operators can make the process do.
    #[must_use]
    pub fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// Where the admin listener is, with its real port, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
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

/// What the thread has to look after.
struct Duties {
    published: Arc<Published>,
    shared: Arc<Shared>,
    load: Option<Load>,
    reload: ReloadHandle,
    drain: DrainHandle,
    operations: Arc<Operations>,
    handed_over: Arc<Notify>,
}

impl Duties {
    /// Looks after it until told to stop. `ready` is told once what runs first is looked after.
    async fn carry_out(
        self,
        listening: Option<Listening>,
        orders: Receiver<Order>,
        ready: Sender<()>,
        stopped: oneshot::Receiver<()>,
    ) {
        let Duties { published, shared, load, reload, drain, operations, handed_over } = self;
        let board: Arc<Board> = Arc::default();
        let mut tasks = JoinSet::new();
        let (name, events) = ("the task that writes events to the log".to_owned(), shared.clone());
        let throttle: Arc<Mutex<log::Throttle>> = Arc::default();
        let shares = throttle.clone();
        let make = move || log::write_events(events.clone(), shares.clone());
        tasks.spawn(keep_alive(name, board.panics.clone(), AFTER_CRASH, make));
        let (name, of, lines) = ("the task that watches the access log".to_owned(), published.clone(), shared.clone());
        let make = move || access_log::watch(of.clone(), lines.clone());
        tasks.spawn(keep_alive(name, board.panics.clone(), AFTER_CRASH, make));
        let mut care = Care::new(board.clone());
        let edition = published.current();
        let services = care.prepare(&edition).await;
        care.take_over(&edition, services);
        drop(edition);
        board.reloads.start();
        // Nobody listens any more if the start has failed meanwhile.
        let _ = ready.send(());
        tasks.spawn(drain.clone().carry_out());
        tasks.spawn(supervisor::watchdog(shared.clone()));
        let is_watched = load.is_some();
        let reloader = Reloader::new(published.clone(), shared.clone(), board.clone(), care, load);
        if is_watched {
            let name = "the task that watches the configuration".to_owned();
            let (of, files, reload) = (published.clone(), board.clone(), reload.clone());
            let make = move || watch::watch(of.clone(), files.clone(), reload.clone());
            tasks.spawn(keep_alive(name, board.panics.clone(), AFTER_CRASH, make));
        }
        let mut reloading = JoinSet::new();
        reloading.spawn(reloader.run(orders));
        let (census, scrape) = Default::default();
        let views = Views { published, shared: shared.clone(), board, reload, drain, operations, census, scrape };
        tokio::select! {
            () = admin::serve(listening, views, &handed_over, stopped) => {}
            // What it has half done nobody can go on with: the thread crashes, too, and the process drains and ends.
            Some(Err(crash)) = reloading.join_next() => {
                if let Ok(panic) = crash.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        tasks.shutdown().await;
        log::write_last(&shared, &throttle);
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
                tracing::error!(
                    "{name} has crashed and is begun anew, which is a fault of Tidegate: {error}; please report it"
                );
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
