//! Whether the access log keeps up with the workers, and what the operations log is told of it.
//!
//! The writer cannot say that it waits, for it waits. So the control thread looks at what is counted anyway; the workers
//! do nothing for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::sink::name;
use crate::policy::access_log::Output;
use crate::shard::Shared;
use crate::snapshot::publish::Published;

/// How often it is looked.
const TICK: Duration = Duration::from_secs(1);

/// The least time from one warning to the next: an output that is now and then too slow does not fill the log.
const BETWEEN: Duration = Duration::from_secs(10);

/// What was seen of it so far.
#[derive(Debug, Default)]
struct Flow {
    /// Lines that were dropped for want of room, and that were taken from the workers.
    dropped: u64,
    taken: u64,
    /// A warning stands: it was told, and that it is over was not.
    is_told: bool,
    /// When the last warning was told.
    told: Option<Instant>,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// So many lines were dropped since the last look.
    Dropped(u64),
    /// Lines go where they should.
    Flows,
}

impl Flow {
    /// Takes what is counted at `now`: lines that were dropped since the start, lines that the writer has taken and dealt
    /// with, and whether others wait for it.
    fn look(&mut self, dropped: u64, taken: u64, is_waited_for: bool, now: Instant) -> Option<News> {
        let lost = dropped.wrapping_sub(std::mem::replace(&mut self.dropped, dropped));
        let moved = std::mem::replace(&mut self.taken, taken) != taken;
        match (lost, self.is_told) {
            (1.., false) if self.told.is_none_or(|told| now.duration_since(told) >= BETWEEN) => {
                (self.is_told, self.told) = (true, Some(now));
                Some(News::Dropped(lost))
            }
            // Where nothing is dropped because nobody asks, the writer may wait as before.
            (0, true) if moved || !is_waited_for => {
                self.is_told = false;
                Some(News::Flows)
            }
            _ => None,
        }
    }
}

/// Looks at it for as long as it runs.
pub(in crate::control) async fn watch(published: Arc<Published>, shared: Arc<Shared>) {
    let mut flow = Flow::default();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let lines = &shared.access_log;
        let taken = lines.written.load(Ordering::Relaxed).wrapping_add(lines.failed.load(Ordering::Relaxed));
        let is_waited_for = lines.iter().any(|mailbox| mailbox.waiting() > 0);
        if let Some(news) = flow.look(lines.dropped(), taken, is_waited_for, Instant::now()) {
            tell(news, published.current().snapshot.access_log.as_ref().map(|log| &log.output));
        }
    }
}

fn tell(news: News, output: Option<&Output>) {
    let advice = match output {
        Some(Output::File(_)) => "see why the disk is slow, raise `queue` of the access log, or sample it",
        _ => "see whether who reads it still does, raise `queue` of the access log, or write to a file",
    };
    let output = output.map(name);
    match news {
        News::Dropped(lost) => tracing::warn!(
            output,
            lost,
            "the access log takes no more lines, for its output is too slow or blocked; lines are dropped, and counted in \
             tidegate_access_log_dropped_total, until it takes them; {advice}"
        ),
        News::Flows => tracing::info!(output, "the access log keeps up again: no more lines are dropped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_that_lines_are_dropped_and_once_that_they_flow() {
        let start = Instant::now();
        let mut flow = Flow::default();
        let steps = [
            // The second, lines dropped so far, lines taken so far, whether others wait, what is told.
            (0, 0, 5, true, None),
            (1, 7, 5, true, Some(News::Dropped(7))),
            (2, 900, 5, true, None),
            // Nobody asks, and the writer still waits.
            (3, 900, 5, true, None),
            (4, 900, 6, true, Some(News::Flows)),
            (5, 900, 9, false, None),
            // Too soon for another warning, which waits until something is dropped later.
            (6, 950, 9, true, None),
            (7, 950, 10, true, None),
            (11, 960, 11, true, Some(News::Dropped(10))),
            // All that waited was taken in the second in which the last line was dropped.
            (12, 961, 12, false, None),
            (13, 961, 12, false, Some(News::Flows)),
        ];
        for (second, dropped, taken, is_waited_for, told) in steps {
            let now = start + Duration::from_secs(second);
            assert_eq!(flow.look(dropped, taken, is_waited_for, now), told, "{second}");
        }
    }
}
