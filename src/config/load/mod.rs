//! The files of a configuration into one tree.
//!
//! ```toml
//! include = ["routes/*.toml", "services.toml"]     # relative to this file; see `include`
//!
//! [services.users]
//! targets = ["${USERS_HOST}:3001"]                 # see `substitute`
//! ```
//!
//! First all files are found: a file may include others, which may include others again, but never one that has led to
//! them. A file that several include is read once. Then each is parsed, its places are moved to where it lies in the
//! [`SourceMap`], its strings get what their `${...}` stand for, and its sections are added to those of the others: tables
//! that are keyed by name are gathered from all files, every other section stands in one file alone.

pub(super) mod environment;
mod include;
mod substitute;
mod syntax;
mod tree;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeString, DeTable, DeValue};

use self::environment::Environment;
use self::substitute::{Found, Problem, Reference};
use self::tree::shift;
use crate::base::decode::{Diagnostic, Pattern, SourceFile, SourceMap, Substitution, Value, type_of};
use crate::base::secret::{MASK, Secret, sounds_secret};

/// The longest file that is read for a configuration.
const FILE_MOST: u64 = 64 << 20;

/// The longest file that is put into a string.
const VALUE_MOST: u64 = 1 << 20;

/// What the decoder says of a string where none can be.
const IS_STRING: &str = "this is a string";

/// How many files may include one another in a row.
const DEPTH_MOST: usize = 16;

/// How many files one configuration may have.
const FILES_MOST: usize = 10_000;

/// What is known of the files so far.
pub(super) struct Loader<'e> {
    environment: &'e Environment,
    sources: SourceMap,
    /// For each file the directory that its paths are relative to.
    directories: Vec<PathBuf>,
    faults: Vec<Diagnostic>,
    /// Files could not be read or parsed, so that nothing can be said of what should be in them.
    incomplete: bool,
    /// The files that are no text, by their numbers.
    no_text: HashSet<usize>,
    /// The files that have led to the one that is read, with their real paths.
    way: Vec<(PathBuf, String)>,
    /// The real paths of all files.
    known: HashSet<PathBuf>,
    /// Strings for which there is nothing to put in: what else is wrong with them is of no interest.
    failed: HashSet<usize>,
}

/// A text to parse: where it begins, and what is in it.
pub(super) type Text = (usize, Arc<str>);

/// The texts of files that have been read.
pub(super) fn texts(sources: &SourceMap) -> Vec<Text> {
    (0..sources.files().len())
        .map(|index| sources.file(index))
        .map(|(base, file)| (base, file.text().clone()))
        .collect()
}

/// The tree that a configuration was decoded from, once more, from its texts; nothing is read again.
pub(super) fn tree_of<'t>(sources: &'t SourceMap, texts: &'t [Text]) -> DeTable<'t> {
    let mut whole = DeTable::new();
    for (base, text) in texts {
        let (tree, _) = DeTable::parse_recoverable(text);
        let tree = tree::settle(tree.into_inner(), *base, &mut |text, span| match sources.substitution(span) {
            Some(substitution) => {
                let value = substitution.value.expose();
                let literal = substitution.is_literal.then(|| literal(value)).flatten();
                literal.unwrap_or_else(|| DeValue::String(value.into()))
            }
            None => DeValue::String(text),
        });
        tree::merge(&mut whole, tree, &mut Vec::new());
    }
    whole
}

impl<'e> Loader<'e> {
    /// Begins with a file.
    pub(super) fn file(path: &Path, environment: &'e Environment) -> Self {
        let name = path.display().to_string();
        let mut loader = Self::empty(SourceFile::new(&name, ""), environment);
        loader.sources.note(path);
        let text = match read(path, FILE_MOST) {
            Ok(text) => text,
            Err(error) => {
                loader.refuse(Diagnostic::of_file(format!("cannot read the file: {error}")));
                return loader;
            }
        };
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        loader.known.insert(real.clone());
        loader.way.push((real, name.clone()));
        let directory = path.parent().unwrap_or(path);
        loader.begin(name, text, directory);
        loader
    }

    /// Begins with a text.
    pub(super) fn text(name: &str, text: &str, environment: &'e Environment) -> Self {
        let mut loader = Self::empty(SourceFile::new(name, ""), environment);
        loader.begin(name.to_owned(), text.as_bytes().to_vec(), Path::new(name).parent().unwrap_or(Path::new("")));
        loader
    }

    fn empty(file: SourceFile, environment: &'e Environment) -> Self {
        Self {
            environment,
            sources: SourceMap::new(file),
            directories: Vec::new(),
            faults: Vec::new(),
            incomplete: false,
            no_text: HashSet::new(),
            way: Vec::new(),
            known: HashSet::new(),
            failed: HashSet::new(),
        }
    }

