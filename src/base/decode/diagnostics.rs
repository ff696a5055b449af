//! The faults of a configuration, each with its place, for people and for logs.
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

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A configuration file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl SourceFile {
    /// A file of this name, as the user gave it, and with this content.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { name: name.into(), text, lines }
    }

    /// Its name, as the user gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line and the column of a byte, both counted from 1; columns are characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The bytes of the file that are at fault; `None` where it is the file itself.
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
        Self { span: Some(span), message: message.into(), label: label.into(), related: None, help: None }
    }

    /// A fault of the file itself.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self { span: None, message: message.into(), label: String::new(), related: None, help: None }
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

/// All faults of one configuration, at least one, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    source: Arc<SourceFile>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// The faults of `source`, in any order.
    #[must_use]
    pub fn new(source: Arc<SourceFile>, mut list: Vec<Diagnostic>) -> Self {
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

    /// The file that they are in.
    #[must_use]
    pub fn source(&self) -> &SourceFile {
        &self.source
    }

    /// Every fault with the lines of the file that it is in and a caret, for people.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let source = ariadne::Source::from(self.source.text.as_str());
        self.list.iter().map(|diagnostic| self.render_one(diagnostic, &source, color)).collect::<Vec<_>>().join("\n")
    }

    /// Every fault on a line of its own, such as `gateway.toml:12:9: message; help`, for logs.
    #[must_use]
    pub fn compact(&self) -> String {
        self.list.iter().map(|diagnostic| self.compact_one(diagnostic)).collect::<Vec<_>>().join("\n")
    }

    /// Every fault as an object, for programs: `message`, `label` and `help` (the last may be null) are for people, and
    /// `place` says where it is, or is null where it is the file itself. A place has `line` and `column` of its first
    /// character and `end_line` and `end_column` of the one behind its last, all counted from 1. `related`, if not null,
    /// is another place with a `label`.
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
        let ((line, column), (end_line, end_column)) =
            (self.source.position(span.start), self.source.position(span.end));
        serde_json::json!({ "line": line, "column": column, "end_line": end_line, "end_column": end_column })
    }

    fn compact_one(&self, diagnostic: &Diagnostic) -> String {
        let mut line = self.source.name.clone();
        if let Some(span) = &diagnostic.span {
            let (number, column) = self.source.position(span.start);
            line += &format!(":{number}:{column}");
        }
        line += &format!(": {}", diagnostic.message);
        if let Some(help) = &diagnostic.help {
            line += &format!("; {help}");
        }
        line
    }

    fn render_one(&self, diagnostic: &Diagnostic, source: &ariadne::Source<&str>, color: bool) -> String {
        use ariadne::{CharSet, Color, Config, IndexType, Label, Report, ReportKind};
        let Some(span) = diagnostic.span.clone() else {
            return format!("Error: {}\n", self.compact_one(diagnostic));
        };
        let name = self.source.name.as_str();
        // Plain ASCII: the caret looks the same in a terminal, in a log and in a ticket.
        let style = Config::default().with_color(color).with_char_set(CharSet::Ascii).with_index_type(IndexType::Byte);
        // Labels must come in the order of the file, or ariadne shows the file twice.
        let mut labels = vec![(span.clone(), &diagnostic.label, Color::Red)];
        labels.extend(diagnostic.related.iter().map(|(span, label)| (span.clone(), label, Color::Yellow)));
        labels.sort_by_key(|(span, ..)| span.start);
        let labels = labels
            .into_iter()
            .map(|(span, label, color)| Label::new((name, span)).with_message(label).with_color(color));
        let mut report = Report::build(ReportKind::Error, (name, span))
            .with_config(style)
            .with_message(&diagnostic.message)
            .with_labels(labels);
        if let Some(help) = &diagnostic.help {
            report.set_help(help);
        }
        let mut bytes = Vec::new();
        match report.finish().write((name, source), &mut bytes) {
            Ok(()) => without_trailing_blanks(&String::from_utf8_lossy(&bytes)),
            Err(_) => self.compact_one(diagnostic) + "\n",
        }
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
