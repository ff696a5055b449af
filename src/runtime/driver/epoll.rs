//! The epoll driver: edge-triggered readiness, then plain non-blocking calls.
//!
//! A socket is registered once, for everything, and remembers what it is ready
//! for until a call says otherwise. A receive that fills less than its buffer
//! has emptied the socket (epoll(7), questions and answers, 9), which saves the
//! call that would only say so; a half-close in between is an edge of its own,
//! and so is urgent data, at which a receive stops short. On a Unix socket a
//! receive stops at descriptors that the peer sends along, of which there is no
//! sign, so these are always read until they are dry.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

use super::super::buffer::{BUFFER_SIZE, Chunk, Pool};
use super::super::sys;
use super::{Accepted, Held, Interest};
use crate::base::slab::{Key, Slab};
use crate::base::time::Instant;

/// Events taken at a time; more wait for the next look.
const EVENTS: usize = 512;

/// The driver.
pub(in super::super) struct Epoll {
    epoll: OwnedFd,
    sockets: Slab<Socket>,
    events: Vec<Event>,
    starved: VecDeque<Key>,
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    readable: bool,
    writable: bool,
    /// The peer has closed its side, or has sent urgent data, at which a receive
    /// stops, or it is a Unix socket: a short one is no sign of an empty socket.
    until_dry: bool,
    /// The last receive has filled a whole buffer: there may be much more.
    bulk: bool,
    /// Closed in both directions, or failed.
    over: bool,
    starved: bool,
    reading: Interest,
    writing: Interest,
    ending: Interest,
}

