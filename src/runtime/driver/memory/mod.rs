//! The memory driver: an in-memory network and a virtual clock, in one thread.
//!
//! Time stands still while tasks run and jumps to the next event when none is
//! ready, so an hour of timeouts takes no time and a run depends on its seed
//! alone. The network keeps TCP's promises and no more: bytes arrive in order,
//! in pieces of any size, after any delay; a close with unread bytes is a reset.
//! Unix sockets differ as the kernel's do: a connect is done at once, a full
//! queue refuses it, who has closed is known to be gone, and only unread bytes
//! make a close a reset.

mod stream;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::super::buffer::{Chunk, Pool};
use super::epoll::gone;
use super::{Accepted, Held, Interest};
use crate::base::slab::{Key, Slab};
use crate::base::time::Instant;
use stream::{Event, Stream};

/// How the network behaves.
#[derive(Debug, Clone)]
pub struct Network {
    /// Decides every draw; the same seed gives the same run.
    pub seed: u64,
    /// How long anything is on its way.
    pub latency: Range<Duration>,
    /// The most bytes that one receive or send moves, drawn anew each time from 1 to this.
    pub piece: usize,
    /// The bytes of one direction that may be on their way or unread.
    pub window: usize,
    /// The connections that may wait at a Unix socket to be accepted, less one, as listen(2) counts them there.
    pub queue: usize,
}

impl Default for Network {
    /// Instant delivery in whole pieces.
    fn default() -> Self {
        Network { seed: 0, latency: Duration::ZERO..Duration::ZERO, piece: usize::MAX, window: 64 * 1024, queue: 128 }
    }
}

/// The driver.
#[derive(Debug)]
pub(in super::super) struct Memory {
    network: Network,
    random: fastrand::Rng,
    now: Instant,
    sockets: Slab<Socket>,
    /// That of a Unix socket stays when it is closed, as its file does.
    listeners: HashMap<Place, Key>,
    events: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    next_port: u16,
    starved: VecDeque<Key>,
}

#[derive(Debug)]
enum Socket {
    Stream(Stream),
    Listener { place: Place, backlog: VecDeque<Accepted>, accepting: Interest },
}

/// Where one listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: Instant,
    /// Breaks ties: first scheduled, first to happen.
    order: u64,
    target: u64,
    event: Event,
}

impl Memory {
    pub(in super::super) fn new(network: Network) -> Memory {
        Memory {
            random: fastrand::Rng::with_seed(network.seed),
            network,
            now: Instant::ZERO,
            sockets: Slab::default(),
            listeners: HashMap::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            next_port: 49152,
            starved: VecDeque::new(),
        }
    }

    pub(in super::super) fn listen(&mut self, address: SocketAddr) -> io::Result<Key> {
        self.listen_at(Place::Tcp(address))
    }

    /// Takes the place of a listener that is gone; with the kernel its file would have to be removed first.
    pub(in super::super) fn listen_unix(&mut self, path: &Path) -> io::Result<Key> {
        self.listen_at(Place::Unix(path.to_owned()))
    }

