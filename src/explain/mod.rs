//! Which route a request takes, why, what else came close, and what holds for it.
//!
//! ```text
//! tidegate explain --config gateway.toml GET http://api.example.com/users/7 -H 'X-Api-Version: v2'
//! ```
//!
//! The request is put together as a client would send it, and read, brought to its normal form and looked up by what does
//! that for real ones: what is said here is what would happen. Only what depends on more than the request is left open:
//! which of a service's targets takes it, and which of several services without a key of its own.

mod ask;
mod json;
mod reasons;
mod text;

use serde_spanned::Spanned;

use crate::base::secret::MASK;
use crate::config::effective::Row;
use crate::config::{ActionConfig, Config, RouteConfig};
use crate::http::h1::parse::{HeadLimits, RequestHead};
use crate::http::template::Sources;
use crate::policy::redirect::NoHost;
use crate::router::explain::Candidate;
use crate::router::path::{self, PathError, Slashes};
use crate::router::{Captures, ListenerId, Lookup, Missed, RouteId};
use crate::snapshot::{Action, Snapshot};

/// A request that somebody asks about.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Its method.
    pub method: String,
    /// A URL, or a path.
    pub url: String,
    /// Its fields, each as `name: value`.
    pub fields: Vec<String>,
    /// The listener that it comes by; without it, the one that has the URL's port, or else the first.
    pub listener: Option<String>,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The request as it was understood.
    pub request: Asked,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Every route that takes its host and its path, in the order of precedence, and what became of each.
    pub candidates: Vec<Near>,
    /// Routes that would take nearly the same request, and which.
    pub elsewhere: Vec<Near>,
}

/// A request as it was understood.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its host, if it names one.
    pub host: Option<String>,
    /// Its path as it is matched.
    pub path: String,
    /// Its query, if it has one.
    pub query: Option<String>,
    /// The name of the listener.
    pub listener: String,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A route takes it.
    Taken(Box<Taken>),
    /// Routes would take it with other methods: 405.
    MethodNotAllowed {
        /// What `Allow` says.
        allow: String,
    },
    /// No route takes it: 404.
    NoRoute,
    /// It is refused before or behind its route.
    Refused {
        /// The status of the answer.
        status: u16,
        /// What is wrong with it.
        detail: String,
        /// What to do about it, if something can be done.
        help: Option<String>,
    },
}

/// A route that takes a request.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its name.
    pub route: String,
    /// Its place in the files.
    pub place: String,
    /// What its path has captured.
    pub captures: Vec<(String, String)>,
    /// What it does.
    pub does: Does,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// What holds: for each service that may get the request, or once where none does.
    pub policies: Vec<Policies>,
}

/// What a route does with a request.
#[derive(Clone, Debug)]
pub enum Does {
    /// It is sent on.
    Sends {
        /// With this path and query.
        target: String,
        /// To one of these, each with its share.
        services: Vec<(String, String)>,
    },
    /// The client is sent elsewhere.
    Redirects {
        /// With this status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// It is answered.
    Answers {
        /// With this status.
        status: u16,
        /// And this body.
        body: String,
    },
}

/// What holds for a request.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Where it goes to this service.
    pub service: Option<String>,
    /// Each key with its value and where that comes from.
    pub rows: Vec<Row>,
}

/// A route that came close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Its name.
    pub route: String,
    /// Its place in the files.
    pub place: String,
    /// What became of it, or which request it would take.
    pub reason: String,
}

/// Of routes that would take nearly the same request, so many are named.
const ELSEWHERE_MOST: usize = 5;

