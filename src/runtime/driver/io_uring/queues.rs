//! The two queues: operations on their way to the kernel, completions on their way back.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{cqueue, squeue};

use super::super::super::buffer::{BUFFER_SIZE, Chunk, Pool};
use super::{
    ACCEPT, CANCEL, IoUring, KIND_SHIFT, Kind, LONG, MOST_ACCEPTED, MOST_ARRIVED, OVER, READABLE, RECV, Socket,
    WRITABLE,
};
use crate::base::slab::Key;

/// Run deferred work, also when there is nothing to wait for (linux/io_uring.h).
const ENTER_GETEVENTS: u32 = 1;

/// So many pieces of deferred work the kernel does in one call, and leaves the others to the next (io_uring/io_uring.c,
/// `IO_LOCAL_TW_DEFAULT_MAX`; so on Linux 6.18).
const DEFERRED_AT_ONCE: usize = 20;

/// More calls than one that a turn makes for the work that was left: what has come since must not keep it going for ever.
const MOST_CALLS: usize = 3;

/// Completions that there is memory for from the start: how many come together is chance.
pub(super) const USUAL: usize = 256;

impl IoUring {
    /// Submits, and waits for a completion for at most `nanos` nanoseconds; with `u64::MAX`, for ever.
    pub(super) fn enter(&mut self, nanos: u64) {
        // Errors: EINTR and ETIME end the wait as they should; EBUSY and EAGAIN
        // mean that completions must be reaped first, which comes next anyway,
        // and what was not submitted stays queued.
        if nanos == 0 || !self.overflow.is_empty() {
            let queued = self.ring.submission().len() as u32;
            // SAFETY: no argument is passed, and the queued entries own what they
            // point to: see `begin`. GETEVENTS runs deferred work also when busy.
            let _ = unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) };
            return;
        }
        if nanos == u64::MAX {
            let _ = self.ring.submit_and_wait(1);
            return;
        }
        let timeout = Timespec::new().sec(nanos / 1_000_000_000).nsec((nanos % 1_000_000_000) as u32);
        let _ = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout));
    }

    /// Handles what has completed, and goes on in the same turn where the kernel has done as much as it does in one call
    /// and may have left some: what is handled in one turn is sent together, which is cheaper.
    ///
    /// The count is a sign and no proof. A call that has slept does only as much as it waited for, and what is left then
    /// comes in the next turn. Asking the ring instead (`IORING_SQ_TASKRUN`) is exact, but it speaks of what has come
    /// meanwhile, too: measured, that made nearly twice as many calls for a request, for no less CPU.
    pub(super) fn reap(&mut self, pool: &Rc<Pool>) {
        for _ in 0..MOST_CALLS {
            if self.handle_completions(pool) < DEFERRED_AT_ONCE {
                return;
            }
            self.buffers.fill(pool);
            self.enter(0);
        }
        self.handle_completions(pool);
    }

    /// Handles the completions that stand in the queue, and says how many there were.
    fn handle_completions(&mut self, pool: &Rc<Pool>) -> usize {
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())));
        let count = completions.len();
        for (data, result, flags) in completions.drain(..) {
            self.complete(data, result, flags, pool);
        }
        self.completions = completions;
        count
    }

    fn complete(&mut self, data: u64, result: i32, flags: u32, pool: &Rc<Pool>) {
        let key = Key::unpack(data);
        let last = !cqueue::more(flags);
        match data >> KIND_SHIFT {
            RECV => {
                let buffer = cqueue::buffer_select(flags).and_then(|id| self.buffers.reclaim(id));
                let chunk = buffer.map(|buffer| Chunk::pooled(buffer, result.max(0) as usize, pool));
                self.operations -= usize::from(last);
                self.received(key, chunk, result, cqueue::sock_nonempty(flags), last);
                self.close_if_over(key);
            }
            READABLE => {
                self.operations -= usize::from(last);
                self.readable(key);
                self.close_if_over(key);
            }
            kind @ (WRITABLE | OVER) => {
                self.operations -= usize::from(last);
                if self.sockets.get_mut(key).is_some_and(|socket| socket.polled(kind == OVER, result, last)) {
                    self.arm_writable(key);
                }
                if kind == OVER && self.sockets.get_mut(key).is_some_and(|socket| socket.shall_look_again(last)) {
                    self.cancel(RECV, key);
                }
                self.close_if_over(key);
            }
            ACCEPT => {
                self.operations -= usize::from(last);
                self.accepted(key, result, last);
                self.close_if_over(key);
            }
            CANCEL => self.cancels -= 1,
            _ if last => self.listen_to_bell(),
            _ => {}
        }
    }

    fn received(&mut self, key: Key, chunk: Option<Chunk>, result: i32, more: bool, last: bool) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        socket.reading_now &= !last;
        let Kind::Stream(stream) = &mut socket.kind else { return };
        if socket.closing {
            return;
        }
        stream.pausing &= !last;
        let mut pause = false;
        match (-result, chunk) {
            (_, Some(chunk)) if result > 0 => {
                stream.more = more;
                stream.bulk = result >= BUFFER_SIZE as i32;
                stream.long = result >= LONG as i32;
                stream.short = if stream.long { 0 } else { stream.short.saturating_add(1) };
                // Bytes that nobody waits for must not keep a buffer from those who do.
                let chunk = if stream.claimed || socket.reading.waits() { chunk } else { chunk.detach() };
                stream.arrived.push(Ok(chunk), &mut self.store);
                let goes_too_far = stream.long || stream.arrived.len() >= MOST_ARRIVED;
                pause = !last && goes_too_far && !std::mem::replace(&mut stream.pausing, true);
            }
            (0, _) => stream.ended = true,
            (libc::ENOBUFS, _) => {
                // Something is there: whoever waits gets it with a call of its own.
                (stream.direct, stream.short) = (true, 0);
                self.buffers.grow();
            }
            (libc::ECANCELED | libc::EINTR | libc::EAGAIN, _) => {
                if stream.bulk && stream.more {
                    // What has ended the receive is much, which is received otherwise.
                    socket.reading.wake();
                } else if socket.reading.waits() {
                    self.arm_recv(key);
                }
                return;
            }
            (errno, _) => {
                stream.arrived.push(Err(io::Error::from_raw_os_error(errno)), &mut self.store);
                stream.ended = true;
            }
        }
        stream.claimed |= socket.reading.wake();
        if pause {
            stream.short = 0;
            self.cancel(RECV, key);
        }
    }

    /// A poll that waited in the place of a receive has answered, whatever it has: the call that comes next tells.
    fn readable(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let Kind::Stream(stream) = &mut socket.kind else { return };
        (socket.reading_now, stream.polls, stream.direct) = (false, false, true);
        socket.reading.wake();
    }

    fn accepted(&mut self, key: Key, result: i32, last: bool) {
        // SAFETY: a successful accept hands us a new descriptor, named only here.
        let fd = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let Some(socket) = self.sockets.get_mut(key) else { return };
        socket.reading_now &= !last;
        let Kind::Listener { accepted, error, pausing } = &mut socket.kind else { return };
        if socket.closing {
            return;
        }
        *pausing &= !last;
        let mut full = false;
        match fd {
            Some(fd) => {
                accepted.push_back(fd);
                full = !last && accepted.len() >= MOST_ACCEPTED && !std::mem::replace(pausing, true);
            }
            None if matches!(-result, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            None => *error = Some(io::Error::from_raw_os_error(-result)),
        }
        socket.reading.wake();
        if full {
            self.cancel(ACCEPT, key);
        }
    }

    /// Queues an operation of `key`.
    ///
    /// None of them points to memory of ours: receives pick a buffer that the
    /// kernel already has, and the others take numbers alone.
    pub(super) fn begin(&mut self, kind: u64, key: Key, entry: squeue::Entry) {
        self.operations += 1;
        self.push(entry.user_data(kind << KIND_SHIFT | key.pack()));
    }

    pub(super) fn push(&mut self, entry: squeue::Entry) {
        // In order: an operation never overtakes one that overflowed before it.
        if !self.overflow.is_empty() || !self.try_push(&entry) {
            self.overflow.push_back(entry);
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the entry points to no memory (see `begin`), and its
        // descriptor stays open until it has answered (see `close_if_over`).
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Submits in portions when more was begun than the queue holds.
    pub(super) fn flush_overflow(&mut self) {
        while let Some(entry) = self.overflow.pop_front() {
            if !self.try_push(&entry) {
                self.overflow.push_front(entry);
                let before = self.ring.submission().len();
                let _ = self.ring.submit();
                if self.ring.submission().len() == before {
                    return;
                }
            }
        }
    }
}

impl Socket {
    /// Whether a receive that goes on is to be begun anew: the stream is over, and it may have missed that, or the poll
    /// has `ended` that would tell.
    fn shall_look_again(&mut self, ended: bool) -> bool {
        let Kind::Stream(stream) = &mut self.kind else { return false };
        let shall = (stream.over || ended) && stream.goes_on && self.reading_now && !self.closing;
        shall && !std::mem::replace(&mut stream.pausing, true)
    }

    /// A poll has answered: for the end of the stream, or for room to send.
    ///
    /// Whether to ask for room again, for the answer was only that the peer has closed its side.
    fn polled(&mut self, over: bool, result: i32, last: bool) -> bool {
        const END: i32 = (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) as i32;
        let Kind::Stream(stream) = &mut self.kind else { return false };
        if over {
            self.over_now &= !last;
            // Who waits for it must be told as well that there is no poll. Others do without.
            stream.over |= !self.closing && if result < 0 { self.ending.waits() } else { result & END != 0 };
            stream.may_go_on &= result >= 0;
            // Also an end of the poll alone, so that another is begun.
            if stream.over || last {
                self.ending.wake();
            }
            return false;
        }
        self.polling_now &= !last;
        if result < 0 || result & (END | libc::POLLOUT as i32) != 0 {
            stream.writable = true;
            self.writing.wake();
            return false;
        }
        stream.half_closed = true;
        last && !self.closing && self.writing.waits()
    }
}
