//! Where operators connect: a TCP socket or a Unix socket, and bounds on what each connection may take.
//!
//! | what | at most |
//! |---|---|
//! | connections at a time; more wait in the system's queue | 16 |
//! | the time for a head, and without a request | 10 s |
//! | the size of a head | 8 KiB |
//! | the time for a piece of an answer to be taken | 10 s |
//!
//! A Unix socket is made with the mode 0600 from its first moment. A socket file that nobody listens at is what a process
//! that was killed has left; it is replaced. One where somebody does listen, and a file of another kind, is left alone
//! and refused. At the end the file is removed, unless it is another one by then.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::net::Address;

/// Connections at a time.
pub(in crate::control) const CONNECTIONS_MOST: usize = 16;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    /// From the end of one request, or the beginning of the connection, to the end of the next head.
    head: Duration,
    /// How long a client may take no byte of its answer.
    stall: Duration,
}

const LIMITS: Limits =
    Limits { connections: CONNECTIONS_MOST, head: Duration::from_secs(10), stall: Duration::from_secs(10) };

/// Bytes of a head; the least that hyper takes.
const HEAD_MOST: usize = 8 * 1024;

/// After an accept that failed for want of something.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections may wait for one of ours to end.
const BACKLOG: i32 = 64;

/// The socket that operators connect to.
#[derive(Debug)]
pub(in crate::control) struct Listening {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket, removed when this is dropped.
#[derive(Debug)]
struct SocketFile {
    path: Arc<Path>,
    /// Device and inode, by which it is told from another file of the name.
    id: (u64, u64),
}

impl Listening {
    /// Listens at `address`.
    ///
    /// # Errors
    /// The system's. For a Unix socket `AddrInUse` where somebody listens already, and `AlreadyExists` where there is a
    /// file that is no socket.
    pub(in crate::control) fn bind(address: &Address) -> io::Result<Listening> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = Address::Tcp(listener.local_addr()?);
                Ok(Listening { socket: Socket::Tcp(listener), address })
            }
            Address::Unix(path) => {
                make_room(path)?;
                let listener = bind_unix(path)?;
                let file = SocketFile { path: path.clone(), id: id(path)? };
                Ok(Listening { socket: Socket::Unix(listener, file), address: address.clone() })
            }
        }
    }

    /// Goes on listening at a socket of the process before, which was at this address.
    ///
    /// # Errors
    /// The system's.
    pub(in crate::control) fn adopt(address: &Address, socket: OwnedFd) -> io::Result<Listening> {
        match address {
            Address::Tcp(_) => {
                let listener = TcpListener::from(socket);
                let address = Address::Tcp(listener.local_addr()?);
                Ok(Listening { socket: Socket::Tcp(listener), address })
            }
            Address::Unix(path) => {
                let file = SocketFile { path: path.clone(), id: id(path)? };
                Ok(Listening { socket: Socket::Unix(UnixListener::from(socket), file), address: address.clone() })
            }
        }
    }

    /// The same socket once more, for the process that replaces this one.
    ///
    /// # Errors
    /// The system's.
    pub(in crate::control) fn copy(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Socket::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Where it is, with its real port.
    pub(in crate::control) fn address(&self) -> &Address {
        &self.address
    }

    /// Serves until it is dropped, or `handed_over` tells that another process does: then it lets the file be.
    pub(super) async fn serve(self, router: Router, handed_over: &Notify) -> io::Result<()> {
        let over = handed_over.notified();
        match self.socket {
            Socket::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let accept = async || listener.accept().await.map(|(stream, _)| stream);
                tokio::select! {
                    ended = serve(accept, router, LIMITS) => ended,
                    () = over => Ok(()),
                }
            }
            Socket::Unix(listener, file) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                let accept = async || listener.accept().await.map(|(stream, _)| stream);
                tokio::select! {
                    ended = serve(accept, router, LIMITS) => ended,
                    () = over => {
                        file.leave();
                        Ok(())
                    }
                }
            }
        }
    }
}

impl SocketFile {
    /// Leaves the file to somebody else.
    fn leave(self) {
        std::mem::forget(self);
    }
}

