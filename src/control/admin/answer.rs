//! What the admin listener answers with: JSON, text, or what is wrong as problem details (RFC 9457), shaped like those
//! that clients of the gateway get.

use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl Answer {
    /// JSON, with the status 200.
    pub(super) fn json(view: &Value) -> Answer {
        Answer { status: StatusCode::OK, kind: "application/json", text: format!("{view}\n") }
    }

    /// A text of this media type, with the status 200.
    pub(super) fn text(kind: &'static str, text: String) -> Answer {
        Answer { status: StatusCode::OK, kind, text }
    }

    /// The same with another status.
    pub(super) fn status(self, status: StatusCode) -> Answer {
        Answer { status, ..self }
    }
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    view: Value,
    field: Option<(&'static str, String)>,
}

impl Problem {
    /// A problem with a stable name in snake case, and what to do about it.
    pub(super) fn new(status: StatusCode, code: &str, detail: impl AsRef<str>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Error");
        let view = json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": detail.as_ref(),
        });
        Problem { status, view, field: None }
    }

    /// With one more member.
    pub(super) fn member(mut self, name: &str, value: Value) -> Problem {
        self.view[name] = value;
        self
    }

    /// With a field in the answer's head.
    pub(super) fn with(self, name: &'static str, value: impl Into<String>) -> Problem {
        Problem { field: Some((name, value.into())), ..self }
    }

    /// With the methods that would have been right.
    pub(super) fn allow(self, methods: &str) -> Problem {
        self.with(ALLOW.as_str(), methods)
    }

    /// Its status.
    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        respond(self.status, self.kind, self.text)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = respond(self.status, "application/problem+json", format!("{}\n", self.view));
        if let Some((name, value)) = self.field
            && let Ok(value) = HeaderValue::try_from(value)
        {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        response
    }
}

/// Nothing of it is to be kept by anybody, or taken for something else.
fn respond(status: StatusCode, kind: &'static str, text: String) -> Response {
    (status, [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text)
        .into_response()
}
