//! A small decoder of TOML tables that finds every fault in one pass.
//!
//! serde stops at the first fault, so it cannot show all of them. Here a section starts with its defaults, each key that
//! is there and right replaces one, each that is wrong leaves its default and adds a fault, and [`Section::finish`]
//! finds the keys that nobody asked for:
//!
//! ```text
//! let mut pool = PoolConfig::default();
//! section.read_within("idle_connections", 0..=65_536, &mut pool.idle_connections);
//! section.read("idle_timeout", &mut pool.idle_timeout);
//! section.finish(&[]);
//! ```

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use serde_spanned::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostics::Diagnostic;
use super::value::{FromValue, Value, Wrong, type_of};
use crate::base::units::Setting;

/// One table of the file, while it is read.
pub struct Section<'t, 'f> {
    /// What people call it, such as `[gateway]`.
    title: String,
    /// The header, or the braces of an inline table.
    span: Range<usize>,
    entries: Vec<Entry<'t>>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
    faults: &'f mut Vec<Diagnostic>,
}

/// What stands under a key that may have a table or something else.
pub enum TableOr<'t, 'f> {
    /// A table, to be read key by key.
    Table(Section<'t, 'f>),
    /// Something else.
    Value(&'t Value<'t>),
}

/// The title of the table that holds all others.
pub const WHOLE_FILE: &str = "the file";

struct Entry<'t> {
    key: &'t Spanned<DeString<'t>>,
    value: &'t Value<'t>,
    asked_for: bool,
}

impl<'t, 'f> Section<'t, 'f> {
    /// The table at `span`, to be read key by key.
    pub fn new(
        title: impl Into<String>,
        span: Range<usize>,
        table: &'t DeTable<'t>,
        faults: &'f mut Vec<Diagnostic>,
    ) -> Self {
        let entries = table.iter().map(|(key, value)| Entry { key, value, asked_for: false });
        let mut entries: Vec<Entry<'t>> = entries.collect();
        entries.sort_by_key(|entry| entry.key.span().start);
        Self { title: title.into(), span, entries, known: Vec::new(), faults }
    }

    /// Adds a fault that has to do with this section.
    pub fn fault(&mut self, fault: Diagnostic) {
        self.faults.push(fault);
    }

    /// Adds what is not wrong, but perhaps not what was meant.
    pub fn warn(&mut self, warning: Diagnostic) {
        self.faults.push(warning.warning());
    }

    /// How many faults there are so far, in the whole file.
    pub fn fault_count(&self) -> usize {
        self.faults.len()
    }

    /// Reads a key that may be missing.
    pub fn read<T: FromValue>(&mut self, key: &'static str, into: &mut T) {
        if let Some(value) = self.take(key)
            && let Some(read) = self.convert(key, value, T::from_value)
        {
            *into = read;
        }
    }

    /// Reads a key that may be missing, and is inherited where it is.
    pub fn inherit<T: FromValue>(&mut self, key: &'static str, into: &mut Option<T>) {
        if let Some(value) = self.take(key) {
            *into = self.convert(key, value, T::from_value);
        }
    }

    /// Reads a key that may be missing, and whose value has bounds.
    pub fn read_within<T>(&mut self, key: &'static str, bounds: RangeInclusive<T>, into: &mut T)
    where
        T: FromValue + PartialOrd + Display,
    {
        let mut read = None;
        self.inherit_within(key, bounds, &mut read);
        if let Some(read) = read {
            *into = read;
        }
    }

    /// Reads a key that may be missing, is inherited where it is, and whose value has bounds.
    pub fn inherit_within<T>(&mut self, key: &'static str, bounds: RangeInclusive<T>, into: &mut Option<T>)
    where
        T: FromValue + PartialOrd + Display,
    {
        let within = |value: &Value<'t>| {
            let read = T::from_value(value)?;
            if bounds.contains(&read) {
                return Ok(read);
            }
            let side = if read < *bounds.start() { "small" } else { "large" };
            let help = format!("it can be from {} to {}", bounds.start(), bounds.end());
            Err(Wrong::content(format!("`{read}` is too {side}"), help))
        };
        if let Some(value) = self.take(key) {
            *into = self.convert(key, value, within);
        }
    }

    /// Reads a key that must be there; `example` is a value to show where it is not.
    pub fn require<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Value<'t>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.require_value(key, example)?;
        self.convert(key, value, read)
    }

    /// The value of a key that must be there.
    pub fn require_value(&mut self, key: &'static str, example: &str) -> Option<&'t Value<'t>> {
        let value = self.take(key);
        if value.is_none() {
            self.missing(key, example);
        }
        value
    }

    /// Adds the fault of a key that is not there; `example` is a value to show.
    pub fn missing(&mut self, key: &str, example: &str) {
        let message = format!("{} has no `{key}`", self.title);
        let fault = Diagnostic::new(self.span.clone(), message, format!("`{key}` is missing here"));
        self.faults.push(fault.help(format!("add a line such as: {key} = {example}")));
    }

