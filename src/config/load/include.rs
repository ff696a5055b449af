//! Which files a pattern of `include` names.
//!
//! ```toml
//! include = ["routes/*.toml", "services.toml"]     # relative to the file that says it
//! ```
//!
//! In a name, `*` stands for any number of characters and `?` for one; as in a shell, neither stands for a dot at the
//! beginning, so that what editors leave is not taken for configuration. The files of a pattern come in the order of their
//! names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Whether a pattern may name any number of files.
pub(super) fn has_star(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// What is wrong with a pattern whatever files there are, and what to write instead.
pub(super) fn check(pattern: &str) -> Result<(), (String, String)> {
    if pattern.is_empty() {
        return Err(("an empty string names no file".into(), "write a path such as \"routes/*.toml\"".into()));
    }
    if pattern.split('/').any(|part| part.contains("**")) {
        let help = "`*` stands for one name; write a pattern for each depth, such as \"routes/*.toml\" and \"routes/*/*.toml\"";
        return Err((format!("`{pattern}` has a `**`"), help.into()));
    }
    if pattern.ends_with('/') {
        return Err((format!("`{pattern}` is a directory"), format!("write \"{pattern}*.toml\" for all files in it")));
    }
    Ok(())
}

/// The files that a pattern names, from `directory`. A path without stars is one of them whether it is there or not.
/// `look` is told of each directory that was looked into.
///
/// # Errors
/// A directory is there and cannot be read.
pub(super) fn expand(
    directory: &Path,
    pattern: &str,
    mut look: impl FnMut(&Path),
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut paths = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { directory.to_owned() }];
    let mut parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
    while let Some(part) = parts.next() {
        if !has_star(part) {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut found = Vec::new();
        for path in &paths {
            look(path);
            found.extend(names_in(path, part)?.into_iter().map(|name| path.join(name)));
        }
        let is_last = parts.peek().is_none();
        found.retain(|path| if is_last { !path.is_dir() } else { path.is_dir() });
        paths = found;
    }
    if has_star(pattern) {
        paths.retain(|path| path.exists());
    }
    Ok(paths)
}

/// The names in a directory that fit, in order. A directory that is not there has none.
fn names_in(directory: &Path, pattern: &str) -> Result<Vec<String>, (PathBuf, io::Error)> {
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let fail = |error| (here.to_owned(), error);
    let entries = match fs::read_dir(here) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry.map_err(fail)?.file_name().into_string()
            && fits(pattern, &name)
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a name fits a pattern.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last star was, and how much of the name it stands for: more of it is tried where the rest does not fit.
    let (mut at, mut place, mut star) = (0, 0, None);
    while place < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(&one) if one == '?' || one == name[place] => (at, place) = (at + 1, place + 1),
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, place) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", false),
            ("*.toml", ".#a.toml", false),
            (".*.toml", ".a.toml", true),
            ("*.toml", "a.toml.swp", false),
            ("*.toml", "a.toml~", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdef", false),
            ("??.toml", "é1.toml", true),
            ("??.toml", "1.toml", false),
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for (pattern, message) in
            [("", "an empty string"), ("routes/**/*.toml", "has a `**`"), ("routes/", "is a directory")]
        {
            assert!(check(pattern).unwrap_err().0.contains(message), "{pattern}");
        }
        assert!(check("../routes/*.toml").is_ok());
    }

    proptest! {
        #[test]
        fn agrees_with_an_expression(pattern in "[ab*?]{0,6}", name in "[ab]{0,6}") {
            let expression = format!("^{}$", pattern.replace('*', ".*").replace('?', "."));
            prop_assert_eq!(fits(&pattern, &name), regex::Regex::new(&expression).unwrap().is_match(&name));
        }
    }
}
