//! What was counted of each route and each service, and how each worker is doing.
//!
//! Of requests, only those combinations of labels that there were are shown; a histogram is shown once it has counted
//! something. So ten thousand routes of which a hundred are in use are the series of a hundred. The text of a route in use
//! with one method and one class of status is 18 lines, less than 2 kB with a name of thirty letters: ten thousand are
//! less than 20 MB, which are there while the text is made and sent. One text is made at a time.

use super::text::{Kind, Seconds, Text};
use crate::base::time::Instant;
use crate::observe::counters::Counter;
use crate::observe::histogram::{BOUNDS, COARSE_BOUNDS};
use crate::observe::pulse::Said;
use crate::observe::series::{RouteBlock, Series, ServiceBlock, Shelf, Time};
use crate::shard::Shared;

pub(super) fn routes(text: &mut Text, shelf: &Shelf<RouteBlock>) {
    let used: Vec<&Series<RouteBlock>> = shelf.each().filter(|route| route.requests().next().is_some()).collect();
    let name = "tidegate_route_requests_total";
    text.family(name, Kind::Counter, "Requests of a route that are over, by method and class of status.");
    for route in &used {
        for (method, status, count) in route.requests() {
            text.series(name, &[("route", route.name()), ("method", method), ("status", status)], count);
        }
    }
    flow(text, "route", used.iter().map(|route| (route.name(), route.flow())));
    let name = "tidegate_route_duration_seconds";
    text.family(name, Kind::Histogram, "Time from the head of a request to the last byte of its response.");
    let bounds = seconds(&COARSE_BOUNDS);
    for route in &used {
        text.histogram(name, ("route", route.name()), &bounds, &route.total());
    }
}

/// Bounds in nanoseconds as they are written.
fn seconds(bounds: &[u64]) -> Vec<String> {
    bounds.iter().map(|bound| Seconds(*bound).to_string()).collect()
}

/// What passed through, and what was cut, of each of these names.
fn flow<'n>(text: &mut Text, label: &str, all: impl Iterator<Item = (&'n str, [u64; 3])> + Clone) {
    let families = [
        ("received_bytes_total", "Bytes of requests from clients, with heads and framing."),
        ("sent_bytes_total", "Bytes of responses to clients, with heads and framing."),
        ("responses_cut_total", "Responses that were cut because their body failed midway."),
    ];
    for (place, (family, help)) in families.into_iter().enumerate() {
        let name = format!("tidegate_{label}_{family}");
        text.family(&name, Kind::Counter, help);
        for (of, flow) in all.clone() {
            text.series(&name, &[(label, of)], flow[place]);
        }
    }
}

pub(super) fn services(text: &mut Text, shelf: &Shelf<ServiceBlock>) {
    let used: Vec<&Series<ServiceBlock>> = shelf.each().filter(|service| service.requests().next().is_some()).collect();
    let name = "tidegate_service_requests_total";
    text.family(name, Kind::Counter, "Requests to a service that are over, by status; rare ones by their class.");
    for service in &used {
        for (class, status, count) in service.requests() {
            let status = status.map_or_else(|| class.to_owned(), |status| status.to_string());
            text.series(name, &[("service", service.name()), ("status", &status)], count);
        }
    }
    flow(text, "service", used.iter().map(|service| (service.name(), service.flow())));
    let families = [
        ("tidegate_service_attempts_total", "Times that requests were sent to a target of the service, or were to be."),
        ("tidegate_service_retries_total", "Of those, the times after the first of a request."),
        ("tidegate_service_retries_over_budget_total", "Requests not sent again because too many others were."),
    ];
    for (place, (name, help)) in families.into_iter().enumerate() {
        text.family(name, Kind::Counter, help);
        for service in &used {
            text.series(name, &[("service", service.name())], service.attempts()[place]);
        }
    }
    let bounds = seconds(&BOUNDS);
    for time in Time::ALL {
        let (name, help) = named(time);
        text.family(name, Kind::Histogram, help);
        for service in &used {
            let counted = service.time(time);
            if counted.count() > 0 {
                text.histogram(name, ("service", service.name()), &bounds, &counted);
            }
        }
    }
    let name = "tidegate_service_idle_connections";
    text.family(
        name,
        Kind::Gauge,
        "Connections to the service that are kept for the next request, a second ago at most.",
    );
    for service in &used {
        text.series(name, &[("service", service.name())], service.idle());
    }
}

const fn named(time: Time) -> (&'static str, &'static str) {
    match time {
        Time::Gateway => (
            "tidegate_service_gateway_seconds",
            "The gateway's own share of a request's time until its response begins to go out.",
        ),
        Time::Queue => {
            ("tidegate_service_queue_seconds", "Waits for a connection because max_connections was reached.")
        }
        Time::FirstByte => (
            "tidegate_service_first_byte_seconds",
            "Time from the end of the request to the head of the service's response.",
        ),
        Time::Backend => (
            "tidegate_service_backend_seconds",
            "Time from the end of the request to the end of the service's response.",
        ),
        Time::Total => {
            ("tidegate_service_duration_seconds", "Time from the head of a request to the last byte of its response.")
        }
    }
}

