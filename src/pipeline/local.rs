//! Responses that are made here: refusals, redirects, and what routes answer by themselves.

use super::exchange::Exchange;
use super::facts::{Facts, editing};
use super::reject::Answer;
use super::{Ended, Reject};
use crate::http::error::HeadError;
use crate::http::fields::{FieldName, FieldValue};
use crate::http::h1::encode::{LocalResponse, OwnFields, encode_local};
use crate::http::message::{Method, Version};
use crate::policy::redirect::{NoHost, Redirect};
use crate::policy::respond::Respond;
use crate::shard::Date;
use crate::snapshot::{Action, Fallback, Route, Snapshot};

/// Finds out where the request in `x` is sent to.
///
/// # Errors
/// The target needs a host, and the request has none.
pub(super) fn redirect(
    snapshot: &Snapshot,
    route: &Route,
    redirect: &Redirect,
    x: &mut Exchange,
) -> Result<Ended, Reject> {
    let Exchange { request, path, captures, origin, id, values, .. } = x;
    let path = if path.is_empty() { request.path_bytes() } else { &**path };
    let facts = Facts { snapshot, route, request, path, captures, origin, id };
    values.clear();
    redirect.put_location(&facts.sources(), values).map_err(|NoHost| Reject::Head(HeadError::MissingHost))?;
    Ok(Ended::Local { status: redirect.status })
}

/// Puts the body together with which the request in `x` is answered.
pub(super) fn respond(snapshot: &Snapshot, route: &Route, respond: &Respond, x: &mut Exchange) -> Ended {
    let Exchange { request, path, captures, origin, id, values, .. } = x;
    let path = if path.is_empty() { request.path_bytes() } else { &**path };
    let facts = Facts { snapshot, route, request, path, captures, origin, id };
    values.clear();
    respond.put_body(&facts.sources(), values);
    Ended::Local { status: respond.status }
}

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// A refusal, which [`Exchange::describe`] has described.
    Refusal(Answer),
    /// What the route says, with this status; see [`Ended::Local`].
    Route(u16),
}

impl What {
    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Refusal(answer) => answer.status,
            Self::Route(status) => *status,
        }
    }

    /// Whether the connection must end with it.
    #[must_use]
    pub const fn closes(&self) -> bool {
        match self {
            Self::Refusal(answer) => answer.closes,
            Self::Route(_) => false,
        }
    }
}

/// Writes the response to the request in `x` into its reply.
pub fn encode(snapshot: &Snapshot, what: What, x: &mut Exchange, keep_alive: bool, date: &Date) {
    const CONTENT_TYPE: FieldName<'static> = FieldName::literal("Content-Type");
    let to_head = x.method() == Some(Method::Head);
    let client = if x.parsed { x.request.version() } else { Version::Http11 };
    let Exchange {
        request, path, origin, id, values, problem, reply, scratch, route, captures, allow, fallback, ..
    } = x;
    let path = if path.is_empty() && x.parsed { request.path_bytes() } else { &**path };
    let mut own = OwnFields::default();
    // RFC 9110 section 6.6.1: of this response we are the origin.
    own.push(FieldName::literal("Date"), date);
    let mut response = LocalResponse { status: what.status(), fields: &[], body: b"", to_head, client, keep_alive };
    reply.clear();
    let ids = &snapshot.fields.request_ids;
    match what {
        What::Refusal(answer) => {
            own.push_value(CONTENT_TYPE, FieldValue::literal("application/problem+json"));
            own.push_value(FieldName::literal("Cache-Control"), FieldValue::literal("no-store"));
            own.push_value(ids.name(), (&*id).into());
            match answer.status {
                503 => own.push_value(FieldName::literal("Retry-After"), FieldValue::literal("1")),
                // RFC 9110 section 15.5.6: a 405 has one, be it empty.
                405 => own.push(FieldName::literal("Allow"), allow),
                _ => {}
            }
            (response.body, response.fields) = (problem.as_bytes(), own.as_slice());
            encode_local(&response, None, reply);
        }
        What::Route(_) => {
            let Some(route) = route.map(|id| snapshot.route(id)) else { return };
            match &route.action {
                Action::Service(_) => {
                    let service = fallback.map(|id| snapshot.service(id));
                    if let Some(Fallback::Response(fixed)) = service.and_then(|service| service.fallback.as_ref()) {
                        own.push(CONTENT_TYPE, fixed.content_type.as_bytes());
                        own.push_value(FieldName::literal("Cache-Control"), FieldValue::literal("no-store"));
                        if fixed.status == 503 {
                            own.push_value(FieldName::literal("Retry-After"), FieldValue::literal("1"));
                        }
                        response.body = fixed.body.as_bytes();
                    }
                }
                Action::Redirect(_) => own.push(FieldName::literal("Location"), values),
                Action::Respond(respond) => {
                    if let Some(kind) = respond.content_type() {
                        own.push_value(CONTENT_TYPE, kind);
                    }
                    response.body = values;
                }
            }
            own.push_value(ids.name(), (&*id).into());
            let facts = Facts { snapshot, route, request, path, captures, origin, id };
            response.fields = own.as_slice();
            encode_local(&response, editing(route.rules.response.as_ref(), scratch.get_mut(), &facts), reply);
        }
    }
}