    /// The value of a key that may be missing, to be read with [`Section::convert`].
    pub fn optional(&mut self, key: &'static str) -> Option<&'t Value<'t>> {
        self.take(key)
    }

    /// The table that is one `value` of `key`, such as an element of a list; `expected` says what it must be.
    pub fn table_of(
        &mut self,
        key: &'static str,
        value: &'t Value<'t>,
        title: &str,
        expected: &str,
    ) -> Option<Section<'t, '_>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(title, value.span(), table, self.faults)),
            _ => {
                self.faults.push(wrong(key, value, Wrong::Type(expected.into())));
                None
            }
        }
    }

    /// The table under `key`, if it is there.
    pub fn table(&mut self, key: &'static str, title: &str) -> Option<Section<'t, '_>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(title, value.span(), table, self.faults)),
            _ => {
                self.faults.push(wrong(key, value, Wrong::Type("a table".into())));
                None
            }
        }
    }

    /// The table under `key` or `false`, if one of them is there.
    pub fn table_or_off(&mut self, key: &'static str, title: &str) -> Option<Setting<Section<'t, '_>>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Boolean(false) => Some(Setting::Off),
            DeValue::Table(table) => Some(Setting::On(Section::new(title, value.span(), table, self.faults))),
            _ => {
                let expected = "a table, or `false` to switch it off".into();
                self.faults.push(wrong(key, value, Wrong::Type(expected)));
                None
            }
        }
    }

    /// The table or the other value under `key`, if there is one.
    pub fn table_or_value(&mut self, key: &'static str, title: &str) -> Option<TableOr<'t, '_>> {
        let value = self.take(key)?;
        Some(match value.get_ref() {
            DeValue::Table(table) => TableOr::Table(Section::new(title, value.span(), table, self.faults)),
            _ => TableOr::Value(value),
        })
    }

    /// A table that stands in a list of this section.
    pub fn element(&mut self, title: &str, span: Range<usize>, table: &'t DeTable<'t>) -> Section<'t, '_> {
        Section::new(title, span, table, self.faults)
    }

    /// Reads a list that may be missing, and is empty then. A list that is there has at least one value; `example` is
    /// one to show where it is not a list.
    pub fn some<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&'t Value<'t>) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let values = self.convert(key, value, |value| match value.get_ref() {
            DeValue::Array(list) if list.is_empty() => {
                Err(Wrong::content("the list is empty", format!("leave it out, or write a list such as {example}")))
            }
            DeValue::Array(list) => Ok(list.iter().collect::<Vec<_>>()),
            _ => Err(Wrong::Type(format!("a list, such as {example}"))),
        });
        values.unwrap_or_default().into_iter().filter_map(|value| self.convert(key, value, &read)).collect()
    }

    /// Reads a table whose keys are of the user's choice, in the order of the file. It may be missing, and is empty
    /// then; a table that is there has at least one key. `example` is one to show where it is not a table.
    pub fn keyed<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&'t Value<'t>) -> Result<T, Wrong>,
    ) -> Vec<(Spanned<String>, T)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let entries = self.convert(key, value, |value| match value.get_ref() {
            DeValue::Table(table) if table.is_empty() => {
                Err(Wrong::content("the table is empty", format!("leave it out, or write a table such as {example}")))
            }
            DeValue::Table(table) => Ok(table.iter().collect::<Vec<_>>()),
            _ => Err(Wrong::Type(format!("a table, such as {example}"))),
        });
        let mut entries = entries.unwrap_or_default();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut pairs = Vec::new();
        for (name, value) in entries {
            let title = format!("{key}.{}", name.get_ref());
            if let Some(read) = self.convert(&title, value, &read) {
                pairs.push((Spanned::new(name.span(), name.get_ref().to_string()), read));
            }
        }
        pairs
    }

    /// The tables that are keyed by names of the user's choice, such as those of `[services.NAME]`. `each` reads one.
    pub fn named<T>(
        &mut self,
        key: &'static str,
        each: impl Fn(Spanned<String>, &mut Section<'t, '_>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            let fault = Diagnostic::new(
                value.span(),
                format!("`{key}` must be tables with names, not {}", type_of(value.get_ref())),
                "this has no name",
            );
            self.faults.push(fault.help(format!("write a header such as [{key}.NAME]")));
            return Vec::new();
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut all = Vec::new();
        for (name, value) in entries {
            let DeValue::Table(table) = value.get_ref() else {
                let fault = Diagnostic::new(
                    name.span(),
                    format!("`{name}` stands in [{key}], which holds only tables with names", name = name.get_ref()),
                    format!("this is {}", type_of(value.get_ref())),
                );
                self.faults.push(fault.help(format!("put it under a header such as [{key}.NAME]")));
                continue;
            };
            self.faults.extend(bad_name(key, name));
            let title = format!("[{key}.{}]", name.get_ref());
            let mut section = Section::new(title, value.span(), table, self.faults);
            all.extend(each(Spanned::new(name.span(), name.get_ref().to_string()), &mut section));
        }
        all
    }

    /// Reads one value of `key`; what is wrong with it becomes a fault.
    pub fn convert<'v, T>(
        &mut self,
        key: &str,
        value: &'v Value<'t>,
        read: impl FnOnce(&'v Value<'t>) -> Result<T, Wrong>,
    ) -> Option<T> {
        match read(value) {
            Ok(read) => Some(read),
            Err(reason) => {
                self.faults.push(wrong(key, value, reason));
                None
            }
        }
    }

    /// Reads a list that may be missing, and may be empty; `expected` is what to say that it is. What is wrong with an element becomes a
    /// fault, and the others stay.
    pub fn read_list<T: FromValue>(&mut self, key: &'static str, expected: &str, into: &mut Vec<Spanned<T>>) {
        let Some(value) = self.take(key) else { return };
        match value.get_ref() {
            DeValue::Array(list) => {
                *into = list.iter().filter_map(|value| self.convert(key, value, Spanned::from_value)).collect();
            }
            _ => self.faults.push(wrong(key, value, Wrong::Type(expected.into()))),
        }
    }

    /// All that is in the table, under keys of the user's choice, in the order of the file.
    pub fn entries(&mut self) -> Vec<(Spanned<String>, &'t Value<'t>)> {
        self.entries.iter_mut().for_each(|entry| entry.asked_for = true);
        let pair = |entry: &Entry<'t>| (Spanned::new(entry.key.span(), entry.key.get_ref().to_string()), entry.value);
        self.entries.iter().map(pair).collect()
    }

    /// The place of the value of `key`, if it is there.
    pub fn place(&self, key: &str) -> Option<Range<usize>> {
        self.entries.iter().find(|entry| entry.key.get_ref() == key).map(|entry| entry.value.span())
    }

    /// Adds a fault for each key that nobody asked for. `unbuilt` are keys that are promised for a later version.
    pub fn finish(&mut self, unbuilt: &[&str]) {
        for entry in self.entries.iter().filter(|entry| !entry.asked_for) {
            let key = entry.key.get_ref().as_ref();
            let fault = if unbuilt.contains(&key) {
                let message = format!("`{key}` is not built yet");
                let label = "this is planned, but this version cannot obey it";
                Diagnostic::new(entry.key.span(), message, label).help("leave it out for now")
            } else {
                let (message, label) = match (self.title.as_str(), entry.value.get_ref()) {
                    (WHOLE_FILE, DeValue::Table(_)) => (format!("unknown section [{key}]"), "there is no such section"),
                    (WHOLE_FILE, _) => (format!("unknown key `{key}` before the first section"), "this key"),
                    (title, _) => (format!("unknown key `{key}` in {title}"), "there is no such key"),
                };
                Diagnostic::new(entry.key.span(), message, label).help(match closest(key, &self.known) {
                    _ if key == "include" => "write it at the top of the file, before the first section".into(),
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("there is only: {}", self.known.join(", ")),
                })
            };
            self.faults.push(fault);
        }
    }

    /// The value of `key`, if it is there.
    fn take(&mut self, key: &'static str) -> Option<&'t Value<'t>> {
        self.known.push(key);
        let entry = self.entries.iter_mut().find(|entry| entry.key.get_ref() == key)?;
        entry.asked_for = true;
        Some(entry.value)
    }
}

