//! A client that sends and sees plain bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::message::{self, Response, escape};
use super::{PATIENCE, uninterrupted};

/// A connection to the gateway.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// Received and not used yet.
    received: Vec<u8>,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// What came before the end.
    pub(crate) bytes: Vec<u8>,
    /// Whether it ended with a reset.
    pub(crate) reset: bool,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the gateway accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time limit can be set");
        stream.set_nodelay(true).expect("no delay can be set");
        Client { stream, received: Vec::new() }
    }

    /// Sends all of `bytes` in one call.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the gateway takes it");
    }

    /// Sends as much of `bytes` as is taken; the gateway may close meanwhile.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection stands");
    }

    /// The next response, also an interim one. Its body is read to its end.
    pub(crate) fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The next response to a request with this method.
    pub(crate) fn response_to(&mut self, method: &str) -> Response {
        let mut ended = false;
        loop {
            if let Some((response, used)) = message::response(&self.received, method == "HEAD", ended) {
                self.received.drain(..used);
                return response;
            }
            assert!(!ended, "the connection ended in the middle of a response: {}", escape(&self.received));
            ended = !self.fill();
        }
    }

    /// Reads on until what was received and not used contains `bytes`, and takes all up to there.
    pub(crate) fn read_until(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        loop {
            if let Some(at) = message::find(&self.received, bytes.as_ref()) {
                return self.received.drain(..at + bytes.as_ref().len()).collect();
            }
            let more = self.fill();
            assert!(more, "the connection ended before {}: {}", escape(bytes.as_ref()), escape(&self.received));
        }
    }

    /// Everything to the end of the connection.
    pub(crate) fn end(&mut self) -> End {
        let reset = loop {
            match self.read() {
                Ok(true) => {}
                Ok(false) => break false,
                Err(ErrorKind::ConnectionReset) => break true,
                Err(kind) => panic!("{kind:?} while waiting for the end, after {}", escape(&self.received)),
            }
        };
        End { bytes: std::mem::take(&mut self.received), reset }
    }

    /// Waits until the gateway has closed the connection, and asserts that nothing came before.
    pub(crate) fn closed(&mut self) {
        let end = self.end();
        assert!(end.bytes.is_empty() && !end.reset, "a plain end, not {} {}", escape(&end.bytes), end.reset);
    }

    /// Whether nothing has come and the connection stands.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("it can be set");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("it can be set");
        self.received.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends without waiting until the system takes no more for `pause`; says how many bytes it took.
    pub(crate) fn send_until_stuck(&mut self, pause: Duration) -> usize {
        self.stream.set_write_timeout(Some(pause)).expect("a time limit can be set");
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while let Ok(some) = uninterrupted(|| self.stream.write(&piece)) {
            sent += some;
        }
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a time limit can be set");
        sent
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        super::origin::reset_on_close(&self.stream);
    }

    fn fill(&mut self) -> bool {
        match self.read() {
            Ok(more) => more,
            Err(kind) => panic!("{kind:?} after {}", escape(&self.received)),
        }
    }

    fn read(&mut self) -> Result<bool, ErrorKind> {
        let mut buffer = [0; 64 * 1024];
        let count = uninterrupted(|| self.stream.read(&mut buffer)).map_err(|error| error.kind())?;
        self.received.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}