/// Removes what a process that is gone has left at `path`.
fn make_room(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Whoever has a queue that is full is alive.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// A Unix socket that its owner alone can open.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file gets the mode of the socket that is bound to it; set afterwards, it would be open for a moment.
    let socket = File::from(socket);
    socket.set_permissions(Permissions::from_mode(0o600))?;
    rustix::net::bind(socket.as_fd(), &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(socket.as_fd(), BACKLOG)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%error, "the admin listener's socket {path} could not be removed; the next start replaces it");
        }
    }
}

/// Accepts connections for as long as it runs.
async fn serve<S>(accept: impl AsyncFn() -> io::Result<S>, router: Router, limits: Limits) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    // Dropped, the set takes its connections with it.
    let mut connections = JoinSet::new();
    loop {
        // Who comes while all are taken waits with the system, where he takes no descriptor.
        let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        match accept().await {
            Ok(stream) => {
                let conversation = converse(stream, router.clone(), limits);
                connections.spawn(async move {
                    conversation.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept; if descriptors have run out, raise `ulimit -n`");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, router: Router, limits: Limits) {
    let stream = Patient { stream, patience: limits.stall, stalled: None };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_MOST);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin listener has ended");
    }
}

/// A stream whose other side has to take what is sent, or it fails.
struct Patient<S> {
    stream: S,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// What `polled` says, unless it has been pending for too long.
    fn unless_stalled(
        &mut self,
        polled: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_stalled(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.unless_stalled(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A path of its own, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("tidegate-admin-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Place(path)
        }

        fn socket(&self) -> Address {
            Address::Unix(self.0.join("admin.sock").into())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_its_listener() {
        let place = Place::new("mode");
        let listening = Listening::bind(&place.socket()).unwrap();
        let path = place.0.join("admin.sock");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(listening.address().to_string(), format!("unix:{}", path.display()));
        assert_eq!(Listening::bind(&place.socket()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listening);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_has_left_is_replaced_and_nothing_else() {
        let place = Place::new("stale");
        let path = place.0.join("admin.sock");
        // The file of a listener stays when the listener goes.
        drop(UnixListener::bind(&path).unwrap());
        let listening = Listening::bind(&place.socket()).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        // Another process's file is not ours to remove.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(listening);
        assert!(UnixStream::connect(&path).is_ok());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a letter").unwrap();
        let error = Listening::bind(&place.socket()).unwrap_err();
        assert_eq!(
            (error.kind(), fs::read_to_string(&path).unwrap().as_str()),
            (io::ErrorKind::AlreadyExists, "a letter")
        );
        let nowhere = Address::Unix(place.0.join("nowhere/admin.sock").into());
        assert_eq!(Listening::bind(&nowhere).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn slow_clients_take_a_few_places_for_a_while() {
        let head = Duration::from_millis(50);
        let limits = Limits { connections: 2, head, stall: head };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "hello"));
        tokio::spawn(serve(async move || listener.accept().await.map(|(stream, _)| stream), router, limits));
        let begun = tokio::time::Instant::now();
        let mut slow = Vec::new();
        for _ in 0..5 {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
            slow.push(stream);
        }
        let mut patient = tokio::net::TcpStream::connect(address).await.unwrap();
        patient.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        patient.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
        // With two places, four had to go before the last slow one and the patient one could come.
        assert!(begun.elapsed() >= head * 2, "{:?}", begun.elapsed());
        for mut stream in slow {
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_does_not_take_the_answer_is_left() {
        let (near, mut far) = tokio::io::duplex(16);
        let patience = Duration::from_millis(20);
        let mut patient = Patient { stream: near, patience, stalled: None };
        patient.write_all(b"0123456789abcdef").await.unwrap();
        let begun = tokio::time::Instant::now();
        let stuck = tokio::spawn(async move { patient.write_all(b"more").await });
        let error = stuck.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), begun.elapsed() >= patience), (io::ErrorKind::TimedOut, true));
        // What was taken in time has come.
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"0123456789abcdef");
    }
}
