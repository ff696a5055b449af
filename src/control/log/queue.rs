//! Lines on their way to the thread that writes them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use serde_json::json;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::limit::{Admission, Limits, Place};
use super::{LEFT_OUT, events};
use crate::base::time::unix_millis;

/// How many lines may wait.
const CAPACITY: usize = 4096;

/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// Characters that are told of a line that was left out.
const SAMPLE: usize = 120;

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
        self.wake();
    }

    /// Has the thread look for what there is to do.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Has what has come written, and waits for that, but not for ever.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.wake();
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
                let _ =
                    output.write_all(&self.own_line("lines were lost, for who reads the log is too slow", lost, None));
            }
            let now = if finishing { u64::MAX } else { unix_millis() / 1000 };
            for left_out in self.limits.settle(now) {
                let text = left_out.sample.and_then(|line| self.shape.message(&line));
                let _ = output.write_all(&self.own_line(LEFT_OUT, left_out.count, text.as_deref()));
            }
            let _ = output.flush();
            match self.limits.is_owing() {
                _ if finishing => return,
                true => std::thread::park_timeout(Duration::from_secs(1)),
                false => std::thread::park(),
            }
        }
    }

    /// A line of the queue's own: `what` has happened to `count` lines, one of which is `text`.
    fn own_line(&self, what: &str, count: u64, text: Option<&str>) -> Vec<u8> {
        let mut time = String::new();
        // A string takes everything.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let text = text.map(shortened);
        let line = match self.shape {
            Shape::Human => {
                let text = text.map(|text| format!(" text={text:?}")).unwrap_or_default();
                format!("{time}  WARN {what} count={count}{text}\n")
            }
            Shape::Json => {
                let mut line = json!({
                    "timestamp": time, "level": "WARN", "message": what, "count": count, "target": module_path!(),
                });
                if let Some(text) = text {
                    line["text"] = text.into();
                }
                format!("{line}\n")
            }
        };
        line.into_bytes()
    }
}

impl Shape {
    /// What a line of this shape says, without its time and its level.
    fn message(self, line: &[u8]) -> Option<String> {
        match self {
            Shape::Human => {
                let line = without_colors(std::str::from_utf8(line).ok()?);
                // The time, two spaces or one, and the level.
                let (_, behind_time) = line.split_once(' ')?;
                let (_, message) = behind_time.trim_start().split_once(' ')?;
                Some(message.trim().to_owned())
            }
            Shape::Json => {
                let line: serde_json::Value = serde_json::from_slice(line).ok()?;
                line.get("message")?.as_str().map(str::to_owned)
            }
        }
    }
}

/// The first characters of a text, and dots where there are more.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SAMPLE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text without the sequences that switch colours (ECMA-48 section 8.3.117), which a terminal's log has.
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| plain.push_str(part.split_once('m').map_or("", |(_, text)| text)));
    plain
}

/// What lines are written into.
#[derive(Clone, Debug)]
pub(super) struct Lines(pub(super) Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { fate: Fate::Written(&self.0), bytes: Vec::new() }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        let written = Fate::Written(&self.0);
        // These are counted by their code: many events are told at one place.
        let fate = match metadata.target() == events::TARGET {
            true => written,
            false => match self.0.limits.admit(metadata, unix_millis() / 1000) {
                Admission::Written => written,
                Admission::Sample(place) => Fate::Sample(place, &self.0),
                Admission::LeftOut => Fate::LeftOut,
            },
        };
        Line { fate, bytes: Vec::new() }
    }
}

/// One line, which goes where it belongs when it is over.
#[derive(Debug)]
pub(super) struct Line<'a> {
    fate: Fate<'a>,
    bytes: Vec<u8>,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug)]
enum Fate<'a> {
    /// It goes into the queue.
    Written(&'a Queue),
    /// The others that are left out are told by it.
    Sample(&'a Place, &'a Queue),
    LeftOut,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !matches!(self.fate, Fate::LeftOut) {
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
        let line = std::mem::take(&mut self.bytes);
        match self.fate {
            Fate::Written(queue) if !line.is_empty() => queue.push(line),
            Fate::Sample(place, queue) => {
                place.keep(line);
                // It sleeps until there is something to write, or to tell.
                queue.wake();
            }
            Fate::Written(_) | Fate::LeftOut => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Sender;
    use tracing_subscriber::fmt as format;
    use tracing_subscriber::layer::SubscriberExt;

    /// Sends what is written to a test.
    struct Output(Sender<String>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The last line that is written when one message has come far too often.
    fn announcement(shape: Shape) -> String {
        let (sender, written) = channel();
        let queue = Queue::start(Output(sender), shape);
        let lines = format::layer().with_writer(Lines(queue.clone()));
        let registry = tracing_subscriber::registry();
        let flood = || {
            for number in 0..300 {
                tracing::warn!(number, "the target \"a\" is {}", "far ".repeat(100));
            }
        };
        match shape {
            Shape::Human => {
                tracing::subscriber::with_default(registry.with(lines.with_target(false).with_ansi(true)), flood)
            }
            Shape::Json => {
                tracing::subscriber::with_default(registry.with(lines.json().flatten_event(true)), flood);
            }
        }
        queue.finish();
        drop(queue);
        written.iter().filter(|line| line.contains(LEFT_OUT)).last().expect("it is announced")
    }

    #[test]
    fn what_is_left_out_is_told_with_its_time_and_its_text() {
        let line: serde_json::Value = serde_json::from_str(&announcement(Shape::Json)).unwrap();
        let has_time = |time: &str| time.len() == "2026-01-01T00:00:00.000000Z".len() && time.ends_with('Z');
        assert!(line["timestamp"].as_str().is_some_and(has_time), "{line}");
        let text = line["text"].as_str().unwrap();
        assert!(text.starts_with("the target \"a\" is far ") && text.ends_with("..."), "{text}");
        assert_eq!((text.len(), line["level"].as_str()), (SAMPLE + 3, Some("WARN")));
        assert!(line["count"].as_u64().is_some_and(|count| (1..=250).contains(&count)), "{line}");
        let line = announcement(Shape::Human);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(has_time(time), "{line}");
        assert!(rest.starts_with(&format!(" WARN {LEFT_OUT} count=")), "{line}");
        assert!(rest.contains(" text=\"the target \\\"a\\\" is far far "), "{line}");
    }
}