    fn listen_at(&mut self, place: Place) -> io::Result<Key> {
        if self.listeners.get(&place).is_some_and(|&key| self.sockets.get(key).is_some()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (backlog, accepting) = Default::default();
        let key = self.sockets.insert(Socket::Listener { place: place.clone(), backlog, accepting });
        self.listeners.insert(place, key);
        Ok(key)
    }

    pub(in super::super) fn poll_accept(&mut self, listener: Key, context: &Context<'_>) -> Poll<io::Result<Accepted>> {
        let Some(Socket::Listener { backlog, accepting, .. }) = self.sockets.get_mut(listener) else {
            return Poll::Ready(Err(gone()));
        };
        match backlog.pop_front() {
            Some(accepted) => Poll::Ready(Ok(accepted)),
            None => {
                accepting.register(context);
                Poll::Pending
            }
        }
    }

    pub(in super::super) fn connect(&mut self, address: SocketAddr) -> io::Result<Key> {
        let near = self.sockets.insert(Socket::Stream(Stream::new(Key::NONE, false)));
        self.next_port = self.next_port.checked_add(1).unwrap_or(49152);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next_port));
        match self.listeners.get(&Place::Tcp(address)).copied() {
            None => self.schedule(near, Event::Refused),
            Some(listener) => {
                let far = self.sockets.insert(Socket::Stream(Stream::new(near, false)));
                if let Some(stream) = self.stream(near) {
                    stream.peer = far;
                }
                let connected = self.now + self.draw_latency();
                if let Some(stream) = self.stream(far) {
                    stream.connected = true;
                    // Nothing overtakes the answer to a connect.
                    stream.last_arrival = connected;
                }
                self.schedule(listener, Event::Knock { stream: far.pack(), peer });
                self.schedule_at(connected, near, Event::Connected);
            }
        }
        Ok(near)
    }

    pub(in super::super) fn connect_unix(&mut self, path: &Path) -> io::Result<Key> {
        let listener = *self.listeners.get(&Place::Unix(path.to_owned())).ok_or(io::ErrorKind::NotFound)?;
        match self.sockets.get(listener) {
            Some(Socket::Listener { backlog, .. }) if backlog.len() > self.network.queue => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Some(Socket::Listener { .. }) => {}
            _ => return Err(io::ErrorKind::ConnectionRefused.into()),
        }
        let near = self.sockets.insert(Socket::Stream(Stream::new(Key::NONE, true)));
        let far = self.sockets.insert(Socket::Stream(Stream::new(near, true)));
        if let Some(stream) = self.stream(near) {
            stream.peer = far;
        }
        if let Some(Socket::Listener { backlog, accepting, .. }) = self.sockets.get_mut(listener) {
            backlog.push_back((far, None));
            accepting.wake();
        }
        Ok(near)
    }

    pub(in super::super) fn take_error(&mut self, stream: Key) -> io::Result<()> {
        let stream = self.stream(stream).ok_or_else(gone)?;
        stream.error.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    pub(in super::super) fn poll_recv(
        &mut self,
        key: Key,
        context: &Context<'_>,
        pool: &Rc<Pool>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let piece = self.draw_piece();
        let Some(stream) = self.stream(key) else { return Poll::Ready(Err(gone())) };
        if stream.inbox.is_empty() {
            if let Some(kind) = stream.error.take() {
                stream.ended = true;
                return Poll::Ready(Err(kind.into()));
            }
            if stream.ended {
                return Poll::Ready(Ok(None));
            }
            stream.reading.register(context);
            return Poll::Pending;
        }
        let Some(mut buffer) = pool.take() else {
            stream.reading.register(context);
            if !std::mem::replace(&mut stream.starved, true) {
                self.starved.push_back(key);
            }
            return Poll::Pending;
        };
        let len = piece.min(stream.inbox.len()).min(buffer.len());
        let (front, back) = stream.inbox.as_slices();
        let of_front = len.min(front.len());
        buffer[..of_front].copy_from_slice(&front[..of_front]);
        buffer[of_front..len].copy_from_slice(&back[..len - of_front]);
        stream.inbox.drain(..len);
        let peer = stream.peer;
        if let Some(peer) = self.stream(peer) {
            peer.writing.wake();
        }
        Poll::Ready(Ok(Some(Chunk::pooled(buffer, len, pool))))
    }

    pub(in super::super) fn is_quiet(&mut self, stream: Key) -> bool {
        self.stream(stream).is_some_and(|stream| stream.inbox.is_empty() && !stream.failed && !stream.ended)
    }

    pub(in super::super) fn send(&mut self, key: Key, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let piece = self.draw_piece();
        let window = self.network.window;
        let stream = self.stream(key).ok_or_else(gone)?;
        if let Some(kind) = stream.error.take() {
            stream.ended = true;
            return Err(kind.into());
        }
        if stream.shut || stream.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if !stream.connected {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let peer = stream.peer;
        // A peer that has closed answers what comes with a reset.
        let Some(target) = self.stream(peer) else { return self.send_to_nobody(key, parts) };
        let room = window.saturating_sub(target.inbox.len() + target.on_the_way).min(piece);
        let len = parts.iter().map(|part| part.len()).sum::<usize>().min(room);
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = Vec::with_capacity(len);
        for part in parts {
            let rest = len - bytes.len();
            bytes.extend_from_slice(part.get(..rest).unwrap_or(part));
        }
        target.on_the_way += len;
        self.schedule_in_order(key, peer, Event::Bytes(bytes));
        Ok(len)
    }

    fn send_to_nobody(&mut self, key: Key, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let stream = self.stream(key).ok_or_else(gone)?;
        let len = parts.iter().map(|part| part.len()).sum::<usize>().min(stream.void);
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        stream.void -= len;
        self.schedule(key, Event::Reset);
        Ok(len)
    }

    pub(in super::super) fn poll_writable(&mut self, key: Key, context: &Context<'_>) -> Poll<()> {
        let window = self.network.window;
        let Some(stream) = self.stream(key) else { return Poll::Ready(()) };
        let (connected, over, peer) = (stream.connected, stream.failed || stream.shut, stream.peer);
        let void = stream.void;
        let room = self.stream(peer).map_or(void > 0, |peer| peer.inbox.len() + peer.on_the_way < window);
        if over || connected && room {
            return Poll::Ready(());
        }
        if let Some(stream) = self.stream(key) {
            stream.writing.register(context);
        }
        Poll::Pending
    }

    pub(in super::super) fn poll_over(&mut self, stream: Key, context: &Context<'_>) -> Poll<()> {
        match self.stream(stream) {
            Some(stream) if !(stream.failed || stream.ended && stream.shut) => {
                stream.ending.register(context);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub(in super::super) fn shutdown_write(&mut self, key: Key) -> io::Result<()> {
        let stream = self.stream(key).ok_or_else(gone)?;
        let peer = stream.peer;
        if !std::mem::replace(&mut stream.shut, true) {
            stream.ending.wake();
            self.schedule_in_order(key, peer, Event::End);
        }
        Ok(())
    }

    pub(in super::super) fn reset_on_close(&mut self, stream: Key) {
        if let Some(stream) = self.stream(stream) {
            stream.resets = !stream.unix;
        }
    }

    pub(in super::super) fn close(&mut self, key: Key) {
        match self.sockets.get(key) {
            Some(Socket::Stream(stream)) => {
                let unread = stream.inbox.len() + stream.on_the_way;
                let Stream { peer, shut, resets, unix, .. } = *stream;
                let void = if unix { 0 } else { self.network.window.saturating_sub(unread) };
                if let Some(peer) = self.stream(peer) {
                    peer.void = void;
                }
                if resets || unread > 0 {
                    self.schedule_in_order(key, peer, Event::Reset);
                } else if unix {
                    self.schedule_in_order(key, peer, Event::Gone);
                } else if !shut {
                    self.schedule_in_order(key, peer, Event::End);
                }
                self.sockets.remove(key);
            }
            Some(Socket::Listener { .. }) => {
                let Some(Socket::Listener { place, backlog, .. }) = self.sockets.remove(key) else { return };
                if matches!(place, Place::Tcp(_)) {
                    self.listeners.remove(&place);
                }
                for (stream, _) in backlog {
                    if let Some(stream) = self.stream(stream) {
                        stream.resets = true;
                    }
                    self.close(stream);
                }
            }
            None => {}
        }
    }

    pub(in super::super) fn wait(&mut self, until: Instant, _now: Instant, _pool: &Rc<Pool>) -> Instant {
        if until > self.now {
            let next = self.events.peek().map_or(Instant::NEVER, |Reverse(first)| first.at);
            if until.min(next) == Instant::NEVER {
                // Nothing will ever happen here: only another thread can wake us.
                std::thread::park();
                return self.now;
            }
            self.now = self.now.max(until.min(next));
        }
        let last = self.scheduled;
        while let Some(Reverse(first)) = self.events.peek() {
            if first.at > self.now || first.order > last {
                break;
            }
            let Some(Reverse(due)) = self.events.pop() else { break };
            self.happen(Key::unpack(due.target), due.event);
        }
        self.now
    }

    fn happen(&mut self, target: Key, event: Event) {
        match (self.sockets.get_mut(target), event) {
            (Some(Socket::Listener { backlog, accepting, .. }), Event::Knock { stream, peer }) => {
                backlog.push_back((Key::unpack(stream), Some(peer)));
                accepting.wake();
            }
            (None, Event::Knock { stream, .. }) => {
                self.reset_on_close(Key::unpack(stream));
                self.close(Key::unpack(stream));
            }
            (Some(Socket::Stream(stream)), event) => stream.happen(event),
            _ => {}
        }
    }

    pub(in super::super) fn held(&self) -> Held {
        let backlog = self.listeners.values().map(|&key| match self.sockets.get(key) {
            Some(Socket::Listener { backlog, .. }) => backlog.len(),
            _ => 0,
        });
        Held { sockets: self.sockets.len(), operations: self.events.len(), accepted: backlog.sum(), lent: 0 }
    }

    pub(in super::super) fn rouse(&mut self, pool: &Pool) {
        let mut free = pool.available();
        while free > 0 {
            let Some(key) = self.starved.pop_front() else { break };
            // One that is closed, or that nobody receives from any more, takes no buffer.
            if let Some(stream) = self.stream(key) {
                stream.starved = false;
                free -= usize::from(stream.reading.wake());
            }
        }
    }

    fn stream(&mut self, key: Key) -> Option<&mut Stream> {
        match self.sockets.get_mut(key) {
            Some(Socket::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    fn draw_piece(&mut self) -> usize {
        if self.network.piece == usize::MAX { usize::MAX } else { self.random.usize(1..=self.network.piece.max(1)) }
    }

    fn draw_latency(&mut self) -> Duration {
        let Range { start, end } = self.network.latency;
        let spread = end.saturating_sub(start).as_nanos() as u64;
        start + Duration::from_nanos(if spread == 0 { 0 } else { self.random.u64(0..spread) })
    }

    fn schedule(&mut self, target: Key, event: Event) {
        let at = self.now + self.draw_latency();
        self.schedule_at(at, target, event);
    }

    /// What a stream sends arrives in the order in which it was sent.
    fn schedule_in_order(&mut self, sender: Key, target: Key, event: Event) {
        let mut at = self.now + self.draw_latency();
        if let Some(stream) = self.stream(sender) {
            at = at.max(stream.last_arrival);
            stream.last_arrival = at;
        }
        self.schedule_at(at, target, event);
    }

    fn schedule_at(&mut self, at: Instant, target: Key, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse(Scheduled { at, order: self.scheduled, target: target.pack(), event }));
    }
}
