//! Routes that send the client elsewhere.
//!
//! ```toml
//! [routes.plain]
//! path = "/*"
//! redirect = { scheme = "https", status = 308 }
//!
//! [routes.moved]
//! path = "/people/*"
//! redirect = "https://users.example.com${request.path}"
//!
//! [routes.within]
//! path = "/old"
//! redirect = { to = "/new?from=${query.page}", status = 301 }
//! ```
//!
//! A string, or `to`, is the whole Location: a URI with a scheme, or a path. In its place stand the parts that change:
//! `scheme`, `host`, `port` and `path`; what is not written is the request's own. A changed scheme or host has its usual
//! port. `query = "keep"` (the default) sends the request's query on where the target has none; "drop" does not.
//! `status` is 301, 302, 303, 307 or 308. By default it is 307: the client keeps its method, and asks again the next
//! time, so that a wrong redirect is not remembered.
//!
//! No request can choose where it leads. The host is one that is written, or `${request.host}`, which was checked like
//! any Host; what a request has in other places is percent-encoded where it may not stand, and a path that would begin
//! with two slashes, which is another host, begins with one.

use serde_spanned::Spanned;

use crate::base::decode::{Diagnostic, FromValue, Section, TableOr, Value, Wrong, text};
use crate::http::h1::encode::Decimal;
use crate::http::h1::parse::is_authority;
use crate::http::template::{Encoding, Sources, Template, TemplateConfig, host_without_port};

/// What the user wrote as `redirect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectConfig {
    status: Status,
    query: Query,
    target: TargetConfig,
}

/// Where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TargetConfig {
    Whole(Spanned<Location>),
    Parts { scheme: Option<Scheme>, host: Option<Host>, port: Option<Port>, path: Option<Spanned<Path>> },
}

/// A template that is a URI or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Location(TemplateConfig);

/// A template that is a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path(TemplateConfig);

/// A host without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host(String);

/// The port of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port(u16);

/// The status of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status(u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// What becomes of the request's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Query {
    Keep,
    Drop,
}

impl RedirectConfig {
    /// Reads what stands under `redirect`, if anything right does.
    pub fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let (status, query) = (Status(307), Query::Keep);
        let mut section = match section.table_or_value("redirect", "`redirect`")? {
            TableOr::Table(section) => section,
            TableOr::Value(value) => {
                let target = section.convert("redirect", value, Spanned::from_value).map(TargetConfig::Whole)?;
                return Some(Self { status, query, target });
            }
        };
        let (mut status, mut query, mut to) = (status, query, None);
        let (mut scheme, mut host, mut port, mut path) = (None, None, None, None);
        section.inherit("to", &mut to);
        section.inherit("scheme", &mut scheme);
        section.inherit("host", &mut host);
        section.inherit("port", &mut port);
        section.inherit("path", &mut path);
        section.read("query", &mut query);
        section.read("status", &mut status);
        section.finish(&[]);
        let part = ["scheme", "host", "port", "path"].into_iter().find_map(|key| Some((key, section.place(key)?)));
        let target = match (section.place("to"), part) {
            (Some(to_place), Some((key, place))) => {
                let message = format!("`to` and `{key}` are both there, and `to` is the whole target");
                let fault = Diagnostic::new(place, message, "this part").related(to_place, "the whole");
                section.fault(fault.help(format!("write `{key}` into `to`, or leave `to` out")));
                return None;
            }
            (Some(_), None) => TargetConfig::Whole(to?),
            (None, Some(_)) => TargetConfig::Parts { scheme, host, port, path },
            (None, None) => {
                section.missing("to", "\"https://www.example.com${request.path}\"");
                return None;
            }
        };
        Some(Self { status, query, target })
    }

    fn template(&self) -> Option<Spanned<&TemplateConfig>> {
        match &self.target {
            TargetConfig::Whole(to) => Some(Spanned::new(to.span(), &to.get_ref().0)),
            TargetConfig::Parts { path, .. } => path.as_ref().map(|path| Spanned::new(path.span(), &path.get_ref().0)),
        }
    }

    /// What runs of what was written, on a route whose path captures these names.
    ///
    /// # Errors
    /// The target names another capture.
    pub fn compile(&self, captures: &[&str]) -> Result<Redirect, Box<Diagnostic>> {
        let template = match self.template() {
            None => None,
            Some(written) => Some(written.get_ref().compile(captures).map_err(|unknown| {
                Box::new(Diagnostic::new(written.span(), unknown.problem, "this value").help(unknown.help))
            })?),
        };
        let has_query = self.template().is_some_and(|written| written.get_ref().shape().contains(['?', '#']));
        let target = match (&self.target, template) {
            (TargetConfig::Whole(_), Some(template)) => Target::Whole(template),
            (TargetConfig::Parts { scheme: None, host: None, port: None, .. }, Some(template)) => {
                Target::Whole(template)
            }
            (TargetConfig::Parts { scheme, host, port, .. }, path) => Target::Parts {
                scheme: *scheme,
                host: host.as_ref().map(|host| host.0.as_str().into()),
                port: port.map(|port| port.0),
                path,
            },
            (TargetConfig::Whole(_), None) => unreachable!("it has a template"),
        };
        Ok(Redirect { status: self.status.0, keeps_query: self.query == Query::Keep && !has_query, target })
    }
}

