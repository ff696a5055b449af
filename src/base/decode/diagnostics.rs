//! What is wrong with a configuration, each fault with its place, for people and for logs.
//!
//! ```text
//! Error: unknown key `worker` in [gateway]
//!    ,-[ gateway.toml:2:1 ]
//!    |
//!  2 | worker = 4
//!    | ^^^|^^
//!    |    `---- this is not a key of [gateway]
//!    |
//!    | Help: did you mean `workers`?
//! ---'
//! ```

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::source::{SourceFile, SourceMap};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is taken, but somebody may have meant something else.
    Warning,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The bytes of the files that are at fault; `None` where it is the file itself.
    pub span: Option<Range<usize>>,
    /// What is wrong, such as "unknown key `worker` in \[gateway\]".
    pub message: String,
    /// What to write under the caret.
    pub label: String,
    /// Another place that has to do with it, and what to write there.
    pub related: Option<(Range<usize>, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault at `span`.
    pub fn new(span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { span: Some(span), label: label.into(), ..Self::of_file(message) }
    }

    /// A fault of the file itself.
    pub fn of_file(message: impl Into<String>) -> Self {
        let (severity, label) = (Severity::Error, String::new());
        Self { severity, span: None, message: message.into(), label, related: None, help: None }
    }

    /// Makes a warning of it.
    #[must_use]
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Whether the configuration is refused for it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Points to another place too.
    #[must_use]
    pub fn related(self, span: Range<usize>, label: impl Into<String>) -> Self {
        Self { related: Some((span, label.into())), ..self }
    }
}

/// What is wrong with one configuration, in the order of the files: errors, warnings or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    source: Arc<SourceMap>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// The faults of `source`, in any order.
    #[must_use]
    pub fn new(source: Arc<SourceMap>, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.span.as_ref().map(|span| span.start));
        Self { source, list }
    }

    /// Each fault.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those of this severity.
    #[must_use]
    pub fn of(&self, severity: Severity) -> Self {
        let list = self.list.iter().filter(|diagnostic| diagnostic.severity == severity).cloned().collect();
        Self { source: Arc::clone(&self.source), list }
    }

    /// The files that they are in.
    #[must_use]
    pub fn source(&self) -> &SourceMap {
        &self.source
    }

    /// Every fault with the lines of the file that it is in and a caret, for people.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut cache = FileCache::new(&self.source);
        self.list.iter().map(|diagnostic| self.render_one(diagnostic, &mut cache, color)).collect::<Vec<_>>().join("\n")
    }

    /// Every fault on a line of its own, such as `gateway.toml:12:9: message; help`, for logs.
    #[must_use]
    pub fn compact(&self) -> String {
        self.list.iter().map(|diagnostic| self.compact_one(diagnostic)).collect::<Vec<_>>().join("\n")
    }

    /// Every fault as an object, for programs: `message`, `label` and `help` (the last may be null) are for people, and
    /// `place` says where it is, or is null where it is the file itself. A place has the name of its `file`, `line` and
    /// `column` of its first character, and `end_line` and `end_column` of the one behind its last, all counted from 1.
    /// `related`, if not null, is another place with a `label`.
    #[must_use]
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        let faults = self.list.iter().map(|diagnostic| {
            let related = diagnostic
                .related
                .as_ref()
                .map(|(span, label)| serde_json::json!({ "label": label, "place": self.place(span) }));
            serde_json::json!({
                "message": diagnostic.message,
                "label": diagnostic.label,
                "help": diagnostic.help,
                "place": diagnostic.span.as_ref().map(|span| self.place(span)),
                "related": related,
            })
        });
        faults.collect()
    }

    fn place(&self, span: &Range<usize>) -> serde_json::Value {
        let (start, end) = (self.source.place(span.start), self.source.place(span.end));
        serde_json::json!({
            "file": start.file.name(),
            "line": start.line,
            "column": start.column,
            "end_line": end.line,
            "end_column": end.column,
        })
    }

    fn compact_one(&self, diagnostic: &Diagnostic) -> String {
        let mut line = match &diagnostic.span {
            Some(span) => {
                let place = self.source.place(span.start);
                format!("{}:{}:{}", place.file.name(), place.line, place.column)
            }
            None => self.source.name().to_owned(),
        };
        line += if diagnostic.is_error() { ": " } else { ": warning: " };
        line += &diagnostic.message;
        if let Some(help) = &diagnostic.help {
            line += &format!("; {help}");
        }
        line
    }

    fn render_one(&self, diagnostic: &Diagnostic, cache: &mut FileCache<'_>, color: bool) -> String {
        use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind};
        let (kind, primary) = match diagnostic.severity {
            Severity::Error => (ReportKind::Error, Color::Red),
            Severity::Warning => (ReportKind::Warning, Color::Yellow),
        };
        let Some(span) = diagnostic.span.clone() else {
            let line = self.compact_one(diagnostic).replacen(": warning: ", ": ", 1);
            return format!("{kind}: {line}\n");
        };
        // Plain ASCII: the caret looks the same in a terminal, in a log and in a ticket.
        let style = Config::default().with_color(color).with_char_set(CharSet::Ascii).with_index_type(IndexType::Byte);
        let within = |span: &Range<usize>| {
            let start = self.source.place(span.start);
            (start.index, start.offset..start.offset + span.len())
        };
        // Labels must come in the order of the file, or ariadne shows the file twice.
        let mut labels = vec![(span.clone(), &diagnostic.label, primary)];
        labels.extend(diagnostic.related.iter().map(|(span, label)| (span.clone(), label, Color::Cyan)));
        labels.sort_by_key(|(span, ..)| span.start);
        let labels = labels
            .into_iter()
            .map(|(span, label, color)| Label::new(within(&span)).with_message(label).with_color(color));
        let mut report =
            Report::build(kind, within(&span)).with_config(style).with_message(&diagnostic.message).with_labels(labels);
        if let Some(help) = &diagnostic.help {
            report.set_help(help);
        }
        let mut bytes = Vec::new();
        match report.finish().write(cache, &mut bytes) {
            Ok(()) => without_trailing_blanks(&String::from_utf8_lossy(&bytes)),
            Err(_) => self.compact_one(diagnostic) + "\n",
        }
    }
}

/// The files, by their numbers, as ariadne reads them: each made ready when it is first shown.
struct FileCache<'a> {
    files: Vec<&'a SourceFile>,
    ready: HashMap<usize, ariadne::Source<&'a str>>,
}

impl<'a> FileCache<'a> {
    fn new(source: &'a SourceMap) -> Self {
        Self { files: source.files().collect(), ready: HashMap::new() }
    }
}

impl<'a> ariadne::Cache<usize> for FileCache<'a> {
    type Storage = &'a str;

    fn fetch(&mut self, index: &usize) -> Result<&ariadne::Source<&'a str>, impl fmt::Debug> {
        let text = self.files.get(*index).map(|file| &**file.text()).ok_or("there is no such file")?;
        Ok::<_, &'static str>(self.ready.entry(*index).or_insert_with(|| ariadne::Source::from(text)))
    }

    fn display<'b>(&self, index: &'b usize) -> Option<impl fmt::Display + 'b> {
        self.files.get(*index).map(|file| file.name().to_owned())
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    /// The compact form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.compact())
    }
}

impl std::error::Error for Diagnostics {}

fn without_trailing_blanks(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
