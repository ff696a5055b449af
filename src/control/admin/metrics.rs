//! Everything that was counted, as text (Prometheus exposition format 0.0.4).
//!
//! Series of targets are those of the targets that there are now; a target that is gone takes its series with it, so
//! that their number is bounded by the configuration and the last answers of name servers.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::answer::Answer;
use super::upstreams::{is_ejected, requests, usable};
use super::{Answered, Asked, Views};
use crate::base::time::Instant;
use crate::control::board::{Board, Service};
use crate::control::resolve::Failure;
use crate::observe::counters::{Counter, sum};
use crate::pipeline::Reject;
use crate::shard::Shared;
use crate::upstream::endpoint::{Endpoint, Health};

/// The media type of the text.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of it, for who asks.
pub(super) fn metrics(views: &Views, _: &Asked) -> Answered {
    Ok(Answer::text(KIND, render(&views.shared, &views.board, Instant::from_clock())))
}

/// The text while it grows.
struct Text(String);

impl Text {
    /// Begins a family of series.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// One series.
    fn series(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let mut list = String::new();
        for (at, (label, value)) in labels.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(list, "{separator}{label}=\"{}\"", escape(value));
        }
        match labels {
            [] => self.line(format_args!("{name} {value}")),
            _ => self.line(format_args!("{name}{{{list}}} {value}")),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.0.write_fmt(format_args!("{line}\n"));
    }
}

/// A value of a label, with what would end it escaped.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// All of it.
pub(super) fn render(shared: &Shared, board: &Board, now: Instant) -> String {
    let mut text = Text(String::new());
    for (counter, gauge, name, help) in Counter::ALL {
        text.family(name, if *gauge { "gauge" } else { "counter" }, help);
        text.series(name, &[], sum(&shared.counters, *counter));
    }
    let name = "tidegate_refusals_total";
    text.family(name, "counter", "Requests refused, by cause.");
    for (cause, code) in Reject::causes() {
        let count: u64 = shared.counters.iter().map(|worker| worker.refused(cause)).sum();
        text.series(name, &[("code", code)], count);
    }
    services(&mut text, board, now);
    targets(&mut text, board, now);
    names(&mut text, board, now);
    let name = "tidegate_control_panics_total";
    text.family(name, "counter", "Tasks of the control thread that panicked and were begun anew.");
    text.series(name, &[], board.panics.load(Ordering::Relaxed));
    reloads(&mut text, board);
    access_log(&mut text, shared);
    text.family("tidegate_build_info", "gauge", "The version that runs.");
    text.series("tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.0
}

fn access_log(text: &mut Text, shared: &Shared) {
    let lines = &shared.access_log;
    let name = "tidegate_access_log_written_total";
    text.family(name, "counter", "Lines of the access log that were written.");
    text.series(name, &[], lines.written.load(Ordering::Relaxed));
    let name = "tidegate_access_log_dropped_total";
    text.family(name, "counter", "Lines of the access log that were not written, by why.");
    let (no_room, failed) = (lines.dropped(), lines.failed.load(Ordering::Relaxed));
    for (reason, count) in [("queue_full", no_room), ("write_failed", failed)] {
        text.series(name, &[("reason", reason)], count);
    }
}

fn reloads(text: &mut Text, board: &Board) {
    let name = "tidegate_config_reloads_total";
    text.family(name, "counter", "Reloads, by how they went.");
    for (result, count) in ["succeeded", "refused"].into_iter().zip(board.reloads.counts()) {
        text.series(name, &[("result", result)], count);
    }
    let fault = board.reloads.fault();
    let name = "tidegate_config_last_reload_successful";
    text.family(name, "gauge", "0 if the last reload was refused, else 1.");
    text.series(name, &[], u64::from(fault.is_none()));
    let name = "tidegate_config_last_success_timestamp_seconds";
    text.family(name, "gauge", "When the configuration that runs was taken, in seconds since 1970.");
    text.series(name, &[], board.reloads.taken() / 1000);
    if let Some(fault) = fault {
        let name = "tidegate_config_refused_info";
        text.family(name, "gauge", "Why the last reload was refused.");
        text.series(name, &[("message", &fault)], 1);
    }
}

fn services(text: &mut Text, board: &Board, now: Instant) {
    type Read = fn(&Service, Instant) -> u64;
    let gauges: [(&str, &str, Read); 2] = [
        ("tidegate_upstream_endpoints", "Targets of the service.", |service, _| {
            service.members.endpoints().len() as u64
        }),
        (
            "tidegate_upstream_usable_endpoints",
            "Targets that are neither down nor drained nor ejected.",
            |service, now| usable(service, now) as u64,
        ),
    ];
    for (name, help, read) in gauges {
        text.family(name, "gauge", help);
        for service in board.services().iter() {
            text.series(name, &[("service", service.name())], read(service, now));
        }
    }
    let services = board.services();
    let checked = || services.iter().filter(|service| service.checks().is_some());
    text.family("tidegate_health_checks_total", "counter", "Health checks, by how they went.");
    for service in checked() {
        let [passed, failed, _] = service.counts();
        for (result, count) in [("passed", passed), ("failed", failed)] {
            text.series("tidegate_health_checks_total", &[("service", service.name()), ("result", result)], count);
        }
    }
    text.family("tidegate_health_transitions_total", "counter", "Changes of what checks hold of a target.");
    for service in checked() {
        let [.., transitions] = service.counts();
        text.series("tidegate_health_transitions_total", &[("service", service.name())], transitions);
    }
}

fn targets(text: &mut Text, board: &Board, now: Instant) {
    type Read = fn(&Endpoint, Instant) -> u64;
    let families: [(&str, &str, &str, Read); 7] = [
        ("tidegate_upstream_health", "gauge", "0 for a target that checks hold for down, else 1.", |endpoint, _| {
            u64::from(endpoint.health() != Health::Down)
        }),
        (
            "tidegate_upstream_drained",
            "gauge",
            "1 for a target that an operator has drained, else 0.",
            |endpoint, _| u64::from(endpoint.is_drained()),
        ),
        ("tidegate_upstream_ejected", "gauge", "1 for a target that is ejected, else 0.", |endpoint, now| {
            u64::from(is_ejected(endpoint, now))
        }),
        ("tidegate_upstream_connections", "gauge", "Connections to the target.", |endpoint, _| {
            u64::from(endpoint.connections())
        }),
        ("tidegate_upstream_active_requests", "gauge", "Requests that the target is answering.", |endpoint, _| {
            requests(endpoint)[0]
        }),
        ("tidegate_upstream_succeeded_total", "counter", "Requests that the target has answered.", |endpoint, _| {
            requests(endpoint)[1]
        }),
        ("tidegate_upstream_failed_total", "counter", "Requests that failed because of the target.", |endpoint, _| {
            requests(endpoint)[2]
        }),
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
    text.family("tidegate_dns_queries_total", "counter", "Questions asked of name servers.");
    text.series("tidegate_dns_queries_total", &[], board.dns.queries());
    text.family("tidegate_dns_failures_total", "counter", "Questions that were not answered with records, by cause.");
    for (failure, reason) in Failure::ALL {
        text.series("tidegate_dns_failures_total", &[("reason", reason)], board.dns.failures(failure));
    }
    let name = "tidegate_dns_answer_age_seconds";
    text.family(name, "gauge", "Time since the name of a target was last answered with addresses.");
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
