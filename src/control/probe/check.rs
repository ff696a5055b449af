//! One check of one target: connect, ask, and look at the answer.
//!
//! Each check has a connection of its own: whether new ones are accepted is half of what is to be found out. Whatever
//! the other side does (accept and be silent, send garbage, headers or a body without end, reset), the check ends with
//! its timeout at the latest, and holds no more than 64 KiB of each.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::base::units::display_duration;
use crate::net::Address;
use crate::upstream::health::{BODY_MOST, BodyRule, Checks, Probe, Question};

/// How much of a head is read.
const HEAD_MOST: usize = 64 * 1024;

/// How many fields a head may have.
const FIELDS_MOST: usize = 200;

/// How a check went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The status of the answer, where there was one.
    pub(super) status: Option<u16>,
    /// Why the check has failed, if it has.
    pub(super) error: Option<String>,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Connecting,
    Asking,
    Reading,
}

/// Checks the target at `address`, which people know as `authority`.
pub(super) async fn check(checks: &Checks, address: &Address, authority: &str) -> Outcome {
    let (mut stage, mut status) = (Stage::Connecting, None);
    let attempt = attempt(checks, address, authority, &mut stage, &mut status);
    let error = match tokio::time::timeout(checks.timeout, attempt).await {
        Ok(ended) => ended.err(),
        Err(_) => Some(too_late(stage, checks)),
    };
    Outcome { status, error }
}

fn too_late(stage: Stage, checks: &Checks) -> String {
    let timeout = display_duration(checks.timeout);
    match stage {
        Stage::Connecting => format!("it has not accepted a connection within {timeout}"),
        Stage::Asking => format!("it has not answered within {timeout}"),
        Stage::Reading => format!("the body of its answer has not ended within {timeout}"),
    }
}

async fn attempt(
    checks: &Checks,
    address: &Address,
    authority: &str,
    stage: &mut Stage,
    status: &mut Option<u16>,
) -> Result<(), String> {
    match address {
        Address::Tcp(address) => {
            let address = SocketAddr::new(address.ip(), checks.port.unwrap_or(address.port()));
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| format!("cannot connect to {address}: {error}"))?;
            let host = host(authority, checks.port);
            ask(checks, stream, &host, stage, status).await
        }
        Address::Unix(path) => {
            let stream = connect_unix(path).await?;
            ask(checks, stream, "localhost", stage, status).await
        }
    }
}

async fn connect_unix(path: &Arc<Path>) -> Result<UnixStream, String> {
    let stream = UnixStream::connect(path).await;
    stream.map_err(|error| format!("cannot connect to unix:{}: {error}", path.display()))
}

/// What the Host field says: the target as it is written, with the port that is asked at.
fn host(authority: &str, port: Option<u16>) -> String {
    match (port, authority.rsplit_once(':')) {
        (Some(port), Some((host, _))) => format!("{host}:{port}"),
        _ => authority.to_owned(),
    }
}

async fn ask<S>(
    checks: &Checks,
    mut stream: S,
    host: &str,
    stage: &mut Stage,
    status: &mut Option<u16>,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if !checks.preface.is_empty() {
        let sent = stream.write_all(&checks.preface).await;
        sent.map_err(|error| format!("it takes no header of the PROXY protocol: {error}"))?;
    }
    let Probe::Http(question) = &checks.probe else { return Ok(()) };
    *stage = Stage::Asking;
    let request = request(question, host)?;
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_MOST).max_headers(FIELDS_MOST);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(|error| no_answer(&error))?;
    // Dropped, it takes the connection with it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| no_answer(&error))?;
    let code = response.status().as_u16();
    *status = Some(code);
    if !question.statuses.contains(code) {
        return Err(format!("its answer has status {code}, and {} is expected", question.statuses));
    }
    *stage = Stage::Reading;
    let body = read(response.into_body()).await?;
    match &question.body {
        Some(rule) if !rule.admits(&body) => Err(odd_body(rule, body.len())),
        _ => Ok(()),
    }
}

fn request(question: &Question, host: &str) -> Result<Request<Empty<Bytes>>, String> {
    let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"), " (health check)");
    let host = question.host.as_deref().unwrap_or(host);
    let mut request = Request::builder().method(question.method).uri(&*question.path);
    for (name, value) in &question.headers {
        request = request.header(&**name, &**value);
    }
    if question.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("user-agent")) {
        request = request.header(USER_AGENT, agent);
    }
    let request = request.header(HOST, host).header(CONNECTION, "close");
    request.body(Empty::new()).map_err(|error| format!("the check cannot be asked: {error}"))
}

/// The start of a body, and no more than is looked at.
async fn read(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body of its answer is broken: {}", chain(&error)))?;
        if let Ok(data) = frame.into_data() {
            let room = BODY_MOST - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if bytes.len() == BODY_MOST {
                break;
            }
        }
    }
    Ok(bytes)
}

fn odd_body(rule: &BodyRule, length: usize) -> String {
    let what = match rule {
        BodyRule::Contains(text) => format!("`{text}` is not in"),
        BodyRule::Matches(expression) => format!("`{expression}` does not match"),
    };
    let some = if length == BODY_MOST { "the first 64 KiB of " } else { "" };
    format!("{what} {some}the body of its answer")
}

fn no_answer(error: &hyper::Error) -> String {
    format!("no answer over HTTP: {}", chain(error))
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
