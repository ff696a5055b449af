//! The admin listener: what operators ask of the gateway, and tell it to do.
//!
//! ```toml
//! [admin]
//! address = "127.0.0.1:9180"              # or "unix:/run/tidegate/admin.sock"
//! token = "NWJkZTY1ODktZDE3ZC00"          # what requests show; needed beyond loopback
//! hosts = ["gateway.internal"]            # names that it is asked by
//! ```
//!
//! Its operations are one list ([`endpoints`]), from which both the routes and the OpenAPI document of `/openapi.json` are
//! made. Who may ask is decided in [`access`], what a connection may take in [`listen`]. Nothing that it answers has a
//! secret in it: values that may be secret are left out where the answer is made.
//!
//! A request is checked in this order: its Host, its token, its Origin, whether there is such a path, its method, its
//! parameters, its body.

mod access;
mod answer;
mod config;
mod endpoints;
mod listen;
mod metrics;
mod openapi;
mod process;
mod routes;
mod schema;
mod targets;
mod upstreams;
mod workers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use tokio::sync::{Mutex, Notify, oneshot};

use super::board::{Board, Service};
use super::leave::DrainHandle;
use super::operations::Operations;
use super::reload::ReloadHandle;
use crate::net::Address;
use crate::shard::Shared;
use crate::snapshot::Snapshot;
use crate::snapshot::publish::Published;
use answer::{Answer, Problem};
use endpoints::{ENDPOINTS, Endpoint, Run};
pub(super) use listen::{CONNECTIONS_MOST, Listening};

/// An answer, or why there is none.
type Answered = Result<Answer, Problem>;

/// One that takes its time.
type Later<'a> = Pin<Box<dyn Future<Output = Answered> + Send + 'a>>;

/// Bytes of a request's body.
const BODY_MOST: usize = 16 * 1024;

/// The time for a body to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the answers are made of.
#[derive(Clone, Debug)]
pub(super) struct Views {
    pub(super) published: Arc<Published>,
    pub(super) shared: Arc<Shared>,
    pub(super) board: Arc<Board>,
    pub(super) reload: ReloadHandle,
    pub(super) drain: DrainHandle,
    pub(super) operations: Arc<Operations>,
    /// Held by who asks the workers for their connections.
    pub(super) census: Arc<Mutex<()>>,
    /// Held by who asks for everything that was counted.
    pub(super) scrape: Arc<Mutex<()>>,
}

impl Views {
    /// The configuration that runs.
    fn snapshot(&self) -> Arc<Snapshot> {
        self.published.current().snapshot.clone()
    }

    /// The service called `name`.
    fn service(&self, name: &str) -> Result<Arc<Service>, Problem> {
        let services = self.board.services();
        services.iter().find(|service| service.name() == name).cloned().ok_or_else(|| {
            let names: Vec<&str> = services.iter().map(|service| service.name()).take(8).collect();
            let there = if names.is_empty() {
                "There is none.".to_owned()
            } else {
                format!("There is, for example: {}.", names.join(", "))
            };
            Problem::new(StatusCode::NOT_FOUND, "no_service", format!("There is no service `{name}`. {there}"))
        })
    }
}

/// What one request asks for.
#[derive(Debug, Default)]
struct Asked {
    /// The parameters of its path, decoded.
    path: Vec<(String, String)>,
    /// The numbers of its query, all that may be there.
    numbers: Vec<(&'static str, u64)>,
    body: Bytes,
    /// Its Accept fields, put together.
    accept: String,
}

impl Asked {
    /// A parameter of the path.
    fn parameter(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A number of the query.
    fn number(&self, name: &str) -> u64 {
        self.numbers.iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
    }
}

/// Serves until `stopped`, and does not wait for connections that are open then.
pub(super) async fn serve(
    listening: Option<Listening>,
    views: Views,
    handed_over: &Notify,
    mut stopped: oneshot::Receiver<()>,
) {
    if let Some(listening) = listening {
        let router = router(views, listening.address().clone());
        tokio::select! {
            ended = listening.serve(router, handed_over) => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the admin listener cannot be used; the gateway serves without it, and a restart brings it back");
                }
            }
            _ = &mut stopped => return,
        }
    }
    // Its sender is dropped, if ever, when nobody cares any more.
    let _ = stopped.await;
}

