//! The operations log: what the process has to tell those who run it, on standard error.
//!
//! On a terminal it is written for people, otherwise a line is an object of JSON. `TIDEGATE_LOG` is how much is told from
//! the start, such as `debug`, or `info,tidegate::control=debug`; [`LogHandle::set_level`] changes it later.
//!
//! Nobody waits for who reads it: lines go through a bounded queue to a thread that writes them ([`Log`]). If the queue
//! is full, lines are dropped, and their number is told once there is room again. Of one message, which is one place in
//! the code, a second has at most 50 lines; how many were left out, and what they said, is told when the second is over.
//! Of the workers' events, each kind has 10.
//! A panic is a line like all others.

mod events;
mod limit;
mod queue;

use std::ffi::OsStr;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt as format, reload};

use super::operations::{LogLevel, LostLines};
pub(super) use events::{Throttle, write_events, write_last};
use queue::{Lines, Queue, Shape};

/// How much is told where nothing else is said.
const DEFAULT_LEVEL: &str = "info";

/// The variable of the environment that says how much is told from the start.
const VARIABLE: &str = "TIDEGATE_LOG";

/// What is told of lines that have no place in the log, beside their number and the text of one of them.
const LEFT_OUT: &str = "lines were left out, for there were too many of the same message";

/// The log, for as long as it is kept. Dropped, it writes what has come, and waits for that, but not for ever.
#[derive(Debug)]
#[must_use = "lines are lost that are written after its end"]
pub struct Log {
    handle: LogHandle,
}

/// What the log can be asked and told.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    queue: Arc<Queue>,
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LogHandle").field("level", &self.level()).finish_non_exhaustive()
    }
}

/// Begins the log of this process. To be called once, before anything is logged.
pub fn start() -> Log {
    let written = std::env::var(VARIABLE).unwrap_or_default();
    let wanted = if written.is_empty() { DEFAULT_LEVEL } else { &written };
    let (level, fault) = match filter(wanted) {
        Ok(level) => (level, None),
        Err(fault) => (EnvFilter::new(DEFAULT_LEVEL), Some(fault)),
    };
    let (level, filter) = reload::Layer::new(level);
    let shape = if std::io::stderr().is_terminal() { Shape::Human } else { Shape::Json };
    let queue = Queue::start(std::io::stderr(), shape);
    let lines = format::layer().with_writer(Lines(queue.clone()));
    let registry = tracing_subscriber::registry().with(level);
    match shape {
        Shape::Human => registry.with(lines.with_target(false).with_ansi(wants_color())).init(),
        Shape::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    std::panic::set_hook(Box::new(tell_panic));
    if let Some(fault) = fault {
        tracing::warn!("{VARIABLE} is wrong: {fault}; it is `{DEFAULT_LEVEL}` for now");
    }
    Log { handle: LogHandle { filter, queue } }
}

/// Whether people want colours where they could be shown: not if `NO_COLOR` is set to anything (<https://no-color.org>).
#[must_use]
pub fn wants_color() -> bool {
    wants_color_with(std::env::var_os("NO_COLOR").as_deref())
}

fn wants_color_with(no_color: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty)
}

impl Log {
    /// What the log can be asked and told.
    #[must_use]
    pub fn handle(&self) -> &LogHandle {
        &self.handle
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.handle.queue.finish();
    }
}

impl LogHandle {
    /// How much is told, such as `info`.
    #[must_use]
    pub fn level(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Changes how much is told: `error`, `warn`, `info`, `debug`, `trace` or `off`, and for parts of the program
    /// something else, as in `info,tidegate::control=debug`.
    ///
    /// # Errors
    /// What is wrong with `level`, and what to write instead.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = filter(level)?;
        self.filter.reload(filter).map_err(|error| format!("the log is gone: {error}"))
    }

    /// The same for operators, see [`Operations::on_log_level`](super::operations::Operations::on_log_level).
    #[must_use]
    pub fn operation(&self) -> LogLevel {
        let (get, set) = (self.clone(), self.clone());
        LogLevel { get: Box::new(move || get.level()), set: Box::new(move |level| set.set_level(level)) }
    }

    /// Lines that nobody has seen.
    #[must_use]
    pub fn lost(&self) -> LostLines {
        LostLines { dropped: self.queue.dropped(), suppressed: self.queue.suppressed() }
    }
}

/// What there is for levels.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter that `text` describes. What tracing would take for the name of a part of the program, although it was meant
/// for a level, is an error: it would switch everything else off.
fn filter(text: &str) -> Result<EnvFilter, String> {
    const HELP: &str = "write off, error, warn, info, debug or trace, or such as info,tidegate::control=debug";
    let is_level = |text: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text));
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    for part in &parts {
        let (name, level) = part.rsplit_once('=').unwrap_or(("tidegate", part));
        if !is_level(level) {
            return Err(format!("there is no level `{level}`; {HELP}"));
        }
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')) {
            return Err(format!("no part of the program is named `{name}`; {HELP}"));
        }
    }
    EnvFilter::try_new(parts.join(",")).map_err(|error| format!("`{text}` cannot be read: {error}; {HELP}"))
}

/// Logs a panic; without it, the one who panics would write to standard error himself, and wait for who reads it.
fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = matches!(backtrace.status(), std::backtrace::BacktraceStatus::Captured).then_some(backtrace);
    let backtrace = backtrace.as_ref().map(tracing::field::display);
    tracing::error!(
        place,
        thread,
        backtrace,
        "a panic, which is a fault of Tidegate: {message}; please report it, with a backtrace from RUST_BACKTRACE=1"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_would_switch_everything_off_are_errors() {
        for good in ["info", "DEBUG", "off", "warn,tidegate::control=debug", "info, tidegate=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (bad, named) in
            [("inof", "inof"), ("", ""), ("info,", ""), ("tidegate=loud", "loud"), ("tidegate", "tidegate")]
        {
            let fault = filter(bad).expect_err("it is wrong");
            assert!(fault.starts_with(&format!("there is no level `{named}`; write off, error, warn, ")), "{fault}");
        }
        for bad in ["=info", "tide gate=info", "[span]=info"] {
            assert!(filter(bad).expect_err("it is wrong").starts_with("no part of the program is named"), "{bad}");
        }
    }

    #[test]
    fn no_color_switches_colours_off() {
        for (value, wanted) in [(None, true), (Some(""), true), (Some("1"), false), (Some("0"), false)] {
            assert_eq!(wants_color_with(value.map(OsStr::new)), wanted, "{value:?}");
        }
    }

    #[test]
    fn the_level_can_be_changed_while_it_is_used() {
        let (level, filter) = reload::Layer::new(EnvFilter::new("info"));
        let handle = LogHandle { filter, queue: Queue::start(std::io::sink(), Shape::Json) };
        let lines = format::layer().with_writer(Lines(handle.queue.clone()));
        let subscriber = tracing_subscriber::registry().with(level).with(lines);
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::enabled!(tracing::Level::INFO) && !tracing::enabled!(tracing::Level::DEBUG));
            handle.set_level("debug").unwrap();
            assert!(tracing::enabled!(tracing::Level::DEBUG));
            assert_eq!(handle.level(), "debug");
            assert!(handle.set_level("loud").is_err() && handle.level() == "debug");
        });
    }
}
