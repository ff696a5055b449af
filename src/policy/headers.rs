//! Rules over the fields of requests and responses.
//!
//! ```toml
//! [defaults]
//! response_headers = { remove = ["Server", "X-Powered-By", "X-Internal-*"] }
//!
//! [services.users]
//! targets = ["127.0.0.1:3001"]
//! request_headers = { set = { X-Gateway = "tidegate" }, rename = { X-Api-Key = "X-Key" } }
//!
//! [routes.users]
//! path = "/users/*"
//! service = "users"
//! request_headers = { set = { X-Client = "${client.ip}" }, add = { Accept = "application/json" } }
//! response_headers = { append = { Link = ["</a>; rel=preload", "</b>; rel=preload"] } }
//! ```
//!
//! | rule | what it does |
//! |---|---|
//! | `remove` | leaves out every line of a name; `X-Internal-*` every line whose name begins with `X-Internal-` |
//! | `rename` | gives every line of one name another; lines that had the other name give way |
//! | `set` | one line with this value in place of all lines of the name |
//! | `add` | a line, if there is none of the name |
//! | `append` | a line, or several, beside those that are there |
//!
//! They are applied in this order, and all rules of `[defaults]` before those of the service before those of the route.
//! They see the message as it would be sent: without what is not sent on, with what the gateway adds (X-Forwarded
//! fields, Via, the request's id), and with what earlier rules have made. `false` on a service or a route drops what
//! `[defaults]` says. Values may have names in them, see [`template`](crate::http::template); a value that comes out
//! empty is not written. Of the fields that frame a message or belong to its connection, none can be named.

use serde_spanned::Spanned;

use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, text};
use crate::base::units::Setting;
use crate::http::edit::{Edits, FieldTemplate, Name, Step, Values, field_name, read_name, values};

/// What the user wrote in one `request_headers` or `response_headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadersConfig {
    remove: Vec<Spanned<Removal>>,
    rename: Vec<(Name, Name)>,
    set: Values,
    add: Values,
    append: Values,
}

/// What is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Removal {
    Name(Name),
    /// Every name that begins like this.
    Prefix(Box<str>),
}

/// Whose rules they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of many routes, which have no captures in common.
    Shared,
    /// Those of one route.
    Route,
}

impl HeadersConfig {
    /// Reads what stands under `key`, if anything does.
    fn read(section: &mut Section<'_, '_>, key: &'static str, scope: Scope) -> Option<Setting<Self>> {
        let mut section = match section.table_or_off(key, &format!("`{key}`"))? {
            Setting::Off => return Some(Setting::Off),
            Setting::On(section) => section,
        };
        let mut config = Self::default();
        section.read_list("remove", "a list of names, such as [\"Server\", \"X-Internal-*\"]", &mut config.remove);
        if let Some(mut table) = section.table("rename", "`rename`") {
            config.rename = renames(&mut table);
        }
        for (key, into) in [("set", &mut config.set), ("add", &mut config.add), ("append", &mut config.append)] {
            if let Some(mut table) = section.table(key, &format!("`{key}`")) {
                *into = values(&mut table, key == "append");
            }
        }
        section.finish(&[]);
        if scope == Scope::Shared {
            for (value, name) in config.captures() {
                let message = format!("`${{path.{name}}}` is of one route, and these rules are for many");
                let fault = Diagnostic::new(value.span(), message, "this value");
                section.fault(fault.help("write this rule on the route whose path captures it"));
            }
        }
        Some(Setting::On(config))
    }

    fn values(&self) -> impl Iterator<Item = &(Name, Spanned<FieldTemplate>)> {
        self.set.iter().chain(&self.add).chain(&self.append)
    }

    /// The captures that any value names.
    fn captures(&self) -> impl Iterator<Item = (&Spanned<FieldTemplate>, &str)> {
        self.values().flat_map(|(_, value)| value.get_ref().0.captures().map(move |name| (value, name)))
    }

    /// What is wrong with these rules on a route whose path captures these names.
    fn check(&self, captures: &[&str]) -> Vec<Diagnostic> {
        self.values()
            .filter_map(|value| FieldTemplate::step(value, captures, Step::Set).err())
            .map(|fault| *fault)
            .collect()
    }

