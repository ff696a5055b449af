//! The writer of the access log: a thread that takes what the workers have recorded, makes lines of it, and writes them.
//!
//! It may wait for a disk or for who reads a pipe as long as it takes: nobody waits for it. What happens then is in
//! `sink`, and what is told while it waits in `flow`; the configuration is in [`crate::policy::access_log`].
//!
//! At the end of the process it writes what has come, and is waited for, but not longer than two seconds.

mod flow;
mod sink;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::policy::access_log::{AccessLog, Batch, Lines, Output};
use crate::shard::Shared;
pub(super) use flow::watch;
use sink::{Sink, Told};

/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that are written with one call, as far as there are so many; the last line goes beyond.
const WRITE: usize = 256 * 1024;

/// The thread, as the one who started it sees it. Dropped, it has the thread write what has come, and end.
#[derive(Debug)]
pub struct Writer {
    orders: Orders,
    ended: Mutex<Receiver<()>>,
}

/// What the thread can be told.
#[derive(Clone, Debug)]
pub struct Orders {
    flags: Arc<Flags>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Flags {
    reopen: AtomicBool,
    stop: AtomicBool,
}

/// Why the output of an access log cannot be used.
#[derive(Debug)]
pub struct OutputError {
    /// The output, as people write it.
    pub output: String,
    /// The system's error.
    pub error: io::Error,
}

impl std::fmt::Display for OutputError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let OutputError { output, error } = self;
        write!(formatter, "cannot write the access log to {output}: {error}; {}", sink::advice(error))
    }
}

impl std::error::Error for OutputError {}

/// Finds out whether the output of `log` can be used, as a reload does before it takes a configuration. A file that is
/// not there is made.
///
/// # Errors
/// When it cannot.
pub fn check(log: &AccessLog) -> Result<(), OutputError> {
    Sink::open(&log.output).map(drop).map_err(|error| OutputError { output: sink::name(&log.output), error })
}

impl Writer {
    /// Starts the thread, which writes what the workers record from then on. `log` is the access log to begin with, if
    /// there is one; later ones come with their lines.
    ///
    /// # Errors
    /// When its output cannot be opened, or the thread not be made.
    pub fn start(log: Option<&AccessLog>, shared: Arc<Shared>) -> Result<Writer, OutputError> {
        let opened = log.map(|log| {
            let sink = Sink::open(&log.output);
            sink.map_err(|error| OutputError { output: sink::name(&log.output), error })
        });
        let sink = opened.transpose()?;
        let flags = Arc::new(Flags::default());
        // Dropped with the thread, however that ends.
        let (alive, ended) = channel::<()>();
        let body = {
            let flags = flags.clone();
            move || {
                let _alive = alive;
                run(&shared, &flags, sink);
            }
        };
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(body);
        let thread = thread.map_err(|error| OutputError { output: "a thread of its own".to_owned(), error })?;
        Ok(Writer { orders: Orders { flags, thread: thread.thread().clone() }, ended: Mutex::new(ended) })
    }

    /// What the thread can be told.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Has what has come written, and waits for that, but not for ever: a pipe that nobody reads must not keep the
    /// process. False if it took too long, or the thread has panicked before.
    #[must_use]
    pub fn stop(self) -> bool {
        self.orders.stop();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: it ends when the sender is dropped.
        matches!(ended.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders.stop();
    }
}

impl Orders {
    /// Opens the file anew, once what has come before is written: the old one has been moved away. Returns at once.
    pub fn reopen(&self) {
        self.flags.reopen.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn stop(&self) {
        self.flags.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Writes until it is stopped.
fn run(shared: &Shared, flags: &Flags, sink: Option<Sink>) {
    let mailboxes = &shared.access_log;
    mailboxes.iter().for_each(|mailbox| mailbox.attend(std::thread::current()));
    let mut book = Book {
        shared,
        sink,
        output: None,
        lines: Lines::with_capacity(WRITE + WRITE / 4),
        count: 0,
        told: Told::default(),
    };
    loop {
        // Before the look into the mailboxes: what came before the order is written before it is followed.
        let (stop, reopen) = (flags.stop.load(Ordering::Acquire), flags.reopen.swap(false, Ordering::AcqRel));
        let mut came = false;
        for mailbox in mailboxes.iter() {
            // Not for as long as there are more: a worker that is busier than the writer would have it for itself.
            for _ in 0..mailbox.waiting() {
                let Some(batch) = mailbox.take() else { break };
                came = true;
                book.add(&batch);
                mailbox.give_back(batch);
            }
        }
        book.write();
        if reopen && let Some(sink) = &mut book.sink {
            let reopened = sink.reopen();
            book.told.of(sink.output(), reopened);
        }
        match came {
            true => {}
            false if stop => return,
            false => std::thread::park(),
        }
    }
}

/// Lines that are to be written, and where to.
struct Book<'a> {
    shared: &'a Shared,
    sink: Option<Sink>,
    /// Where the lines go that are here.
    output: Option<Output>,
    lines: Lines,
    count: u64,
    told: Told,
}

impl Book<'_> {
    /// Adds the lines of a batch, and writes when there are enough.
    fn add(&mut self, batch: &Batch) {
        if self.output.as_ref() != Some(&batch.log.output) {
            self.write();
            self.output = Some(batch.log.output.clone());
        }
        for entry in batch.entries() {
            batch.log.put_line(&entry, &mut self.lines);
            self.count += 1;
            if self.lines.as_bytes().len() >= WRITE {
                self.write();
            }
        }
    }

    /// Writes what there is, and counts it.
    fn write(&mut self) {
        let (Some(output), true) = (&self.output, self.count > 0) else { return };
        let lines = std::mem::take(&mut self.count);
        let written = match place(&mut self.sink, output) {
            Ok(sink) => {
                let (written, result) = sink.write(self.lines.as_bytes(), lines);
                self.told.of(output, result);
                written
            }
            Err(error) => {
                self.told.of(output, Err(error));
                0
            }
        };
        self.shared.access_log.written.fetch_add(written, Ordering::Relaxed);
        self.shared.access_log.failed.fetch_add(lines - written, Ordering::Relaxed);
        self.lines.clear();
    }
}

/// The sink for `output`: the one that is open, or another in its place.
fn place<'s>(sink: &'s mut Option<Sink>, output: &Output) -> io::Result<&'s mut Sink> {
    let open = match sink.take() {
        Some(open) if open.is_for(output) => open,
        _ => Sink::open(output)?,
    };
    Ok(sink.insert(open))
}
