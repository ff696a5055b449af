//! What operators can make the process do that is no business of the control thread: to log more or less. And what they
//! can ask of it: how many lines of the log were lost.
//!
//! The admin listener calls what is set here; whoever has set up the log sets it. What nobody has set is refused with 501,
//! or is not among the metrics.
//!
//! ```text
//! gateway.operations().on_log_level(LogLevel { get: Box::new(...), set: Box::new(...) });
//! ```

use std::fmt;
use std::sync::OnceLock;

/// How the level of the log is read and set.
pub struct LogLevel {
    /// The filter now, such as `info` or `info,tidegate::control=debug`.
    pub get: Box<dyn Fn() -> String + Send + Sync>,
    /// Sets it; what is wrong with it, otherwise.
    pub set: SetLevel,
}

/// Lines of the log that nobody has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostLines {
    /// There was no room for them.
    pub dropped: u64,
    /// There were too many of the same message.
    pub suppressed: u64,
}

type LookUpLost = Box<dyn Fn() -> LostLines + Send + Sync>;

type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The operations of one process. Each is set once.
#[derive(Default)]
pub struct Operations {
    log_level: OnceLock<LogLevel>,
    lost_lines: OnceLock<LookUpLost>,
}

impl Operations {
    /// Says how the level of the log is read and set.
    pub fn on_log_level(&self, level: LogLevel) {
        // The first one stays.
        let _ = self.log_level.set(level);
    }

    /// Says how many lines of the log were lost since the start.
    pub fn on_lost_lines(&self, look_up: impl Fn() -> LostLines + Send + Sync + 'static) {
        // The first one stays.
        let _ = self.lost_lines.set(Box::new(look_up));
    }

    pub(super) fn lost_lines(&self) -> Option<LostLines> {
        self.lost_lines.get().map(|look_up| look_up())
    }

    pub(super) fn log_level(&self) -> Option<&LogLevel> {
        self.log_level.get()
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Operations").finish_non_exhaustive()
    }
}
