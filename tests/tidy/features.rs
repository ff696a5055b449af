//! One feature, one name, four places: each example in `config/examples` has
//! its test in `tests/gateway` and its row in the README.

use crate::Violation;
use crate::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let readme = tree.file("README.md").map_or("", |file| &file.text);
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix("config/examples/").and_then(|path| path.strip_suffix(".toml")) else {
            continue;
        };
        let test = format!("tests/gateway/{name}.rs");
        if tree.file(&test).is_none() {
            let what = format!("an example without a test; write {test}, which boots it");
            violations.push(Violation::new(&file.path, 1, what));
        }
        if !readme.lines().any(|line| line.starts_with('|') && line.contains(&file.path)) {
            let what = format!("an example that README.md does not show; add a table row that links to {}", file.path);
            violations.push(Violation::new(&file.path, 1, what));
        }
    }
    violations
}
