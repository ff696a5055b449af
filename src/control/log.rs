//! Writes the workers' events to the log, but no flood of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::request_id::RequestId;
use crate::observe::events::Event;
use crate::shard::Shared;

/// How often the queue is emptied.
const TICK: Duration = Duration::from_millis(50);

/// Lines of one kind in one second; the others are counted.
const PER_SECOND: u32 = 10;

/// How many lines of each kind were written in the current second.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    kinds: HashMap<&'static str, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    suppressed: u64,
}

/// Writes events for as long as it runs.
pub(super) async fn write_events(shared: Arc<Shared>) {
    let mut throttle = Throttle::default();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        write_all(&shared, &mut throttle);
    }
}

/// Writes the events that are waiting.
pub(super) fn write_all(shared: &Shared, throttle: &mut Throttle) {
    while let Some(event) = shared.events.pop() {
        if let Some(suppressed) = throttle.admit(event.code, Instant::now()) {
            write(&event, suppressed);
        }
    }
}

impl Throttle {
    /// Whether a line of this kind may be written now, and how many were suppressed before it.
    fn admit(&mut self, code: &'static str, now: Instant) -> Option<u64> {
        let window = self.kinds.entry(code).or_insert(Window { began: now, written: 0, suppressed: 0 });
        if now.duration_since(window.began) >= Duration::from_secs(1) {
            (window.began, window.written) = (now, 0);
        }
        if window.written == PER_SECOND {
            window.suppressed += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

fn write(event: &Event, suppressed: u64) {
    let Event { code, detail, status, peer, request, errno } = event;
    let request = request.as_ref().map(RequestId::as_str);
    let peer = peer.map(tracing::field::display);
    let error = errno.map(std::io::Error::from_raw_os_error).map(tracing::field::display);
    let suppressed = (suppressed > 0).then_some(suppressed);
    if status.is_some_and(|status| status < 500) {
        tracing::info!(code, status, peer, request, suppressed, "{detail}");
    } else {
        tracing::warn!(code, status, peer, request, error, suppressed, "{detail}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_said_once_it_is_over() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let written = (0..100).filter(|_| throttle.admit("a", start).is_some()).count();
        assert_eq!(written, PER_SECOND as usize);
        assert_eq!(throttle.admit("b", start), Some(0), "another kind has a count of its own");
        let later = start + Duration::from_secs(1);
        assert_eq!(throttle.admit("a", later), Some(90));
        assert_eq!(throttle.admit("a", later), Some(0));
    }
}
