//! One connection, whatever carries it.

use std::io::{self, IoSlice};

use super::Address;
pub use crate::runtime::Sending;
use crate::runtime::{Handle, Over, Recv, Socket};

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub struct Stream(Socket);

impl Stream {
    /// The stream of an accepted or connected socket.
    #[must_use]
    pub fn new(socket: Socket) -> Stream {
        Stream(socket)
    }

    /// The next bytes; nothing at the end of the stream.
    ///
    /// # Errors
    /// The system's, such as `ConnectionReset`.
    pub fn recv(&self) -> Recv<'_> {
        self.0.recv()
    }

    /// Sends `parts`: what fits goes out in this call, or at the end of the
    /// turn; the rest is copied and goes out while the future is awaited. See
    /// [`Socket::send`].
    ///
    /// # Errors
    /// The system's, such as `BrokenPipe`.
    pub fn send(&self, parts: &[IoSlice<'_>]) -> Sending<'_> {
        self.0.send(parts)
    }

    /// Whether nothing has come while nobody received; see [`Socket::is_quiet`].
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }

    /// Whether all that was to be sent has gone out; see [`Socket::is_whole`].
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.is_whole()
    }

    /// Makes the runtime look out for news that nobody receives yet.
    pub fn watch(&self) {
        self.0.watch();
    }

    /// Ends when the stream is over in both directions; see [`Socket::over`].
    pub fn over(&self) -> Over<'_> {
        self.0.over()
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// The system's, such as `NotConnected` when the peer is gone.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.0.shutdown_write()
    }

    /// Closes with a reset: the peer sees an error instead of an end. See [`Socket::reset`] for Unix sockets.
    pub fn reset(self) {
        self.0.reset();
    }

    /// The runtime that the stream lives on.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.0.handle()
    }
}

/// Connects to `address`, which takes as long as it takes: a Unix socket whose queue is full is waited for, too.
///
/// # Errors
/// The system's, such as `ConnectionRefused`, and for a Unix socket `NotFound`; `InvalidInput` for a path that is
/// empty, has a NUL in it or more than [`Address::UNIX_PATH_MAX`] bytes.
pub async fn connect(handle: &Handle, address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => handle.connect(*address).await.map(Stream),
        Address::Unix(path) => handle.connect_unix(path).await.map(Stream),
    }
}
