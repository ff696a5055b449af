//! What a line of text may hold, whatever it means.

use crate::tree::{File, Tree};
use crate::{Exception, Violation, excepted};

/// Files whose text shows what is not allowed.
pub(crate) const SAMPLES: &[Exception] = &[
    ("tests/tidy/samples.rs", "the bad samples that the rules are tested on"),
    ("tests/tidy/text.rs", "the rules themselves"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| !is_data(&file.path)) {
        let mut found = |line: usize, what: &str| violations.push(Violation::new(&file.path, line + 1, what));
        if file.path.ends_with(".rs") && !file.text.trim_start().starts_with("//!") {
            found(0, "no //! at the top; say what the file is for and why");
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            found(file.text.lines().count() - 1, "the last line has no end; add a newline");
        }
        for (number, line) in file.text.lines().enumerate() {
            check_spaces(file, line, |what| found(number, what));
            if !excepted(SAMPLES, &file.path) {
                check_words(file, line, |what| found(number, what));
            }
        }
    }
    violations
}

/// Corpora and fixtures hold exact bytes, and a lock file is the tool's own.
fn is_data(path: &str) -> bool {
    path == "Cargo.lock" || path == "LICENSE" || path.split('/').any(|part| part == "corpus" || part == "fixtures")
}

fn check_spaces(file: &File, line: &str, mut found: impl FnMut(&str)) {
    if ![".rs", ".toml", ".md"].iter().any(|extension| file.path.ends_with(extension)) {
        return;
    }
    if line.ends_with(char::is_whitespace) {
        found("whitespace at the end of the line; remove it");
    }
    if line.contains('\t') {
        found("a tab; indent with spaces, write it as \\t in a string");
    }
}

fn check_words(file: &File, line: &str, mut found: impl FnMut(&str)) {
    for word in ["TODO", "FIXME", "XXX"] {
        if has_word(line, word) {
            found(&format!("a leftover {word}; do it now, or file an issue and take the mark out"));
        }
    }
    for place in ["/work/", "/root/", "/home/"] {
        if line.match_indices(place).any(|(at, _)| !line[..at].ends_with(is_word)) {
            found(&format!("{place} is a place on one machine; use a path from the repository's root"));
        }
    }
    if file.path.starts_with("tests/") && has_fixed_port(line) {
        found("a fixed port in a test; bind port 0 and ask for the address");
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn has_word(line: &str, word: &str) -> bool {
    let whole = |at: usize| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word);
    line.match_indices(word).any(|(at, _)| whole(at))
}

fn has_fixed_port(line: &str) -> bool {
    ["127.0.0.1:", "0.0.0.0:", "localhost:", "[::1]:", "[::]:"].iter().any(|host| {
        let port = |at: usize| line[at + host.len()..].starts_with(|digit: char| ('1'..='9').contains(&digit));
        line.match_indices(host).any(|(at, _)| port(at))
    })
}
