//! Lines on their way to the thread that writes them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::events;
use super::limit::Limits;
use crate::base::time::unix_millis;

/// How many lines may wait.
const CAPACITY: usize = 4096;

/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a line looks like that the queue itself has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Human,
    Json,
}

/// The queue and its thread.
#[derive(Debug)]
pub(super) struct Queue {
    lines: ArrayQueue<Vec<u8>>,
    limits: Limits,
    dropped: AtomicU64,
    finishing: AtomicBool,
    shape: Shape,
    thread: OnceLock<Thread>,
    ended: Mutex<Option<Receiver<()>>>,
}

impl Queue {
    /// Starts a thread that writes lines to `output`, which may block. Without a thread, as when the system has none
    /// left, lines are dropped.
    pub(super) fn start(output: impl Write + Send + 'static, shape: Shape) -> Arc<Queue> {
        // Dropped with the thread, however that ends.
        let (alive, ended) = channel::<()>();
        let queue = Arc::new(Queue {
            lines: ArrayQueue::new(CAPACITY),
            limits: Limits::default(),
            dropped: AtomicU64::new(0),
            finishing: AtomicBool::new(false),
            shape,
            thread: OnceLock::new(),
            ended: Mutex::new(Some(ended)),
        });
        let of_thread = queue.clone();
        let body = move || {
            let _alive = alive;
            of_thread.run(output);
        };
        if let Ok(thread) = std::thread::Builder::new().name("log".to_owned()).spawn(body) {
            // It is set once.
            let _ = queue.thread.set(thread.thread().clone());
        }
        queue
    }

    /// Puts a line into the queue; never waits.
    fn push(&self, line: Vec<u8>) {
        if self.lines.push(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Has what has come written, and waits for that, but not for ever.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        if let Some(ended) = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nothing is ever sent: it ends when the sender is dropped, or the time is over.
            let _ = ended.recv_timeout(PATIENCE);
        }
    }

    /// Lines that there was no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lines that were left out because there were too many of one message.
    pub(super) fn suppressed(&self) -> u64 {
        self.limits.suppressed()
    }

    /// Writes lines until the end of the process. What cannot be written is lost: there is nobody left to tell.
    fn run(&self, mut output: impl Write) {
        let mut told = 0;
        loop {
            let finishing = self.finishing.load(Ordering::Acquire);
            while let Some(line) = self.lines.pop() {
                let _ = output.write_all(&line);
            }
            let dropped = self.dropped();
            let lost = dropped - std::mem::replace(&mut told, dropped);
            if lost > 0 {
                let _ = output.write_all(&self.own_line(lost, "lines were lost, for who reads the log is too slow"));
            }
            let now = if finishing { u64::MAX } else { unix_millis() / 1000 };
            let left_out = self.limits.settle(now);
            if left_out > 0 {
                let why = "lines were left out, for there were too many of the same message";
                let _ = output.write_all(&self.own_line(left_out, why));
            }
            let _ = output.flush();
            match self.limits.is_owing() {
                _ if finishing => return,
                true => std::thread::park_timeout(Duration::from_secs(1)),
                false => std::thread::park(),
            }
        }
    }

    /// A line of the queue's own.
    fn own_line(&self, count: u64, what: &str) -> Vec<u8> {
        match self.shape {
            Shape::Human => format!("  WARN {count} {what}\n").into_bytes(),
            Shape::Json => {
                let line =
                    serde_json::json!({ "level": "WARN", "message": what, "count": count, "target": module_path!() });
                format!("{line}\n").into_bytes()
            }
        }
    }
}

/// What lines are written into.
#[derive(Clone, Debug)]
pub(super) struct Lines(pub(super) Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: Some(&self.0), bytes: Vec::new() }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        // These are counted by their code: many events are told at one place.
        let counted = metadata.target() == events::TARGET;
        let queue = Some(&*self.0).filter(|queue| counted || queue.limits.admit(metadata, unix_millis() / 1000));
        Line { queue, bytes: Vec::new() }
    }
}

/// One line, which goes into the queue when it is over.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// `None` for one that is left out.
    queue: Option<&'a Queue>,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.queue.is_some() {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.filter(|_| !self.bytes.is_empty()) {
            queue.push(std::mem::take(&mut self.bytes));
        }
    }
}
