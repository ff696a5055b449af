//! The floors of the house: a module imports only from floors below it.
//!
//! The map is the one in the documentation of `src/lib.rs`, read from there:
//! what people see is what is checked. Modules on one line are on one floor
//! and do not import each other, nor do the features inside `policy/`; test
//! code may import what it likes.
//!
//! Also what may not be used on some floors at all: the workers share nothing
//! and wait for nobody, and the pure floors are told the time.

use crate::Violation;
use crate::source::{Path, Source};
use crate::tree::{File, Tree};

/// Neighbours that may import: who, whom, and why.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("main", "cli", "the binary is one call"),
    ("snapshot", "config", "what runs is compiled from what the user wrote"),
];

/// Modules whose files are features that do not know each other.
const SEPARATE_INSIDE: &[&str] = &["policy"];

/// Where requests are served: no floor of it may wait for another thread.
const DATA_PLANE: &[&str] =
    &["worker", "pipeline", "shard", "router", "policy", "upstream", "http", "net", "runtime", "observe", "base"];

/// The floors that see `now` as an argument.
const TOLD_THE_TIME: &[&str] = &["pipeline", "explain", "config", "snapshot", "router", "policy", "upstream", "http"];

const EVERYWHERE_BUT_RUNTIME: &[&str] = &[
    "main", "cli", "gateway", "control", "worker", "pipeline", "explain", "config", "snapshot", "shard", "router",
    "policy", "upstream", "http", "net", "observe", "base",
];

/// What some floors may not use: the path, the floors, the reason and the way out.
const BANS: &[(&[&str], &[&str], &str)] = &[
    (&["io_uring"], EVERYWHERE_BUT_RUNTIME, "the ring is spoken to in runtime/ alone; go through net/"),
    (&["tokio"], DATA_PLANE, "tokio belongs to the control thread; workers run on runtime/"),
    (&["axum"], DATA_PLANE, "axum belongs to the admin API; workers speak HTTP through http/"),
    (&["Mutex"], DATA_PLANE, "a worker waits for no lock; use an atomic, a mailbox or the shard's own Cell"),
    (&["RwLock"], DATA_PLANE, "a worker waits for no lock; use an atomic, a mailbox or the shard's own Cell"),
    (&["Condvar"], DATA_PLANE, "a worker waits for nobody; use a mailbox"),
    (&["Instant", "now"], TOLD_THE_TIME, "this floor is told the time; take `now` as an argument"),
    (&["SystemTime", "now"], TOLD_THE_TIME, "this floor is told the time; take `now` as an argument"),
];

/// What a test waits with.
const SLEEPS: &[&[&str]] = &[&["thread", "sleep"], &["time", "sleep"]];

pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = check_sleeps(tree);
    let Some(library) = tree.file("src/lib.rs") else { return violations };
    let house = House { floors: read_map(&library.text), tree };
    if house.floors.is_empty() {
        let what = "no map of the floors in its documentation; show it after `# The floors`, in a ```text block";
        violations.push(Violation::new(&library.path, 1, what));
        return violations;
    }
    house.check_map(&mut violations);
    for (file, source) in tree.sources() {
        let Some(top) = file.module().and_then(|module| module.first().copied()) else { continue };
        for path in source.paths.iter().filter(|path| !house.is_test(file, path)) {
            let mut found = |what: String| violations.push(Violation::new(&file.path, path.line, what));
            house.check_import(file, top, path, &mut found);
            for (banned, floors, why) in BANS {
                if floors.contains(&top) && contains(path, banned) {
                    found(format!("{} in {top}: {why}", banned.join("::")));
                }
            }
        }
    }
    violations
}

fn check_sleeps(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, source) in tree.sources().filter(|(file, _)| !file.path.starts_with("loadtest/")) {
        let in_tests = |path: &&Path| path.test || file.path.starts_with("tests/");
        for path in source.paths.iter().filter(in_tests) {
            if SLEEPS.iter().any(|sleep| contains(path, sleep)) {
                let what = "a test that sleeps is slow or wrong; wait for the condition, with a deadline";
                violations.push(Violation::new(&file.path, path.line, what));
            }
        }
    }
    violations
}

/// The names on each floor, from the top, with the line that they are on.
fn read_map(library: &str) -> Vec<(usize, Vec<&str>)> {
    let lines = library.lines().enumerate().map(|(at, line)| (at + 1, line.trim_start_matches("//!").trim()));
    let after_title = lines.skip_while(|(_, line)| *line != "# The floors");
    let in_block = after_title.skip_while(|(_, line)| *line != "```text").skip(1);
    in_block.take_while(|(_, line)| *line != "```").map(|(number, line)| (number, names(line))).collect()
}

