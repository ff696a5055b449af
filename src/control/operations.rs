//! What operators can make the process do, beside looking at it and reloading its configuration: drain, and log more or
//! less.
//!
//! The admin listener calls what is set here; whoever starts the gateway sets it, for a listener knows neither files nor
//! signals. What nobody has set is refused with 501.
//!
//! ```text
//! operations.on_drain(move || stop.notify_one());
//! operations.on_log_level(LogLevel { get: Box::new(...), set: Box::new(...) });
//! ```

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// How far the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not all workers are up.
    Starting = 0,
    /// All workers serve.
    Serving = 1,
    /// It takes no new clients, or soon will not.
    Draining = 2,
}

impl Phase {
    /// The phase in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        }
    }
}

/// How the level of the log is read and set.
pub struct LogLevel {
    /// The filter now, such as `info` or `info,tidegate::control=debug`.
    pub get: Box<dyn Fn() -> String + Send + Sync>,
    /// Sets it; what is wrong with it, otherwise.
    pub set: SetLevel,
}

type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The operations of one process, and how far it is. Each is set once.
#[derive(Default)]
pub struct Operations {
    phase: AtomicU8,
    drain: OnceLock<Box<dyn Fn() + Send + Sync>>,
    log_level: OnceLock<LogLevel>,
}

impl Operations {
    /// Says what begins to drain and to end the process. It returns at once, and may be called more than once.
    pub fn on_drain(&self, drain: impl Fn() + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.drain.set(Box::new(drain));
    }

    /// Says how the level of the log is read and set.
    pub fn on_log_level(&self, level: LogLevel) {
        let _ = self.log_level.set(level);
    }

    /// How far the process is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Takes note of how far the process is; it never goes back.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Begins to drain; false if nobody has said how.
    pub(super) fn drain(&self) -> bool {
        self.drain.get().map(|drain| drain()).is_some()
    }

    pub(super) fn log_level(&self) -> Option<&LogLevel> {
        self.log_level.get()
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Operations").field("phase", &self.phase()).finish_non_exhaustive()
    }
}
