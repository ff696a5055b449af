//! Which driver a runtime gets, and why.
//!
//! `auto` takes io_uring where all that we use of it is there, and epoll
//! otherwise. A fallback is never silent: it says why, and what would help.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::EventfdFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CpuSet;

use super::buffer::Pool;
use super::driver::Driver;
use super::driver::epoll::Epoll;
use super::driver::io_uring::IoUring;
use super::driver::memory::{Memory, Network};
use super::driver::ring::{Refusal, Sizes};
use super::remote::{Bell, Remote};
use super::{Runtime, sys};
use crate::base::time::Instant;

/// The driver that the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// io_uring where it is there, epoll otherwise.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// The driver that a runtime has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
    /// The in-memory network of tests.
    Memory,
}

impl DriverKind {
    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DriverKind::IoUring => "io_uring",
            DriverKind::Epoll => "epoll",
            DriverKind::Memory => "memory",
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How to make a runtime.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which driver.
    pub driver: Choice,
    /// How many receive buffers of [`super::BUFFER_SIZE`] bytes there may be.
    pub buffers: usize,
    /// Entries of io_uring's submission queue.
    pub submissions: u32,
    /// Entries of io_uring's completion queue.
    pub completions: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { driver: Choice::Auto, buffers: 512, submissions: 512, completions: 4096 }
    }
}

/// Why `auto` did not take io_uring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// What went wrong, such as `io_uring_setup: Operation not permitted`.
    pub reason: String,
    /// What would help.
    pub remedy: &'static str,
}

impl fmt::Display for Fallback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "io_uring is not available ({}); {}", self.reason, self.remedy)
    }
}

impl Runtime {
    /// Makes a runtime for this thread, and says why if it is not on io_uring
    /// though it might have been.
    ///
    /// # Errors
    /// When the driver that was asked for, or epoll, cannot be had.
    pub fn new(options: &Options) -> io::Result<(Runtime, Option<Fallback>)> {
        let pool = Pool::new(options.buffers);
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let refusal = match options.driver {
            Choice::Epoll => None,
            Choice::Auto | Choice::IoUring => {
                let sizes = Sizes { submissions: options.submissions, completions: options.completions };
                match IoUring::new(&bell, sizes, options.buffers) {
                    Ok(driver) => return Ok((Runtime::kernel(Driver::IoUring(driver), bell, pool), None)),
                    Err(refusal) => Some(explain(&refusal)),
                }
            }
        };
        match refusal {
            Some(fallback) if options.driver == Choice::IoUring => Err(io::Error::other(fallback.to_string())),
            refusal => {
                let driver = Driver::Epoll(Epoll::new(&bell)?);
                Ok((Runtime::kernel(driver, bell, pool), refusal))
            }
        }
    }

    /// Makes a runtime on an in-memory network of its own, with a virtual clock.
    #[must_use]
    pub fn in_memory(network: Network, buffers: usize) -> Runtime {
        let remote = Remote::new(Bell::Thread(std::thread::current()));
        Runtime::from_parts(Driver::Memory(Memory::new(network)), remote, Pool::new(buffers), Instant::ZERO)
    }

    fn kernel(driver: Driver, bell: OwnedFd, pool: Rc<Pool>) -> Runtime {
        let remote: Arc<Remote> = Remote::new(Bell::EventFd(bell));
        Runtime::from_parts(driver, remote, pool, Instant::from_clock())
    }

    /// The driver that the runtime has.
    #[must_use]
    pub fn driver_kind(&self) -> DriverKind {
        match &*self.handle().driver() {
            Driver::Epoll(_) => DriverKind::Epoll,
            Driver::IoUring(_) => DriverKind::IoUring,
            Driver::Memory(_) => DriverKind::Memory,
        }
    }
}

/// Puts a refusal of the kernel into words.
fn explain(refusal: &Refusal) -> Fallback {
    const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
    let (reason, remedy) = match refusal {
        Refusal::Missing(what) => (format!("the kernel lacks {what}"), "Linux 6.1 or newer has all that is needed"),
        Refusal::Failed { call, error } => {
            let switched_off = std::fs::read_to_string(DISABLED).is_ok_and(|value| value.trim() != "0");
            let remedy = match error.raw_os_error() {
                Some(libc::EPERM) if switched_off => "set the sysctl kernel.io_uring_disabled to 0",
                Some(libc::EPERM | libc::EACCES) => {
                    "a seccomp profile forbids it, as Docker's default one does: \
                     allow io_uring_setup, io_uring_enter and io_uring_register"
                }
                Some(libc::ENOMEM) => {
                    "raise the limit on locked memory, for instance with \
                     LimitMEMLOCK=8M in the systemd unit or `ulimit -l 8192`"
                }
                Some(libc::ENOSYS) => "it needs Linux 6.1 or newer, built with CONFIG_IO_URING",
                Some(libc::EMFILE | libc::ENFILE) => "raise the limit on open files (`ulimit -n`)",
                _ => "set driver = \"epoll\" to choose the fallback without this message",
            };
            (format!("{call}: {error}"), remedy)
        }
    };
    Fallback { reason, remedy }
}

/// A listening socket that no runtime has taken yet; it can move to another thread.
#[derive(Debug)]
pub struct Bound(pub(super) OwnedFd);

impl From<Bound> for OwnedFd {
    fn from(bound: Bound) -> OwnedFd {
        bound.0
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Bound {
    /// Where it listens, with the real port if it was asked for port 0.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        sys::local_address(&self.0)
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// The system's, such as when descriptors have run out.
    pub fn try_clone(&self) -> io::Result<Bound> {
        self.0.try_clone().map(Bound)
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// Listens at `address`; further sockets of this user may share the port, and
/// the kernel spreads connections over them.
///
/// # Errors
/// The system's, such as `AddrInUse` or `PermissionDenied`.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    sys::listen(address).map(Bound)
}

/// Whether some socket listens at `address` already, also one that would share it.
///
/// # Errors
/// The system's.
pub fn is_taken(address: SocketAddr) -> io::Result<bool> {
    if address.port() == 0 {
        return Ok(false);
    }
    match sys::bind_alone(address) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(true),
        Err(error) => Err(error),
    }
}

/// Keeps this thread on one of the cores that the process may use, counted from 0.
///
/// # Errors
/// The system's; with fewer cores the count starts over.
pub fn pin_to_core(index: usize) -> io::Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    let Some(&core) = cores.get(index % cores.len().max(1)) else { return Ok(()) };
    let mut only = CpuSet::new();
    only.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &only)?)
}

/// Raises the limit on the descriptors of the process to `wanted`, or as far as is allowed; says what it is then.
#[must_use]
pub fn raise_descriptors(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (current, most) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let raised = wanted.min(most);
    if raised > current && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
        return raised;
    }
    current
}
