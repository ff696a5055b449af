//! Reads a `health` table.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::{BodyRule, HealthConfig, Jitter};
use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, own_text, text, type_of};
use crate::base::units::display_duration;
use crate::http::fields::{is_token, is_value};

/// How often a target may be asked.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);

/// The fields that a check writes itself, and how to set them.
const OWN_FIELDS: &[(&str, &str)] = &[
    ("host", "write `host = \"...\"` beside `headers`"),
    ("connection", "each check has a connection of its own; leave it out"),
    ("content-length", "a check has no body; leave it out"),
    ("transfer-encoding", "a check has no body; leave it out"),
    ("expect", "a check has no body; leave it out"),
    ("upgrade", "a check stays on HTTP/1.1; leave it out"),
    ("te", "a check takes no trailers; leave it out"),
];

/// Keys that say what to ask over HTTP.
const HTTP_KEYS: [&str; 6] = ["path", "method", "host", "headers", "statuses", "body"];

impl HealthConfig {
    /// Reads the table, and adds what is wrong with it to the faults of `section`.
    pub fn read(mut section: Section<'_, '_>) -> HealthConfig {
        let mut config = HealthConfig::default();
        let (mut path, mut host, mut body, mut port) = Default::default();
        let mut method = Method(config.method);
        section.read("tcp", &mut config.tcp);
        section.inherit("path", &mut path);
        section.read("method", &mut method);
        section.inherit("host", &mut host);
        config.headers = headers(&mut section);
        section.read("statuses", &mut config.statuses);
        section.inherit("body", &mut body);
        section.inherit("port", &mut port);
        let mut interval = Interval(config.interval);
        section.read("interval", &mut interval);
        section.read("jitter", &mut config.jitter);
        section.inherit("timeout", &mut config.timeout);
        section.read_within("healthy", 1..=100, &mut config.healthy);
        section.read_within("unhealthy", 1..=100, &mut config.unhealthy);
        section.finish(&[]);
        config.path = path.map(|Path(path)| path);
        config.host = host.map(|Host(host)| host);
        config.body = body.map(|Body(body)| body);
        config.port = port.map(|Port(port)| port);
        (config.method, config.interval) = (method.0, interval.0);
        config.check(&mut section);
        config
    }

    /// What is wrong between the keys.
    fn check(&self, section: &mut Section<'_, '_>) {
        if self.tcp {
            for key in HTTP_KEYS {
                if let Some(place) = section.place(key) {
                    let message = format!("`{key}` is for checks over HTTP, and `tcp = true` only connects");
                    let fault = Diagnostic::new(place, message, "nothing is asked over this connection");
                    section.fault(fault.help(format!("leave out `{key}`, or leave out `tcp`")));
                }
            }
        } else if section.place("path").is_none() {
            // A missing key has no place but the table's: `require` words it.
            let help = "\"/health\", or tcp = true for a check that only connects";
            section.require_value("path", help);
        }
        if let (Some(place), Some(timeout)) = (section.place("timeout"), self.timeout)
            && timeout > self.interval
        {
            let (timeout, interval) = (display_duration(timeout), display_duration(self.interval));
            let message = format!("`timeout` ({timeout}) is longer than `interval` ({interval})");
            let fault = Diagnostic::new(place, message, "the next check would begin before this one has ended");
            section.fault(fault.help("make `timeout` shorter or `interval` longer"));
        }
        if let Some(place) = section.place("statuses").filter(|_| self.statuses.is_empty()) {
            let fault = Diagnostic::new(place, "no status counts as well", "no target could ever be");
            section.fault(fault.help("write a list such as [\"2xx\", 301]"));
        }
        if let (Some(place), "HEAD") = (section.place("body"), self.method) {
            let fault = Diagnostic::new(place, "`body` cannot be checked with HEAD", "the answer to HEAD has no body");
            section.fault(fault.help("write method = \"GET\", or leave out `body`"));
        }
    }
}

struct Path(String);
struct Method(&'static str);
struct Host(String);
struct Body(String);
struct Port(u16);
struct Interval(Duration);

impl FromValue for Path {
    fn from_value(value: &Value<'_>) -> Result<Path, Wrong> {
        let path = text(value, "a path such as \"/health\"")?;
        if !path.starts_with('/') {
            return Err(Wrong::content(format!("`{path}` does not begin with a slash"), format!("write \"/{path}\"")));
        }
        if let Some(odd) = path.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
            let problem = format!("`{path}` has `{}`, which no request can have", odd.escape_default());
            return Err(Wrong::content(problem, "write such characters as percent escapes, a space as %20"));
        }
        Ok(Path(path.into()))
    }
}

impl FromValue for Method {
    fn from_value(value: &Value<'_>) -> Result<Method, Wrong> {
        let expected = "\"GET\", \"HEAD\" or \"OPTIONS\"";
        let method = text(value, expected)?;
        ["GET", "HEAD", "OPTIONS"].into_iter().find(|known| *known == method).map(Method).ok_or_else(|| {
            let problem = format!("a check must change nothing, so it does not ask with `{method}`");
            Wrong::content(problem, format!("write {expected}"))
        })
    }
}

