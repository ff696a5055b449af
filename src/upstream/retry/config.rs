//! `retries`, as it is written.

use std::time::Duration;

use toml::de::DeValue;

use super::Retries;
use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong, closest, text};
use crate::base::statuses::StatusSet;
use crate::base::units::{Setting, Size, display_duration};

/// One `retries` table. `None` is a key that is not there, and is inherited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetriesConfig {
    /// `attempts`: how often a request is sent in all.
    pub attempts: Option<u32>,
    /// `on`: when it is sent again.
    pub on: Option<Conditions>,
    /// `budget`: retries for each request.
    pub budget: Option<f64>,
    /// `backoff`: the longest wait before the first retry.
    pub backoff: Option<Duration>,
    /// `backoff_max`: the longest wait before any.
    pub backoff_max: Option<Duration>,
    /// `non_idempotent`: whether any method is sent again.
    pub non_idempotent: Option<bool>,
    /// `body`: the largest body that is kept.
    pub body: Option<Size>,
}

/// A list of conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `"connect"`.
    pub connect: bool,
    /// `"reset"`.
    pub reset: bool,
    /// `"timeout"`.
    pub timeout: bool,
    /// `"502"`, `"5xx"`.
    pub statuses: StatusSet,
}

const ATTEMPTS: u32 = 2;
const ATTEMPTS_MAX: u32 = 10;
const BUDGET: f64 = 0.2;
const BACKOFF: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_millis(250);
const BODY: Size = Size::kib(64);

/// The largest `body`: it is held in memory for every request that runs.
const BODY_MAX: Size = Size::mib(16);

impl RetriesConfig {
    /// Reads `retries` of a service or a route; `None` where it is not written.
    pub fn read(section: &mut Section<'_, '_>) -> Option<Setting<RetriesConfig>> {
        let Setting::On(mut section) = section.table_or_off("retries", "`retries`")? else { return Some(Setting::Off) };
        let mut config = RetriesConfig::default();
        section.inherit_within("attempts", 1..=ATTEMPTS_MAX, &mut config.attempts);
        section.inherit("on", &mut config.on);
        section.inherit_within("budget", 0.0..=1.0, &mut config.budget);
        section.inherit("backoff", &mut config.backoff);
        section.inherit("backoff_max", &mut config.backoff_max);
        section.inherit("non_idempotent", &mut config.non_idempotent);
        section.inherit_within("body", Size(0)..=BODY_MAX, &mut config.body);
        section.finish(&[]);
        if let (Some(first), Some(longest)) = (config.backoff, config.backoff_max)
            && first > longest
            && let Some(place) = section.place("backoff_max")
        {
            let (first, longest) = (display_duration(first), display_duration(longest));
            let message = format!("`backoff_max` ({longest}) is shorter than `backoff` ({first})");
            let fault = Diagnostic::new(place, message, "the first backoff is longer than this");
            section.fault(fault.help("make `backoff_max` longer or `backoff` shorter"));
        }
        if config.non_idempotent == Some(true)
            && config.on.as_ref().is_some_and(|on| on.timeout)
            && let Some(place) = section.place("non_idempotent")
        {
            let message = "a POST that has timed out is sent again, though the first may still be carried out";
            let warning = Diagnostic::new(place, message, "with \"timeout\" in `on`");
            section.warn(warning.help("leave out \"timeout\", unless the service sees that it has a request already"));
        }
        Some(Setting::On(config))
    }

    /// Resolves what was written in scopes, the most specific first, key by key, and that against what holds where
    /// nothing is written. `None` where retries are switched off. A scope may switch on what a wider one has switched
    /// off; it inherits nothing then.
    #[must_use]
    pub fn compile(scopes: [Option<&Setting<Self>>; 3]) -> Option<Retries> {
        let mut written: Option<Self> = None;
        for scope in scopes.into_iter().flatten() {
            match (scope, &mut written) {
                (Setting::Off, None) => return None,
                (Setting::Off, Some(_)) => break,
                (Setting::On(wider), None) => written = Some(wider.clone()),
                (Setting::On(wider), Some(own)) => own.inherit(wider),
            }
        }
        let written = written.unwrap_or_default();
        let on = written.on.unwrap_or(Conditions { connect: true, reset: true, ..Conditions::default() });
        let backoff = written.backoff.unwrap_or(BACKOFF);
        Some(Retries {
            attempts: written.attempts.unwrap_or(ATTEMPTS),
            on_connect: on.connect,
            on_reset: on.reset,
            on_timeout: on.timeout,
            on_statuses: on.statuses,
            budget: written.budget.unwrap_or(BUDGET),
            backoff,
            // One that is not written grows with the other.
            backoff_max: written.backoff_max.unwrap_or(BACKOFF_MAX.max(backoff)),
            non_idempotent: written.non_idempotent.unwrap_or(false),
            body: written.body.unwrap_or(BODY).bytes(),
        })
    }

    /// Takes what is not written here from a wider scope.
    fn inherit(&mut self, wider: &Self) {
        self.attempts = self.attempts.or(wider.attempts);
        self.on = self.on.take().or_else(|| wider.on.clone());
        self.budget = self.budget.or(wider.budget);
        self.backoff = self.backoff.or(wider.backoff);
        self.backoff_max = self.backoff_max.or(wider.backoff_max);
        self.non_idempotent = self.non_idempotent.or(wider.non_idempotent);
        self.body = self.body.or(wider.body);
    }
}

impl FromValue for Conditions {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        const WORDS: [&str; 3] = ["connect", "reset", "timeout"];
        const HELP: &str = "write \"connect\", \"reset\", \"timeout\", or statuses such as \"502\" or \"5xx\"";
        let DeValue::Array(list) = value.get_ref() else {
            return Err(Wrong::Type("a list, such as [\"connect\", \"reset\", \"502\"]".into()));
        };
        if list.is_empty() {
            return Err(Wrong::content("the list is empty", "to switch retries off, write `retries = false`"));
        }
        let mut conditions = Conditions::default();
        for value in list {
            let word = match value.get_ref() {
                DeValue::Integer(status) => status.as_str(),
                _ => text(value, "a list of strings such as \"reset\" or \"502\"")?,
            };
            match word {
                "connect" => conditions.connect = true,
                "reset" => conditions.reset = true,
                "timeout" => conditions.timeout = true,
                status if conditions.statuses.parse_and_add(status) => {}
                _ => {
                    let help = match closest(word, &WORDS) {
                        Some(meant) => format!("did you mean \"{meant}\"? {HELP}"),
                        None => HELP.into(),
                    };
                    return Err(Wrong::content(format!("nothing is retried on `{word}`"), help));
                }
            }
        }
        Ok(conditions)
    }
}
