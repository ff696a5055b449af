//! The files that a configuration was read from.
//!
//! A place is a range of bytes in all of their texts, one behind the other: so a fault has one range, whichever file it
//! is in, and only who shows it has to know that there are several.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::value::DOLLAR;
use crate::base::secret::Secret;

/// A configuration file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: Arc<str>,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl SourceFile {
    /// A file of this name, as the user gave it, and with this content.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { name: name.into(), text: text.into(), lines }
    }

    /// Its name, as the user gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is in it.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The line and the column of a byte of this file, both counted from 1; columns are characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }
}

/// All files of one configuration, the one that was asked for first; there is always that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceMap {
    /// Each with the place of its first byte.
    files: Vec<(usize, SourceFile)>,
    /// By the places of their first bytes.
    substitutions: HashMap<usize, Substitution>,
    paths: Vec<PathBuf>,
    patterns: Vec<Pattern>,
}

/// A path with a `*` or a `?` in it, by which files are included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The place of the string.
    pub span: Range<usize>,
    /// The pattern with the directory that it is relative to.
    pub path: PathBuf,
    /// Whether there are files that it fits.
    pub is_filled: bool,
}

/// A string of the configuration that has `${...}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution {
    /// The place of the string.
    pub span: Range<usize>,
    /// What it stands for, as values are decoded from it.
    pub value: Secret,
    /// Whether something was put in, not only a dollar sign written.
    pub replaced: bool,
    /// Whether what was put in may be a secret.
    pub hidden: bool,
    /// Whether it is taken for the number or the boolean that its text looks like, and not for a string.
    pub is_literal: bool,
}

/// A place in one of the files.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a SourceFile,
    /// Its number among the files.
    pub index: usize,
    /// The byte of the file.
    pub offset: usize,
    /// The line, counted from 1.
    pub line: usize,
    /// The character of the line, counted from 1.
    pub column: usize,
}

impl SourceMap {
    /// One file, for now.
    #[must_use]
    pub fn new(file: SourceFile) -> Self {
        Self { files: vec![(0, file)], substitutions: HashMap::new(), paths: Vec::new(), patterns: Vec::new() }
    }

    /// Puts another file in the place of the first, as long as it is the only one.
    pub fn replace_first(&mut self, file: SourceFile) {
        debug_assert_eq!(self.files.len(), 1, "the others lie behind it");
        self.files[0] = (0, file);
    }

    /// Adds a file, and says where its first byte is.
    pub fn add(&mut self, file: SourceFile) -> usize {
        // One byte lies between two files, so that the end of one is not the beginning of the next.
        let base = self.files.last().map_or(0, |(base, last)| base + last.text.len() + 1);
        self.files.push((base, file));
        base
    }

    /// The files.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &SourceFile> {
        self.files.iter().map(|(_, file)| file)
    }

    /// The file of this number, with the place of its first byte.
    #[must_use]
    pub fn file(&self, index: usize) -> (usize, &SourceFile) {
        let (base, file) = &self.files[index];
        (*base, file)
    }

    /// The name of the file that was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        self.files[0].1.name()
    }

    /// Where a byte is.
    #[must_use]
    pub fn place(&self, offset: usize) -> Place<'_> {
        let index = self.files.partition_point(|(base, _)| *base <= offset) - 1;
        let (base, file) = &self.files[index];
        let offset = (offset - base).min(file.text.len());
        let (line, column) = file.position(offset);
        Place { file, index, offset, line, column }
    }

    /// What is written at `span`, which is a place in one file.
    #[must_use]
    pub fn text_at(&self, span: &Range<usize>) -> &str {
        let (start, end) = (self.place(span.start), self.place(span.end));
        start.file.text.get(start.offset..end.offset).unwrap_or_default()
    }

    /// Takes note of a string that stands for another.
    pub fn substitute(&mut self, substitution: Substitution) {
        self.substitutions.insert(substitution.span.start, substitution);
    }

    /// What the string at this place stands for, if something was put in.
    #[must_use]
    pub fn substitution(&self, span: &Range<usize>) -> Option<&Substitution> {
        self.substitutions.get(&span.start).filter(|substitution| substitution.span == *span)
    }

    /// The strings in which something was put in that may be a secret.
    pub fn hidden(&self) -> impl Iterator<Item = String> {
        self.substitutions.values().filter(|substitution| substitution.hidden).map(Substitution::plain)
    }

    /// Takes what stands at this place for the number or the boolean that its text looks like.
    pub fn take_literally(&mut self, span: &Range<usize>) {
        if let Some(substitution) = self.substitutions.get_mut(&span.start) {
            substitution.is_literal = true;
        }
    }

    /// Takes note of a file that was read, or would have been if it were there, or of a directory in which a file that
    /// appears may belong to the configuration: by the path that was asked for, for a link on it may lead elsewhere later.
    pub fn note(&mut self, path: &Path) {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        if !self.paths.iter().any(|known| known == path) {
            self.paths.push(path.to_owned());
        }
    }

    /// Where a change may change the configuration: files and directories.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Takes note of a pattern that files were looked for by.
    pub fn note_pattern(&mut self, pattern: Pattern) {
        self.patterns.push(pattern);
    }

    /// The patterns that files were looked for by.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }
}

impl Substitution {
    /// What the string stands for.
    #[must_use]
    pub fn plain(&self) -> String {
        self.value.expose().replace(DOLLAR, "$")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_one_file() {
        let mut map = SourceMap::new(SourceFile::new("a", "one\ntwo"));
        assert_eq!(map.add(SourceFile::new("b", "")), 8);
        assert_eq!(map.add(SourceFile::new("c", "é!\nx")), 9);
        for (offset, name, line, column) in [
            (0, "a", 1, 1),
            (3, "a", 1, 4),
            (4, "a", 2, 1),
            (7, "a", 2, 4),
            (8, "b", 1, 1),
            (9, "c", 1, 1),
            (11, "c", 1, 2),
            (13, "c", 2, 1),
            (14, "c", 2, 2),
            (99, "c", 2, 2),
        ] {
            let place = map.place(offset);
            assert_eq!((place.file.name(), place.line, place.column), (name, line, column), "{offset}");
        }
        assert_eq!((map.text_at(&(4..7)), map.text_at(&(9..11))), ("two", "é"));
        assert_eq!(map.files().map(SourceFile::name).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_to_be_watched() {
        let mut map = SourceMap::new(SourceFile::new("a", ""));
        for path in ["no-such-file.toml", "routes", "no-such-file.toml", ""] {
            map.note(Path::new(path));
        }
        assert_eq!(map.paths(), [Path::new("no-such-file.toml"), Path::new("routes"), Path::new(".")]);
    }
}
