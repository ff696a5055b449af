//! The admin listener: what operators ask of the gateway.
//!
//! It is on loopback only.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | 200: the process lives |
//! | `/health/NAME` | 200 if the service NAME has a target that can be used, else 503; its targets as JSON |
//! | `/upstreams` | all services with their targets and names, as JSON |
//! | `/metrics` | what was counted, in the text format of Prometheus |

mod metrics;
mod upstreams;

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::board::Board;
use crate::base::time::Instant;
use crate::shard::Shared;

/// What the answers are made of.
#[derive(Clone, Debug)]
struct Views {
    shared: Arc<Shared>,
    board: Arc<Board>,
}

/// Serves until `stopped`, and does not wait for connections that are open then.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    board: Arc<Board>,
    stopped: oneshot::Receiver<()>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin listener cannot be used; the gateway serves without it");
            let _ = stopped.await;
            return;
        }
    };
    let serving = axum::serve(listener, router(Views { shared, board }));
    tokio::select! {
        ended = serving.into_future() => {
            if let Err(error) = ended {
                tracing::error!(%error, "the admin listener has ended");
            }
        }
        _ = stopped => {}
    }
}

fn router(views: Views) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/health/{service}", get(service_health))
        .route("/upstreams", get(upstreams))
        .route("/metrics", get(metrics))
        .with_state(views)
}

async fn health() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}\n")
}

async fn service_health(State(views): State<Views>, Path(name): Path<String>) -> Response {
    let Some(service) = views.board.services.iter().find(|service| service.name() == name) else {
        let names: Vec<&str> = views.board.services.iter().map(|service| service.name()).take(8).collect();
        let detail = format!("There is no service `{name}`. There is, for example: {}.", names.join(", "));
        return problem(StatusCode::NOT_FOUND, "no_service", &detail);
    };
    let now = Instant::from_clock();
    let (status, word) = match upstreams::state(service, now) {
        upstreams::State::Down => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        upstreams::State::Panic => (StatusCode::OK, "panic"),
        upstreams::State::Ok => (StatusCode::OK, "ok"),
    };
    let mut view = upstreams::service(service, now);
    view["status"] = word.into();
    reply(status, "application/json", &view)
}

async fn upstreams(State(views): State<Views>) -> Response {
    let now = Instant::from_clock();
    let services: Vec<Value> = views.board.services.iter().map(|service| upstreams::service(service, now)).collect();
    reply(StatusCode::OK, "application/json", &json!({ "services": services }))
}

async fn metrics(State(views): State<Views>) -> impl IntoResponse {
    let text = metrics::render(&views.shared, &views.board, Instant::from_clock());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// A refusal as a problem detail (RFC 9457), shaped like those that clients get.
fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let view =
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "code": code, "detail": detail });
    reply(status, "application/problem+json", &view)
}

fn reply(status: StatusCode, kind: &'static str, view: &Value) -> Response {
    (status, [(CONTENT_TYPE, kind)], format!("{view}\n")).into_response()
}