impl FromValue for Host {
    fn from_value(value: &Value<'_>) -> Result<Host, Wrong> {
        let host = text(value, "the value of a Host field, such as \"users.internal\"")?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_plain) {
            let problem = format!("`{}` cannot be the value of a Host field", host.escape_default());
            return Err(Wrong::content(
                problem,
                "write a name, and a port if one belongs there: \"users.internal:8080\"",
            ));
        }
        Ok(Host(host.into()))
    }
}

/// Reads `headers`. Each fault is shown where it is, for the others are right.
fn headers(section: &mut Section<'_, '_>) -> Vec<(String, String)> {
    const KEY: &str = "headers";
    let Some(value) = section.optional(KEY) else { return Vec::new() };
    let entries = section.convert(KEY, value, |value| match value.get_ref() {
        DeValue::Table(table) => Ok(table.iter().collect::<Vec<_>>()),
        _ => Err(Wrong::Type("a table such as { authorization = \"Bearer 1234\" }".into())),
    });
    let mut entries = entries.unwrap_or_default();
    entries.sort_by_key(|(name, _)| name.span().start);
    let mut headers = Vec::new();
    for (name, value) in entries {
        let text: &str = name.get_ref();
        if let Some((problem, help)) = wrong_name(text) {
            let fault = Diagnostic::new(name.span(), format!("wrong value for `{KEY}`: {problem}"), "this name");
            section.fault(fault.help(help));
        } else if let Some(value) = section.convert(KEY, value, |value| field_value(text, value)) {
            headers.push((text.to_owned(), value));
        }
    }
    headers
}

/// What is wrong with the name of a field, and what to do about it.
fn wrong_name(name: &str) -> Option<(String, &'static str)> {
    if !is_token(name.as_bytes()) {
        let problem = format!("`{}` cannot be the name of a field", name.escape_default());
        return Some((problem, "a name is letters, digits and `-`"));
    }
    let own = OWN_FIELDS.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    own.map(|(_, help)| (format!("a check writes the field `{name}` itself"), *help))
}

/// The value of the field `name`.
fn field_value(name: &str, value: &Value<'_>) -> Result<String, Wrong> {
    let DeValue::String(_) = value.get_ref() else {
        let problem = format!("the value of `{name}` is {}", type_of(value.get_ref()));
        return Err(Wrong::content(problem, "the value of a field is a string"));
    };
    let text = own_text(value, "a string")?;
    if !is_value(text.as_bytes()) || text.trim() != text {
        // Not shown, for it may be a secret.
        let problem = format!("this cannot be the value of `{name}`");
        return Err(Wrong::content(problem, "a value is one line of text without spaces around it"));
    }
    Ok(text)
}

impl FromValue for Body {
    fn from_value(value: &Value<'_>) -> Result<Body, Wrong> {
        let body = own_text(value, "text that must be in the body, or a regular expression such as \"~ ^ok\"")?;
        if body.trim_start_matches('~').trim().is_empty() {
            return Err(Wrong::content("every body has this", "leave it out, or write what must be in the body"));
        }
        match BodyRule::new(&body) {
            Ok(_) => Ok(Body(body)),
            Err(error) => {
                let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                let problem = format!("`{}` is not a regular expression: {last}", body.escape_debug());
                Err(Wrong::content(problem, "mend it, or leave out the `~` to look for the text as it is"))
            }
        }
    }
}

impl FromValue for Port {
    fn from_value(value: &Value<'_>) -> Result<Port, Wrong> {
        let port = usize::from_value(value)?;
        let port = u16::try_from(port).ok().filter(|port| *port != 0).map(Port);
        port.ok_or_else(|| Wrong::content("this is not a port", "a port is from 1 to 65535"))
    }
}

impl FromValue for Interval {
    fn from_value(value: &Value<'_>) -> Result<Interval, Wrong> {
        let interval = Duration::from_value(value)?;
        if INTERVALS.contains(&interval) {
            return Ok(Interval(interval));
        }
        let side = if interval < *INTERVALS.start() { "short" } else { "long" };
        let problem = format!("`{}` is too {side}", display_duration(interval));
        let (first, last) = (display_duration(*INTERVALS.start()), display_duration(*INTERVALS.end()));
        Err(Wrong::content(problem, format!("it can be from {first} to {last}")))
    }
}

impl FromValue for Jitter {
    fn from_value(value: &Value<'_>) -> Result<Jitter, Wrong> {
        let share = f64::from_value(value)?;
        if !(0.0..=0.5).contains(&share) {
            return Err(Wrong::content(
                "this is not a share that an interval may differ by",
                "it can be from 0 to 0.5",
            ));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 500")]
        Ok(Jitter((share * 1000.0).round() as u16))
    }
}