/// Says what becomes of a request.
///
/// # Errors
/// Why nobody could send such a request.
pub fn explain(config: &Config, snapshot: &Snapshot, question: &Question) -> Result<Explanation, String> {
    let asked = ask::read(config, question)?;
    let mut head = RequestHead::default();
    let request = |head: &RequestHead, path: &str| Asked {
        method: question.method.clone(),
        host: head.host().map(str::to_owned),
        path: path.to_owned(),
        query: head.query().map(str::to_owned),
        listener: config.listeners[asked.listener].name.get_ref().clone(),
    };
    let refused = |head: &RequestHead, path: &str, outcome| Explanation {
        request: request(head, path),
        outcome,
        candidates: Vec::new(),
        elsewhere: Vec::new(),
    };
    let limits = &snapshot.limits;
    let limits = HeadLimits::new(limits.head, limits.fields, limits.target).unwrap_or_default();
    if let Err(error) = head.parse(asked.head.as_bytes(), &limits) {
        let outcome = Outcome::Refused { status: error.status(), detail: error.detail().to_owned(), help: None };
        return Ok(refused(&RequestHead::default(), &asked.target, outcome));
    }
    let mut buffer = Vec::new();
    let received = head.path_bytes();
    let normal = match received {
        // No route takes OPTIONS *, and it has no normal form.
        b"*" => return Ok(refused(&head, "*", Outcome::NoRoute)),
        received => path::normalize(received, snapshot.slashes, &mut buffer),
    };
    let normal = match normal {
        Ok(normal) => normal,
        Err(error) => return Ok(refused(&head, head.path(), of_path(error))),
    };
    let listener = ListenerId(u16::try_from(asked.listener).unwrap_or(u16::MAX));
    let lookup = Lookup { head: &head, path: normal, listener, worker: 0 };
    let mut captures = Captures::default();
    let candidates = snapshot.router.candidates(&lookup, &mut captures);
    let found = snapshot.router.find(&lookup, &mut captures);
    let outcome = match found {
        Ok(id) => taken(config, snapshot, id, &lookup, &mut captures, &asked.scheme),
        Err(Missed::NoRoute) => Outcome::NoRoute,
        Err(Missed::MethodNotAllowed) => {
            let mut allow = Vec::new();
            snapshot.router.allowed(&lookup, &mut captures, &mut allow);
            Outcome::MethodNotAllowed { allow: lossy(&allow) }
        }
    };
    let reasons = reasons::of(config, &lookup, &candidates, found.ok());
    let elsewhere = elsewhere(config, snapshot, &lookup, &candidates, &mut captures);
    Ok(Explanation { request: request(&head, &lossy(normal)), outcome, candidates: reasons, elsewhere })
}

fn of_path(error: PathError) -> Outcome {
    Outcome::Refused { status: 400, detail: error.detail().to_owned(), help: None }
}

/// What a route does with a request.
fn taken(
    config: &Config,
    snapshot: &Snapshot,
    id: RouteId,
    lookup: &Lookup<'_>,
    captures: &mut Captures,
    scheme: &str,
) -> Outcome {
    let (route, written) = (snapshot.route(id), &config.routes[id.index()]);
    let names = snapshot.router.capture_names(id).iter().enumerate();
    let part = |index| lossy(captures.get(index, lookup.path).unwrap_or_default());
    let captured = names.map(|(index, name)| (name.to_string(), part(index))).collect();
    let mut out = Vec::new();
    let spans: Vec<(u32, u32)> = captures.spans().into();
    let sources = Sources {
        request: lookup.head,
        path: lookup.path,
        captures: &spans,
        client_ip: b"192.0.2.1",
        client_port: None,
        request_id: b"the-id-of-the-request",
        scheme,
        service: route.action.service().map_or("", |service| &snapshot.service(service).name),
        route: &route.name,
    };
    let mut does = match &route.action {
        Action::Redirect(redirect) => match redirect.put_location(&sources, &mut out) {
            Ok(()) => Does::Redirects { status: redirect.status, location: lossy(&out) },
            Err(NoHost) => {
                let detail = "The redirect needs the host that was asked for, and the request names none.".to_owned();
                return Outcome::Refused { status: 400, detail, help: Some("add -H 'Host: NAME'".into()) };
            }
        },
        Action::Respond(respond) => {
            respond.put_body(&sources, &mut out);
            Does::Answers { status: respond.status, body: lossy(&out) }
        }
        Action::Service(_) => {
            let forwarded = snapshot.router.forward(id, lookup.path, lookup.head.path_bytes(), captures, &mut out);
            if let Err(error) = forwarded {
                return of_path(error);
            }
            let query = lookup.head.query().map_or(String::new(), |query| format!("?{query}"));
            Does::Sends { target: lossy(&out) + &query, services: shares(written) }
        }
    };
    let policies = match &does {
        Does::Sends { services, .. } => {
            services.iter().map(|(service, _)| policies(config, written, Some(service))).collect()
        }
        _ => vec![policies(config, written, None)],
    };
    veil(&mut does, &policies);
    Outcome::Taken(Box::new(Taken {
        route: route.name.to_string(),
        place: place(config, &written.name),
        captures: captured,
        does,
        notes: notes(snapshot, id, lookup),
        policies,
    }))
}

