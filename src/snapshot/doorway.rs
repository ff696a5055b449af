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

use crossbeam_queue::{ArrayQueue, SegQueue};

use crate::net::{Address, Bound, Handed, bind, is_taken};

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
    /// One place for the sockets of each worker.
    sockets: Box<[ArrayQueue<Bound>]>,
    /// All of them once more, to be handed on to the process that replaces this one.
    spares: SegQueue<Bound>,
}

impl Doorway {
    /// Listens at `asked` once for each of `workers`, for the listener `name`. `ours` are those that this process has
    /// already: an address that one of them covers is not taken by somebody else. Of the sockets in `handed` that are meant
    /// for this address, all are used, and nothing is bound then.
    ///
    /// # Errors
    /// The system's, such as `AddrInUse` when another process listens there.
    pub fn open(
        name: &str,
        asked: SocketAddr,
        workers: usize,
        ours: &[Arc<Doorway>],
        handed: &mut Vec<Handed>,
    ) -> Result<Arc<Doorway>, ListenError> {
        let is_meant = |handed: &mut Handed| handed.asked == asked.to_string();
        let handed: Vec<Bound> = handed.extract_if(.., is_meant).map(Handed::into_bound).collect();
        let sockets = if handed.is_empty() { bind_all(asked, workers, ours) } else { share(handed, workers) };
        let opened = sockets.and_then(|sockets| Doorway::of(asked, workers, sockets));
        opened.map(Arc::new).map_err(|error| ListenError { name: name.to_owned(), address: asked.into(), error })
    }

    fn of(asked: SocketAddr, workers: usize, sockets: Vec<Bound>) -> io::Result<Doorway> {
        let address = sockets.first().ok_or(io::ErrorKind::InvalidInput)?.address()?;
        let spares = SegQueue::new();
        let most = sockets.len().div_ceil(workers);
        let places: Box<[ArrayQueue<Bound>]> = (0..workers).map(|_| ArrayQueue::new(most)).collect();
        for (socket, place) in sockets.into_iter().zip((0..workers).cycle()) {
            spares.push(socket.try_clone()?);
            let put = places[place].push(socket);
            debug_assert!(put.is_ok(), "it has room for its part");
        }
        Ok(Doorway { asked, address, sockets: places, spares })
    }

    /// A doorway whose sockets the workers have already, such as those of an in-memory network.
    #[must_use]
    pub fn taken(address: SocketAddr) -> Arc<Doorway> {
        Arc::new(Doorway { asked: address, address, sockets: Box::default(), spares: SegQueue::new() })
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

    /// All its sockets once more, for the process that replaces this one; none once they are closed.
    ///
    /// # Errors
    /// The system's, such as when descriptors have run out.
    pub fn copies(&self) -> io::Result<Vec<Bound>> {
        let kept: Vec<Bound> = std::iter::from_fn(|| self.spares.pop()).collect();
        let copies = kept.iter().map(Bound::try_clone).collect();
        kept.into_iter().for_each(|socket| self.spares.push(socket));
        copies
    }

    /// Closes what is kept for another process, so that the sockets end when the workers have closed theirs. This comes
    /// first, or connections would be queued that nobody accepts.
    pub fn close_spares(&self) {
        while self.spares.pop().is_some() {}
    }

    /// The next socket of worker `worker`, unless it has them already.
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

/// One socket for each worker.
fn bind_all(asked: SocketAddr, workers: usize, ours: &[Arc<Doorway>]) -> io::Result<Vec<Bound>> {
    if ours.iter().all(|other| other.address.port() != asked.port()) {
        wait_until_free(asked)?;
    }
    let (mut address, mut sockets) = (asked, Vec::with_capacity(workers));
    for _ in 0..workers {
        let bound = bind(address)?;
        // With port 0 the first one has found the port for the others.
        address = bound.address()?;
        sockets.push(bound);
    }
    Ok(sockets)
}

/// At least one socket for each worker, of those that were handed over: where there are fewer, some accept from one.
fn share(mut handed: Vec<Bound>, workers: usize) -> io::Result<Vec<Bound>> {
    let given = handed.len();
    for more in given..workers {
        handed.push(handed[more % given].try_clone()?);
    }
    Ok(handed)
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
        let doorway =
            Doorway::open("public", (Ipv4Addr::LOCALHOST, 0).into(), 2, &[], &mut Vec::new()).expect("a free port");
        assert_ne!(doorway.address().port(), 0);
        for worker in 0..2 {
            let bound = doorway.take(worker).expect("its socket");
            assert_eq!(bound.address().expect("bound"), doorway.address());
            assert!(doorway.take(worker).is_none());
        }
        assert!(doorway.take(2).is_none());
        assert_eq!(
            (doorway.copies().expect("free descriptors").len(), doorway.copies().expect("free descriptors").len()),
            (2, 2)
        );
        doorway.close_spares();
        assert!(doorway.copies().expect("none is needed").is_empty());
    }

    #[test]
    fn an_address_is_shared_with_ourselves_and_nobody_else() {
        let ours =
            Doorway::open("public", (Ipv4Addr::LOCALHOST, 0).into(), 1, &[], &mut Vec::new()).expect("a free port");
        let again = Doorway::open("public", ours.address(), 1, std::slice::from_ref(&ours), &mut Vec::new())
            .expect("it is ours");
        assert_eq!(again.address(), ours.address());
        let error =
            Doorway::open("public", ours.address(), 1, &[], &mut Vec::new()).expect_err("it is somebody else's");
        assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
    }
}
