//! Everything that was counted, as text for Prometheus.
//!
//! Names and units are those that Prometheus advises: base units, `_total` for what only grows. Nothing is asked of the
//! workers: what they write, each for itself, is read and added up. What is counted of routes and services, and what the
//! kernel says, is put together on a thread of its own, which gives way to the workers where processors are short.
//!
//! Series of targets are those of the targets that there are now; a target that is gone takes its series with it, so
//! that their number is bounded by the configuration and the last answers of name servers.

mod process;
mod series;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;

use super::answer::{Answer, Problem};
use super::upstreams::{is_ejected, requests, usable};
use super::{Asked, Later, Views};
use crate::base::time::Instant;
use crate::control::aside::aside;
use crate::control::board::{Board, Service};
use crate::control::operations::LostLines;
use crate::control::resolve::Failure;
use crate::observe::counters::{Counter, sum};
use crate::pipeline::{Cut, Reject};
use crate::shard::Shared;
use crate::shard::census::Activity;
use crate::snapshot::publish::Edition;
use crate::upstream::endpoint::{Endpoint, Health};
pub(super) use text::Format;
use text::{Kind, Text};

/// All of it, for who asks. One asks at a time, for the text of many routes is long.
pub(super) fn metrics<'a>(views: &'a Views, asked: &'a Asked) -> Later<'a> {
    Box::pin(async {
        // Held by the thread that makes the text, even if who has asked does not wait for it.
        let turn = views.scrape.clone().lock_owned().await;
        let format = Format::of(&asked.accept);
        let mut text = Text::new(format);
        gateway(&mut text, &views.shared, &views.board, Instant::from_clock());
        let (edition, shared) = (views.published.current(), views.shared.clone());
        if let Some(lost) = views.operations.lost_lines() {
            log(&mut text, lost, &views.shared);
        }
        configuration(&mut text, &edition);
        // Ten thousand routes take a while.
        let whole = aside("metrics", move || {
            let _turn = turn;
            series::workers(&mut text, &shared, Instant::from_clock());
            process::process(&mut text);
            series::services(&mut text, &edition.service_series);
            series::routes(&mut text, &edition.route_series);
            text.finish()
        });
        Ok(Answer::text(format.kind(), whole.await.ok_or_else(failed)?))
    })
}

fn failed() -> Problem {
    let detail = "The text could not be made; the log says why.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics_failed", detail)
}

