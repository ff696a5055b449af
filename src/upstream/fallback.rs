//! What answers when a service cannot take a request: its targets are all down, cannot be connected to, or have all the
//! connections that they may have and nobody leaves in time.
//!
//! ```toml
//! [services.search]
//! targets = ["127.0.0.1:3001"]
//! fallback = { service = "search_of_yesterday" }
//!
//! [services.prices]
//! targets = ["127.0.0.1:3002"]
//! fallback = { status = 503, body = "{\"prices\":[]}", content_type = "application/json" }
//! ```
//!
//! A request of which an earlier attempt has sent anything is answered so only if it may be sent twice: its method is
//! idempotent, and all of it is still there. Without a fallback the answer is 503 with a Retry-After,
//! or 502 or 504 where connecting has failed. A fallback service may have a fallback of its own, but they must not
//! lead in a circle.

use serde_spanned::Spanned;

use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, text};
use crate::base::units::Setting;

/// `[services.NAME] fallback`.
#[derive(Clone, Debug)]
pub enum FallbackConfig {
    /// `service`: the name of another one.
    Service(Spanned<String>),
    /// `status`, `body` and `content_type`.
    Response(FixedResponse),
}

/// A response that is always the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedResponse {
    /// From 200 to 599.
    pub status: u16,
    /// May be empty.
    pub body: Box<str>,
    /// What the body is; fit to be the value of a field.
    pub content_type: Box<str>,
}

impl FallbackConfig {
    /// Reads `fallback` of a service.
    pub fn read(section: &mut Section<'_, '_>) -> Option<FallbackConfig> {
        let Setting::On(mut section) = section.table_or_off("fallback", "`fallback`")? else { return None };
        let mut service: Option<Spanned<String>> = None;
        let mut status: Option<u32> = None;
        let (mut body, mut content_type) = (String::new(), ContentType("text/plain; charset=utf-8".into()));
        section.inherit("service", &mut service);
        section.inherit_within("status", 200..=599, &mut status);
        section.read("body", &mut body);
        section.read("content_type", &mut content_type);
        section.finish(&[]);
        let place = ["status", "body", "content_type"].into_iter().find_map(|key| section.place(key));
        match (service, place) {
            (Some(service), None) => Some(FallbackConfig::Service(service)),
            (Some(_), Some(place)) => {
                let message = "a fallback is a service or a response, not both";
                let fault = Diagnostic::new(place, message, "this is a part of a response");
                section.fault(fault.help("leave out `service`, or everything else"));
                None
            }
            (None, _) => {
                // The default is for what stands in front of the gateway: the service is not there now.
                let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(503);
                if matches!(status, 204 | 205 | 304)
                    && let Some(place) = section.place("body")
                {
                    let message = format!("a response with status {status} has no body");
                    section.fault(Diagnostic::new(place, message, "this body").help("leave it out"));
                }
                Some(FallbackConfig::Response(FixedResponse {
                    status,
                    body: body.into(),
                    content_type: content_type.0,
                }))
            }
        }
    }
}

struct ContentType(Box<str>);

impl FromValue for ContentType {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a media type such as \"application/json\"")?;
        let is_visible = |byte: u8| (b' '..=b'~').contains(&byte);
        let has_kind = text.split_once('/').is_some_and(|(kind, of)| !kind.is_empty() && !of.is_empty());
        if has_kind && text.bytes().all(is_visible) && text.trim() == text {
            return Ok(Self(text.into()));
        }
        let problem = format!("`{}` is not a media type", text.escape_debug());
        Err(Wrong::content(problem, "write one such as \"application/json\" or \"text/html; charset=utf-8\""))
    }
}