/// Masks what has been made of a value that is masked itself.
fn veil(does: &mut Does, policies: &[Policies]) {
    let (key, made) = match does {
        Does::Sends { target, .. } => ("rewrite", target),
        Does::Redirects { location, .. } => ("redirect", location),
        Does::Answers { body, .. } => ("respond", body),
    };
    let mut rows = policies.iter().flat_map(|policies| &policies.rows);
    if rows.any(|row| row.path.get(2).is_some_and(|name| name == key) && row.value.contains(MASK)) {
        MASK.clone_into(made);
    }
}

fn policies(config: &Config, route: &RouteConfig, service: Option<&String>) -> Policies {
    let rows = config.effective_route(route.name.get_ref(), service.map(String::as_str));
    Policies { service: service.cloned(), rows }
}

/// The services of a route, each with its share.
fn shares(route: &RouteConfig) -> Vec<(String, String)> {
    let ActionConfig::Service(split) = &route.action else { return Vec::new() };
    let all: u64 = split.shares.iter().map(|share| u64::from(share.weight)).sum();
    let share = |weight: u32| match all {
        0 => "none".to_owned(),
        all => format!("{}%", (f64::from(weight) * 1000.0 / all as f64).round() / 10.0),
    };
    split.shares.iter().map(|one| (one.name.get_ref().clone(), share(one.weight))).collect()
}

/// What the request itself says that the route has something to say to.
fn notes(snapshot: &Snapshot, id: RouteId, lookup: &Lookup<'_>) -> Vec<String> {
    use crate::http::message::Framing;
    let route = snapshot.route(id);
    let mut notes = Vec::new();
    if let Framing::Length(length) = lookup.head.framing()
        && !route.limits.admits_body(length)
    {
        notes.push(format!("its body of {length} bytes is too large, and is refused with 413"));
    }
    let mut offer = Vec::new();
    match route.upgrade.offer(lookup.head, &mut offer) {
        Some(_) => notes.push(format!("the service is asked to switch to {}", lossy(&offer))),
        None if lookup.head.upgrade().is_some() && route.action.service().is_some() => {
            notes.push("its Upgrade is not sent on: the route does not let it switch, or it cannot be a switch".into());
        }
        None => {}
    }
    notes
}

/// Routes that would take nearly the same request: with another spelling of its path, or for another host.
fn elsewhere(
    config: &Config,
    snapshot: &Snapshot,
    lookup: &Lookup<'_>,
    known: &[Candidate],
    captures: &mut Captures,
) -> Vec<Near> {
    let mut found: Vec<Near> = Vec::new();
    let mut add = |route: RouteId, reason: String| {
        let written = &config.routes[route.index()];
        let near = Near { route: written.name.get_ref().clone(), place: place(config, &written.name), reason };
        let is_known = known.iter().any(|known| known.route == route);
        if !is_known && found.len() < ELSEWHERE_MOST && !found.iter().any(|other| other.route == near.route) {
            found.push(near);
        }
    };
    for spelling in spellings(&lossy(lookup.path)) {
        let other = Lookup { path: spelling.as_bytes(), ..*lookup };
        let all = snapshot.router.candidates(&other, captures);
        if let Some(first) = all.iter().find(|candidate| candidate.fails.is_none()) {
            add(first.route, format!("would take the path {spelling}"));
        }
    }
    let mut others = snapshot.router.at_other_hosts(lookup, captures);
    let asked = lookup.head.host().unwrap_or_default().to_ascii_lowercase();
    others.sort_by_cached_key(|other| strsim::damerau_levenshtein(&asked, other.host.as_deref().unwrap_or_default()));
    for other in others {
        add(other.route, format!("would take it for the host {}", other.host.as_deref().unwrap_or("of any name")));
    }
    found
}

/// Other spellings of a path that somebody may have meant.
fn spellings(path: &str) -> Vec<String> {
    let slash = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    let mut buffer = Vec::new();
    let merged = path::normalize(path.as_bytes(), Slashes::Merged, &mut buffer).map(lossy);
    let all = [Some(slash), Some(path.to_ascii_lowercase()), merged.ok()];
    all.into_iter().flatten().filter(|other| other != path && !other.is_empty()).collect()
}

fn place(config: &Config, name: &Spanned<String>) -> String {
    let place = config.source.place(name.span().start);
    format!("{}:{}", place.file.name(), place.line)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
