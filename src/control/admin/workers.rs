//! The workers and their client connections: `/workers` and `/connections`.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Answer;
use super::schema::{list, object, or_null, share, text, whole, word};
use super::upstreams::millis;
use super::{Answered, Asked, Later, Views};
use crate::base::time::Instant;
use crate::observe::counters::Counter;
use crate::shard::census::{Listed, Report};

/// How long workers get to tell of their connections.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(2);

/// How each worker is doing.
pub(super) fn workers(views: &Views, _: &Asked) -> Answered {
    let now = Instant::from_clock();
    let workers = views.shared.counters.iter().enumerate().map(|(index, counters)| {
        let said = counters.pulse.last();
        json!({
            "worker": index,
            "driver": counters.pulse.driver(),
            "connections": counters.get(Counter::ConnectionsOpen),
            "tunnels": counters.get(Counter::TunnelsOpen),
            "requests": counters.get(Counter::Requests),
            "panics": counters.get(Counter::Panics),
            "events_dropped": counters.get(Counter::EventsDropped),
            "said_ago_ms": said.map(|said| millis(now.since(said.at))),
            "busy": said.map(|said| said.busy),
            "cpu_ms": said.map(|said| millis(said.beat.cpu)),
            "wake_ups": said.map(|said| said.beat.wake_ups),
            "tasks": said.map(|said| said.beat.tasks),
            "timers": said.map(|said| said.beat.timers),
            "sockets": said.map(|said| said.beat.sockets),
            "buffers": said.map(|said| said.beat.buffers),
        })
    });
    let workers: Vec<Value> = workers.collect();
    Ok(Answer::json(&json!({ "workers": workers, "events_waiting": views.shared.events.len() })))
}

/// The open client connections: how many, and some of them.
pub(super) fn connections<'a>(views: &'a Views, asked: &'a Asked) -> Later<'a> {
    Box::pin(async {
        // One question at a time: a worker has one place for its answer.
        let _turn = views.census.lock().await;
        let most = usize::try_from(asked.number("limit")).unwrap_or(usize::MAX);
        let reports = ask_all(views, most).await;
        let now = Instant::from_clock();
        let mut listed = Vec::new();
        let workers = reports.iter().enumerate().map(|(index, report)| {
            let known = views.shared.counters[index].get(Counter::ConnectionsOpen);
            let mut by_listener = Vec::new();
            if let Some(report) = report {
                let room = most - most.min(listed.len());
                listed.extend(report.connections.iter().take(room).map(|one| show(index, one, now)));
                by_listener
                    .extend(report.by_listener.iter().map(|(name, open)| json!({ "listener": name, "open": open })));
            }
            let open = report.as_ref().map_or(known, |report| report.open as u64);
            json!({ "worker": index, "open": open, "answered": report.is_some(), "by_listener": by_listener })
        });
        let workers: Vec<Value> = workers.collect();
        let open: u64 = workers.iter().filter_map(|worker| worker["open"].as_u64()).sum();
        Ok(Answer::json(&json!({ "open": open, "workers": workers, "connections": listed })))
    })
}

/// What each worker has told, where it has in time.
async fn ask_all(views: &Views, most: usize) -> Vec<Option<Report>> {
    let desks = &views.shared.desks;
    desks.iter().for_each(|desk| desk.ask(most));
    views.shared.wake_workers();
    let mut reports: Vec<Option<Report>> = vec![None; desks.len()];
    let all = async {
        loop {
            for (report, desk) in reports.iter_mut().zip(desks) {
                if report.is_none() {
                    *report = desk.take();
                }
            }
            if reports.iter().all(Option::is_some) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    // Those that have not told yet are shown without.
    let _ = tokio::time::timeout(PATIENCE, all).await;
    reports
}

fn show(worker: usize, listed: &Listed, now: Instant) -> Value {
    json!({
        "worker": worker,
        "peer": listed.peer.map(|peer| peer.to_string()),
        "listener": listed.listener,
        "open_for_ms": millis(now.since(listed.since)),
        "requests": listed.requests,
        "activity": listed.activity.name(),
    })
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let once = |schema: Value| or_null(schema, "the worker has not said anything yet, which it does once a second");
    let worker = object(&[
        ("worker", whole("its number")),
        ("driver", or_null(word(&["io_uring", "epoll", "memory"]), "it is not up yet")),
        ("connections", whole("client connections open")),
        ("tunnels", whole("of them, those that were switched to another protocol")),
        ("requests", whole("requests that have begun")),
        ("panics", whole("tasks that have panicked")),
        ("events_dropped", whole("log events that were lost because the queue was full")),
        ("said_ago_ms", once(whole("how long ago it has said what follows; more than a few seconds: it hangs"))),
        ("busy", once(share("of the second before, how much its thread has used a processor"))),
        ("cpu_ms", once(whole("processor time of its thread"))),
        ("wake_ups", once(whole("how often it has gone to sleep for want of work"))),
        ("tasks", once(whole("tasks that live"))),
        ("timers", once(whole("timers that are armed"))),
        ("sockets", once(whole("streams and listeners"))),
        ("buffers", once(whole("receive buffers in use"))),
    ]);
    let by_listener = object(&[("listener", text("its name")), ("open", whole("its connections"))]);
    let of_worker = object(&[
        ("worker", whole("its number")),
        ("open", whole("its connections")),
        (
            "answered",
            json!({ "type": "boolean", "description": "false: it did not answer in time; only `open` is known" }),
        ),
        ("by_listener", list(by_listener)),
    ]);
    let connection = object(&[
        ("worker", whole("who has it")),
        ("peer", or_null(text("address and port of the other side"), "not known any more")),
        ("listener", or_null(text("by which it has come"), "that is gone")),
        ("open_for_ms", whole("since it was accepted")),
        ("requests", whole("that have begun")),
        ("activity", word(&["idle", "request", "tunnel", "ending"])),
    ]);
    vec![
        ("Workers", object(&[("workers", list(worker)), ("events_waiting", whole("log events in the queue"))])),
        (
            "Connections",
            object(&[
                ("open", whole("of all workers")),
                ("workers", list(of_worker)),
                ("connections", list(connection)),
            ]),
        ),
    ]
}
