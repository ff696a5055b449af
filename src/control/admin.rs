//! The admin listener: what operators ask of the gateway.
//!
//! It is on loopback only. `/health` says that the process lives, `/metrics`
//! what it has counted, in the text format of Prometheus.

use std::fmt::Write;
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::observe::counters::{Counter, sum};
use crate::pipeline::Reject;
use crate::shard::Shared;

/// Serves until `stopped`, and does not wait for connections that are open then.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin listener cannot be used; the gateway serves without it");
            let _ = stopped.await;
            return;
        }
    };
    let router = Router::new().route("/health", get(health)).route("/metrics", get(metrics)).with_state(shared);
    let serving = axum::serve(listener, router);
    tokio::select! {
        ended = serving.into_future() => {
            if let Err(error) = ended {
                tracing::error!(%error, "the admin listener has ended");
            }
        }
        _ = stopped => {}
    }
}

async fn health() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}\n")
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&shared))
}

/// All counters as text (Prometheus exposition format 0.0.4).
fn render(shared: &Shared) -> String {
    let mut text = String::new();
    let mut put = |line: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = text.write_fmt(format_args!("{line}\n"));
    };
    for (counter, gauge, name, help) in Counter::ALL {
        let kind = if *gauge { "gauge" } else { "counter" };
        put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}", sum(&shared.counters, *counter)));
    }
    let name = "tidegate_refusals_total";
    put(format_args!("# HELP {name} Requests refused, by cause.\n# TYPE {name} counter"));
    for (cause, code) in Reject::causes() {
        let count: u64 = shared.counters.iter().map(|worker| worker.refused(cause)).sum();
        put(format_args!("{name}{{code=\"{code}\"}} {count}"));
    }
    put(format_args!("# HELP tidegate_build_info The version that runs.\n# TYPE tidegate_build_info gauge"));
    put(format_args!("tidegate_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_stands_once_and_has_a_type() {
        let shared = Shared::new(2, Vec::new(), 0);
        shared.counters[1].add(Counter::Requests, 3);
        shared.counters[0].refuse(Reject::NoRoute.cause());
        let text = render(&shared);
        assert!(text.contains("\ntidegate_requests_total 3\n"));
        assert!(text.contains("\ntidegate_refusals_total{code=\"no_route\"} 1\n"));
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
}
