//! Descriptors that a process was started with: listening sockets of the service manager (systemd's socket activation) or
//! of the process that it replaces, and the pipe on which that one waits for it.
//!
//! | variable | meaning |
//! |---|---|
//! | `LISTEN_FDS`, `LISTEN_PID` | see sd_listen_fds(3) |
//! | `TIDEGATE_SOCKETS` | `PARENT;ASKED=FD;ASKED=FD...`: the parent's process id, and for each socket the address that its configuration asks for, or `admin` |
//! | `TIDEGATE_READY` | `FD`: the end of a pipe to write to |
//!
//! A process hands its sockets on by clearing their close-on-exec flag ([`hand_on`]); whoever is started by it checks
//! that it is meant by the parent's id, for variables are inherited further than descriptors.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use rustix::io::FdFlags;
use rustix::net::sockopt::socket_acceptconn;

use super::{Bound, sys};

/// The variable that names the sockets of the process before.
pub const SOCKETS: &str = "TIDEGATE_SOCKETS";

/// The variable that names the pipe on which the process before waits.
pub const READY: &str = "TIDEGATE_READY";

/// What a process was started with.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Listening sockets.
    pub sockets: Vec<Handed>,
    /// Where to say that this process serves.
    pub ready: Option<OwnedFd>,
}

/// A listening socket that somebody else has bound.
#[derive(Debug)]
pub struct Handed {
    /// What the configuration of the process before has asked for, or `admin`; for the service manager's, where it is.
    pub asked: String,
    /// The socket.
    pub socket: OwnedFd,
}

impl Handed {
    /// As the socket of a listener.
    #[must_use]
    pub fn into_bound(self) -> Bound {
        Bound(self.socket)
    }
}

impl Inherited {
    /// Takes what the environment names; the second call, and each after it, finds nothing.
    ///
    /// # Errors
    /// When a descriptor is named that is not open, or no listening socket.
    pub fn take() -> io::Result<Inherited> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Ok(Inherited::default());
        }
        let mut sockets = Vec::new();
        for fd in sd_notify::listen_fds()? {
            let socket = listening(claim(fd)?)?;
            sockets.push(Handed { asked: sys::local_address(&socket)?.to_string(), socket });
        }
        let parent = rustix::process::getppid().map_or(0, rustix::process::Pid::as_raw_pid).to_string();
        let list = std::env::var(SOCKETS).unwrap_or_default();
        let Some(list) = list.split_once(';').filter(|(of, _)| *of == parent).map(|(_, list)| list) else {
            return Ok(Inherited { sockets, ready: None });
        };
        for (asked, fd) in list.split(';').filter_map(|pair| pair.rsplit_once('=')) {
            let fd = fd.parse().map_err(|_| io::Error::other(format!("{SOCKETS} names no descriptor: {fd}")))?;
            sockets.push(Handed { asked: asked.to_owned(), socket: listening(claim(fd)?)? });
        }
        let ready = std::env::var(READY).ok().and_then(|fd| fd.parse().ok()).map(claim).transpose()?;
        Ok(Inherited { sockets, ready })
    }
}

/// Lets a program that is started from now on have this descriptor; returns its number.
///
/// # Errors
/// The system's.
pub fn hand_on(descriptor: impl AsFd) -> io::Result<RawFd> {
    use std::os::fd::AsRawFd;
    rustix::io::fcntl_setfd(&descriptor, FdFlags::empty())?;
    Ok(descriptor.as_fd().as_raw_fd())
}

/// A socket as the drivers want it, if it listens.
fn listening(socket: OwnedFd) -> io::Result<OwnedFd> {
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket that was handed over does not listen"));
    }
    let flags = rustix::fs::fcntl_getfl(&socket)?;
    rustix::fs::fcntl_setfl(&socket, flags | OFlags::NONBLOCK)?;
    Ok(socket)
}

/// Takes a descriptor that this process was started with.
fn claim(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 3 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream cannot be handed over"));
    }
    // SAFETY: the number comes from the environment that this process was started with, which says that the descriptor is
    // for it alone; it is claimed once (`TAKEN`), before anything else of this process could have closed it. The protocol
    // of the service manager, and ours, is all that speaks for that, as it is for everyone who uses it; a number that
    // names nothing is found by the call below, on a descriptor that is then given up without being closed.
    let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
    match rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC) {
        Ok(()) => Ok(descriptor),
        Err(error) => {
            // It is not open, and the number may be somebody else's soon.
            std::mem::forget(descriptor);
            Err(io::Error::new(error.kind(), format!("descriptor {fd} was announced and is not open: {error}")))
        }
    }
}