/// `a, b   words`, `a/ b/   words` or `a   words`: the names, without the words.
fn names(line: &str) -> Vec<&str> {
    let mut words = line.split_whitespace().peekable();
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        names.push(word.trim_end_matches(['/', ',']));
        let next_is_directory = words.peek().is_some_and(|next| next.ends_with('/'));
        if !(word.ends_with(',') || word.ends_with('/') && next_is_directory) {
            break;
        }
    }
    names
}

struct House<'a> {
    floors: Vec<(usize, Vec<&'a str>)>,
    tree: &'a Tree,
}

impl House<'_> {
    /// The map shows what there is, no more and no less.
    fn check_map(&self, violations: &mut Vec<Violation>) {
        let modules = || self.tree.files.iter().filter_map(|file| Some((file, *file.module()?.first()?)));
        for (line, names) in &self.floors {
            for name in names.iter().filter(|name| !modules().any(|(_, module)| module == **name)) {
                let what = format!("the map shows {name}, which is not in src/; take it off the map");
                violations.push(Violation::new("src/lib.rs", *line, what));
            }
        }
        for (file, module) in modules().filter(|(_, module)| self.floor(module).is_none()) {
            let what = format!("{module} is on no floor; put it on the map in src/lib.rs");
            violations.push(Violation::new(&file.path, 1, what));
        }
    }

    fn check_import(&self, file: &File, top: &str, path: &Path, found: &mut impl FnMut(String)) {
        let Some(target) = absolute(file, path) else { return };
        let Some(other) = target.first().copied() else { return };
        if other == top {
            let own = file.module().and_then(|module| module.get(1).copied());
            if let (Some(own), Some(neighbour)) = (own, target.get(1).copied())
                && SEPARATE_INSIDE.contains(&top)
                && own != neighbour
                && self.is_module(top, neighbour)
            {
                found(format!("{top}/{own} imports its neighbour {top}/{neighbour}; share through a floor below"));
            }
            return;
        }
        let (Some(from), Some(to)) = (self.floor(top), self.floor(other)) else { return };
        let neighbours = NEIGHBOURS.iter().any(|(who, whom, _reason)| *who == top && *whom == other);
        if to < from {
            found(format!("{top} imports {other}, which is above it; return a value, or take one as an argument"));
        } else if to == from && !neighbours {
            found(format!("{top} imports {other}, its neighbour; share through a floor below"));
        }
    }

    fn floor(&self, module: &str) -> Option<usize> {
        self.floors.iter().position(|(_, names)| names.contains(&module))
    }

    fn is_module(&self, top: &str, name: &str) -> bool {
        self.tree.files.iter().filter_map(File::module).any(|module| module.starts_with(&[top, name]))
    }

    /// Whether the path is compiled for tests only, by its own place or by the
    /// declaration of a module that it is in.
    fn is_test(&self, file: &File, path: &Path) -> bool {
        let module = file.module().unwrap_or_default();
        let declares = |(other, source): (&File, &Source)| {
            let Some(outer) = other.module() else { return false };
            let declared = |inner: &Vec<String>| {
                let whole: Vec<&str> = outer.iter().copied().chain(inner.iter().map(String::as_str)).collect();
                module.starts_with(&whole)
            };
            source.test_modules.iter().any(declared)
        };
        path.test || self.tree.sources().any(declares)
    }
}

/// Where in the crate a path leads, or nothing when it leads elsewhere.
fn absolute<'a>(file: &'a File, path: &'a Path) -> Option<Vec<&'a str>> {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        // The binary and the benches see the library from outside.
        ["crate" | "tidegate", rest @ ..] => Some(rest.to_vec()),
        ["self" | "super", ..] => {
            let mut whole = file.module()?;
            whole.extend(path.modules.iter().map(String::as_str));
            let ups = segments.iter().filter(|segment| **segment == "super").count();
            whole.truncate(whole.len().checked_sub(ups)?);
            whole.extend(segments.iter().filter(|segment| !["self", "super"].contains(segment)));
            Some(whole)
        }
        _ => None,
    }
}

fn contains(path: &Path, banned: &[&str]) -> bool {
    path.segments.windows(banned.len()).any(|window| window == banned)
}
