//! A backend in this process, for tests that decide when it answers what.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::client::value;

/// A backend with a thread for each connection; it goes on until the tests end.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
}

/// One request at the backend.
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
    stream: BufReader<TcpStream>,
}

impl Origin {
    /// Starts a backend that answers with `handler`. A connection ends when the handler has an error.
    pub(crate) fn start(handler: impl Fn(&mut Request) -> std::io::Result<()> + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let handler = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), handler) = (stream, handler.clone()) else { continue };
                std::thread::spawn(move || serve(stream, &*handler));
            }
        });
        Origin { address }
    }

    /// One that answers everything with a few bytes.
    pub(crate) fn plain() -> Origin {
        Origin::start(|request| {
            request.take_body()?;
            request.reply("hello")
        })
    }
}

fn serve(stream: TcpStream, handler: &(impl Fn(&mut Request) -> std::io::Result<()> + ?Sized)) {
    let _ = stream.set_nodelay(true);
    let mut request =
        Request { path: String::new(), head: String::new(), stream: BufReader::with_capacity(64 * 1024, stream) };
    while request.next().is_ok_and(|is_there| is_there) {
        if handler(&mut request).is_err() {
            return;
        }
    }
}

impl Request {
    fn next(&mut self) -> std::io::Result<bool> {
        self.head.clear();
        while !self.head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut self.head)? == 0 {
                return Ok(false);
            }
        }
        self.path = self.head.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(true)
    }

    /// Reads the body to its end and says how long it was.
    pub(crate) fn take_body(&mut self) -> std::io::Result<u64> {
        let Some(length) = value(&self.head, "content-length").and_then(|length| length.parse().ok()) else {
            return Ok(0);
        };
        let mut left: u64 = length;
        while left > 0 {
            let some = self.stream.fill_buf()?.len() as u64;
            if some == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let some = some.min(left);
            self.stream.consume(usize::try_from(some).unwrap());
            left -= some;
        }
        Ok(length)
    }

    /// Answers with 200 and a body.
    pub(crate) fn reply(&mut self, body: &str) -> std::io::Result<()> {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// All that comes until the other side ends.
    pub(crate) fn rest(&mut self, all: &mut Vec<u8>) -> std::io::Result<()> {
        self.stream.read_to_end(all).map(drop)
    }

    /// Waits until the other side has ended the connection.
    pub(crate) fn wait_for_end(&mut self) -> std::io::Result<()> {
        self.stream.read_to_end(&mut Vec::new()).map(drop)
    }

    /// Where answers are written to.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }
}