impl Epoll {
    /// A driver that is woken by `bell`, an eventfd.
    pub(in super::super) fn new(bell: impl AsFd) -> io::Result<Epoll> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Edge-triggered: each ring is an event, and nobody needs to read it.
        epoll::add(&epoll, bell, EventData::new_u64(Key::NONE.pack()), EventFlags::IN | EventFlags::ET)?;
        Ok(Epoll { epoll, sockets: Slab::default(), events: Vec::with_capacity(EVENTS), starved: VecDeque::new() })
    }

    pub(in super::super) fn adopt_listener(&mut self, listener: OwnedFd) -> io::Result<Key> {
        // Readable at first: connections may have come before we looked.
        self.adopt(listener, EventFlags::IN | EventFlags::ET, true, false, false)
    }

    fn adopt(
        &mut self,
        fd: OwnedFd,
        flags: EventFlags,
        readable: bool,
        writable: bool,
        until_dry: bool,
    ) -> io::Result<Key> {
        let (reading, writing, ending) = Default::default();
        let key = self.sockets.insert(Socket {
            fd,
            readable,
            writable,
            until_dry,
            bulk: false,
            over: false,
            starved: false,
            reading,
            writing,
            ending,
        });
        let socket = self.sockets.get(key).expect("just inserted");
        let added = epoll::add(&self.epoll, &socket.fd, EventData::new_u64(key.pack()), flags);
        if let Err(error) = added {
            self.sockets.remove(key);
            return Err(error.into());
        }
        Ok(key)
    }

    fn adopt_stream(&mut self, fd: OwnedFd, writable: bool, until_dry: bool) -> io::Result<Key> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::PRI | EventFlags::RDHUP | EventFlags::ET;
        self.adopt(fd, flags, false, writable, until_dry)
    }

    pub(in super::super) fn poll_accept(&mut self, listener: Key, context: &Context<'_>) -> Poll<io::Result<Accepted>> {
        let Some(socket) = self.sockets.get_mut(listener) else { return Poll::Ready(Err(gone())) };
        if !socket.readable {
            socket.reading.register(context);
            return Poll::Pending;
        }
        match sys::accept(&socket.fd) {
            // On a Unix socket nobody has an address.
            Ok((fd, peer)) => Poll::Ready(self.adopt_stream(fd, true, peer.is_none()).map(|key| (key, peer))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.readable = false;
                socket.reading.register(context);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub(in super::super) fn connect(&mut self, address: SocketAddr) -> io::Result<Key> {
        self.adopt_stream(sys::connect(address)?, false, false)
    }

    pub(in super::super) fn connect_unix(&mut self, path: &Path) -> io::Result<Key> {
        self.adopt_stream(sys::connect_unix(path)?, true, true)
    }

    pub(in super::super) fn take_error(&mut self, stream: Key) -> io::Result<()> {
        sys::take_error(&self.sockets.get(stream).ok_or_else(gone)?.fd)
    }

    pub(in super::super) fn poll_recv(
        &mut self,
        stream: Key,
        context: &Context<'_>,
        pool: &Rc<Pool>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let Some(socket) = self.sockets.get_mut(stream) else { return Poll::Ready(Err(gone())) };
        if !socket.readable {
            socket.reading.register(context);
            return Poll::Pending;
        }
        let large = if socket.bulk { pool.take_large() } else { None };
        let Some(mut buffer) = large.or_else(|| pool.take()) else {
            socket.reading.register(context);
            if !std::mem::replace(&mut socket.starved, true) {
                self.starved.push_back(stream);
            }
            return Poll::Pending;
        };
        match sys::recv(&socket.fd, &mut buffer) {
            Ok(0) => {
                pool.give(buffer);
                Poll::Ready(Ok(None))
            }
            Ok(len) => {
                socket.readable = len == buffer.len() || socket.until_dry;
                socket.bulk = len >= BUFFER_SIZE;
                Poll::Ready(Ok(Some(Chunk::pooled(buffer, len, pool))))
            }
            Err(error) => {
                pool.give(buffer);
                if error.kind() == io::ErrorKind::WouldBlock {
                    socket.readable = false;
                    socket.reading.register(context);
                    return Poll::Pending;
                }
                Poll::Ready(Err(error))
            }
        }
    }

    pub(in super::super) fn is_quiet(&mut self, stream: Key) -> bool {
        let Some(socket) = self.sockets.get_mut(stream) else { return false };
        if socket.readable && !sys::has_news(&socket.fd) {
            socket.readable = false;
        }
        !socket.readable
    }

    pub(in super::super) fn send(&mut self, stream: Key, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = self.sockets.get_mut(stream).ok_or_else(gone)?;
        let sent = sys::send(&socket.fd, parts);
        if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            socket.writable = false;
        }
        sent
    }

    pub(in super::super) fn poll_writable(&mut self, stream: Key, context: &Context<'_>) -> Poll<()> {
        match self.sockets.get_mut(stream) {
            Some(socket) if !socket.writable => {
                socket.writing.register(context);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub(in super::super) fn poll_over(&mut self, stream: Key, context: &Context<'_>) -> Poll<()> {
        match self.sockets.get_mut(stream) {
            Some(socket) if !socket.over => {
                socket.ending.register(context);
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    pub(in super::super) fn shutdown_write(&mut self, stream: Key) -> io::Result<()> {
        sys::shutdown_write(&self.sockets.get(stream).ok_or_else(gone)?.fd)
    }

    pub(in super::super) fn reset_on_close(&mut self, stream: Key) {
        if let Some(socket) = self.sockets.get(stream) {
            sys::reset_on_close(&socket.fd);
        }
    }

    pub(in super::super) fn close(&mut self, socket: Key) {
        // The last descriptor of a file takes its registration with it (epoll(7)).
        self.sockets.remove(socket);
    }

    pub(in super::super) fn wait(&mut self, until: Instant, now: Instant, _pool: &Rc<Pool>) -> Instant {
        let timeout = super::sleep_nanos(until, now).map(|nanos| {
            // Whole milliseconds, rounded up, need no epoll_pwait2.
            let millis = nanos.div_ceil(1_000_000) as i64;
            rustix::event::Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
        });
        self.events.clear();
        // It fails only when interrupted, and then there are no events.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref());
        for event in &self.events {
            if let Some(socket) = self.sockets.get_mut(Key::unpack(event.data.u64())) {
                socket.apply(event.flags);
            }
        }
        Instant::from_clock()
    }

    pub(in super::super) fn held(&self) -> Held {
        Held { sockets: self.sockets.len(), ..Held::default() }
    }

    pub(in super::super) fn rouse(&mut self, pool: &Pool) {
        let mut free = pool.available();
        while free > 0 {
            let Some(key) = self.starved.pop_front() else { break };
            // One that is closed, or that nobody receives from any more, takes no buffer.
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.starved = false;
                free -= usize::from(socket.reading.wake());
            }
        }
    }
}

impl std::fmt::Debug for Epoll {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Epoll").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

impl Socket {
    fn apply(&mut self, flags: EventFlags) {
        let over = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        self.over |= over;
        self.until_dry |= over || flags.intersects(EventFlags::RDHUP | EventFlags::PRI);
        if over {
            self.ending.wake();
        }
        if over || flags.intersects(EventFlags::IN | EventFlags::PRI | EventFlags::RDHUP) {
            self.readable = true;
            self.reading.wake();
        }
        if over || flags.contains(EventFlags::OUT) {
            self.writable = true;
            self.writing.wake();
        }
    }
}

/// The error of a socket that was closed: it cannot happen while its owner lives.
pub(super) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket is closed")
}
