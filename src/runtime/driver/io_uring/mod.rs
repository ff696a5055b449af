//! The io_uring driver: receives and accepts as completions, one call for many.
//!
//! What it uses, each probed when the ring is made: SINGLE_ISSUER with
//! DEFER_TASKRUN (15 to 20 % cheaper than without at moderate load), a ring of
//! provided buffers from which a receive picks one when data is there,
//! multishot accept, one-shot polls for room to send and for long pieces, and a
//! multishot poll on the worker's bell.
//!
//! A stream of TCP on which short messages come has a receive that answers
//! again and again, which saves a submission each time. It is ended where nobody
//! takes what comes, or when a long piece comes: there may be much more, and the
//! kernel would go on for as long as it finds buffers. Until a few short
//! messages have come again it has one-shot receives, so that it holds at most
//! one buffer when it stalls. What has come before the end was asked for is held
//! once: as much as the socket had, and at most 32 buffers, for the kernel then
//! turns to others (io_uring/net.c, `MULTISHOT_MAX_RETRY`; before Linux 6.8, as
//! many as there are).
//!
//! While its pieces are long, a stream is only asked whether there is something,
//! and received from with direct calls, one call more: into a buffer that was just
//! used and is still in the caches, where a ring goes through all it has; and
//! into large ones while the usual size is filled, which makes the pieces fewer.
//! A stream for which the ring had no buffer left is received from directly as
//! well, as happens when many have something at once.
//!
//! A receive that goes on can miss the end of its stream: when two wake-ups come
//! before the kernel gets to run it, it takes what the first was for, and does
//! not look again (io_uring/poll.c, `io_poll_check_events`). For the peer's end
//! of a TCP stream the kernel says that there is more, and looks. A reset is
//! told by a poll beside the receive, which is then begun anew. A Unix socket
//! says neither, and has one-shot receives alone.
//!
//! A socket stays open until all its operations have answered: a queued
//! operation names its socket by number, and the number of a closed socket may
//! already be another's.

mod arrived;
mod direct;
mod queues;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::types::Fd;
use io_uring::{IoUring as Ring, opcode, squeue};

use super::super::buffer::{BUFFER_SIZE, Chunk, Pool};
use super::super::sys;
use super::buffer_ring::{BufferRing, GROUP};
use super::epoll::gone;
use super::ring::{Refusal, Sizes, build, probe};
use super::{Accepted, Held, Interest};
use crate::base::slab::{GENERATION_BITS, Key, Slab};
use crate::base::time::Instant;
use arrived::{Arrived, Store};
use direct::Direct;

/// Do not try to receive before the socket is ready (linux/io_uring.h).
const POLL_FIRST: u16 = 1;
/// Receive again and again (linux/io_uring.h).
const MULTISHOT: u16 = 2;
/// The kind of an operation stands above the key in its user data.
const KIND_SHIFT: u32 = 56;
const _: () = assert!(GENERATION_BITS + u32::BITS <= KIND_SHIFT, "a key and a kind fit in one word");

const RECV: u64 = 1;
const WRITABLE: u64 = 2;
const ACCEPT: u64 = 3;
const CANCEL: u64 = 4;
const BELL: u64 = 5;
const OVER: u64 = 6;
const READABLE: u64 = 7;

/// The kernel is told to stop accepting when so many connections wait to be
/// taken; those that come then wait with the kernel.
const MOST_ACCEPTED: usize = 64;

/// A receive that goes on is begun once so many short messages have come in a row.
const STEADY: u8 = 3;

/// Such a receive is ended when so many pieces wait to be taken. Those that the kernel has taken together come with them.
const MOST_ARRIVED: usize = 4;

/// Bytes of a piece that is a long one.
const LONG: usize = BUFFER_SIZE / 2;

/// The driver.
pub(in super::super) struct IoUring {
    /// Declared before the buffers: closed first.
    ring: Ring,
    buffers: BufferRing,
    sockets: Slab<Socket>,
    /// Operations for which the submission queue had no room.
    overflow: VecDeque<squeue::Entry>,
    /// Operations that have not answered, cancellations and the bell excepted.
    operations: usize,
    /// Cancellations that have not answered.
    cancels: usize,
    starved: VecDeque<Key>,
    /// Of what has arrived and was not taken.
    store: Store,
    completions: Vec<(u64, i32, u32)>,
    bell: RawFd,
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    kind: Kind,
    /// A receive, the poll in its place, or the accept of a listener.
    reading_now: bool,
    polling_now: bool,
    /// A poll for the end of the stream in both directions.
    over_now: bool,
    closing: bool,
    reading: Interest,
    writing: Interest,
    ending: Interest,
}

