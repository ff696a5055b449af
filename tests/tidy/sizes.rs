//! Files that fit in a head and functions that fit on a screen.

use crate::tree::Tree;
use crate::{Exception, Violation, excepted};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// `(path, reason)`
pub(crate) const LONG_FILES: &[Exception] = &[];

/// `(path and name of the function with a space between, reason)`
pub(crate) const LONG_FUNCTIONS: &[Exception] = &[];

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, source) in tree.sources() {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX && !excepted(LONG_FILES, &file.path) {
            let what = format!("{lines} lines, over {FILE_LINES_MAX}; split the file by what its parts are about");
            violations.push(Violation::new(&file.path, FILE_LINES_MAX + 1, what));
        }
        for function in &source.functions {
            let (name, lines) = (&function.name, function.last - function.first + 1);
            if lines > FUNCTION_LINES_MAX && !excepted(LONG_FUNCTIONS, &format!("{} {name}", file.path)) {
                let what = format!(
                    "{name} has {lines} lines, over {FUNCTION_LINES_MAX}; keep the control flow and move pure parts into functions below"
                );
                violations.push(Violation::new(&file.path, function.first, what));
            }
        }
    }
    violations
}
