//! A backend that costs little: one thread, one `recv` and one `send` a request.
//!
//! `GET /any?size=10240` is answered with 10,240 bytes. Uploads are read to
//! their end before they are answered, so a good answer says that all arrived.

use crate::poll::{Interest, Poll, Ready};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

const HEAD_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 128;
const BUFFER: usize = 256 * 1024;
/// The token of the listener.
const LISTENER: usize = usize::MAX - 1;
/// How often `serve` asks whether it should stop.
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct Backend {
    listener: TcpListener,
    poll: Poll,
    /// By token; free places are listed in `free`.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    replies: Replies,
}

struct Connection {
    socket: OwnedFd,
    /// What of a request has come, if not all of its head.
    partial: Vec<u8>,
    state: State,
}

enum State {
    Head,
    /// Reading a request's body, of which so much is missing.
    Body(u64, Request),
    /// Sending; from so many bytes on.
    Reply(Rc<[u8]>, usize, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    /// Bytes of the answer's body.
    size: usize,
    upload: u64,
    close: bool,
}

/// Whole answers, head and body, by the size of the body.
struct Replies {
    by_size: HashMap<usize, Rc<[u8]>>,
    size: usize,
}

impl Replies {
    fn get(&mut self, size: usize) -> Rc<[u8]> {
        let make = || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
            let mut reply = head.into_bytes();
            reply.resize(reply.len() + size, b'x');
            Rc::from(reply)
        };
        Rc::clone(self.by_size.entry(size).or_insert_with(make))
    }
}

/// What came of a step of a connection.
enum Step {
    Again,
    Wait(Interest),
    Close,
}

impl Backend {
    /// Listens; `size` is that of bodies where requests do not say.
    pub(crate) fn bind(address: SocketAddr, size: usize) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // Bursts of connections are part of what is measured.
        rustix::net::listen(&listener, 4096)?;
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER, Interest::Read)?;
        let replies = Replies { by_size: HashMap::new(), size };
        Ok(Self { listener, poll, connections: Vec::new(), free: Vec::new(), replies })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Serves until `stop` says so.
    pub(crate) fn serve(&mut self, stop: impl Fn() -> bool) -> io::Result<()> {
        let (mut ready, mut buffer) = (Vec::new(), vec![0; BUFFER]);
        while !stop() {
            self.poll.wait(Instant::now() + TICK, &mut ready)?;
            for each in &ready {
                match each.token {
                    LISTENER => self.accept()?,
                    _ => self.advance(*each, &mut buffer)?,
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match rustix::net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
            let token = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poll.add(&socket, token, Interest::Read)?;
            self.connections[token] = Some(Connection { socket, partial: Vec::new(), state: State::Head });
        }
    }

    fn advance(&mut self, ready: Ready, buffer: &mut [u8]) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(ready.token).and_then(Option::as_mut) else { return Ok(()) };
        let before = connection.interest();
        let step = match before {
            Interest::Read if ready.read => connection.receive(buffer, &mut self.replies),
            Interest::Write if ready.write => connection.resume(&mut self.replies),
            _ => Step::Wait(before),
        };
        match step {
            Step::Wait(interest) if interest != before => self.poll.change(&connection.socket, ready.token, interest),
            Step::Wait(_) | Step::Again => Ok(()),
            Step::Close => {
                self.connections[ready.token] = None;
                self.free.push(ready.token);
                Ok(())
            }
        }
    }
}

impl Connection {
    fn interest(&self) -> Interest {
        if matches!(self.state, State::Reply(..)) { Interest::Write } else { Interest::Read }
    }

