//! How a worker thread itself is doing: written by it once a second, read by whoever asks.
//!
//! A worker that hangs writes nothing, so the time of the last word says as much as the words.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::time::Instant;

/// What one worker says of itself.
#[derive(Debug, Default)]
pub struct Pulse {
    driver: OnceLock<&'static str>,
    /// When it was written, in nanoseconds of the monotonic clock; zero for never.
    at: AtomicU64,
    /// In nanoseconds.
    cpu: AtomicU64,
    /// In thousandths.
    busy: AtomicU64,
    wake_ups: AtomicU64,
    tasks: AtomicU64,
    timers: AtomicU64,
    sockets: AtomicU64,
    buffers: AtomicU64,
}

/// What a worker holds on to, and has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Processor time that its thread has used.
    pub cpu: Duration,
    /// How often it has gone to sleep for want of work.
    pub wake_ups: u64,
    /// Tasks that live.
    pub tasks: u64,
    /// Timers that are armed.
    pub timers: u64,
    /// Streams and listeners.
    pub sockets: u64,
    /// Receive buffers in use.
    pub buffers: u64,
}

/// What was last said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// When.
    pub at: Instant,
    /// The share of the time since the word before in which the thread has used a processor, from 0 to 1.
    pub busy: f64,
    /// The rest of it.
    pub beat: Beat,
}

impl Pulse {
    /// Says how the worker speaks to the kernel; only the first time counts.
    pub fn set_driver(&self, name: &'static str) {
        let _ = self.driver.set(name);
    }

    /// How the worker speaks to the kernel.
    #[must_use]
    pub fn driver(&self) -> Option<&'static str> {
        self.driver.get().copied()
    }

    /// Writes a beat down. Only the owning worker may call this.
    pub fn beat(&self, beat: Beat, now: Instant) {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let (before, cpu) = (Instant::from_nanos(self.at.load(Ordering::Relaxed)), nanos(beat.cpu));
        let (used, passed) = (cpu.saturating_sub(self.cpu.load(Ordering::Relaxed)), nanos(now.since(before)));
        // The clock of processor time is a little ahead at times.
        let busy = if before == Instant::ZERO { 0 } else { (used.saturating_mul(1000) / passed.max(1)).min(1000) };
        let Beat { wake_ups, tasks, timers, sockets, buffers, .. } = beat;
        for (place, value) in [
            (&self.cpu, cpu),
            (&self.busy, busy),
            (&self.wake_ups, wake_ups),
            (&self.tasks, tasks),
            (&self.timers, timers),
            (&self.sockets, sockets),
            (&self.buffers, buffers),
            (&self.at, now.as_nanos()),
        ] {
            place.store(value, Ordering::Relaxed);
        }
    }

    /// What was last said, if anything was.
    #[must_use]
    pub fn last(&self) -> Option<Said> {
        let load = |place: &AtomicU64| place.load(Ordering::Relaxed);
        let at = Instant::from_nanos(load(&self.at));
        let beat = Beat {
            cpu: Duration::from_nanos(load(&self.cpu)),
            wake_ups: load(&self.wake_ups),
            tasks: load(&self.tasks),
            timers: load(&self.timers),
            sockets: load(&self.sockets),
            buffers: load(&self.buffers),
        };
        (at > Instant::ZERO).then(|| Said { at, busy: load(&self.busy) as f64 / 1000.0, beat })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_busy_for_the_share_of_the_time_that_it_has_used() {
        let (pulse, second) = (Pulse::default(), Duration::from_secs(1));
        let start = Instant::from_nanos(5_000_000_000);
        assert_eq!((pulse.last(), pulse.driver()), (None, None));
        let beat = |cpu: Duration| Beat { cpu, wake_ups: 7, ..Beat::default() };
        pulse.beat(beat(second), start);
        assert_eq!(pulse.last(), Some(Said { at: start, busy: 0.0, beat: beat(second) }), "nothing to compare with");
        pulse.beat(beat(second + second / 4), start + second);
        assert_eq!(pulse.last().map(|said| said.busy), Some(0.25));
        pulse.beat(beat(second * 9), start + second * 2);
        assert_eq!(pulse.last().map(|said| said.busy), Some(1.0), "never more than all of it");
        pulse.set_driver("epoll");
        pulse.set_driver("another");
        assert_eq!(pulse.driver(), Some("epoll"));
    }
}