    fn begin(&mut self, name: String, bytes: Vec<u8>, directory: &Path) {
        let (file, fault) = decode(name, bytes);
        self.sources.replace_first(file);
        self.directories.push(directory.to_owned());
        match fault {
            Some(fault) => self.refuse_text(0, fault),
            None => self.follow(0),
        }
    }

    fn refuse(&mut self, fault: Diagnostic) {
        self.incomplete = true;
        self.faults.push(fault);
    }

    fn refuse_text(&mut self, index: usize, fault: Diagnostic) {
        self.no_text.insert(index);
        self.refuse(fault);
    }

    /// Reads the files that the file of this number includes.
    fn follow(&mut self, index: usize) {
        let (base, file) = self.sources.file(index);
        // Most files include none, and need no look of their own.
        if !file.text().contains("include") {
            return;
        }
        let text = Arc::clone(file.text());
        let (tree, errors) = DeTable::parse_recoverable(&text);
        let value = tree.get_ref().get("include");
        let Some(value) = value.filter(|_| errors.iter().all(|error| !syntax::spoils(error))) else { return };
        let at = |value: &Value<'_>| shift(&value.span(), base);
        let DeValue::Array(list) = value.get_ref() else {
            let is = type_of(value.get_ref());
            let fault = Diagnostic::new(at(value), format!("`include` cannot be {is}"), format!("this is {is}"));
            return self.refuse(fault.help("it must be a list, such as [\"routes/*.toml\"]"));
        };
        for value in list.iter() {
            let DeValue::String(pattern) = value.get_ref() else {
                let is = type_of(value.get_ref());
                let fault = Diagnostic::new(at(value), format!("`include` cannot have {is}"), format!("this is {is}"));
                self.refuse(fault.help("write the path of a file, such as \"routes/*.toml\""));
                continue;
            };
            // What is wrong with a variable is told when all strings are looked at.
            match self.look_up(index, pattern) {
                Ok(found) => {
                    let pattern = found.map_or_else(|| pattern.to_string(), |found| plain(&found.text));
                    self.include(index, &pattern, &at(value));
                }
                Err(_) => self.incomplete = true,
            }
        }
    }

    /// Reads the files of one pattern, which stands at `span`.
    fn include(&mut self, index: usize, pattern: &str, span: &Range<usize>) {
        let fault = |message: String, label: &str| Diagnostic::new(span.clone(), message, label);
        if let Err((problem, help)) = include::check(pattern) {
            return self.refuse(fault(format!("wrong value for `include`: {problem}"), "this path").help(help));
        }
        let directory = self.directories[index].clone();
        let sources = &mut self.sources;
        let paths = match include::expand(&directory, pattern, |looked_into| sources.note(looked_into)) {
            Ok(paths) => paths,
            Err((path, error)) => {
                let message = format!("cannot read the directory `{}`: {error}", path.display());
                return self.refuse(fault(message, "named here").help("let the gateway's user read it"));
            }
        };
        let path = directory.join(pattern);
        let whole = display(&path);
        if include::has_star(pattern) {
            sources.note_pattern(Pattern { span: span.clone(), path, is_filled: !paths.is_empty() });
        }
        if paths.is_empty() {
            let message = format!("`{pattern}` names no file");
            let help = format!("nothing is there that fits `{whole}`; leave it out, or put a file there");
            return self.faults.push(fault(message, "no file has such a name").help(help).warning());
        }
        for path in paths {
            self.include_file(&path, pattern, span);
        }
    }

