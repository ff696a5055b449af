//! What the user wrote about the access log.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::field::Field;
use super::format::FormatConfig;
use crate::base::decode::{Diagnostic, FromValue, Section, TableOr, Value, Wrong, own_text, text};
use crate::base::statuses::StatusSet;
use crate::base::units::{Setting, Size};
use crate::http::fields::is_token;

/// `[access_log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogConfig {
    /// `output`: where lines go.
    pub output: OutputConfig,
    /// `format`: how they are written.
    pub format: FormatConfig,
    /// `fields`: what a line of JSON says.
    pub fields: Vec<Field>,
    /// `request_headers`: the fields of requests that are logged.
    pub request_headers: Vec<String>,
    /// `response_headers`: the fields of responses that are logged.
    pub response_headers: Vec<String>,
    /// `sample`: which requests have a line.
    pub sample: SampleConfig,
    /// `mask.query`: the keys of queries whose values are secrets.
    pub mask_query: Vec<String>,
    /// `mask.headers`: more fields whose values are secrets.
    pub mask_headers: Vec<String>,
    /// `queue`: bytes that may wait in each worker.
    pub queue: Size,
}

/// `output`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OutputConfig {
    /// `"stdout"`.
    #[default]
    Stdout,
    /// `{ file = "..." }`.
    File(PathBuf),
    /// `"off"`.
    Off,
}

/// `access_log` of a route or of the defaults, where it is not `false`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScopeConfig {
    /// `sample`.
    pub sample: SampleConfig,
}

/// `sample`. What was not written is inherited from the wider scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleConfig {
    /// `share` of the requests that went well, from 0 to 1.
    pub share: Option<f64>,
    /// `always`: statuses that are logged whatever the share.
    pub always: Option<StatusSet>,
    /// `slower_than`: requests that take as long are logged whatever the share.
    pub slower_than: Option<Setting<Duration>>,
}

impl SampleConfig {
    /// `share` where it is not written.
    pub const SHARE: f64 = 1.0;
    /// `slower_than` where it is not written.
    pub const SLOWER_THAN: Setting<Duration> = Setting::On(Duration::from_secs(1));

    /// `always` where it is not written: 500 to 599.
    #[must_use]
    pub fn always() -> StatusSet {
        let mut set = StatusSet::default();
        let known = set.parse_and_add("5xx");
        debug_assert!(known);
        set
    }

    fn read(section: &mut Section<'_, '_>) -> SampleConfig {
        let mut config = SampleConfig::default();
        let Some(mut table) = section.table("sample", "`sample`") else { return config };
        table.inherit_within("share", 0.0..=1.0, &mut config.share);
        table.inherit("always", &mut config.always);
        table.inherit("slower_than", &mut config.slower_than);
        table.finish(&[]);
        config
    }
}

/// `mask.query` where it is not written.
pub(super) const MASK_QUERY: [&str; 12] = [
    "access_token",
    "api_key",
    "apikey",
    "client_secret",
    "id_token",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-signature",
];

/// `mask.headers` where it is not written.
pub(super) const MASK_HEADERS: [&str; 1] = ["x-api-key"];

/// The most fields of each head that can be written; those of templates come on top.
const HEADERS_MOST: usize = 32;

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            output: OutputConfig::Stdout,
            format: FormatConfig::Json,
            fields: Field::usual(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            sample: SampleConfig::default(),
            mask_query: MASK_QUERY.map(str::to_owned).to_vec(),
            mask_headers: MASK_HEADERS.map(str::to_owned).to_vec(),
            queue: Size::mib(4),
        }
    }
}

impl AccessLogConfig {
    /// Reads the table.
    pub fn read(mut section: Section<'_, '_>) -> Self {
        let mut config = Self::default();
        section.read("output", &mut config.output);
        section.read("format", &mut config.format);
        let fields = section.some("fields", "[\"time\", \"status\"]", Field::from_value);
        if !fields.is_empty() {
            config.fields = fields;
        }
        if let Some(place) = section.place("fields").filter(|_| config.format != FormatConfig::Json) {
            let fault = Diagnostic::new(place, "`fields` has no effect with a template", "these are fields of JSON");
            section.fault(fault.help("leave it out, or write format = \"json\""));
        }
        config.request_headers = names(&mut section, "request_headers");
        config.response_headers = names(&mut section, "response_headers");
        config.sample = SampleConfig::read(&mut section);
        if let Some(mut mask) = section.table("mask", "`mask`") {
            config.mask_query = list(&mut mask, "query", "[\"token\"]", key).unwrap_or(config.mask_query);
            config.mask_headers = list(&mut mask, "headers", "[\"x-api-key\"]", name).unwrap_or(config.mask_headers);
            mask.finish(&[]);
        }
        section.read_within("queue", Size::kib(256)..=Size::mib(16), &mut config.queue);
        section.finish(&[]);
        config
    }
}