    /// The rules as steps, in their order.
    fn steps(&self, captures: &[&str]) -> Result<Vec<Step>, Box<Diagnostic>> {
        let removals = self.remove.iter().map(|removal| match removal.get_ref() {
            Removal::Name(name) => Step::Remove(name.clone()),
            Removal::Prefix(prefix) => Step::RemovePrefix(prefix.clone()),
        });
        let renames = self.rename.iter().map(|(from, to)| Step::Rename(from.clone(), to.clone()));
        let mut steps: Vec<Step> = removals.chain(renames).collect();
        let makers = [Step::Set as fn(_, _) -> _, Step::Add, Step::Append];
        for (values, make) in [&self.set, &self.add, &self.append].into_iter().zip(makers) {
            for value in values {
                steps.push(FieldTemplate::step(value, captures, make)?);
            }
        }
        Ok(steps)
    }
}

/// What the user wrote of both directions in one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesConfig {
    /// `request_headers`.
    pub request: Option<Setting<HeadersConfig>>,
    /// `response_headers`.
    pub response: Option<Setting<HeadersConfig>>,
}

impl RulesConfig {
    /// Reads both.
    pub fn read(section: &mut Section<'_, '_>, scope: Scope) -> Self {
        let request = HeadersConfig::read(section, "request_headers", scope);
        Self { request, response: HeadersConfig::read(section, "response_headers", scope) }
    }

    /// What is wrong with the rules of a route whose path captures these names.
    #[must_use]
    pub fn check(&self, captures: &[&str]) -> Vec<Diagnostic> {
        let of = |rules: &Option<Setting<HeadersConfig>>| match rules {
            Some(Setting::On(rules)) => rules.check(captures),
            _ => Vec::new(),
        };
        [of(&self.request), of(&self.response)].concat()
    }
}

/// The rules of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Over its requests, as they go to the service.
    pub request: Option<Edits>,
    /// Over its responses, as they go to the client.
    pub response: Option<Edits>,
}

impl Rules {
    /// The rules that hold for a route, from what was written in `[defaults]`, by its service if it has one, and by
    /// itself. Its path captures these names. `own` are the names of all fields that the gateway adds. What is in `first`
    /// is done to responses before all rules.
    ///
    /// # Errors
    /// A value that names another capture.
    pub fn compile(
        defaults: &RulesConfig,
        service: Option<&RulesConfig>,
        route: &RulesConfig,
        captures: &[&str],
        own: &[&[u8]],
        first: Vec<Step>,
    ) -> Result<Self, Box<Diagnostic>> {
        let side = |mut steps: Vec<Step>, of: fn(&RulesConfig) -> Option<&Setting<HeadersConfig>>| {
            let (service, route) = (service.and_then(of), of(route));
            let off = [service, route].iter().any(|scope| matches!(scope, Some(Setting::Off)));
            let defaults = of(defaults).filter(|_| !off);
            for scope in [defaults, service, route] {
                if let Some(Setting::On(config)) = scope {
                    steps.extend(config.steps(captures)?);
                }
            }
            Ok::<_, Box<Diagnostic>>(Edits::new(steps, own))
        };
        let request = side(Vec::new(), |rules| rules.request.as_ref())?;
        Ok(Self { request, response: side(first, |rules| rules.response.as_ref())? })
    }
}

impl FromValue for Removal {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "the name of a field, such as \"Server\" or \"X-Internal-*\"")?;
        let Some(prefix) = text.strip_suffix('*') else { return field_name(text).map(Self::Name) };
        // What may follow a prefix makes a name of it.
        if prefix.is_empty() || Name::new(&format!("{prefix}x")).is_none() {
            let help = "write the beginning of a name in front of the star, such as \"X-Internal-*\"";
            return Err(Wrong::content(format!("`{text}` is not the beginning of a name"), help));
        }
        Ok(Self::Prefix(prefix.into()))
    }
}

/// Reads `{ Old = "New" }`.
fn renames(table: &mut Section<'_, '_>) -> Vec<(Name, Name)> {
    let mut all = Vec::new();
    for (key, value) in table.entries() {
        let to = table.convert(key.get_ref(), value, |value| field_name(text(value, "the new name, as a string")?));
        if let (Some(from), Some(to)) = (read_name(&key, table), to) {
            all.push((from, to));
        }
    }
    all
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
