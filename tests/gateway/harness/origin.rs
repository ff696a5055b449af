//! An origin that does exactly what it is told, and remembers every byte.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::message::{escape, find, request_length};
use super::{Gate, PATIENCE, eventually, uninterrupted};

/// What an origin does with a connection.
type Script = Arc<dyn Fn(&mut Conversation) + Send + Sync>;

/// A server on a port of its own. It ends when it is dropped.
pub(crate) struct Origin {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

struct State {
    replies: Mutex<HashMap<String, Vec<u8>>>,
    script: Mutex<Script>,
    /// What came on each connection, in the order in which they were accepted.
    received: Mutex<Vec<Vec<u8>>>,
    finished: AtomicUsize,
    ending: AtomicBool,
}

/// One connection, as a script sees it.
pub(crate) struct Conversation {
    stream: TcpStream,
    state: Arc<State>,
    /// How many connections came before this one.
    pub(crate) index: usize,
    /// What of the bytes received has been taken by the script.
    used: usize,
    requests: usize,
}

impl Origin {
    /// An origin that answers each request by its path, with what [`Origin::reply`] was told, and 404 otherwise.
    pub(crate) fn start() -> Origin {
        Origin::scripted(Conversation::serve)
    }

    /// An origin that does `script` with each connection, on a thread of its own, and closes it then.
    pub(crate) fn scripted(script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            replies: Mutex::default(),
            script: Mutex::new(Arc::new(script)),
            received: Mutex::default(),
            finished: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
        });
        let acceptor = std::thread::spawn({
            let state = state.clone();
            move || accept(&listener, &state)
        });
        Origin { address, state, acceptor: Some(acceptor) }
    }

    /// An origin that answers each request with `name` and, behind a space, the target that was asked for.
    pub(crate) fn named(name: &'static str) -> Origin {
        Origin::scripted(move |conversation| {
            while let Some(request) = conversation.request() {
                let head = String::from_utf8_lossy(&request);
                let body = format!("{name} {}", head.split(' ').nth(1).expect("a target"));
                let body_or_none = if head.starts_with("HEAD ") { "" } else { body.as_str() };
                conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body_or_none}", body.len()));
            }
        })
    }

    /// An origin that answers each request with `name`, one whose target ends with `long` only when `gate` is open.
    pub(crate) fn holding(name: &'static str, gate: &Gate) -> Origin {
        let gate = gate.clone();
        Origin::scripted(move |conversation| {
            while let Some(request) = conversation.request() {
                if find(&request, b"long HTTP/1.1\r\n").is_some() {
                    gate.pass();
                }
                conversation.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
            }
        })
    }

    /// Answers requests for `path` with this status and body.
    pub(crate) fn reply(self, path: &str, status: u16, body: &str) -> Origin {
        let length = body.len();
        self.reply_bytes(path, format!("HTTP/1.1 {status} Reply\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    /// Answers requests for `path` with these bytes.
    pub(crate) fn reply_bytes(self, path: &str, bytes: impl Into<Vec<u8>>) -> Origin {
        lock(&self.state.replies).insert(path.to_owned(), bytes.into());
        self
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.state.received).len()
    }

    /// How many connections are over.
    pub(crate) fn finished(&self) -> usize {
        self.state.finished.load(Ordering::Acquire)
    }

    /// What came on each connection so far.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        lock(&self.state.received).clone()
    }

    /// What came on all connections so far, one after the other.
    pub(crate) fn all_received(&self) -> Vec<u8> {
        self.received().concat()
    }

    /// Waits until `count` connections are over, and says what came on those that were accepted after the first
    /// `skip`.
    pub(crate) fn settled(&self, skip: usize, count: usize) -> Vec<Vec<u8>> {
        eventually("the connections of the origin end", || self.finished() == count);
        lock(&self.state.received)[skip..].to_vec()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.ending.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let ended = acceptor.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a script of the origin failed");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        if state.ending.load(Ordering::Acquire) {
            break;
        }
        let stream = stream.expect("the origin accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        stream.set_nodelay(true).expect("no delay can be set");
        let index = {
            let mut received = lock(&state.received);
            received.push(Vec::new());
            received.len() - 1
        };
        let state = state.clone();
        threads.push(std::thread::spawn(move || {
            let script = lock(&state.script).clone();
            let mut conversation = Conversation { stream, state: state.clone(), index, used: 0, requests: 0 };
            script(&mut conversation);
            drop(conversation);
            state.finished.fetch_add(1, Ordering::Release);
        }));
    }
    for thread in threads {
        thread.join().expect("a script of the origin succeeds");
    }
}

impl Conversation {
    /// Answers requests as [`Origin::reply`] said, until the other side closes.
    pub(crate) fn serve(&mut self) {
        while let Some(request) = self.request() {
            let line = String::from_utf8_lossy(&request[..find(&request, b"\r\n").unwrap_or(0)]).into_owned();
            let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            let reply = lock(&self.state.replies).get(&path).cloned();
            let missing = || b"HTTP/1.1 404 Nothing\r\nContent-Length: 0\r\n\r\n".to_vec();
            let reply = reply.unwrap_or_else(missing);
            self.send(&reply);
            if find(&reply, b"\r\nConnection: close\r\n").is_some() {
                self.finish();
            }
        }
    }

    /// The next request with its body, or nothing at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<Vec<u8>> {
        loop {
            let length = self.with_unused(request_length);
            if let Some(length) = length {
                self.requests += 1;
                return Some(self.take(length));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// How many requests it has taken.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// The next bytes up to the first `end`, with it.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let at = self.with_unused(|bytes| find(bytes, end));
            if let Some(at) = at {
                return self.take(at + end.len());
            }
            let more = self.fill();
            assert!(more, "the gateway closed before {}: {}", escape(end), self.with_unused(escape));
        }
    }

    /// Reads and keeps everything until the gateway closes; says whether it did so with a reset.
    pub(crate) fn read_to_end(&mut self) -> bool {
        loop {
            match self.read() {
                Ok(0) => return false,
                Ok(_) => {}
                Err(kind) => return kind == ErrorKind::ConnectionReset,
            }
        }
    }

    /// Sends `bytes`; the gateway may have closed meanwhile.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.write_all(bytes.as_ref()));
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Makes the end of the script a reset.
    pub(crate) fn reset(&self) {
        reset_on_close(&self.stream);
    }

    /// Whether there is more to come: waits for a byte, or for the end.
    pub(crate) fn has_more(&mut self) -> bool {
        self.with_unused(|bytes| !bytes.is_empty()) || self.fill()
    }

    /// The socket, for what else a script wants to do.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    fn with_unused<T>(&self, look: impl Fn(&[u8]) -> T) -> T {
        look(&lock(&self.state.received)[self.index][self.used..])
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.with_unused(|bytes| bytes[..length].to_vec());
        self.used += length;
        taken
    }

    fn fill(&mut self) -> bool {
        matches!(self.read(), Ok(1..))
    }

    fn read(&mut self) -> Result<usize, ErrorKind> {
        let mut buffer = [0; 64 * 1024];
        let count = uninterrupted(|| self.stream.read(&mut buffer)).map_err(|error| error.kind())?;
        lock(&self.state.received)[self.index].extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// Makes the close of `stream` a reset.
pub(super) fn reset_on_close(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO)).expect("lingering can be set");
}
