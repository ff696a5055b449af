//! The system calls of both kernel drivers, behind types that cannot be misused.
//!
//! Every descriptor is born with CLOEXEC and is non-blocking, and every stream
//! of TCP gets NODELAY: a proxy writes whole messages, Nagle's algorithm only delays them.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use arrayvec::ArrayVec;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    sockopt,
};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// How many connections the kernel may hold for us before we accept them.
const BACKLOG: i32 = 4096;

/// Parts that are not more than this in all are sent as one.
const JOINED: usize = 1024;

/// Calls again while a signal interrupts.
fn uninterrupted<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

/// Accepts one connection; `WouldBlock` when there is none.
pub(super) fn accept(listener: impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (stream, peer) = uninterrupted(|| rustix::net::acceptfrom_with(&listener, FLAGS))?;
    Ok((stream, peer.and_then(|peer| SocketAddr::try_from(peer).ok())))
}

/// NODELAY where the socket has it; a unix socket does not, and need not.
fn set_nodelay(stream: impl AsFd) {
    let _ = sockopt::set_tcp_nodelay(stream, true);
}

/// Finds out when a peer has gone without a word: after a minute of silence it is asked, and after another one given up.
fn keep_alive(stream: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(15))?;
    Ok(sockopt::set_tcp_keepcnt(&stream, 4)?)
}

/// The address of the other side, unless it is gone already.
pub(super) fn peer(stream: impl AsFd) -> Option<SocketAddr> {
    rustix::net::getpeername(stream).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok())
}

/// Receives what is there; 0 is the end of the stream, `WouldBlock` nothing yet.
pub(super) fn recv(stream: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    uninterrupted(|| rustix::net::recv(&stream, &mut *buffer, RecvFlags::DONTWAIT)).map(|(_, len)| len)
}

/// Whether a receive would find something: data, the end or an error.
pub(super) fn has_news(stream: impl AsFd) -> bool {
    let mut byte = [0];
    let peeked = uninterrupted(|| rustix::net::recv(&stream, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK));
    !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Sends as much as fits; `WouldBlock` when nothing does.
pub(super) fn send(stream: impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // More than so many are refused as a whole (sendmsg(2), EMSGSIZE).
    let parts = &parts[..parts.len().min(libc::UIO_MAXIOV as usize)];
    match parts {
        [only] => uninterrupted(|| rustix::net::send(&stream, only, flags)),
        // To put small parts together costs less than to tell the kernel where each of them lies.
        _ if parts.iter().map(|part| part.len()).sum::<usize>() <= JOINED => {
            let mut joined = ArrayVec::<u8, JOINED>::new();
            for part in parts {
                joined.try_extend_from_slice(part).map_err(io::Error::other)?;
            }
            uninterrupted(|| rustix::net::send(&stream, &joined, flags))
        }
        _ => uninterrupted(|| rustix::net::sendmsg(&stream, parts, &mut SendAncillaryBuffer::default(), flags)),
    }
}

/// Begins to connect; the stream turns writable when that has ended, well or not.
pub(super) fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let stream = stream_socket(address)?;
    set_nodelay(&stream);
    keep_alive(&stream)?;
    match rustix::net::connect(&stream, &address) {
        // An interrupted connect goes on by itself.
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}

/// Connects to the Unix socket at `path`, which is done or has failed at once: `WouldBlock` says that the listener's
/// queue is full, and that nobody will tell when it no longer is.
pub(super) fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let address = unix_address(path)?;
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    uninterrupted(|| rustix::net::connect(&stream, &address))?;
    Ok(stream)
}

/// The address of the Unix socket at `path`.
fn unix_address(path: &Path) -> io::Result<SocketAddrUnix> {
    let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    match SocketAddrUnix::new(path) {
        // An empty one would be taken for a name that is not in the file system.
        _ if path.as_os_str().is_empty() => wrong("the path of a Unix socket is empty"),
        Ok(address) => Ok(address),
        Err(Errno::NAMETOOLONG) => wrong("the path of a Unix socket has more than 108 bytes (unix(7))"),
        Err(_) => wrong("the path of a Unix socket has a NUL in it"),
    }
}

/// The error that ended a connect or a stream, taken from the socket.
pub(super) fn take_error(stream: impl AsFd) -> io::Result<()> {
    Ok(sockopt::socket_error(stream)??)
}

/// Ends the sending side: the peer sees the end of the stream.
pub(super) fn shutdown_write(stream: impl AsFd) -> io::Result<()> {
    uninterrupted(|| rustix::net::shutdown(&stream, Shutdown::Write))
}

/// Makes the close a reset: the peer sees an error, not an end.
pub(super) fn reset_on_close(stream: impl AsFd) {
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// A listening socket at `address`, one of several that share the port.
///
/// # Errors
/// The system's, such as `AddrInUse` or `PermissionDenied`.
pub(super) fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let listener = stream_socket(address)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    sockopt::set_socket_reuseport(&listener, true)?;
    // Connections inherit both from the socket that accepts them (tcp(7)).
    set_nodelay(&listener);
    keep_alive(&listener)?;
    rustix::net::bind(&listener, &address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// A bound socket at `address` that shares its port with nobody.
///
/// # Errors
/// As [`listen`]; `AddrInUse` also when the one who has the port would share it.
pub(super) fn bind_alone(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = stream_socket(address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Where a socket is bound.
pub(super) fn local_address(socket: impl AsFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(rustix::net::getsockname(socket)?)?)
}

fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)?)
}
