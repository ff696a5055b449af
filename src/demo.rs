//! The demo's own services: users, orders and products, on a thread of their own.
//!
//! They are small but real: an origin on real sockets that the gateway proxies
//! to as to any other, with plain answers, a body that is echoed and a stream
//! of server-sent events.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::config::Config;
use crate::gateway::Gateway;
use crate::upstream::targets::TargetAddress;

const USERS: &[&str] = &["Ada", "Grace", "Edsger", "Barbara", "Donald"];
const PRODUCTS: &[(&str, u32)] = &[("sextant", 12900), ("tide table", 1450), ("anchor", 8990)];

/// Starts the services where `config` expects them, or on free ports where those are taken, and points `config` there.
///
/// # Errors
/// When a service cannot listen, or its thread not be made.
pub fn start(config: &mut Config) -> io::Result<()> {
    let services = [("users", users()), ("orders", orders()), ("products", products())];
    let mut origins = Vec::new();
    for (name, router) in services {
        let wished = config.service(name).and_then(|service| match service.targets.first()?.address {
            TargetAddress::Ip(address) => Some(address),
            _ => None,
        });
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = wished.map(std::net::TcpListener::bind);
        let listener = match bound {
            Some(Ok(listener)) => listener,
            _ => std::net::TcpListener::bind(free)?,
        };
        listener.set_nonblocking(true)?;
        config.set_target(name, listener.local_addr()?);
        origins.push((listener, router));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let body = move || runtime.block_on(serve(origins));
    std::thread::Builder::new().name("demo-origin".to_owned()).spawn(body)?;
    Ok(())
}

async fn serve(origins: Vec<(std::net::TcpListener, Router)>) {
    let mut serving = tokio::task::JoinSet::new();
    for (listener, router) in origins {
        serving.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await });
    }
    while let Some(ended) = serving.join_next().await {
        tracing::error!(
            ?ended,
            "a service of the demo has ended, and its routes answer 502 from now on; start the demo anew"
        );
    }
}

/// What is printed once the demo serves.
#[must_use]
pub fn banner(gateway: &Gateway) -> String {
    let public = gateway.address("public").unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    let admin = gateway.admin_address().map_or_else(String::new, ToString::to_string);
    let mut text = String::from("\nTidegate's demo. Routes:\n");
    let snapshot = gateway.snapshot();
    for route in &snapshot.routes {
        let Some(service) = route.action.service() else { continue };
        let service = snapshot.service(service);
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:<20} -> {} ({})", route.path, service.name, service.targets[0].address);
    }
    let _ = write!(
        text,
        "\nTry:\n  \
         curl -i http://{public}/api/users/2\n  \
         curl -i -d '{{\"product\":3,\"quantity\":2}}' http://{public}/api/orders/\n  \
         curl -N --max-time 3 http://{public}/api/products/events\n  \
         curl -s http://{admin}/metrics\n\nCtrl-C ends it.\n\n"
    );
    text
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn missing(what: &str) -> Response {
    json(StatusCode::NOT_FOUND, format!("{{\"error\":\"no such {what}\"}}\n"))
}

fn list(items: impl Iterator<Item = String>) -> Response {
    json(StatusCode::OK, format!("[{}]\n", items.collect::<Vec<_>>().join(",")))
}

fn user(id: usize) -> Option<String> {
    let name = USERS.get(id.checked_sub(1)?)?;
    Some(format!("{{\"id\":{id},\"name\":\"{name}\"}}"))
}

fn users() -> Router {
    let all = || async { list((1..=USERS.len()).filter_map(user)) };
    let one = |Path(id): Path<usize>| async move {
        user(id).map_or_else(|| missing("user"), |user| json(StatusCode::OK, user + "\n"))
    };
    Router::new().route("/users", get(all)).route("/users/", get(all)).route("/users/{id}", get(one))
}

fn orders() -> Router {
    let all = || async { list(["{\"id\":1,\"user\":2,\"product\":3,\"quantity\":1}".to_owned()].into_iter()) };
    let make = |body: String| async move {
        json(StatusCode::CREATED, format!("{{\"id\":2,\"received_bytes\":{}}}\n", body.len()))
    };
    Router::new().route("/orders", get(all).post(make)).route("/orders/", get(all).post(make))
}

fn product(id: usize) -> Option<String> {
    let (name, cents) = PRODUCTS.get(id.checked_sub(1)?)?;
    Some(format!("{{\"id\":{id},\"name\":\"{name}\",\"cents\":{cents}}}"))
}

fn products() -> Router {
    let all = || async { list((1..=PRODUCTS.len()).filter_map(product)) };
    let one = |Path(id): Path<usize>| async move {
        product(id).map_or_else(|| missing("product"), |product| json(StatusCode::OK, product + "\n"))
    };
    Router::new()
        .route("/products", get(all))
        .route("/products/", get(all))
        .route("/products/events", get(events))
        .route("/products/{id}", get(one))
}

/// One event a second: the stock of a product.
async fn events() -> impl IntoResponse {
    Sse::new(Ticks { interval: tokio::time::interval(Duration::from_secs(1)), count: 0 })
}

struct Ticks {
    interval: tokio::time::Interval,
    count: usize,
}

impl futures_core::Stream for Ticks {
    type Item = Result<Event, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.interval.poll_tick(context).map(|_| {
            let product = self.count % PRODUCTS.len() + 1;
            self.count += 1;
            Some(Ok(Event::default().data(format!("{{\"product\":{product},\"stock\":{}}}", self.count))))
        })
    }
}
