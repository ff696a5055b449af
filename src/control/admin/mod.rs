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
//! | `POST /reload` | reads the configuration anew and makes it run: 200 with what has changed, 422 with what is wrong |

mod metrics;
mod upstreams;

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::board::Board;
use super::reload::{Refused, ReloadHandle, Reloaded};
use crate::base::time::Instant;
use crate::shard::Shared;

/// What the answers are made of.
#[derive(Clone, Debug)]
struct Views {
    shared: Arc<Shared>,
    board: Arc<Board>,
    reload: ReloadHandle,
}

/// Serves until `stopped`, and does not wait for connections that are open then.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    board: Arc<Board>,
    reload: ReloadHandle,
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
    let serving = axum::serve(listener, router(Views { shared, board, reload }));
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
        .route("/reload", post(reload))
        .with_state(views)
}

async fn health() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}\n")
}

async fn service_health(State(views): State<Views>, Path(name): Path<String>) -> Response {
    let services = views.board.services();
    let Some(service) = services.iter().find(|service| service.name() == name) else {
        let names: Vec<&str> = services.iter().map(|service| service.name()).take(8).collect();
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
    let services: Vec<Value> = views.board.services().iter().map(|service| upstreams::service(service, now)).collect();
    reply(StatusCode::OK, "application/json", &json!({ "services": services }))
}

async fn metrics(State(views): State<Views>) -> impl IntoResponse {
    let text = metrics::render(&views.shared, &views.board, Instant::from_clock());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn reload(State(views): State<Views>) -> Response {
    match views.reload.reload("POST /reload").await {
        Ok(reloaded) => {
            let Reloaded { number, routes, services, opened, closed, needs_restart } = &*reloaded;
            let view = json!({
                "edition": number,
                "routes": routes,
                "services": services,
                "listeners_added": opened,
                "listeners_removed": closed,
                "needs_restart": needs_restart,
            });
            reply(StatusCode::OK, "application/json", &view)
        }
        Err(refused) => {
            let (status, code) = match &*refused {
                Refused::Config(_) => (StatusCode::UNPROCESSABLE_ENTITY, "config_refused"),
                Refused::Listen(_) => (StatusCode::CONFLICT, "listen_refused"),
                Refused::AccessLog(_) => (StatusCode::CONFLICT, "access_log_unusable"),
                Refused::Impossible(_) => (StatusCode::SERVICE_UNAVAILABLE, "reload_impossible"),
            };
            let title = status.canonical_reason().unwrap_or("Error");
            let errors = if let Refused::Config(faults) = &*refused { faults.to_json() } else { Vec::new() };
            let view = json!({
                "type": "about:blank",
                "title": title,
                "status": status.as_u16(),
                "code": code,
                "detail": refused.to_string(),
                "errors": errors,
            });
            reply(status, "application/problem+json", &view)
        }
    }
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
