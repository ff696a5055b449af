//! Names and values of fields as they are written in a configuration.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::{Name, Step};
use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong};
use crate::http::fields::{Known, is_value};
use crate::http::template::TemplateConfig;

/// Fields as they are written, with names that may be several times there.
pub type Values = Vec<(Name, Spanned<FieldTemplate>)>;

/// A value that can stand in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTemplate(pub TemplateConfig);

impl FieldTemplate {
    /// What `make` makes of a field with this value, on a route whose path captures these names.
    ///
    /// # Errors
    /// The value names another capture.
    pub fn step(
        (name, value): &(Name, Spanned<Self>),
        captures: &[&str],
        make: impl Fn(Name, crate::http::template::Template) -> Step,
    ) -> Result<Step, Box<Diagnostic>> {
        let template = value.get_ref().0.compile(captures).map_err(|unknown| {
            Box::new(Diagnostic::new(value.span(), unknown.problem, "this value").help(unknown.help))
        })?;
        Ok(make(name.clone(), template))
    }
}

impl FromValue for FieldTemplate {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let template = TemplateConfig::from_value(value)?;
        if template.is_empty() {
            return Err(Wrong::content(
                "it is empty, and empty values are not written",
                "to leave the field out, use `remove`",
            ));
        }
        if template.literals().all(|text| is_value(text.as_bytes())) {
            return Ok(Self(template));
        }
        Err(Wrong::content("it has control characters", "a value is one line of text"))
    }
}

/// The name of a field that rules may be about.
///
/// # Errors
/// What is wrong with it, and what to do instead.
pub fn field_name(text: &str) -> Result<Name, Wrong> {
    if let Some(name) = Name::new(text) {
        return Ok(name);
    }
    Err(match Known::classify(text.as_bytes()) {
        Known::Host => Wrong::content(
            "`Host` says where a request goes, and is not changed by rules",
            "to send the target's own host, write `preserve_host = false` on the route",
        ),
        Known::Expect => Wrong::content("`Expect` is settled with the client", "leave it out"),
        Known::ContentLength | Known::TransferEncoding | Known::Trailer => {
            Wrong::content(format!("`{text}` frames the message, and only the gateway writes it"), "leave it out")
        }
        Known::Other => Wrong::content(
            format!("`{text}` is not the name of a field"),
            "a name is letters, digits, `-` and `_`, such as \"X-Name\"",
        ),
        _ => Wrong::content(
            format!("`{text}` belongs to one connection (RFC 9110 section 7.6.1), and is never sent on"),
            "leave it out",
        ),
    })
}

/// The name that a key is; one that rules may not be about is a fault.
pub fn read_name(key: &Spanned<String>, section: &mut Section<'_, '_>) -> Option<Name> {
    match field_name(key.get_ref()) {
        Ok(name) => Some(name),
        Err(Wrong::Content { problem, help }) => {
            section.fault(Diagnostic::new(key.span(), problem, "this name").help(help));
            None
        }
        Err(_) => None,
    }
}

/// Reads `{ Name = "value" }`, or with `lists` also `{ Name = ["value", "value"] }`.
pub fn values(table: &mut Section<'_, '_>, lists: bool) -> Values {
    let mut all = Values::new();
    let mut seen: Vec<Spanned<String>> = Vec::new();
    for (key, value) in table.entries() {
        if let Some(first) = seen.iter().find(|first| first.get_ref().eq_ignore_ascii_case(key.get_ref())) {
            let message = format!("`{}` and `{}` are one field", first.get_ref(), key.get_ref());
            let fault = Diagnostic::new(key.span(), message, "here for the second time");
            table.fault(fault.related(first.span(), "here first").help("remove one of them"));
        }
        let name = read_name(&key, table);
        let elements: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(list) if lists => list.iter().collect(),
            _ => vec![value],
        };
        for element in elements {
            let template = table.convert(key.get_ref(), element, Spanned::from_value);
            if let (Some(name), Some(template)) = (&name, template) {
                all.push((name.clone(), template));
            }
        }
        seen.push(key);
    }
    all
}
