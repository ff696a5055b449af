//! The hand-over to a new process of the same program: a binary upgrade without a refused connection.
//!
//! The old process starts the new one with all its listening sockets, and serves on until that one says that it serves.
//! From then on both have the same sockets, so nothing that waits in them is lost when the old one closes its own: it
//! drains, and ends. If the new process fails or is not ready in time, the old one goes on as if nothing had been.
//!
//! Connections, pools, health and counters are not handed over; open tunnels and long answers go on in the old process
//! until `drain_timeout` is over.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::sync::Notify;

use super::leave::DrainHandle;
use super::supervisor;
use crate::runtime::inherit::{READY, SOCKETS, hand_on};
use crate::snapshot::publish::Published;

/// How long the new process may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the new process writes when it serves.
pub const IS_READY: &[u8] = b"ready\n";

/// The name under which the admin listener's socket is handed over.
pub const ADMIN: &str = "admin";

/// The program of the new process.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it is: the path that this process was started from, at which there may be another file by now.
    pub path: PathBuf,
    /// What it is started with.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// The program that this process was started from, with the same arguments.
    ///
    /// # Errors
    /// When the system does not know where it is.
    pub fn current() -> io::Result<Program> {
        Ok(Program { path: std::env::current_exe()?, arguments: std::env::args_os().skip(1).collect() })
    }
}

/// What hands over to a new process; it can be cloned and sent around.
#[derive(Clone, Debug)]
pub struct UpgradeHandle {
    pub(super) published: Arc<Published>,
    pub(super) drain: DrainHandle,
    /// The socket of the admin listener, if it has one.
    pub(super) admin: Option<Arc<OwnedFd>>,
    /// Told when the admin listener is the new process's.
    pub(super) handed_over: Arc<Notify>,
}

impl UpgradeHandle {
    /// Whether this process leaves already, and has no sockets to hand over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.drain.is_leaving()
    }

    /// Starts `program` with all sockets and drains once it serves; returns the id of its process. It blocks until then,
    /// for a minute at most. Must not be called once [`is_over`](UpgradeHandle::is_over).
    ///
    /// # Errors
    /// When the program cannot be started, ends before it serves, or does not serve in time. This process serves on then.
    pub fn upgrade(&self, program: &Program) -> io::Result<u32> {
        let mut child = self.start(program)?;
        let pid = child.process.id();
        let served = wait_for(&mut child.process, child.ready);
        if let Err(error) = served {
            // It may have ended already.
            let _ = child.process.kill();
            let _ = child.process.wait();
            return Err(error);
        }
        // Not before: a service whose main process ends has failed.
        supervisor::main_process(pid);
        self.handed_over.notify_one();
        self.drain.drain_at_once();
        Ok(pid)
    }

    fn start(&self, program: &Program) -> io::Result<Starting> {
        let mut list = std::process::id().to_string();
        // They stay open until the program has been started.
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        let mut add = |asked: &str, socket: OwnedFd| {
            // Writing to a string does not fail.
            let _ = write!(list, ";{asked}={}", hand_on(&socket)?);
            descriptors.push(socket);
            io::Result::Ok(())
        };
        for doorway in &self.published.current().doorways {
            for socket in doorway.copies()? {
                add(&doorway.asked().to_string(), socket.into())?;
            }
        }
        if let Some(admin) = &self.admin {
            add(ADMIN, admin.try_clone()?)?;
        }
        let (ready, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env(SOCKETS, list).env(READY, hand_on(&theirs)?.to_string());
        // What the service manager has said to this process does not hold for another.
        ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"].iter().for_each(|name| {
            command.env_remove(name);
        });
        Ok(Starting { process: command.spawn()?, ready })
    }
}

/// A process that does not serve yet.
struct Starting {
    process: Child,
    ready: OwnedFd,
}

/// Waits until the new process says that it serves.
fn wait_for(process: &mut Child, ready: OwnedFd) -> io::Result<()> {
    let timeout = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(&timeout))? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the new process does not serve after {PATIENCE:?}"),
        ));
    }
    let mut said = Vec::new();
    File::from(ready).take(IS_READY.len() as u64).read_to_end(&mut said)?;
    if said == IS_READY {
        return Ok(());
    }
    let status = process.wait()?;
    Err(io::Error::other(format!(
        "the new process has ended before it served, with {status}; what it has logged says why"
    )))
}