    fn include_file(&mut self, path: &Path, pattern: &str, span: &Range<usize>) {
        let name = display(path);
        let fault = |message: String, label: &str| Diagnostic::new(span.clone(), message, label);
        self.sources.note(path);
        let bytes = match read_regular(path, FILE_MOST) {
            Ok(bytes) => bytes,
            Err(error) if path.is_dir() => {
                let help = format!("write \"{}/*.toml\" for all files in it", pattern.trim_end_matches('/'));
                return self.refuse(fault(format!("cannot read `{name}`: {error}"), "included here").help(help));
            }
            Err(error) => {
                let help = "paths are relative to the file that includes them; a pattern such as \"routes/*.toml\" may \
                            find none";
                return self.refuse(fault(format!("cannot read `{name}`: {error}"), "included here").help(help));
            }
        };
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(first) = self.way.iter().position(|(known, _)| *known == real) {
            let name = &self.way[first].1;
            let names = self.way[first..].iter().map(|(_, name)| name.as_str()).chain([name.as_str()]);
            let message = format!("`{name}` includes itself: {}", names.collect::<Vec<_>>().join(" -> "));
            let help = match include::has_star(pattern) {
                true => "keep what is included in a directory of its own, such as \"routes/*.toml\"",
                false => "remove one of the lines by which one file includes the next",
            };
            return self.refuse(fault(message, "this leads in a circle").help(help));
        }
        if !self.known.insert(real.clone()) {
            return;
        }
        if self.way.len() >= DEPTH_MOST || self.directories.len() >= FILES_MOST {
            let message = format!("`{name}` is one file too many");
            let help = format!("up to {FILES_MOST} files can be included, and up to {DEPTH_MOST} one by the other");
            return self.refuse(fault(message, "included here").help(help));
        }
        let (file, wrong) = decode(name.clone(), bytes);
        let base = self.sources.add(file);
        self.directories.push(path.parent().unwrap_or(path).to_owned());
        if let Some(mut wrong) = wrong {
            wrong.span = wrong.span.map(|span| shift(&span, base));
            return self.refuse_text(self.directories.len() - 1, wrong);
        }
        self.way.push((real, name));
        self.follow(self.directories.len() - 1);
        self.way.pop();
    }

    /// The texts of all files.
    pub(super) fn texts(&self) -> Vec<Text> {
        texts(&self.sources)
    }

    /// One tree of all texts, which are those of [`texts`](Self::texts); nothing where there is none to rely on.
    pub(super) fn tree<'t>(&mut self, texts: &'t [Text]) -> Option<DeTable<'t>> {
        let mut whole = DeTable::new();
        for (index, (base, text)) in texts.iter().enumerate() {
            if self.no_text.contains(&index) {
                continue;
            }
            let (tree, errors) = DeTable::parse_recoverable(text);
            let (faults, is_toml) = syntax::faults(&errors, text);
            self.faults.extend(faults.into_iter().map(|mut fault| {
                fault.span = fault.span.map(|span| shift(&span, *base));
                fault
            }));
            self.incomplete |= !is_toml;
            if is_toml {
                let tree = tree::settle(tree.into_inner(), *base, &mut |text, span| {
                    DeValue::String(self.settle_text(text, index, span))
                });
                tree::merge(&mut whole, tree, &mut self.faults);
            }
        }
        (!self.incomplete).then_some(whole)
    }

    /// The files and what was put into them.
    pub(super) fn sources(&self) -> &SourceMap {
        &self.sources
    }

    /// Takes values for the numbers and the booleans that they look like where something was put in and a string is wrong,
    /// as `decoded` says: an environment has nothing but strings. False if there are none, and all stays as it is.
    pub(super) fn take_literally(&mut self, decoded: &[Diagnostic]) -> bool {
        let mut taken = false;
        // A warning is about a string that is right.
        for fault in decoded.iter().filter(|fault| fault.is_error()) {
            let Some(span) = &fault.span else { continue };
            // What may be a secret is no number: what is wrong with one would show it.
            let is_plain = |substitution: &&Substitution| substitution.replaced && !substitution.hidden;
            let put_in = self.sources.substitution(span).filter(is_plain);
            let fits = match put_in.and_then(|substitution| literal(substitution.value.expose())) {
                // It may stand where a string can, such as `false` for a duration.
                Some(DeValue::Boolean(_)) => true,
                Some(_) => fault.label == IS_STRING,
                None => false,
            };
            if fits {
                self.sources.take_literally(span);
                taken = true;
            }
        }
        taken
    }

    /// What is wrong once values are numbers and booleans, of which `before` is what was wrong with them as strings. A
    /// boolean that is wrong was meant to be a string.
    pub(super) fn settle_on(before: &[Diagnostic], after: &mut [Diagnostic]) {
        let as_strings = || before.iter().filter(|fault| fault.is_error() && fault.label != IS_STRING);
        for fault in after.iter_mut().filter(|fault| fault.is_error()) {
            let as_string = as_strings().find(|before| before.span == fault.span);
            if let Some(as_string) = as_string.filter(|_| fault.span.is_some()) {
                *fault = as_string.clone();
            }
        }
    }

    /// What is known when all is done: the files, and what is wrong with them. Of strings for which there was nothing to
    /// put in, nothing else is said; and what may be a secret is not shown.
    pub(super) fn finish(self, mut decoded: Vec<Diagnostic>) -> (SourceMap, Vec<Diagnostic>) {
        let Self { mut faults, failed, sources, .. } = self;
        decoded.retain(|fault| fault.span.as_ref().is_none_or(|span| !failed.contains(&span.start)));
        for fault in &mut decoded {
            let substitution = fault.span.as_ref().and_then(|span| sources.substitution(span));
            let Some(substitution) = substitution else { continue };
            let value = substitution.plain();
            if substitution.hidden && !value.is_empty() {
                fault.message = fault.message.replace(&value, MASK);
                // It may be made of the value, and then says nothing behind a mask, or what a mask would not find.
                fault.help = None;
            }
            if fault.label == IS_STRING {
                fault.label = match substitution.hidden {
                    true => "`${...}` stands for a string here".into(),
                    false => format!("`${{...}}` stands for {value:?} here"),
                };
            }
        }
        faults.append(&mut decoded);
        (sources, faults)
    }

    fn settle_text<'t>(&mut self, text: DeString<'t>, index: usize, span: &Range<usize>) -> DeString<'t> {
        match self.look_up(index, &text) {
            Ok(None) => text,
            Ok(Some(found)) => {
                let value = Secret::new(found.text.as_str());
                self.sources.substitute(Substitution {
                    span: span.clone(),
                    value,
                    replaced: found.replaced,
                    hidden: found.hidden,
                    is_literal: false,
                });
                found.text.into()
            }
            Err(problem) => {
                // Escapes may lie before it, so it is looked for as it is written.
                let written = self.sources.text_at(span);
                let place = written.find(&problem.at).map(|at| span.start + at..span.start + at + problem.at.len());
                let place = place.unwrap_or_else(|| span.clone());
                self.failed.insert(span.start);
                self.faults
                    .push(Diagnostic::new(place, problem.message, "nothing can be put in here").help(problem.help));
                "".into()
            }
        }
    }

    /// What a string of the file of this number stands for; nothing where it is what it is.
    fn look_up(&mut self, index: usize, text: &str) -> Result<Option<Found>, Problem> {
        let (environment, sources, directory) = (self.environment, &mut self.sources, &self.directories[index]);
        substitute::substitute(text, |reference| match reference {
            Reference::Variable { name, default } => variable(environment, name, default),
            Reference::File(path) => {
                let path = directory.join(path);
                sources.note(&path);
                Ok(Found::new(file_text(&path)?, true))
            }
        })
    }
}