/// What is counted of the gateway as a whole, of services and of targets.
fn gateway(text: &mut Text, shared: &Shared, board: &Board, now: Instant) {
    for (counter, gauge, name, help) in Counter::ALL {
        text.family(name, if *gauge { Kind::Gauge } else { Kind::Counter }, help);
        text.series(name, &[], sum(&shared.counters, *counter));
    }
    let name = "tidegate_connections_by_state";
    text.family(name, Kind::Gauge, "Client connections open now, by what they do.");
    for activity in Activity::ALL {
        let count = shared.counters.iter().fold(0_u64, |sum, worker| sum.wrapping_add(worker.state(activity as usize)));
        text.series(name, &[("state", activity.name())], count);
    }
    let name = "tidegate_refusals_total";
    text.family(name, Kind::Counter, "Requests refused, by cause.");
    for (cause, code) in Reject::causes() {
        let count: u64 = shared.counters.iter().map(|worker| worker.refused(cause)).sum();
        text.series(name, &[("code", code)], count);
    }
    cuts(text, shared);
    services(text, board, now);
    targets(text, board, now);
    names(text, board, now);
    mailboxes(text, shared);
    let name = "tidegate_control_panics_total";
    text.family(name, Kind::Counter, "Tasks of the control thread that panicked and were begun anew.");
    text.series(name, &[], board.panics.load(Ordering::Relaxed));
    reloads(text, board);
    text.family("tidegate_build_info", Kind::Info, "The version that runs.");
    text.series("tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
}

/// Responses that were cut, and whatever took too long.
fn cuts(text: &mut Text, shared: &Shared) {
    let cut = |cut: Cut| shared.counters.iter().map(|worker| worker.were_cut(cut as usize)).sum::<u64>();
    let name = "tidegate_cuts_total";
    text.family(name, Kind::Counter, "Responses that were cut, by cause.");
    for cause in Cut::ALL {
        text.series(name, &[("code", cause.code())], cut(cause));
    }
    let refused = Reject::causes()
        .map(|(cause, code)| (code, shared.counters.iter().map(|worker| worker.refused(cause)).sum::<u64>()));
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in refused.chain(Cut::ALL.map(|cause| (cause.code(), cut(cause)))) {
        if let Some(kind) = code.strip_suffix("_timeout") {
            *kinds.entry(kind).or_default() += count;
        }
    }
    let name = "tidegate_timeouts_total";
    text.family(name, Kind::Counter, "Requests that were refused or cut because something took too long, by what did.");
    for (kind, count) in kinds {
        text.series(name, &[("kind", kind)], count);
    }
}

/// What was lost of the operations log.
fn log(text: &mut Text, lost: LostLines, shared: &Shared) {
    let name = "tidegate_log_dropped_total";
    text.family(name, Kind::Counter, "Lines of the operations log that were not written, by why.");
    let suppressed = lost.suppressed + shared.events.left_out();
    for (reason, count) in [("queue_full", lost.dropped), ("same_message", suppressed)] {
        text.series(name, &[("reason", reason)], count);
    }
}

/// What became of what workers had to tell: lines of the access log, and events for the operations log.
fn mailboxes(text: &mut Text, shared: &Shared) {
    let lines = &shared.access_log;
    let name = "tidegate_access_log_written_total";
    text.family(name, Kind::Counter, "Lines of the access log that were written.");
    text.series(name, &[], lines.written.load(Ordering::Relaxed));
    let name = "tidegate_access_log_dropped_total";
    text.family(name, Kind::Counter, "Lines of the access log that were not written, by why.");
    let (no_room, failed) = (lines.dropped(), lines.failed.load(Ordering::Relaxed));
    for (reason, count) in [("queue_full", no_room), ("write_failed", failed)] {
        text.series(name, &[("reason", reason)], count);
    }
    let name = "tidegate_events_queued";
    text.family(name, Kind::Gauge, "Log events that wait to be written.");
    text.series(name, &[], shared.events.len());
}

/// How large the configuration is that runs.
fn configuration(text: &mut Text, edition: &Edition) {
    let snapshot = &edition.snapshot;
    let gauges = [
        (
            "tidegate_config_edition",
            "The number of the configuration that runs, counted from 1 since the start.",
            edition.number,
        ),
        ("tidegate_config_routes", "Routes of the configuration that runs.", snapshot.routes.len() as u64),
        ("tidegate_config_services", "Services of the configuration that runs.", snapshot.services.len() as u64),
        ("tidegate_config_listeners", "Listeners of the configuration that runs.", snapshot.listeners.len() as u64),
        ("tidegate_workers", "Worker threads.", snapshot.gateway.workers as u64),
        (
            "tidegate_connections_limit",
            "Client connections that may be open.",
            (snapshot.gateway.workers * snapshot.gateway.connections_per_worker) as u64,
        ),
    ];
    for (name, help, value) in gauges {
        text.family(name, Kind::Gauge, help);
        text.series(name, &[], value);
    }
    let name = "tidegate_upstream_connections_limit";
    text.family(name, Kind::Gauge, "Connections that each target of the service may have; absent where none is set.");
    for service in &snapshot.services {
        if let Some(limit) = service.settings.pool.max_connections {
            text.series(name, &[("service", &service.name)], limit);
        }
    }
}

fn reloads(text: &mut Text, board: &Board) {
    let name = "tidegate_config_reloads_total";
    text.family(name, Kind::Counter, "Reloads, by how they went.");
    for (result, count) in ["succeeded", "refused"].into_iter().zip(board.reloads.counts()) {
        text.series(name, &[("result", result)], count);
    }
    let fault = board.reloads.fault();
    let name = "tidegate_config_last_reload_successful";
    text.family(name, Kind::Gauge, "0 if the last reload was refused, else 1.");
    text.series(name, &[], u64::from(fault.is_none()));
    let name = "tidegate_config_last_success_timestamp_seconds";
    text.family(name, Kind::Gauge, "When the configuration that runs was taken, in seconds since 1970.");
    text.series(name, &[], board.reloads.taken() / 1000);
    if let Some(fault) = fault {
        let name = "tidegate_config_refused_info";
        text.family(name, Kind::Info, "Why the last reload was refused.");
        text.series(name, &[("message", &fault)], 1);
    }
}

fn services(text: &mut Text, board: &Board, now: Instant) {
    type Read = fn(&Service, Instant) -> u64;
    let gauges: [(&str, &str, Read); 3] = [
        ("tidegate_upstream_endpoints", "Targets of the service.", |service, _| {
            service.members.endpoints().len() as u64
        }),
        (
            "tidegate_upstream_usable_endpoints",
            "Targets that are neither down nor drained nor ejected.",
            |service, now| usable(service, now) as u64,
        ),
        ("tidegate_upstream_waiting_requests", "Requests that wait for a connection to the service.", |service, _| {
            u64::from(service.members.waiting().len())
        }),
    ];
    for (name, help, read) in gauges {
        text.family(name, Kind::Gauge, help);
        for service in board.services().iter() {
            text.series(name, &[("service", service.name())], read(service, now));
        }
    }
    let services = board.services();
    let checked = || services.iter().filter(|service| service.checks().is_some());
    text.family("tidegate_health_checks_total", Kind::Counter, "Health checks, by how they went.");
    for service in checked() {
        let [passed, failed, _] = service.counts();
        for (result, count) in [("passed", passed), ("failed", failed)] {
            text.series("tidegate_health_checks_total", &[("service", service.name()), ("result", result)], count);
        }
    }
    text.family("tidegate_health_transitions_total", Kind::Counter, "Changes of what checks hold of a target.");
    for service in checked() {
        let [.., transitions] = service.counts();
        text.series("tidegate_health_transitions_total", &[("service", service.name())], transitions);
    }
}

fn targets(text: &mut Text, board: &Board, now: Instant) {
    type Read = fn(&Endpoint, Instant) -> u64;
    let families: [(&str, Kind, &str, Read); 7] = [
        (
            "tidegate_upstream_health",
            Kind::Gauge,
            "0 for a target that checks hold for down, else 1.",
            |endpoint, _| u64::from(endpoint.health() != Health::Down),
        ),
        (
            "tidegate_upstream_drained",
            Kind::Gauge,
            "1 for a target that an operator has drained, else 0.",
            |endpoint, _| u64::from(endpoint.is_drained()),
        ),
        ("tidegate_upstream_ejected", Kind::Gauge, "1 for a target that is ejected, else 0.", |endpoint, now| {
            u64::from(is_ejected(endpoint, now))
        }),
        ("tidegate_upstream_connections", Kind::Gauge, "Connections to the target.", |endpoint, _| {
            u64::from(endpoint.connections())
        }),
        ("tidegate_upstream_active_requests", Kind::Gauge, "Requests that the target is answering.", |endpoint, _| {
            requests(endpoint)[0]
        }),
        (
            "tidegate_upstream_succeeded_total",
            Kind::Counter,
            "Requests that the target has answered.",
            |endpoint, _| requests(endpoint)[1],
        ),
        (
            "tidegate_upstream_failed_total",
            Kind::Counter,
            "Requests that failed because of the target.",
            |endpoint, _| requests(endpoint)[2],
        ),
    ];
    let board = board.services();
    let services: Vec<_> = board.iter().map(|service| (service.name(), service.members.endpoints())).collect();
    for (name, kind, help, read) in families {
        text.family(name, kind, help);
        for (service, endpoints) in &services {
            for endpoint in endpoints.iter() {
                let address = endpoint.address().to_string();
                text.series(name, &[("service", service), ("target", &address)], read(endpoint, now));
            }
        }
    }
}

fn names(text: &mut Text, board: &Board, now: Instant) {
    text.family("tidegate_dns_queries_total", Kind::Counter, "Questions asked of name servers.");
    text.series("tidegate_dns_queries_total", &[], board.dns.queries());
    text.family(
        "tidegate_dns_failures_total",
        Kind::Counter,
        "Questions that were not answered with records, by cause.",
    );
    for (failure, reason) in Failure::ALL {
        text.series("tidegate_dns_failures_total", &[("reason", reason)], board.dns.failures(failure));
    }
    let name = "tidegate_dns_answer_age_seconds";
    text.family(name, Kind::Gauge, "Time since the name of a target was last answered with addresses.");
    for service in board.services().iter() {
        for source in service.sources().iter() {
            if let (Some(host), Some(at)) = (source.name(), source.state().answered) {
                text.series(name, &[("service", service.name()), ("name", host)], now.since(at).as_secs());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;

    use crate::upstream::members::Members;
    use crate::upstream::targets::{TargetAddress, TargetSpec};

    fn render(shared: &Shared, board: &Board, now: Instant) -> String {
        let mut text = Text::new(Format::Classic);
        gateway(&mut text, shared, board, now);
        text.finish()
    }

    fn board(targets: Vec<TargetAddress>) -> Board {
        let members = Arc::new(Members::new("users", 2));
        let targets = targets.into_iter().map(|address| TargetSpec { address, weight: 1 });
        let service = Service::new(members);
        service.configure(&targets.collect::<Vec<_>>(), None);
        service.use_what_is_known(Instant::from_clock());
        let board = Board::default();
        board.set_services(vec![Arc::new(service)]);
        board
    }

    #[test]
    fn every_series_stands_once_and_has_a_type() {
        let addresses = [SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2))];
        let board = board(addresses.into_iter().map(TargetAddress::Ip).collect());
        let shared = Shared::new(2);
        shared.counters[1].add(Counter::Requests, 3);
        shared.counters[0].refuse(Reject::NoRoute.cause());
        board.services()[0].members.endpoints()[1].tally(1).failed.store(7, Ordering::Relaxed);
        let text = render(&shared, &board, Instant::from_clock());
        assert!(text.contains("\ntidegate_requests_total 3\n"));
        assert!(text.contains("\ntidegate_refusals_total{code=\"no_route\"} 1\n"));
        assert!(text.contains("\ntidegate_upstream_endpoints{service=\"users\"} 2\n"));
        let target = addresses[1].to_string();
        let failed = format!("\ntidegate_upstream_failed_total{{service=\"users\",target=\"{target}\"}} 7\n");
        assert!(text.contains(&failed), "{text}");
        let mut series: Vec<&str> =
            text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').next().unwrap()).collect();
        let count = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), count, "a series stands twice");
        for name in series.iter().map(|name| name.split('{').next().unwrap()) {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
        }
    }

    #[test]
    fn labels_cannot_be_broken_out_of() {
        let board = board(vec![TargetAddress::Unix("/run/a\"b\\c\nd.sock".into())]);
        let text = render(&Shared::new(1), &board, Instant::from_clock());
        let line = "tidegate_upstream_health{service=\"users\",target=\"unix:/run/a\\\"b\\\\c\\nd.sock\"} 1\n";
        assert!(text.contains(line), "{text}");
    }
}