/// The fault of a value that is not what `key` needs.
fn wrong(key: &str, value: &Value<'_>, reason: Wrong) -> Diagnostic {
    match reason {
        Wrong::Type(expected) => {
            let is = type_of(value.get_ref());
            let message = format!("`{key}` cannot be {is}");
            Diagnostic::new(value.span(), message, format!("this is {is}")).help(format!("it must be {expected}"))
        }
        Wrong::Content { problem, help } => {
            Diagnostic::new(value.span(), format!("wrong value for `{key}`: {problem}"), "this value").help(help)
        }
        Wrong::NoTime(text) => {
            wrong(key, value, Wrong::content(format!("`{text}` is no time at all"), "the shortest duration is \"1ms\""))
        }
    }
}

/// Names end up in metrics, logs and addresses of the admin listener, where other characters would need escapes.
fn bad_name(key: &str, name: &Spanned<DeString<'_>>) -> Option<Diagnostic> {
    let text = name.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        return None;
    }
    let message = format!("`{text}` cannot be a name in [{key}]");
    let fault = Diagnostic::new(name.span(), message, "this name");
    Some(fault.help("a name is 1 to 64 letters, digits, `_` and `-`"))
}

/// The one of `known` that was probably meant by `written`.
pub fn closest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' '], "_");
    let written = plain(written);
    let distance = |known: &&'k str| strsim::damerau_levenshtein(&written, &plain(known));
    // A third of the letters may be wrong, but not all: more is another word.
    let is_near = |far: usize, known: &str| far <= known.len().max(3) / 3 && far < written.len();
    let near = known.iter().map(|known| (distance(known), *known)).filter(|(far, known)| is_near(*far, known));
    near.min_by_key(|(far, _)| *far).map(|(_, known)| known)
}