    fn receive(&mut self, buffer: &mut [u8], replies: &mut Replies) -> Step {
        let length = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Step::Close,
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Step::Wait(Interest::Read),
            Err(_) => return Step::Close,
        };
        if self.partial.is_empty() {
            self.take(&buffer[..length], replies)
        } else {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(&buffer[..length]);
            self.take(&bytes, replies)
        }
    }

    /// The peer takes bytes again.
    fn resume(&mut self, replies: &mut Replies) -> Step {
        match self.send() {
            Step::Again => {
                // What came behind the request that is answered now.
                let bytes = std::mem::take(&mut self.partial);
                self.take(&bytes, replies)
            }
            other => other,
        }
    }

    /// Goes through what has come, as far as it can.
    fn take(&mut self, mut bytes: &[u8], replies: &mut Replies) -> Step {
        loop {
            match &mut self.state {
                State::Head if bytes.is_empty() => return Step::Wait(Interest::Read),
                State::Head => match read_head(bytes, replies.size) {
                    Ok(Some((length, request))) => {
                        bytes = &bytes[length..];
                        self.state = State::Body(request.upload, request);
                    }
                    Ok(None) if bytes.len() < HEAD_MAX => {
                        self.partial = bytes.to_vec();
                        return Step::Wait(Interest::Read);
                    }
                    Ok(None) | Err(()) => return self.refuse(),
                },
                State::Body(missing, request) => {
                    let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[here..];
                    *missing -= here as u64;
                    if *missing > 0 {
                        return Step::Wait(Interest::Read);
                    }
                    self.state = State::Reply(replies.get(request.size), 0, request.close);
                    match self.send() {
                        Step::Again => {}
                        other => {
                            self.partial = bytes.to_vec();
                            return other;
                        }
                    }
                }
                State::Reply(..) => return Step::Wait(Interest::Write),
            }
        }
    }

    /// Sends what the peer takes; `Again` when the answer has gone out.
    fn send(&mut self) -> Step {
        while let State::Reply(reply, sent, close) = &mut self.state {
            match rustix::net::send(&self.socket, &reply[*sent..], SendFlags::NOSIGNAL) {
                Ok(length) => *sent += length,
                Err(Errno::AGAIN | Errno::INTR) => return Step::Wait(Interest::Write),
                Err(_) => return Step::Close,
            }
            if *sent == reply.len() {
                if *close {
                    return Step::Close;
                }
                self.state = State::Head;
            }
        }
        Step::Again
    }

    /// Answers what it does not understand; whoever sent it has something to repair.
    fn refuse(&mut self) -> Step {
        let reply = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let _ = rustix::net::send(&self.socket, reply, SendFlags::NOSIGNAL);
        Step::Close
    }
}

/// The length of a head and what it asks for; `None` if it has not come whole.
fn read_head(bytes: &[u8], size: usize) -> Result<Option<(usize, Request)>, ()> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(|_| ())? else { return Ok(None) };
    let asked = head.path.and_then(|path| path.split_once("?size=")).map(|(_, size)| size);
    let size = asked.map_or(Ok(size), |asked| asked.parse().map_err(|_| ()))?;
    // A client of HTTP/1.0 would have to ask for the connection to be kept.
    let mut request = Request { size, upload: 0, close: head.version != Some(1) };
    for field in head.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).map_err(|_| ())?;
            request.upload = text.parse().map_err(|_| ())?;
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(());
        } else if field.name.eq_ignore_ascii_case("connection") {
            request.close |= field.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some((length, request)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_is_asked_for() {
        let read = |text: &str| read_head(text.as_bytes(), 128);
        let request = |size, upload, close| Request { size, upload, close };
        let whole = "GET /a?size=5 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(read(whole), Ok(Some((whole.len(), request(5, 0, false)))));
        assert_eq!(read(&whole[..whole.len() - 1]), Ok(None));
        let upload = "POST / HTTP/1.1\r\ncontent-length: 70\r\nConnection: Close\r\n\r\n";
        assert_eq!(read(upload), Ok(Some((upload.len(), request(128, 70, true)))));
        let old = "GET / HTTP/1.0\r\n\r\n";
        assert_eq!(read(old), Ok(Some((old.len(), request(128, 0, true)))));
        assert_eq!(read("GET /?size=many HTTP/1.1\r\n\r\n"), Err(()));
        assert_eq!(read("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(()));
        assert_eq!(read("no HTTP\r\n\r\n"), Err(()));
    }
}
