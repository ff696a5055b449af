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
pub(crate) struct Throttle {
    kinds: HashMap<&'static str, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    suppressed: u64,
}

/// What the lines of events are found by.
pub(super) const TARGET: &str = "tidegate::events";

/// Writes events for as long as it runs.
pub(crate) async fn write_events(shared: Arc<Shared>) {
    let mut throttle = Throttle::default();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        write_all(&shared, &mut throttle);
    }
}

/// Writes the events that are waiting.
pub(crate) fn write_all(shared: &Shared, throttle: &mut Throttle) {
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

/// What to do about an event that the gateway's operator can do something about.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "connect_failed" => "see whether the target runs, and listens there",
        "connect_timeout" => "see whether the target is overloaded, or a firewall in between; or raise connect_timeout",
        "backend_closed" => {
            "see the target's own log; it may keep idle connections for less long than pool.idle_timeout"
        }
        "bad_response" | "bad_response_body" | "too_many_interim" | "wrong_upgrade" => {
            "the target breaks HTTP; see its own log, with this request's id"
        }
        "response_cut" => "see the target's own log, with this request's id",
        "send_timeout" | "first_byte_timeout" | "between_bytes_timeout" | "total_timeout" => {
            "see why the target is slow, or raise this timeout of the route or the service"
        }
        "no_target" => "see /health and /upstreams on the admin listener for why no target may be used",
        "queue_full" | "queue_timeout" => "add targets, or raise max_connections or queue of the service's pool",
        "target_ejected" => "see the target's own log; `ejection` of the service says when it is left out",
        "too_many_connections" => "raise connections_per_worker, or add workers or machines",
        "too_many_tunnels" => "raise `tunnels` in `upgrade` of the route",
        "exhausted" => "raise `ulimit -n`, or see what takes the ports or the memory",
        "proxy_untrusted" => "add the proxy to trusted_proxies, or connect to another listener",
        _ => return None,
    })
}

fn write(event: &Event, suppressed: u64) {
    let Event { code, detail, status, peer, target: endpoint, request, errno } = event;
    let request = request.as_ref().map(RequestId::as_str);
    let (peer, endpoint) = (peer.map(tracing::field::display), endpoint.map(tracing::field::display));
    let error = errno.map(std::io::Error::from_raw_os_error).map(tracing::field::display);
    let (advice, suppressed) = (advice(code), (suppressed > 0).then_some(suppressed));
    if status.is_some_and(|status| status < 500) {
        tracing::info!(target: TARGET, code, status, peer, endpoint, request, suppressed, advice, "{detail}");
    } else {
        tracing::warn!(target: TARGET, code, status, peer, endpoint, request, error, suppressed, advice, "{detail}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::{BodyError, HeadError};
    use crate::pipeline::{Cut, Reject};

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

    #[test]
    fn whatever_is_not_the_client_s_doing_has_advice() {
        let mut clients = vec!["bad_path", "head_timeout", "body_timeout", "body_too_large", "no_route"];
        clients.push("method_not_allowed");
        clients.extend(HeadError::ALL.iter().map(|error| error.code()));
        clients.extend(BodyError::ALL.iter().map(|error| error.code()));
        for (_, code) in Reject::causes() {
            assert_eq!(advice(code).is_some(), !clients.contains(&code), "{code}");
        }
        for cut in [Cut::Broken, Cut::Stalled, Cut::Late] {
            assert!(advice(cut.code()).is_some(), "{}", cut.code());
        }
    }
}
