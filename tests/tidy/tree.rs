//! The files of the repository, as the rules see them.

use crate::source::Source;
use std::path::Path;
use std::process::Command;

/// Every text file that is, or is about to be, under version control.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

pub(crate) struct File {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// What the Rust in it says; `Err` says why it could not be read.
    pub(crate) source: Option<Result<Source, String>>,
}

impl Tree {
    pub(crate) fn of_this_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = tracked(root).filter(|paths| paths.iter().any(|path| path == "src/lib.rs"));
        let paths = paths.get_or_insert_with(|| walk(root, root));
        // What is not UTF-8 is data; what is tracked and not there is being removed.
        let read = |path: &String| Some((path.clone(), std::fs::read_to_string(root.join(path)).ok()?));
        let tree = Self::new(paths.iter().filter_map(read));
        assert!(tree.files.len() > 20, "found only {} files below {}", tree.files.len(), root.display());
        tree
    }

    pub(crate) fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut files: Vec<File> = files
            .into_iter()
            .map(|(path, text)| {
                let source = path.ends_with(".rs").then(|| Source::read(&text));
                File { path, text, source }
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files that could be read.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| Some((file, file.source.as_ref()?.as_ref().ok()?)))
    }
}

impl File {
    /// Its module path, when it is part of the library or the binary:
    /// `["http", "h1"]` for `src/http/h1/mod.rs`, nothing for `src/lib.rs`.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        Some(path.split('/').filter(|segment| *segment != "lib").collect())
    }
}

fn tracked(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root).output().ok()?;
    let list = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    Some(list.split_terminator('\0').map(str::to_owned).collect())
}

/// For a copy of the sources that git knows nothing about.
fn walk(root: &Path, directory: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory of the repository can be listed").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if [".git", ".tools", "target"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        if path.is_dir() {
            paths.extend(walk(root, &path));
        } else if let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            paths.push(path.to_owned());
        }
    }
    paths
}
