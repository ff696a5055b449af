//! The sockets of one listener: one for each worker, bound all or none.
//!
//! A [`Doorway`] is made where a configuration asks for an address that nothing listens at yet, and stays from one
//! configuration to the next for as long as somebody asks for that address. The control thread binds; each worker takes
//! its socket out, once. What a listener is called, and what it does with its connections, is in the snapshot alone.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use crate::net::{Address, Bound, bind, is_taken};

/// How often, and after what pause, an address that is taken is tried again.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Where clients connect.
#[derive(Debug)]
pub struct Doorway {
    /// What the configuration asks for.
    asked: SocketAddr,
    /// Where it really is.
    address: SocketAddr,
    /// One place for each worker's socket.
    sockets: Box<[ArrayQueue<Bound>]>,
}

impl Doorway {
    /// Listens at `asked` once for each of `workers`, for the listener `name`. `ours` are those that this process has
    /// already: an address that one of them covers is not taken by somebody else.
    ///
    /// # Errors
    /// The system's, such as `AddrInUse` when another process listens there.
    pub fn open(
        name: &str,
        asked: SocketAddr,
        workers: usize,
        ours: &[Arc<Doorway>],
    ) -> Result<Arc<Doorway>, ListenError> {
        let opened = Doorway::bind(asked, workers, ours);
        opened.map(Arc::new).map_err(|error| ListenError { name: name.to_owned(), address: asked.into(), error })
    }

    fn bind(asked: SocketAddr, workers: usize, ours: &[Arc<Doorway>]) -> io::Result<Doorway> {
        if ours.iter().all(|other| other.address.port() != asked.port()) {
            wait_until_free(asked)?;
        }
        let mut address = asked;
        let mut sockets = Vec::with_capacity(workers);
        for _ in 0..workers {
            let bound = bind(address)?;
            // With port 0 the first one has found the port for the others.
            address = bound.address()?;
            sockets.push(full(bound));
        }
        Ok(Doorway { asked, address, sockets: sockets.into() })
    }

    /// A doorway whose sockets the workers have already, such as those of an in-memory network.
    #[must_use]
    pub fn taken(address: SocketAddr) -> Arc<Doorway> {
        Arc::new(Doorway { asked: address, address, sockets: Box::default() })
    }

    /// Where it is, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the configuration asks for; port 0 is a free port of the kernel's choice.
    #[must_use]
    pub fn asked(&self) -> SocketAddr {
        self.asked
    }

    /// The socket of worker `worker`, unless it has it already.
    #[must_use]
    pub fn take(&self, worker: usize) -> Option<Bound> {
        self.sockets.get(worker)?.pop()
    }
}

/// An address that cannot be listened at.
#[derive(Debug)]
pub struct ListenError {
    /// Who wants to: the name of a listener, or `admin`.
    pub name: String,
    /// The address.
    pub address: Address,
    /// The system's error.
    pub error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { name, address, error } = self;
        write!(formatter, "cannot listen at {address} ({name}): {error}")?;
        formatter.write_str(match (address, error.kind()) {
            (Address::Tcp(_), io::ErrorKind::AddrInUse) => "; stop what listens there, or choose another port",
            (Address::Tcp(_), io::ErrorKind::PermissionDenied) => "; ports below 1024 need CAP_NET_BIND_SERVICE",
            (Address::Tcp(_), io::ErrorKind::AddrNotAvailable) => "; this machine does not have that address",
            (Address::Unix(_), io::ErrorKind::AddrInUse) => "; stop what listens there, or choose another path",
            (Address::Unix(_), io::ErrorKind::AlreadyExists) => "; remove it, or choose another path",
            (Address::Unix(_), io::ErrorKind::NotFound) => "; make its directory first",
            (Address::Unix(_), io::ErrorKind::PermissionDenied) => {
                "; let this user write to its directory, or choose another path"
            }
            _ => "",
        })
    }
}

impl std::error::Error for ListenError {}

fn full(bound: Bound) -> ArrayQueue<Bound> {
    let place = ArrayQueue::new(1);
    let put = place.push(bound);
    debug_assert!(put.is_ok(), "it has room for one");
    place
}

/// Waits a while for an address that is taken: the kernel needs a moment to take the sockets of a process that was killed
/// out of its io_uring instances.
fn wait_until_free(address: SocketAddr) -> io::Result<()> {
    for _ in 0..TRIES {
        if !is_taken(address)? {
            return Ok(());
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing tells when an address is free, and no worker waits here"
        )]
        std::thread::sleep(PAUSE);
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn each_worker_takes_its_socket_once() {
        let doorway = Doorway::open("public", (Ipv4Addr::LOCALHOST, 0).into(), 2, &[]).expect("a free port");
        assert_ne!(doorway.address().port(), 0);
        for worker in 0..2 {
            let bound = doorway.take(worker).expect("its socket");
            assert_eq!(bound.address().expect("bound"), doorway.address());
            assert!(doorway.take(worker).is_none());
        }
        assert!(doorway.take(2).is_none());
    }

    #[test]
    fn an_address_is_shared_with_ourselves_and_nobody_else() {
        let ours = Doorway::open("public", (Ipv4Addr::LOCALHOST, 0).into(), 1, &[]).expect("a free port");
        let again = Doorway::open("public", ours.address(), 1, std::slice::from_ref(&ours)).expect("it is ours");
        assert_eq!(again.address(), ours.address());
        let error = Doorway::open("public", ours.address(), 1, &[]).expect_err("it is somebody else's");
        assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
    }
}
