//! Lines: JSON with fields, or a template.

use super::Side;
use super::entry::OF_RESPONSE;
use super::field::Field;
use crate::base::decode::{DOLLAR, FromValue, Value, Wrong, raw_text};
use crate::http::fields::is_token;

/// `format`: as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatConfig {
    /// `"json"`.
    Json,
    /// A template.
    Template(Vec<PartConfig>),
}

/// A part of a template as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartConfig {
    /// Text.
    Literal(String),
    /// A field.
    Field(Field),
    /// `${request.header.NAME}`.
    RequestHeader(String),
    /// `${response.header.NAME}`.
    ResponseHeader(String),
}

impl FromValue for FormatConfig {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = raw_text(value, "\"json\" or a template such as \"${client} ${method} ${uri} ${status}\"")?;
        match text {
            "json" => Ok(Self::Json),
            _ if !text.contains("${") => {
                let problem = format!("`{text}` is the same for every request");
                Err(Wrong::content(problem, "write \"json\", or name fields as in \"${method} ${uri} ${status}\""))
            }
            _ if text.contains(char::is_control) || text.ends_with("\\n") => Err(Wrong::content(
                "a line has no control characters in it",
                "leave the end of the line out: each gets one",
            )),
            _ => template(text).map(Self::Template),
        }
    }
}

fn template(text: &str) -> Result<Vec<PartConfig>, Wrong> {
    let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
    while let Some(dollar) = rest.find(['$', DOLLAR]) {
        literal.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let Some(after) = rest.strip_prefix("${") else {
            literal.push('$');
            let length = if rest.starts_with("$$") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
            rest = &rest[length..];
            continue;
        };
        let Some((name, after)) = after.split_once('}') else {
            return Err(Wrong::content(format!("`${{{after}` has no end"), "close it with `}`"));
        };
        if !literal.is_empty() {
            parts.push(PartConfig::Literal(std::mem::take(&mut literal)));
        }
        parts.push(named(name)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(PartConfig::Literal(literal));
    }
    Ok(parts)
}

fn named(name: &str) -> Result<PartConfig, Wrong> {
    let of_request = name.strip_prefix("request.header.").map(|field| (field, Side::Request));
    let of_response = || name.strip_prefix("response.header.").map(|field| (field, Side::Response));
    match of_request.or_else(of_response) {
        Some((field, _)) if !is_token(field.as_bytes()) => {
            let help = "write one such as `${request.header.user-agent}`";
            Err(Wrong::content(format!("`${{{name}}}` does not name a field of a head"), help))
        }
        Some((field, Side::Request)) => Ok(PartConfig::RequestHeader(field.to_owned())),
        Some((field, Side::Response)) => Ok(PartConfig::ResponseHeader(field.to_owned())),
        None => match Field::find(name) {
            Some(field) => Ok(PartConfig::Field(field)),
            None => Err(Wrong::content(format!("there is no field `{name}`"), Field::help(name))),
        },
    }
}

/// How lines are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Format {
    Json(Box<[Field]>),
    Template(Box<[Part]>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Literal(Box<[u8]>),
    Field(Field),
    /// The header at this place among those of the entry, as the entry's header fields have it.
    Header(u8),
}

impl Format {
    /// What runs of what was written. `place` says where among the headers that are logged one is, by its name.
    pub(super) fn compile(config: &FormatConfig, fields: &[Field], mut place: impl FnMut(Side, &str) -> u8) -> Format {
        let FormatConfig::Template(parts) = config else { return Format::Json(fields.into()) };
        let parts = parts.iter().map(|part| match part {
            PartConfig::Literal(text) => Part::Literal(text.as_bytes().into()),
            PartConfig::Field(field) => Part::Field(*field),
            PartConfig::RequestHeader(name) => Part::Header(place(Side::Request, name)),
            PartConfig::ResponseHeader(name) => Part::Header(OF_RESPONSE | place(Side::Response, name)),
        });
        Format::Template(parts.collect())
    }
}