/// What a request has to pass before it is looked at.
#[derive(Clone, Debug)]
struct Door {
    views: Views,
    address: Address,
}

fn router(views: Views, address: Address) -> Router {
    let door = Door { views: views.clone(), address };
    let mut router = Router::new();
    for endpoint in ENDPOINTS {
        let views = views.clone();
        let handler = move |path, request| answer(endpoint, views, path, request);
        router = router.route(endpoint.path, on(endpoint.method.filter(), handler));
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(door, admit))
}

/// Lets a request in, or not.
async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let Some(admin) = &door.views.snapshot().admin else {
        return no_such_path().await.into_response();
    };
    match access::check(admin, &door.address, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Answers one request to one endpoint.
async fn answer(
    endpoint: &'static Endpoint,
    views: Views,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Answer, Problem> {
    let path = path.map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_path", "A part of the path is not UTF-8 once it is decoded.")
    })?;
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (head, body) = request.into_parts();
    let numbers = numbers(endpoint, head.uri.query().unwrap_or_default())?;
    let body = if endpoint.body.is_some() { receive(&head.headers, body).await? } else { Bytes::new() };
    let accept = head.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = accept.collect::<Vec<_>>().join(",");
    let asked = Asked { path, numbers, body, accept };
    match endpoint.run {
        Run::Now(run) => run(&views, &asked),
        Run::Later(run) => run(&views, &asked).await,
    }
}

/// The numbers in a query, those that are missing with their default. An endpoint without any takes no notice of it.
fn numbers(endpoint: &Endpoint, query: &str) -> Result<Vec<(&'static str, u64)>, Problem> {
    let mut numbers: Vec<(&str, Option<u64>)> = endpoint.query.iter().map(|number| (number.name, None)).collect();
    let pairs = query.split('&').filter(|pair| !pair.is_empty() && !endpoint.query.is_empty());
    for pair in pairs {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let place = endpoint.query.iter().position(|number| number.name == name);
        let most = place.map_or(0, |place| endpoint.query[place].most);
        let number = text.parse().ok().filter(|number| *number <= most && !text.starts_with('+'));
        match (place, number) {
            (Some(place), Some(_)) if numbers[place].1.is_none() => numbers[place].1 = number,
            _ => {
                let known = endpoint.query.iter().map(|number| format!("{} (0 to {})", number.name, number.most));
                let known: Vec<String> = known.collect();
                let detail = format!("The query can have, each once: {}.", known.join(", "));
                return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_query", detail));
            }
        }
    }
    let or_default = |((name, number), known): ((&'static str, Option<u64>), &endpoints::Number)| {
        (name, number.unwrap_or(known.default))
    };
    Ok(numbers.into_iter().zip(endpoint.query).map(or_default).collect())
}

/// The body of a request, which is JSON.
async fn receive(headers: &axum::http::HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let kind = headers.get(axum::http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "The body is JSON, and says so: Content-Type: application/json.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_MOST)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let detail = format!("The body is longer than {BODY_MOST} bytes, or was cut.");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail))
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "The body did not come in time.")),
    }
}

async fn no_such_path() -> Problem {
    let mut paths: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
    paths.dedup();
    let detail = format!("There is no such path. There is: {}.", paths.join(", "));
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", detail)
}

async fn wrong_method(request: Request) -> Problem {
    let matches = |endpoint: &&Endpoint| endpoint.is_at(request.uri().path());
    let allowed: Vec<&str> =
        ENDPOINTS.iter().filter(matches).flat_map(|endpoint| endpoint.method.names()).copied().collect();
    let allowed = allowed.join(", ");
    let detail = format!("This path takes other methods: {allowed}.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).allow(&allowed)
}