pub(super) fn workers(text: &mut Text, shared: &Shared, now: Instant) {
    let said: Vec<(String, Said)> = shared
        .counters
        .iter()
        .enumerate()
        .filter_map(|(index, worker)| Some((index.to_string(), worker.pulse.last()?)))
        .collect();
    let name = "tidegate_worker_info";
    text.family(name, Kind::Info, "How a worker speaks to the kernel.");
    for (index, worker) in shared.counters.iter().enumerate() {
        if let Some(driver) = worker.pulse.driver() {
            text.series(name, &[("worker", &index.to_string()), ("driver", driver)], 1);
        }
    }
    let name = "tidegate_worker_connections";
    text.family(name, Kind::Gauge, "Client connections that the worker has.");
    for (index, worker) in shared.counters.iter().enumerate() {
        text.series(name, &[("worker", &index.to_string())], worker.get(Counter::ConnectionsOpen));
    }
    let name = "tidegate_worker_busy_ratio";
    text.family(name, Kind::Gauge, "Share of the last second in which the worker has used a processor.");
    for (worker, said) in &said {
        text.series(name, &[("worker", worker)], said.busy);
    }
    let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let name = "tidegate_worker_cpu_seconds_total";
    text.family(name, Kind::Counter, "Processor time of the worker.");
    for (worker, said) in &said {
        text.series(name, &[("worker", worker)], Seconds(nanos(said.beat.cpu)));
    }
    let name = "tidegate_worker_silent_seconds";
    text.family(
        name,
        Kind::Gauge,
        "Time since the worker has last said how it does; more than a few seconds: it hangs.",
    );
    for (worker, said) in &said {
        text.series(name, &[("worker", worker)], Seconds(nanos(now.since(said.at))));
    }
    type Read = fn(&Said) -> u64;
    let families: [(&str, Kind, &str, Read); 5] = [
        (
            "tidegate_worker_wake_ups_total",
            Kind::Counter,
            "Times that the worker has gone to sleep for want of work.",
            |said| said.beat.wake_ups,
        ),
        ("tidegate_worker_tasks", Kind::Gauge, "Tasks that live.", |said| said.beat.tasks),
        ("tidegate_worker_timers", Kind::Gauge, "Timers that are armed.", |said| said.beat.timers),
        ("tidegate_worker_sockets", Kind::Gauge, "Streams and listeners.", |said| said.beat.sockets),
        ("tidegate_worker_receive_buffers", Kind::Gauge, "Receive buffers in use.", |said| said.beat.buffers),
    ];
    for (name, kind, help, read) in families {
        text.family(name, kind, help);
        for (worker, said) in &said {
            text.series(name, &[("worker", worker)], read(said));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Format;
    use super::*;
    use crate::observe::series::{Finished, OTHER, Verb};

    const REQUEST: Finished = Finished {
        verb: Verb::Get,
        status: 200,
        received: 123_456,
        sent: 1_234_567,
        attempts: 1,
        retries: 0,
        asked: true,
        cut: false,
        gateway: 30_000,
        queue: 0,
        first_byte: 3_000_000,
        backend: 4_000_000,
        total: 4_100_000,
    };

    fn text_of(names: &[String], most: usize, used: usize) -> String {
        let shelf = Shelf::<RouteBlock>::first(names.iter().map(String::as_str), most, 2);
        (0..used).for_each(|place| shelf.at(Some(place)).of(place % 2).count(&REQUEST));
        let mut text = Text::new(Format::Classic);
        routes(&mut text, &shelf);
        text.finish()
    }

    #[test]
    fn the_text_grows_with_routes_in_use_up_to_a_bound() {
        const PER_ROUTE: usize = 18;
        let names: Vec<String> = (0..10_000).map(|number| format!("a-route-with-the-number-{number}")).collect();
        let lines = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(lines(&text_of(&names, 10_000, 0)), 0);
        assert_eq!(lines(&text_of(&names, 10_000, 100)), 100 * PER_ROUTE);
        let all = text_of(&names, 10_000, 10_000);
        assert_eq!(lines(&all), 10_000 * PER_ROUTE);
        assert!(all.len() < 20_000_000, "the documentation says so: {}", all.len());
        let bounded = text_of(&names, 100, 10_000);
        assert_eq!(lines(&bounded), 101 * PER_ROUTE);
        assert!(bounded.contains(&format!("tidegate_route_duration_seconds_count{{route=\"{OTHER}\"}} 9900\n")));
    }
}