/// What stands in a shape for a value that a request chooses.
const CHOSEN: char = '\0';

impl FromValue for Location {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let template = TemplateConfig::from_value(value)?;
        let shape = template.shape();
        check_characters(&template)?;
        let Some(rest) = shape.strip_prefix("https://").or_else(|| shape.strip_prefix("http://")) else {
            return check_path(&shape).map(|()| Self(template));
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        if authority.contains(CHOSEN) {
            return Err(Wrong::content(
                "a request could choose the host that this leads to",
                "write the host out, or `${request.host}`, and a `/` behind it",
            ));
        }
        if !is_authority(authority.as_bytes()) {
            return Err(Wrong::content(
                "it has no host",
                "write one, such as \"https://www.example.com${request.path}\"",
            ));
        }
        Ok(Self(template))
    }
}

impl FromValue for Path {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let template = TemplateConfig::from_value(value)?;
        check_characters(&template)?;
        check_path(&template.shape()).map(|()| Self(template))
    }
}

/// Accepts a path of this site.
fn check_path(shape: &str) -> Result<(), Wrong> {
    if shape.starts_with("//") {
        return Err(Wrong::content(
            "two slashes begin a host, not a path",
            "write one slash, or \"https://\" and a host",
        ));
    }
    match shape.starts_with('/') {
        true => Ok(()),
        false => Err(Wrong::content(
            "it begins neither with a scheme nor with a slash",
            "write a URI such as \"https://www.example.com/\", or a path such as \"/new\"",
        )),
    }
}

/// Accepts text that can stand in a URI as it is.
fn check_characters(template: &TemplateConfig) -> Result<(), Wrong> {
    let odd = template.literals().flat_map(str::chars).find(|c| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c));
    let Some(odd) = odd else { return Ok(()) };
    let mut bytes = [0; 4];
    let escaped: String = odd.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
    Err(Wrong::content(format!("`{}` cannot stand in a URI", odd.escape_debug()), format!("write \"{escaped}\"")))
}

impl FromValue for Host {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a host such as \"www.example.com\"")?;
        if !is_authority(text.as_bytes()) {
            let problem = format!("`{text}` is not a host");
            return Err(Wrong::content(problem, "write one such as \"www.example.com\" or \"[2001:db8::1]\""));
        }
        match host_without_port(text) {
            host if host == text => Ok(Self(text.into())),
            host => Err(Wrong::content(
                format!("`{text}` has a port"),
                format!("write host = \"{host}\", port = {}", &text[host.len() + 1..]),
            )),
        }
    }
}

