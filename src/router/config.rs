//! The keys of `[routes.NAME]` that say which requests a route takes, and which path is sent on, as they are written.

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::DeValue;

use crate::base::decode::{FromValue, Section, Value, Wrong, own_text, text};

/// Which requests a route takes. What is left out is no condition.
#[derive(Clone, Debug, Default)]
pub struct MatchConfig {
    /// `hosts`: names, and wildcards such as `*.example.com`; any of them.
    pub hosts: Vec<Spanned<String>>,
    /// `path`, as it is written: exact, with `{captures}`, `/*` for all below, or `~` and a regular expression.
    pub path: Option<Spanned<String>>,
    /// `methods`; any of them.
    pub methods: Vec<Spanned<String>>,
    /// `headers`: all of them, in the order of the file.
    pub headers: Vec<(Spanned<String>, Spanned<TestConfig>)>,
    /// `query`: all of them, in the order of the file.
    pub query: Vec<(Spanned<String>, Spanned<TestConfig>)>,
    /// `listeners`: names; any of them.
    pub listeners: Vec<Spanned<String>>,
    /// `priority`: the higher wins, whatever else.
    pub priority: i32,
}

/// What a header or a query key must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestConfig {
    /// `true`: it must be there.
    Present,
    /// Exactly this, or with `~ ` in front a regular expression.
    Text(String),
}

/// What path is sent on.
#[derive(Clone, Debug, Default)]
pub struct ForwardConfig {
    /// `strip_prefix`: what is not sent on of the path.
    pub strip_prefix: Option<Spanned<String>>,
    /// `rewrite`: the path to send on, perhaps with captures.
    pub rewrite: Option<Spanned<String>>,
    /// `forward_path`: in which form the path is sent on.
    pub forward_path: Option<Spanned<ForwardPath>>,
}

/// In which form a path is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `"normal"`: in the form in which it was matched.
    Normal,
    /// `"raw"`: as it was received.
    Raw,
}

/// The largest `priority`, and how far below zero it may be.
const PRIORITY_MAX: i64 = 1_000_000;

impl MatchConfig {
    /// Reads the keys of one route.
    pub fn read(section: &mut Section<'_, '_>) -> Self {
        let list = |value: &Value<'_>| Spanned::from_value(value);
        let mut config = Self {
            hosts: section.some("hosts", "[\"api.example.com\"]", list),
            methods: section.some("methods", "[\"GET\"]", list),
            headers: section.keyed("headers", "{ x-api-version = \"v2\" }", Spanned::from_value),
            query: section.keyed("query", "{ region = \"eu\" }", Spanned::from_value),
            listeners: section.some("listeners", "[\"public\"]", list),
            ..Self::default()
        };
        section.inherit("path", &mut config.path);
        let mut priority = Priority(0);
        section.read("priority", &mut priority);
        config.priority = priority.0;
        config
    }

    /// The place of what says which paths the route takes: `path`, or else `name`, that of the route.
    pub(super) fn place(&self, name: &Spanned<String>) -> Range<usize> {
        self.path.as_ref().map_or_else(|| name.span(), Spanned::span)
    }
}

impl ForwardConfig {
    /// Reads the keys of one route.
    pub fn read(section: &mut Section<'_, '_>) -> Self {
        let mut config = Self::default();
        section.inherit("strip_prefix", &mut config.strip_prefix);
        section.inherit("rewrite", &mut config.rewrite);
        section.inherit("forward_path", &mut config.forward_path);
        config
    }
}

struct Priority(i32);

impl FromValue for Priority {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return Err(Wrong::Type("a whole number, such as 10; the default is 0, and the higher wins".into()));
        };
        let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
        match parsed.ok().filter(|number| number.abs() <= PRIORITY_MAX).map(i32::try_from) {
            Some(Ok(number)) => Ok(Self(number)),
            _ => Err(Wrong::content(
                format!("`{integer}` is out of bounds"),
                format!("it can be from -{PRIORITY_MAX} to {PRIORITY_MAX}"),
            )),
        }
    }
}

impl FromValue for TestConfig {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let expected = "a string to compare with, \"~ \" and a regular expression, or `true` for any value";
        match value.get_ref() {
            DeValue::Boolean(true) => Ok(Self::Present),
            DeValue::Integer(number) => Err(Wrong::content(
                format!("{number} is a number, and what is compared is text"),
                format!("write \"{number}\""),
            )),
            _ => own_text(value, expected).map(Self::Text),
        }
    }
}

impl FromValue for ForwardPath {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match text(value, "\"normal\" or \"raw\"")? {
            "normal" => Ok(Self::Normal),
            "raw" => Ok(Self::Raw),
            other => Err(Wrong::content(
                format!("there is no form `{other}` of a path"),
                "write \"normal\" for the path that was matched, or \"raw\" for the path as it was received",
            )),
        }
    }
}