#[derive(Debug)]
enum Kind {
    Stream(Stream),
    /// `pausing`: accepting is being cancelled, for too many wait already.
    Listener {
        accepted: VecDeque<OwnedFd>,
        error: Option<io::Error>,
        pausing: bool,
    },
}

#[derive(Debug, Default)]
struct Stream {
    arrived: Arrived,
    /// The task that waited was woken, and has not come to take what has arrived.
    claimed: bool,
    ended: bool,
    /// It waits for a buffer, in the driver's line of those who do.
    starved: bool,
    /// Something has come for which the ring had no buffer, or for which only a poll waited.
    direct: bool,
    /// What is under way is such a poll.
    polls: bool,
    writable: bool,
    /// The last receive said that there is more.
    more: bool,
    /// The last receive has filled a whole buffer: there may be much more.
    bulk: bool,
    /// It was long.
    long: bool,
    /// So many receives in a row were not.
    short: u8,
    /// Its receives may go on: it is a stream of TCP.
    may_go_on: bool,
    /// The receive that is under way goes on.
    goes_on: bool,
    /// It is being cancelled.
    pausing: bool,
    /// The peer has closed its side, as far as a poll has told.
    half_closed: bool,
    over: bool,
}

impl IoUring {
    /// A driver that is woken by `bell`, an eventfd that must outlive it.
    pub(in super::super) fn new(bell: impl AsFd, sizes: Sizes, buffers: usize) -> Result<IoUring, Refusal> {
        let failed = |call| move |error| Refusal::Failed { call, error };
        let ring = build(sizes).map_err(failed("io_uring_setup"))?;
        probe(&ring)?;
        let buffers = BufferRing::new(&ring.submitter(), buffers).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => Refusal::Missing("rings of provided buffers"),
            _ => Refusal::Failed { call: "io_uring_register", error },
        })?;
        let mut driver = IoUring {
            ring,
            buffers,
            sockets: Slab::default(),
            overflow: VecDeque::new(),
            operations: 0,
            cancels: 0,
            starved: VecDeque::new(),
            store: Store::new(),
            completions: Vec::with_capacity(queues::USUAL),
            bell: bell.as_fd().as_raw_fd(),
        };
        // It saves the look-up of the ring's descriptor in each call; not having it costs no more.
        let _ = driver.ring.submitter().register_ring_fd();
        driver.listen_to_bell();
        Ok(driver)
    }

    fn listen_to_bell(&mut self) {
        let poll = opcode::PollAdd::new(Fd(self.bell), libc::POLLIN as u32).multi(true);
        self.push(poll.build().user_data(BELL << KIND_SHIFT));
    }

    pub(in super::super) fn adopt_listener(&mut self, listener: OwnedFd) -> Key {
        self.adopt(listener, Kind::Listener { accepted: VecDeque::new(), error: None, pausing: false })
    }

    fn adopt(&mut self, fd: OwnedFd, kind: Kind) -> Key {
        let (reading, writing, ending) = Default::default();
        let (reading_now, polling_now, over_now, closing) = Default::default();
        self.sockets.insert(Socket { fd, kind, reading_now, polling_now, over_now, closing, reading, writing, ending })
    }

    fn adopt_stream(&mut self, fd: OwnedFd, writable: bool, more: bool, may_go_on: bool) -> Key {
        self.adopt(fd, Kind::Stream(Stream { writable, more, may_go_on, ..Stream::default() }))
    }

    pub(in super::super) fn poll_accept(&mut self, listener: Key, context: &Context<'_>) -> Poll<io::Result<Accepted>> {
        let Some(socket) = self.sockets.get_mut(listener) else { return Poll::Ready(Err(gone())) };
        let Kind::Listener { accepted, error, .. } = &mut socket.kind else { return Poll::Ready(Err(gone())) };
        if let Some(fd) = accepted.pop_front() {
            let peer = sys::peer(&fd);
            // Most clients send at once: the first receive tries before it waits.
            return Poll::Ready(Ok((self.adopt_stream(fd, true, true, peer.is_some()), peer)));
        }
        if let Some(error) = error.take() {
            return Poll::Ready(Err(error));
        }
        socket.reading.register(context);
        if !std::mem::replace(&mut socket.reading_now, true) {
            let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let accept = opcode::AcceptMulti::new(Fd(socket.fd.as_raw_fd())).flags(flags).build();
            self.begin(ACCEPT, listener, accept);
        }
        Poll::Pending
    }

    pub(in super::super) fn connect(&mut self, address: SocketAddr) -> io::Result<Key> {
        Ok(self.adopt_stream(sys::connect(address)?, false, false, true))
    }

    pub(in super::super) fn connect_unix(&mut self, path: &Path) -> io::Result<Key> {
        Ok(self.adopt_stream(sys::connect_unix(path)?, true, false, false))
    }

    pub(in super::super) fn take_error(&mut self, stream: Key) -> io::Result<()> {
        sys::take_error(&self.sockets.get(stream).ok_or_else(gone)?.fd)
    }

    pub(in super::super) fn poll_recv(
        &mut self,
        key: Key,
        context: &Context<'_>,
        pool: &Rc<Pool>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let Some(socket) = self.sockets.get_mut(key) else { return Poll::Ready(Err(gone())) };
        let Kind::Stream(stream) = &mut socket.kind else { return Poll::Ready(Err(gone())) };
        stream.claimed = false;
        if let Some(arrived) = stream.arrived.take(&mut self.store) {
            return Poll::Ready(arrived.map(Some));
        }
        if stream.ended {
            return Poll::Ready(Ok(None));
        }
        if !socket.reading_now && (stream.direct || stream.bulk && stream.more) {
            match stream.recv_directly(&socket.fd, pool) {
                Direct::Received(received) => return Poll::Ready(received),
                Direct::Nothing => {}
                Direct::NoBuffer => {
                    stream.starved = true;
                    self.starved.push_back(key);
                }
            }
        }
        socket.reading.register(context);
        self.arm_recv(key);
        Poll::Pending
    }

    /// Begins a receive, unless one is under way or there is no buffer for it; whether it has.
    fn arm_recv(&mut self, key: Key) -> bool {
        let Some(socket) = self.sockets.get_mut(key) else { return false };
        let Kind::Stream(stream) = &mut socket.kind else { return false };
        if socket.closing || socket.reading_now || stream.starved || stream.ended || !stream.arrived.is_empty() {
            return false;
        }
        socket.reading_now = true;
        stream.polls = stream.long;
        if stream.polls {
            stream.goes_on = false;
            let poll = opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), libc::POLLIN as u32).build();
            self.begin(READABLE, key, poll);
            return true;
        }
        stream.goes_on = stream.may_go_on && stream.short >= STEADY && !stream.over;
        let watched = stream.goes_on;
        let how = if stream.more { 0 } else { POLL_FIRST } | if stream.goes_on { MULTISHOT } else { 0 };
        let recv = opcode::Recv::new(Fd(socket.fd.as_raw_fd()), std::ptr::null_mut(), 0).buf_group(GROUP).ioprio(how);
        self.begin(RECV, key, recv.build().flags(squeue::Flags::BUFFER_SELECT));
        if watched {
            self.arm_over(key);
        }
        true
    }

    pub(in super::super) fn watch(&mut self, stream: Key) {
        self.arm_recv(stream);
    }

    pub(in super::super) fn is_quiet(&mut self, key: Key) -> bool {
        let Some(Socket { fd, kind: Kind::Stream(stream), reading_now, .. }) = self.sockets.get(key) else {
            return false;
        };
        let silent = !stream.ended && !stream.over && stream.arrived.is_empty();
        silent && (*reading_now && !stream.direct || !sys::has_news(fd))
    }

    pub(in super::super) fn send(&mut self, key: Key, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = self.sockets.get_mut(key).ok_or_else(gone)?;
        let sent = sys::send(&socket.fd, parts);
        if let (Err(error), Kind::Stream(stream)) = (&sent, &mut socket.kind)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            stream.writable = false;
        }
        sent
    }

    pub(in super::super) fn poll_writable(&mut self, key: Key, context: &Context<'_>) -> Poll<()> {
        let Some(socket) = self.sockets.get_mut(key) else { return Poll::Ready(()) };
        if matches!(&socket.kind, Kind::Stream(stream) if stream.writable) {
            return Poll::Ready(());
        }
        socket.writing.register(context);
        self.arm_writable(key);
        Poll::Pending
    }

    /// Begins to wait for room to send, unless that is under way.
    ///
    /// Every poll also answers to a half-close of the peer (`IO_POLL_UNMASK` in
    /// the kernel's io_uring/poll.c), a single one at once and each time. One
    /// with many answers tells of changes alone, so it is used after a half-close.
    fn arm_writable(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let Kind::Stream(stream) = &socket.kind else { return };
        if !std::mem::replace(&mut socket.polling_now, true) {
            let poll = opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), libc::POLLOUT as u32).multi(stream.half_closed);
            self.begin(WRITABLE, key, poll.build());
        }
    }

    pub(in super::super) fn poll_over(&mut self, key: Key, context: &Context<'_>) -> Poll<()> {
        let Some(socket) = self.sockets.get_mut(key) else { return Poll::Ready(()) };
        if matches!(&socket.kind, Kind::Stream(stream) if stream.over) {
            return Poll::Ready(());
        }
        socket.ending.register(context);
        self.arm_over(key);
        Poll::Pending
    }

    /// Begins to wait for the end in both directions, unless that is under way.
    fn arm_over(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if !std::mem::replace(&mut socket.over_now, true) {
            // Nothing is asked for: errors and the end are always told (poll(2)),
            // but so is a half-close, hence the many answers; see `arm_writable`.
            let poll = opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), 0).multi(true).build();
            self.begin(OVER, key, poll);
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

    pub(in super::super) fn close(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        socket.closing = true;
        let reading = match &socket.kind {
            Kind::Stream(stream) if stream.polls => READABLE,
            Kind::Stream(_) => RECV,
            Kind::Listener { .. } => ACCEPT,
        };
        let under_way = [(socket.reading_now, reading), (socket.polling_now, WRITABLE), (socket.over_now, OVER)];
        // What has come for nobody goes now: bytes, and connections never taken.
        match &mut socket.kind {
            Kind::Stream(stream) => stream.arrived.clear(&mut self.store),
            Kind::Listener { accepted, .. } => accepted.clear(),
        }
        for (_, kind) in under_way.into_iter().filter(|(begun, _)| *begun) {
            self.cancel(kind, key);
        }
        self.close_if_over(key);
    }

    /// Asks for the end of an operation, which answers by itself in any case.
    fn cancel(&mut self, kind: u64, key: Key) {
        self.cancels += 1;
        let target = kind << KIND_SHIFT | key.pack();
        self.push(opcode::AsyncCancel::new(target).build().user_data(CANCEL << KIND_SHIFT));
    }

    fn close_if_over(&mut self, key: Key) {
        let idle = |socket: &Socket| !socket.reading_now && !socket.polling_now && !socket.over_now;
        if self.sockets.get(key).is_some_and(|socket| socket.closing && idle(socket)) {
            self.sockets.remove(key);
        }
    }

    pub(in super::super) fn wait(&mut self, until: Instant, now: Instant, pool: &Rc<Pool>) -> Instant {
        self.buffers.fill(pool);
        self.flush_overflow();
        self.enter(super::sleep_nanos(until, now).unwrap_or(u64::MAX));
        self.reap(pool);
        Instant::from_clock()
    }

    pub(in super::super) fn rouse(&mut self, pool: &Pool) {
        if self.starved.is_empty() {
            return;
        }
        self.buffers.fill(pool);
        if self.buffers.lent() == 0 && self.store.pooled > 0 {
            // The tasks that were woken for them have run, and did not want them.
            self.detach_unclaimed();
            self.buffers.fill(pool);
        }
        let mut free = self.buffers.lent();
        while free > 0 {
            let Some(key) = self.starved.pop_front() else { break };
            if let Some(Socket { kind: Kind::Stream(stream), .. }) = self.sockets.get_mut(key) {
                stream.starved = false;
                free -= usize::from(self.arm_recv(key));
            }
        }
    }

    /// Moves bytes that nobody has taken out of the pool, for there are streams that wait for a buffer.
    fn detach_unclaimed(&mut self) {
        for socket in self.sockets.values_mut() {
            if let Kind::Stream(stream) = &mut socket.kind {
                stream.arrived.detach();
            }
        }
        self.store.pooled = 0;
    }

    /// Closes everything and waits until the kernel has let go of the buffers.
    pub(in super::super) fn finish(&mut self, pool: &Rc<Pool>) {
        for key in self.sockets.keys() {
            self.close(key);
        }
        let patience = Instant::from_clock() + std::time::Duration::from_secs(5);
        while self.operations > 0 && Instant::from_clock() < patience {
            self.flush_overflow();
            self.enter(10_000_000);
            self.reap(pool);
        }
        if self.operations > 0 {
            // Better to lose the memory than to have the kernel write into it.
            tracing::error!(
                operations = self.operations,
                "io_uring operations did not end with their worker; their buffers are leaked until the process ends, which it may do now"
            );
            self.buffers.leak();
        }
    }

    pub(in super::super) fn held(&self) -> Held {
        let accepted = self.sockets.values().map(|socket| match &socket.kind {
            Kind::Listener { accepted, .. } => accepted.len(),
            Kind::Stream(_) => 0,
        });
        let operations = self.operations + self.cancels;
        Held { sockets: self.sockets.len(), operations, accepted: accepted.sum(), lent: self.buffers.lent() }
    }
}

impl Drop for IoUring {
    fn drop(&mut self) {
        // Only after `finish` has failed, or was never reached.
        if self.operations > 0 {
            self.buffers.leak();
        }
    }
}

impl std::fmt::Debug for IoUring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IoUring").field("operations", &self.operations).finish_non_exhaustive()
    }
}
