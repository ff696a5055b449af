//! What operators can make the process do that is no business of the control thread: to log more or less.
//!
//! The admin listener calls what is set here; whoever has set up the log sets it. What nobody has set is refused with 501.
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

type SetLevel = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The operations of one process. Each is set once.
#[derive(Default)]
pub struct Operations {
    log_level: OnceLock<LogLevel>,
}

impl Operations {
    /// Says how the level of the log is read and set.
    pub fn on_log_level(&self, level: LogLevel) {
        // The first one stays.
        let _ = self.log_level.set(level);
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