/// The number or the boolean that a text looks like.
fn literal(text: &str) -> Option<DeValue<'_>> {
    let value = DeValue::parse(text).ok()?.into_inner();
    matches!(value, DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)).then_some(value)
}

fn variable(environment: &Environment, name: &str, default: Option<&str>) -> Result<Found, (String, String)> {
    let help = || format!("set it where the gateway is started, or write a default: `${{{name}:-default}}`");
    let value = environment.variable(name).map_err(|problem| (problem, help()))?;
    let found = |text: &str| Found::new(text, sounds_secret(name));
    match (value, default) {
        // As in a shell, a default is also for a variable that is set to nothing.
        (Some(value), Some(default)) if value.is_empty() => Ok(found(default)),
        (Some(value), _) => Ok(found(&value)),
        (None, Some(default)) => Ok(found(default)),
        (None, None) => Err((format!("the variable `{name}` is not set"), help())),
    }
}

/// What is in a file that a string names, without one newline at its end.
fn file_text(path: &Path) -> Result<String, (String, String)> {
    let wrong = |problem: String, help: &str| (format!("cannot read `{}`: {problem}", display(path)), help.to_owned());
    let help = "the path is relative to the file that names it; the gateway's user must be able to read it";
    let bytes = read_regular(path, VALUE_MOST).map_err(|error| wrong(error.to_string(), help))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into(), "a value is text"))?;
    let cut = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    Ok(cut.unwrap_or(&text).to_owned())
}

/// Reads a file that must be one, not a pipe that might never end or a device.
fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?;
    if kind.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if !kind.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    read(path, most)
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if read as u64 > most {
        return Err(io::Error::other(format!("it is larger than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// A file of these bytes, and what is wrong with them.
fn decode(name: String, bytes: Vec<u8>) -> (SourceFile, Option<Diagnostic>) {
    match String::from_utf8(bytes) {
        Ok(text) => (SourceFile::new(name, text), None),
        Err(error) => {
            let place = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            // What is shown has one of these for each piece that is no character.
            let end = place + char::REPLACEMENT_CHARACTER.len_utf8();
            let fault = Diagnostic::new(place..end, "the file is not UTF-8", "this is not a character");
            (SourceFile::new(name, text), Some(fault.help("save the file as UTF-8")))
        }
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

fn plain(text: &str) -> String {
    text.replace(crate::base::decode::DOLLAR, "$")
}

#[cfg(test)]
mod tests;
