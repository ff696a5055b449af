//! Writes the workers' events to the log, but no flood of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::LEFT_OUT;
use crate::base::request_id::RequestId;
use crate::observe::events::Event;
use crate::shard::Shared;

/// How often the queue is emptied.
const TICK: Duration = Duration::from_millis(50);

/// Lines of one kind in one second; the others are counted, and told of when it is over.
const PER_SECOND: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// How many lines of each kind were written in the current second.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    kinds: HashMap<&'static str, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    /// Events that have no line, and that nobody has been told of.
    left_out: u64,
    /// What the last of them had to say.
    detail: &'static str,
}

/// Events of one kind that have no line.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    code: &'static str,
    detail: &'static str,
    count: u64,
}

/// What the lines of events are found by.
pub(super) const TARGET: &str = "tidegate::events";

/// Writes events for as long as it runs. What it has left out when it is stopped is in `throttle`.
pub(crate) async fn write_events(shared: Arc<Shared>, throttle: Arc<Mutex<Throttle>>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tick.tick().await;
        let mut throttle = throttle.lock().unwrap_or_else(PoisonError::into_inner);
        write_waiting(&shared, &mut throttle);
        let now = Instant::now();
        throttle.settle(|window| now.duration_since(window.began) >= SECOND).iter().for_each(announce);
    }
}

/// Writes the events that are waiting at the end of the process, which does not wait for a second to be over.
pub(crate) fn write_last(shared: &Shared, throttle: &Mutex<Throttle>) {
    let mut throttle = throttle.lock().unwrap_or_else(PoisonError::into_inner);
    write_waiting(shared, &mut throttle);
    throttle.settle(|_| true).iter().for_each(announce);
}

fn write_waiting(shared: &Shared, throttle: &mut Throttle) {
    while let Some(event) = shared.events.pop() {
        if throttle.admit(&event, Instant::now()) {
            write(&event);
        } else {
            shared.events.leave_out();
        }
    }
}

impl Throttle {
    /// Whether this event may have a line now.
    fn admit(&mut self, event: &Event, now: Instant) -> bool {
        let new = Window { began: now, written: 0, left_out: 0, detail: event.detail };
        let window = self.kinds.entry(event.code).or_insert(new);
        if now.duration_since(window.began) >= SECOND {
            (window.began, window.written) = (now, 0);
        }
        if window.written == PER_SECOND {
            window.left_out += 1;
            window.detail = event.detail;
            return false;
        }
        window.written += 1;
        true
    }

    /// What was left out of windows that are over, and nobody has been told of; it is taken for told.
    fn settle(&mut self, is_over: impl Fn(&Window) -> bool) -> Vec<LeftOut> {
        let over = self.kinds.iter_mut().filter(|(_, window)| window.left_out > 0 && is_over(window));
        let left_out = |(code, window): (&&'static str, &mut Window)| {
            let count = std::mem::take(&mut window.left_out);
            LeftOut { code, detail: window.detail, count }
        };
        over.map(left_out).collect()
    }
}

/// Tells how many events of one kind have no line.
fn announce(left_out: &LeftOut) {
    let LeftOut { code, detail, count } = left_out;
    tracing::warn!(target: TARGET, code, count, text = detail, "{LEFT_OUT}");
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
        "drain_timeout" => "see why it takes so long, or raise `drain_timeout` of the gateway",
        "too_many_connections" => "raise connections_per_worker, or add workers or machines",
        "too_many_tunnels" => "raise `tunnels` in `upgrade` of the route",
        "exhausted" => "raise `ulimit -n`, or see what takes the ports or the memory",
        "proxy_untrusted" => "add the proxy to trusted_proxies, or connect to another listener",
        _ => return None,
    })
}

fn write(event: &Event) {
    let Event { code, detail, status, peer, target: endpoint, request, errno } = event;
    let request = request.as_ref().map(RequestId::as_str);
    let (peer, endpoint) = (peer.map(tracing::field::display), endpoint.map(tracing::field::display));
    let error = errno.map(std::io::Error::from_raw_os_error).map(tracing::field::display);
    let advice = advice(code);
    if status.is_some_and(|status| status < 500) {
        tracing::info!(target: TARGET, code, status, peer, endpoint, request, advice, "{detail}");
    } else {
        tracing::warn!(target: TARGET, code, status, peer, endpoint, request, error, advice, "{detail}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::{BodyError, HeadError};
    use crate::pipeline::{Cut, Reject};

    #[test]
    fn a_flood_is_counted_and_told_of_once_its_second_is_over() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let event = |code| Event { code, detail: "what has happened", ..Event::default() };
        let written = (0..100).filter(|_| throttle.admit(&event("a"), start)).count();
        assert_eq!(written, PER_SECOND as usize);
        assert!(throttle.admit(&event("b"), start), "another kind has a count of its own");
        assert_eq!(throttle.settle(|_| false), [], "the second is not over");
        let told = LeftOut { code: "a", detail: "what has happened", count: 90 };
        assert_eq!(throttle.settle(|_| true), [told]);
        assert_eq!(throttle.settle(|_| true), [], "it is told once");
        assert!(throttle.admit(&event("a"), start + SECOND));
    }

    #[test]
    fn events_without_a_line_are_counted() {
        let shared = Shared::new(1);
        for _ in 0..100 {
            assert!(shared.events.push(Event { code: "no_route", status: Some(404), ..Event::default() }));
        }
        write_last(&shared, &Mutex::default());
        assert_eq!(shared.events.left_out(), 90);
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
        for cut in [Cut::Broken, Cut::Stalled, Cut::Late, Cut::Drain] {
            assert!(advice(cut.code()).is_some(), "{}", cut.code());
        }
    }
}