impl ScopeConfig {
    /// Reads `access_log` of a route or of the defaults.
    pub fn read(section: &mut Section<'_, '_>) -> Option<Setting<Self>> {
        let value = match section.table_or_value("access_log", "`access_log`")? {
            TableOr::Table(mut table) => {
                let sample = SampleConfig::read(&mut table);
                table.finish(&[]);
                return Some(Setting::On(Self { sample }));
            }
            TableOr::Value(value) => value,
        };
        section.convert("access_log", value, |value| match value.get_ref() {
            DeValue::Boolean(true) => Ok(Setting::On(Self::default())),
            DeValue::Boolean(false) => Ok(Setting::Off),
            _ => Err(Wrong::Type("`true`, `false`, or a table such as { sample = { share = 0.1 } }".into())),
        })
    }
}

impl FromValue for OutputConfig {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        const EXPECTED: &str = "\"stdout\", \"off\", or { file = \"/var/log/tidegate/access.log\" }";
        if let DeValue::Table(table) = value.get_ref() {
            let mut entries = table.iter();
            return match (entries.next(), entries.next()) {
                (Some((key, value)), None) if key.get_ref() == "file" => file(&own_text(value, "the path of a file")?),
                _ => Err(Wrong::content("it names no file", format!("write {EXPECTED}"))),
            };
        }
        match text(value, EXPECTED)? {
            "stdout" => Ok(Self::Stdout),
            "off" => Ok(Self::Off),
            other if other.contains('/') => Err(Wrong::content(
                format!("there is no output `{other}`"),
                format!("for a file write {{ file = \"{other}\" }}"),
            )),
            other => Err(Wrong::content(format!("there is no output `{other}`"), format!("write {EXPECTED}"))),
        }
    }
}

fn file(path: &str) -> Result<OutputConfig, Wrong> {
    match path {
        "" => Err(Wrong::content("the path is empty", "write one such as \"/var/log/tidegate/access.log\"")),
        _ if path.ends_with('/') => Err(Wrong::content(
            format!("`{path}` is a directory"),
            format!("write the path of a file, such as \"{path}access.log\""),
        )),
        _ if path.contains('\0') => Err(Wrong::content("a path has no NUL in it", "leave it out")),
        _ => Ok(OutputConfig::File(path.into())),
    }
}

/// A list of names of fields, none twice.
fn names(section: &mut Section<'_, '_>, key: &'static str) -> Vec<String> {
    let names = list(section, key, "[\"user-agent\"]", name).unwrap_or_default();
    if let Some(place) = section.place(key).filter(|_| names.len() > HEADERS_MOST) {
        let message = format!("`{key}` has {} names, and a line has room for {HEADERS_MOST}", names.len());
        section.fault(Diagnostic::new(place, message, "these names").help("leave those out that nobody reads"));
    }
    names
}

/// A list, which may be missing or empty, of what `read` reads.
fn list(
    section: &mut Section<'_, '_>,
    key: &'static str,
    example: &str,
    read: fn(&Value<'_>) -> Result<String, Wrong>,
) -> Option<Vec<String>> {
    let value = section.optional(key)?;
    let values = section.convert(key, value, |value| match value.get_ref() {
        DeValue::Array(values) => Ok(values.iter().collect::<Vec<_>>()),
        _ => Err(Wrong::Type(format!("a list such as {example}"))),
    })?;
    let mut all: Vec<String> = Vec::new();
    for value in values {
        let once = |value: &Value<'_>| {
            let read = read(value)?;
            match all.contains(&read) {
                true => Err(Wrong::content(format!("`{read}` is there twice"), "leave one of them out")),
                false => Ok(read),
            }
        };
        if let Some(read) = section.convert(key, value, once) {
            all.push(read);
        }
    }
    Some(all)
}

/// The name of a field of a head, in lower case.
fn name(value: &Value<'_>) -> Result<String, Wrong> {
    let name = text(value, "the name of a field, such as \"user-agent\"")?;
    match is_token(name.as_bytes()) && name.len() <= 64 {
        true => Ok(name.to_ascii_lowercase()),
        false => {
            Err(Wrong::content(format!("`{name}` is not the name of a field"), "write one such as \"user-agent\""))
        }
    }
}

/// A key of queries, in lower case.
fn key(value: &Value<'_>) -> Result<String, Wrong> {
    let key = text(value, "a key of queries, such as \"token\"")?;
    match key {
        "" => Err(Wrong::content("the key is empty", "write one such as \"token\"")),
        _ if key.contains(['&', ';', '=', '[', ']', '%']) => {
            let help = "write the key as it is meant, such as \"token\"; it is found however it is encoded";
            Err(Wrong::content(format!("`{key}` is not one key"), help))
        }
        _ => Ok(key.to_ascii_lowercase()),
    }
}
