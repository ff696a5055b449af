//! What TOML itself finds wrong with a file, in words that help.

use std::ops::Range;

use toml::de::Error;

use crate::base::decode::Diagnostic;

/// What the TOML parser says of a key that is there twice.
const DUPLICATE_KEY: &str = "duplicate key";

/// What is wrong with `source`, by places in it; and whether a tree of it can be relied on. A key that is there twice
/// does not put the rest in doubt; after any other error the tree is a guess, and what is found in it would be noise.
pub(super) fn faults(errors: &[Error], source: &str) -> (Vec<Diagnostic>, bool) {
    let is_toml = !errors.iter().any(spoils);
    (in_words(errors, source), is_toml)
}

/// Whether it puts the rest of the file in doubt.
pub(super) fn spoils(error: &Error) -> bool {
    error.message() != DUPLICATE_KEY
}

fn in_words(errors: &[Error], source: &str) -> Vec<Diagnostic> {
    let mut faults: Vec<Diagnostic> = Vec::new();
    let mut twice: Option<usize> = None;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        if error.message() != DUPLICATE_KEY {
            faults.push(not_toml(error.message(), span));
            continue;
        }
        // Under a section that is there twice, so are its keys; that needs no saying.
        let same_section = |header: usize| source.get(header..span.start).is_some_and(|text| !text.contains("\n["));
        if twice.is_some_and(same_section) {
            continue;
        }
        let line = source[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let is_header = source[line..].starts_with('[');
        twice = is_header.then_some(span.start);
        let what = if is_header { source[line..].lines().next() } else { source.get(span.clone()) };
        let message = format!("`{}` is there twice", what.unwrap_or_default());
        faults.push(Diagnostic::new(span, message, "here for the second time").help("remove one of them"));
    }
    faults
}

fn not_toml(message: &str, span: Range<usize>) -> Diagnostic {
    let fault = Diagnostic::new(span, format!("this is not TOML: {message}"), "this is where it goes wrong");
    let unquoted = ["invalid float", "invalid integer", "invalid datetime", "must be quoted"];
    if unquoted.iter().any(|start| message.contains(start)) {
        return fault.help("text stands in quotes, such as \"127.0.0.1:8080\", \"users\" or \"5s\"");
    }
    match message.starts_with("invalid basic string") {
        true => fault.help("text stands in quotes, and the closing one is missing on this line"),
        false => fault,
    }
}
