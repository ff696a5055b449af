//! Routes that answer by themselves.
//!
//! ```toml
//! [routes.robots]
//! path = "/robots.txt"
//! respond = { body = "User-agent: *\nDisallow: /\n" }
//!
//! [routes.gone]
//! path = "/v1/*"
//! respond = { status = 410, content_type = "application/json", body = '{"gone":"${request.path}"}', headers = { Sunset = "Sat, 31 Oct 2026 00:00:00 GMT" } }
//! ```
//!
//! `status` is 200 by default, and can be any from 200 to 599. `content_type` is `text/plain; charset=utf-8` by default;
//! without a body there is none. Values of the request are percent-encoded where they are put into the body, so that
//! none can end a string of JSON or begin a tag of HTML. The rules of `response_headers` hold here, too.

use serde_spanned::Spanned;

use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, text};
use crate::http::edit::{FieldTemplate, Step, Values, values};
use crate::http::fields::{FieldValue, OwnedValue};
use crate::http::template::{Encoding, Sources, Template, TemplateConfig};

/// What the user wrote as `respond`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespondConfig {
    status: Status,
    body: Option<Spanned<TemplateConfig>>,
    content_type: ContentType,
    headers: Values,
}

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status(u16);

/// The value of Content-Type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ContentType(OwnedValue);

impl Default for ContentType {
    fn default() -> Self {
        Self(OwnedValue::new("text/plain; charset=utf-8").expect("it is a value"))
    }
}

impl RespondConfig {
    /// Reads what stands under `respond`, if anything right does.
    pub fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let mut section = section.table("respond", "`respond`")?;
        let before = section.fault_count();
        let mut config =
            Self { status: Status(200), body: None, content_type: ContentType::default(), headers: Values::new() };
        section.read("status", &mut config.status);
        section.inherit("body", &mut config.body);
        section.read("content_type", &mut config.content_type);
        if let Some(mut table) = section.table("headers", "`headers`") {
            config.headers = values(&mut table, true);
        }
        section.finish(&[]);
        let has_body = config.body.as_ref().is_some_and(|body| !body.get_ref().is_empty());
        if matches!(config.status.0, 204 | 205 | 304)
            && let Some(place) = section.place("body").filter(|_| has_body)
        {
            let message = format!("a response with status {} has no body", config.status.0);
            section.fault(Diagnostic::new(place, message, "this body").help("leave it out, or choose another status"));
        }
        (section.fault_count() == before).then_some(config)
    }

    /// What runs of what was written, on a route whose path captures these names.
    ///
    /// # Errors
    /// The body names another capture.
    pub fn compile(&self, captures: &[&str]) -> Result<Respond, Box<Diagnostic>> {
        let body = match self.body.as_ref().filter(|body| !body.get_ref().is_empty()) {
            None => None,
            Some(body) => Some(body.get_ref().compile(captures).map_err(|unknown| {
                Box::new(Diagnostic::new(body.span(), unknown.problem, "this body").help(unknown.help))
            })?),
        };
        Ok(Respond { status: self.status.0, body, content_type: self.content_type.0.clone() })
    }

    /// The fields that it adds, as steps.
    ///
    /// # Errors
    /// A value that names another capture.
    pub fn steps(&self, captures: &[&str]) -> Result<Vec<Step>, Box<Diagnostic>> {
        self.headers.iter().map(|value| FieldTemplate::step(value, captures, Step::Append)).collect()
    }
}

impl FromValue for Status {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match usize::from_value(value)? {
            status @ 200..=599 => Ok(Self(status as u16)),
            other => {
                Err(Wrong::content(format!("{other} is not the status of a response"), "write one from 200 to 599"))
            }
        }
    }
}

impl FromValue for ContentType {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a media type such as \"application/json\"")?;
        let is_type = text.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty());
        OwnedValue::new(text).filter(|_| is_type).map(Self).ok_or_else(|| {
            Wrong::content(
                format!("`{}` is not a media type", text.escape_debug()),
                "write one such as \"application/json\"",
            )
        })
    }
}

/// What a route answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// The status.
    pub status: u16,
    body: Option<Template>,
    content_type: OwnedValue,
}

impl Respond {
    /// Appends the body for a request.
    pub fn put_body(&self, sources: &Sources<'_>, out: &mut Vec<u8>) {
        if let Some(body) = &self.body {
            body.render(sources, Encoding::Text, out);
        }
    }

    /// The value of Content-Type; nothing where there is no body.
    #[must_use]
    pub fn content_type(&self) -> Option<FieldValue<'_>> {
        self.body.is_some().then(|| self.content_type.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::de::DeTable;

    /// What is read of `respond = { ... }`, and what is wrong with it.
    fn read(text: &str) -> (Option<RespondConfig>, Vec<Diagnostic>) {
        let text = format!("respond = {{ {text} }}");
        let tree = DeTable::parse(&text).unwrap();
        let mut faults = Vec::new();
        let config = RespondConfig::read(&mut Section::new("[routes.x]", 0..0, tree.get_ref(), &mut faults));
        (config, faults)
    }

    #[test]
    fn what_is_answered() {
        let of = |text: &str| read(text).0.unwrap().compile(&["id"]).unwrap();
        let plain = of("body = \"hello\"");
        assert_eq!((plain.status, plain.content_type().unwrap().as_bytes()), (200, &b"text/plain; charset=utf-8"[..]));
        let empty = of("status = 204");
        assert_eq!((empty.status, empty.content_type()), (204, None));
        assert_eq!(of("status = 410, body = \"\"").content_type(), None);
        assert_eq!(
            of("body = \"{}\", content_type = \"application/json\"").content_type().unwrap().as_bytes(),
            b"application/json"
        );
        let (config, faults) =
            read("body = \"${path.id}\", headers = { Link = [\"<a>\", \"<b>\"], X-Id = \"${path.id}\" }");
        assert!(faults.is_empty(), "{faults:?}");
        let config = config.unwrap();
        assert_eq!(config.steps(&["id"]).unwrap().len(), 3);
        assert!(config.compile(&[]).is_err() && config.steps(&[]).is_err());
    }

    #[test]
    fn what_is_wrong_with_an_answer() {
        for (text, message, help) in [
            ("status = 100", "100 is not the status of a response", "from 200 to 599"),
            ("status = \"200\"", "`status` cannot be a string", "a whole number"),
            ("status = 204, body = \"x\"", "a response with status 204 has no body", "choose another status"),
            ("body = 5", "`body` cannot be a whole number", "a string"),
            ("body = \"${client.pi}\"", "there is no `${client.pi}`", "did you mean `${client.ip}`?"),
            ("content_type = \"json\"", "`json` is not a media type", "application/json"),
            ("content_type = \"a/b\\n\"", "is not a media type", "application/json"),
            ("headers = { Host = \"a\" }", "`Host` says where", "preserve_host"),
            ("headers = { Content-Length = \"5\" }", "`Content-Length` frames the message", "leave it out"),
            ("code = 200", "unknown key `code`", "there is only: status"),
        ] {
            let (config, faults) = read(text);
            assert_eq!((config, faults.len()), (None, 1), "{text}: {faults:?}");
            let helps = faults[0].help.as_deref().unwrap_or_default();
            assert!(faults[0].message.contains(message) && helps.contains(help), "{text}: {faults:?}");
        }
    }
}
