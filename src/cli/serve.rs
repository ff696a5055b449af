//! The process that serves: from its first descriptor to its exit code.
//!
//! | signal | what it does |
//! |---|---|
//! | SIGTERM, SIGINT, SIGQUIT | drains and ends; a second one ends at once |
//! | SIGHUP | reads the configuration anew |
//! | SIGUSR1 | opens the file of the access log anew, for who has moved it away |
//! | SIGUSR2 | starts the program anew, hands all sockets over to it, and drains once that one serves |

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::say;
use crate::config::Config;
use crate::control::access_log::Orders as AccessLog;
use crate::control::leave::DrainHandle;
use crate::control::log::Log;
use crate::control::reload::{Load, ReloadHandle};
use crate::control::supervisor;
use crate::control::upgrade::{IS_READY, Program, UpgradeHandle};
use crate::gateway::{Crashed, Gateway, Start};
use crate::runtime::inherit::Inherited;

/// How long what is broken off at a second signal may take to be told of.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Serves until a signal, then drains; a second signal ends at once.
pub(super) fn serve(config: &Config, load: Option<Load>, log: &Log, banner: impl Fn(&Gateway) -> String) -> ExitCode {
    // Of this path, not of what is there when it is needed.
    let program = Program::current();
    let inherited = match Inherited::take() {
        Ok(inherited) => inherited,
        Err(error) => {
            tracing::error!(%error, "the sockets that were handed over cannot be used; start without them");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals, and does not start; see whether descriptors have run out (`ulimit -n`)");
            return ExitCode::FAILURE;
        }
    };
    // Before anything serves: a signal that comes early is not lost.
    let signals = runtime.block_on(async { Signals::new() });
    let start = Start { load, sockets: inherited.sockets };
    let (gateway, mut signals) = match (Gateway::start_with(config, start), signals) {
        (Ok(gateway), Ok(signals)) => (gateway, signals),
        (Err(error), _) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
        (_, Err(error)) => {
            tracing::error!(%error, "cannot wait for signals, and does not start; see whether descriptors have run out (`ulimit -n`)");
            return ExitCode::FAILURE;
        }
    };
    offer(&gateway, log);
    announce(&gateway);
    say(&banner(&gateway));
    supervisor::ready();
    if let Some(ready) = inherited.ready {
        // If the process before has gone, nobody waits.
        let _ = std::fs::File::from(ready).write_all(IS_READY);
    }
    let (orders, drain) = (Orders::of(&gateway, program.ok()), gateway.drain_handle().clone());
    let (sender, ended) = oneshot::channel();
    std::thread::spawn(move || sender.send(gateway.join()));
    match runtime.block_on(obey(&mut signals, &orders, &drain, ended)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(crashed)) => {
            tracing::error!("{crashed}; the process ends, start it anew and report the panic");
            ExitCode::FAILURE
        }
        None => {
            tracing::warn!("a second signal: what still ran was broken off");
            ExitCode::FAILURE
        }
    }
}

/// Obeys signals until the gateway has `ended`: how it has, and nothing after a second signal.
async fn obey(
    signals: &mut Signals,
    orders: &Orders,
    drain: &DrainHandle,
    mut ended: oneshot::Receiver<Result<(), Crashed>>,
) -> Option<Result<(), Crashed>> {
    tokio::select! {
        // A worker has crashed, another process has taken over, or an operator has asked for it.
        ended = &mut ended => return Some(ended.unwrap_or(Err(Crashed))),
        first = signals.until_the_end(orders) => {
            tracing::info!(signal = first, "draining: requests that run may finish, a second signal ends them");
        }
    }
    drain.drain();
    tokio::select! {
        ended = &mut ended => return Some(ended.unwrap_or(Err(Crashed))),
        () = signals.ending(orders) => drain.break_off(),
    }
    // A worker that hangs hears of no order.
    let _ = tokio::time::timeout(AT_ONCE, ended).await;
    None
}

/// Lets operators ask the log, and tell it how much to say.
fn offer(gateway: &Gateway, log: &Log) {
    let (operations, log) = (gateway.operations(), log.handle().clone());
    operations.on_log_level(log.operation());
    operations.on_lost_lines(move || log.lost());
}

/// Says what runs, and on what.
fn announce(gateway: &Gateway) {
    for (name, address) in gateway.addresses() {
        tracing::info!(listener = name, %address, "listening");
    }
    let workers = gateway.snapshot().gateway.workers;
    let admin = gateway.admin_address().map_or_else(|| "off".to_owned(), ToString::to_string);
    match gateway.fallback() {
        None => tracing::info!(workers, driver = %gateway.driver(), %admin, "serving"),
        Some(fallback) => {
            tracing::warn!(workers, driver = %gateway.driver(), %admin, "serving; {fallback}");
        }
    }
}

/// What signals that do not end the process make it do.
struct Orders {
    reload: ReloadHandle,
    access_log: AccessLog,
    upgrade: UpgradeHandle,
    program: Option<Program>,
    is_upgrading: Arc<AtomicBool>,
}

impl Orders {
    fn of(gateway: &Gateway, program: Option<Program>) -> Orders {
        let (reload, upgrade) = (gateway.reload_handle().clone(), gateway.upgrade_handle().clone());
        let access_log = gateway.access_log().clone();
        Orders { reload, access_log, upgrade, program, is_upgrading: Arc::default() }
    }

    fn reload(&self) {
        // How it ends is in the log.
        let reload = self.reload.clone();
        tokio::spawn(async move { reload.reload("SIGHUP").await });
    }

    /// Hands over to a new process, one at a time.
    fn upgrade(&self) {
        let Some(program) = self.program.clone() else {
            return tracing::error!("the program of this process is not known, so it cannot be started anew");
        };
        if self.upgrade.is_over() {
            return tracing::warn!(
                "this process drains and has handed over, or ends; send the signal to the one that serves"
            );
        }
        if self.is_upgrading.swap(true, Ordering::AcqRel) {
            return tracing::warn!("a new process is being started already; wait for what the log says of it");
        }
        tracing::info!(program = %program.path.display(), "starting a new process, to hand over to it");
        let (upgrade, is_upgrading) = (self.upgrade.clone(), self.is_upgrading.clone());
        tokio::spawn(async move {
            match tokio::task::spawn_blocking(move || upgrade.upgrade(&program)).await {
                Ok(Ok(pid)) => tracing::info!(pid, "the new process serves; draining: requests that run may finish"),
                Ok(Err(error)) => tracing::error!("the hand-over has failed, and this process serves on: {error}"),
                Err(error) => tracing::error!("the hand-over has crashed, and this process serves on: {error}"),
            }
            is_upgrading.store(false, Ordering::Release);
        });
    }
}

/// The signals that the process obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// What stops nginx and its like without cutting anybody off.
    quit: Signal,
    hangup: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Obeys them until one comes that ends the process; says which.
    async fn until_the_end(&mut self, orders: &Orders) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.quit.recv() => return "SIGQUIT",
                _ = self.hangup.recv() => orders.reload(),
                _ = self.reopen.recv() => orders.access_log.reopen(),
                _ = self.upgrade.recv() => orders.upgrade(),
            }
        }
    }

    /// Waits for one that ends the process.
    async fn ending(&mut self, orders: &Orders) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.reopen.recv() => orders.access_log.reopen(),
            }
        }
    }
}