impl FromValue for Port {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match usize::from_value(value).map(u16::try_from) {
            Ok(Ok(port)) if port > 0 => Ok(Self(port)),
            Err(wrong @ Wrong::Type(_)) => Err(wrong),
            _ => Err(Wrong::content("it is not a port", "write a number from 1 to 65535")),
        }
    }
}

impl FromValue for Status {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match usize::from_value(value)? {
            status @ (301 | 302 | 303 | 307 | 308) => Ok(Self(status as u16)),
            other => Err(Wrong::content(
                format!("{other} is not the status of a redirect"),
                "write 301 or 308 for good, 302 or 307 for now, 303 to go on with a GET",
            )),
        }
    }
}

impl FromValue for Scheme {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match text(value, "\"https\" or \"http\"")? {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            other => Err(Wrong::content(format!("there is no scheme `{other}` here"), "write \"https\" or \"http\"")),
        }
    }
}

impl FromValue for Query {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match text(value, "\"keep\" or \"drop\"")? {
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            other => Err(Wrong::content(format!("there is no `{other}`"), "write \"keep\" or \"drop\"")),
        }
    }
}

impl Scheme {
    const fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Where a route sends its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status of the answer.
    pub status: u16,
    keeps_query: bool,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Whole(Template),
    Parts { scheme: Option<Scheme>, host: Option<Box<str>>, port: Option<u16>, path: Option<Template> },
}

/// The request has no host, and the target needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHost;

impl Redirect {
    /// Appends the Location for a request.
    ///
    /// # Errors
    /// [`NoHost`].
    pub fn put_location(&self, sources: &Sources<'_>, out: &mut Vec<u8>) -> Result<(), NoHost> {
        let start = out.len();
        let host = sources.request.host();
        match &self.target {
            Target::Whole(template) => {
                if template.needs_host() && host.is_none() {
                    return Err(NoHost);
                }
                template.render(sources, Encoding::Uri, out);
                // Two slashes would begin another host.
                let slashes = out[start..].iter().take_while(|byte| **byte == b'/').count();
                out.drain(start..start + slashes.saturating_sub(1));
            }
            Target::Parts { scheme, host: written, port, path } => {
                let asked = host.unwrap_or_default();
                let name = written.as_deref().or(host.map(host_without_port)).ok_or(NoHost)?;
                let scheme_text = scheme.map_or(sources.scheme, |scheme| scheme.text());
                // The port of the request goes with its host and its scheme, and with no other.
                let stays = written.is_none() && scheme_text == sources.scheme;
                let own = asked.get(host_without_port(asked).len() + 1..).filter(|_| stays);
                for part in [scheme_text, "://", name] {
                    out.extend_from_slice(part.as_bytes());
                }
                put_port(*port, own, scheme_text, out);
                match path {
                    Some(path) => path.render(sources, Encoding::Uri, out),
                    None => out.extend_from_slice(sources.path),
                }
            }
        }
        if let Some(query) = sources.request.query().filter(|_| self.keeps_query) {
            out.push(b'?');
            // The parser lets through a few characters that a URI does not have.
            crate::http::template::put_encoded(query.as_bytes(), Encoding::Uri, out);
        }
        Ok(())
    }
}

/// Appends a port: the one that is `written`, or else the request's `own`; the usual one of a scheme needs no saying.
fn put_port(written: Option<u16>, own: Option<&str>, scheme: &str, out: &mut Vec<u8>) {
    let usual = if scheme == "https" { 443 } else { 80 };
    if let Some(port) = written.or_else(|| own?.parse().ok()).filter(|port| *port != usual) {
        out.push(b':');
        out.extend_from_slice(Decimal::new(port.into()).as_bytes());
    }
}

#[cfg(test)]
#[path = "redirect_tests.rs"]
mod tests;
