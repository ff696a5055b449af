//! How lines get from the workers to the writer: in buffers that go round.
//!
//! A worker fills a buffer of its own. When that is full, or a moment after the first line was put into it, it goes into
//! the worker's [`Mailbox`], from which the writer takes it, and it comes back empty. So a line costs a copy, and nothing
//! is allocated once there are enough buffers. Where there are as many as may be, and all of them are on their way, the
//! line is dropped: the writer does not keep up, and nobody waits for it.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;

use super::entry::{Entries, Facts, TEXTS_MAX, Texts, put_header};
use super::{AccessLog, Entry};

/// Entries that a buffer has room for.
const ENTRIES: usize = 128;

/// Bytes of texts that it has room for, beside those of one entry as long as can be.
const TEXTS: usize = 16 * 1024 + TEXTS_MAX;

/// Bytes of a buffer in all, about.
const BUFFER: usize = 64 * 1024;
const _: () = assert!(ENTRIES * (size_of::<Facts>() + 16) + TEXTS <= BUFFER, "a buffer is not larger than it says");

/// The most buffers of one worker.
const BUFFERS_MOST: usize = 256;

/// Entries on their way to the writer.
#[derive(Debug)]
pub struct Batch {
    /// How they are written, and where to.
    pub log: Arc<AccessLog>,
    entries: Entries,
}

impl Batch {
    /// The entries, in the order of their ends.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries.iter()
    }
}

/// What one worker and the writer share.
#[derive(Debug)]
pub struct Mailbox {
    full: ArrayQueue<Batch>,
    empty: ArrayQueue<Entries>,
    writer: OnceLock<Thread>,
    /// Lines that there was no room for. Only the worker writes it.
    dropped: AtomicU64,
}

/// What all workers and the writer share.
#[derive(Debug, Default)]
pub struct Mailboxes {
    workers: Vec<Arc<Mailbox>>,
    /// Lines that were written.
    pub written: AtomicU64,
    /// Lines that could not be written, as when a disk is full.
    pub failed: AtomicU64,
}

impl Mailboxes {
    /// One for each of so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Mailboxes {
        Mailboxes { workers: (0..workers).map(|_| Arc::default()).collect(), ..Mailboxes::default() }
    }

    /// The one of worker `index`.
    #[must_use]
    pub fn of(&self, index: usize) -> &Arc<Mailbox> {
        &self.workers[index]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mailbox> {
        self.workers.iter().map(|mailbox| &**mailbox)
    }

    /// Lines that there was no room for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.workers.iter().fold(0, |sum, mailbox| sum.wrapping_add(mailbox.dropped.load(Ordering::Relaxed)))
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Mailbox {
            full: ArrayQueue::new(BUFFERS_MOST),
            empty: ArrayQueue::new(BUFFERS_MOST),
            writer: OnceLock::new(),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Mailbox {
    /// Makes this thread the one that is woken when something has come.
    pub fn attend(&self, writer: Thread) {
        // There is one writer in the life of a gateway.
        let first = self.writer.set(writer).is_ok();
        debug_assert!(first);
    }

    /// How many batches have come.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.full.len()
    }

    /// What has come.
    #[must_use]
    pub fn take(&self) -> Option<Batch> {
        self.full.pop()
    }

    /// Gives the buffer of a batch back to its worker.
    pub fn give_back(&self, batch: Batch) {
        let Batch { mut entries, .. } = batch;
        entries.clear();
        // There are no more buffers than places.
        let taken = self.empty.push(entries).is_ok();
        debug_assert!(taken);
    }

    fn drop_line(&self) {
        self.dropped.store(self.dropped.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    fn send(&self, batch: Batch) {
        let taken = self.full.push(batch).is_ok();
        debug_assert!(taken, "there are no more buffers than places");
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct Recorder {
    mailbox: Arc<Mailbox>,
    batch: RefCell<Option<Batch>>,
    /// Buffers there are, wherever they are.
    buffers: Cell<usize>,
    /// Who waits for the first entry of a batch.
    waiting: RefCell<Option<Waker>>,
    /// Where header fields are put together.
    headers: RefCell<Vec<u8>>,
}

impl Recorder {
    /// The worker's end of `mailbox`.
    #[must_use]
    pub fn new(mailbox: Arc<Mailbox>) -> Recorder {
        let (batch, buffers, waiting, headers) = Default::default();
        Recorder { mailbox, batch, buffers, waiting, headers }
    }

    /// Records a line of `log`, or counts it as dropped where there is no room.
    pub fn record(&self, log: &Arc<AccessLog>, facts: &Facts, texts: &Texts<'_>) {
        let mut batch = self.batch.borrow_mut();
        if let Some(Batch { log: other, entries }) = &mut *batch
            && Arc::ptr_eq(other, log)
            && entries.has_room()
        {
            return entries.push(facts, texts);
        }
        if let Some(full) = batch.take() {
            self.mailbox.send(full);
        }
        let Some(mut entries) = self.buffer(log) else { return self.mailbox.drop_line() };
        entries.push(facts, texts);
        *batch = Some(Batch { log: log.clone(), entries });
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits until there is something to hand over.
    pub fn poll_pending(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.batch.borrow().is_some() {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Hands over what there is.
    pub fn hand_over(&self) {
        if let Some(batch) = self.batch.borrow_mut().take() {
            self.mailbox.send(batch);
        }
    }

    /// Puts header fields together for an entry: `put` is given a function that takes the place of each and its value.
    /// Afterwards `then` gets them in the form that [`Texts::headers`] wants.
    pub fn with_headers<R>(&self, put: impl FnOnce(&mut dyn FnMut(u8, &[u8])), then: impl FnOnce(&[u8]) -> R) -> R {
        let mut headers = self.headers.borrow_mut();
        headers.clear();
        put(&mut |place, value| put_header(place, value, &mut headers));
        then(&headers)
    }

    /// An empty buffer, if there is one, or may be one more.
    fn buffer(&self, log: &AccessLog) -> Option<Entries> {
        if let Some(buffer) = self.mailbox.empty.pop() {
            return Some(buffer);
        }
        let most = (log.queue / BUFFER).clamp(2, BUFFERS_MOST);
        (self.buffers.get() < most).then(|| {
            self.buffers.set(self.buffers.get() + 1);
            Entries::with_capacity(ENTRIES, TEXTS)
        })
    }
}

/// A line that cannot be finished yet: that of a tunnel, which is still open.
#[derive(Debug)]
pub struct Pending {
    log: Arc<AccessLog>,
    entry: Entries,
}

impl Pending {
    /// Keeps a line of `log`.
    #[must_use]
    pub fn new(log: &Arc<AccessLog>, facts: &Facts, texts: &Texts<'_>) -> Box<Pending> {
        let mut entry = Entries::default();
        entry.push(facts, texts);
        Box::new(Pending { log: log.clone(), entry })
    }

    /// Records the line, changed by `finish`.
    pub fn record(&self, recorder: &Recorder, finish: impl FnOnce(&mut Facts)) {
        if let Some(Entry { facts, texts }) = self.entry.iter().next() {
            let mut facts = *facts;
            finish(&mut facts);
            recorder.record(&self.log, &facts, &texts);
        }
    }
}
