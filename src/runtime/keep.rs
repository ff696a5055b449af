//! Tasks that a worker cannot do without: they are begun anew when they have panicked.
//!
//! A connection's task that panics takes its connection with it, and that is the end of it. The tasks that look after
//! pools, lines and counters have no successor: without them a worker goes on, and gets worse from minute to minute.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::Handle;
use super::executor::message;

impl Handle {
    /// Runs what `make` makes as a task of its own, until it ends by itself. A panic in it or in `make` is
    /// counted and logged as one of `name`, and after `pause` another is made: what fails at once fails again and again,
    /// but not more often than that.
    pub fn keep<F>(&self, name: &'static str, pause: Duration, make: impl Fn() -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let handle = self.clone();
        self.spawn(async move {
            while let Err(message) = attempt(&make).await {
                handle.core.panics.set(handle.core.panics.get() + 1);
                tracing::error!(%message, task = name, "a task of the worker panicked, which is a fault of Tidegate; it is begun anew in {pause:?}; please report it");
                handle.sleep(pause).await;
            }
        });
    }
}

/// Makes a task and waits for its end, which may be a panic; that one's message comes out.
async fn attempt<F: Future<Output = ()>>(make: impl Fn() -> F) -> Result<(), String> {
    // Of an async block that has ended, either way, nothing is left whose drop could panic outside.
    let mut work = pin!(async { make().await });
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(message(panic.as_ref()))),
    })
    .await
}
