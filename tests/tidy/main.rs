//! The house style as a test.
//!
//! Every rule reads the tree and returns what it found wrong, as
//! `file:line: what is wrong; what to do`. One test collects all of it and
//! fails once. The rules themselves are tested on small bad samples
//! (`samples.rs`), for a check that cannot fail is a defect.
//!
//! Exceptions live beside their rule, each with its reason.

mod features;
mod floors;
mod samples;
mod sizes;
mod source;
mod text;
mod tree;

use std::fmt;
use tree::Tree;

/// Something in the tree that the house does not allow.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// An exception to a rule: where, and why it is one.
type Exception = (&'static str, &'static str);

fn excepted(exceptions: &[Exception], path: &str) -> bool {
    exceptions.iter().any(|(allowed, _reason)| *allowed == path)
}

/// All that is wrong with the tree, in order.
fn check(tree: &Tree) -> Vec<Violation> {
    let rules = [source::check, floors::check, sizes::check, text::check, features::check];
    let mut violations: Vec<_> = rules.iter().flat_map(|rule| rule(tree)).collect();
    violations.sort();
    violations.dedup();
    violations
}

#[test]
fn the_house_is_tidy() {
    let tree = Tree::of_this_repository();
    let violations = check(&tree);
    let list: String = violations.iter().map(|violation| format!("\n{violation}")).collect();
    assert!(violations.is_empty(), "{} things to tidy up:{list}", violations.len());
}

#[test]
fn no_exception_outlives_its_file() {
    let tree = Tree::of_this_repository();
    let exceptions = [sizes::LONG_FILES, sizes::LONG_FUNCTIONS, source::UNSAFE_OUTSIDE_RUNTIME, text::SAMPLES];
    for (allowed, reason) in exceptions.concat() {
        let path = allowed.split_once(' ').map_or(allowed, |(path, _function)| path);
        assert!(tree.files.iter().any(|file| file.path == path), "an exception ({reason}) names {path}, which is gone");
    }
}
