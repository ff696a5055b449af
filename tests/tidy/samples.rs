//! The rules on small trees with one thing wrong in each.

use crate::check;
use crate::tree::Tree;

const MAP: &str = "//! The crate.\n//!\n//! # The floors\n//! ```text\n//! main, cli   start\n//! worker/     serve, drain\n//! config/ snapshot/  words\n//! router/  policy/\n//! http/       message, body; h1/ (parse)\n//! runtime/    executor\n//! base/       time\n//! ```\n";

/// A house with nothing wrong, the given files put in or replaced.
fn house(changes: &[(&str, &str)]) -> Tree {
    let plain =
        ["cli", "config/mod", "snapshot/mod", "router/mod", "policy/mod", "http/mod", "runtime/mod", "base/mod"];
    let mut files = vec![("src/lib.rs".to_owned(), MAP.to_owned())];
    files.extend(["main", "worker/mod"].iter().chain(&plain).map(|name| (format!("src/{name}.rs"), doc(""))));
    for (path, text) in changes {
        files.retain(|(other, _)| other != path);
        files.push(((*path).to_owned(), (*text).to_owned()));
    }
    Tree::new(files)
}

fn doc(code: &str) -> String {
    format!("//! A file.\n{code}\n")
}

/// Asserts that the file alone is found fault with, in that line and in those words.
#[track_caller]
fn bad(path: &str, text: &str, line: usize, words: &str) {
    let violations = check(&house(&[(path, text)]));
    let shown: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(violations.len(), 1, "{shown:#?}");
    assert_eq!((violations[0].path.as_str(), violations[0].line), (path, line), "{shown:#?}");
    assert!(violations[0].what.contains(words), "{shown:#?}");
}

#[track_caller]
fn good(path: &str, text: &str) {
    let shown: Vec<String> = check(&house(&[(path, text)])).iter().map(ToString::to_string).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}

#[test]
fn imports_go_down() {
    good("src/worker/mod.rs", &doc("use crate::{base, http::{self, h1::Parser}, policy};"));
    good("src/http/mod.rs", &doc("// crate::worker is above.\nconst NAME: &str = \"crate::worker\";"));
    good("src/http/h1.rs", &doc("use super::Message; use crate::http::Body; fn f() { super::super::base::g() }"));
    good("src/main.rs", &doc("fn main() { tidegate::cli::main() }"));
    good("src/snapshot/mod.rs", &doc("use crate::config::Config;"));
    bad("src/http/mod.rs", &doc("\nuse crate::worker::Thread;"), 3, "http imports worker, which is above");
    bad("src/http/mod.rs", &doc("use crate::{base::Time,\n    policy::{Limit}};"), 3, "http imports policy");
    bad("src/http/mod.rs", &doc("fn f() -> crate::policy::Limit { loop {} }"), 2, "http imports policy");
    bad("src/http/mod.rs", &doc("fn f() { vec![g::<crate::worker::Thread>()]; }"), 2, "http imports worker");
    bad("src/http/h1.rs", &doc("use super::super::worker::Thread;"), 2, "http imports worker");
    bad("src/base/mod.rs", &doc("mod inner { use super::super::http::Body; }"), 2, "base imports http");
    bad("src/config/mod.rs", &doc("use crate::snapshot::Route;"), 2, "its neighbour");
    bad("src/router/mod.rs", &doc("use crate::policy::Limit;"), 2, "its neighbour");
}

#[test]
fn features_do_not_know_each_other() {
    let cors = ("src/policy/cors.rs", doc("use super::headers::Fields;"));
    let shared = ("src/policy/cors.rs", doc("use super::Decision; use crate::policy::Decision as D;"));
    let headers = doc("");
    let all = |cors: &(&'static str, String)| {
        check(&house(&[(cors.0, &cors.1), ("src/policy/headers.rs", &headers)])).iter().map(|v| v.to_string()).collect()
    };
    let (found, none): (Vec<String>, Vec<String>) = (all(&cors), all(&shared));
    assert!(found.len() == 1 && found[0].starts_with("src/policy/cors.rs:2: policy/cors imports its neighbour"));
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn test_code_may_import_what_it_likes() {
    good(
        "src/http/mod.rs",
        &doc("#[cfg(test)]\nmod tests { use crate::worker::Thread; mod inner { use crate::cli; } }"),
    );
    good("src/http/mod.rs", &doc("#[cfg(all(test, unix))] use crate::{worker::{A, B}};"));
    good("src/http/mod.rs", &doc("#[test] fn f<A, B>(a: A, b: B) { crate::worker::g() }"));
    bad("src/http/mod.rs", &doc("#[cfg(not(test))] use crate::worker;"), 2, "http imports worker");
    bad("src/http/mod.rs", &doc("#[cfg(test)] use crate::cli; use crate::worker;"), 2, "http imports worker");
    bad("src/http/mod.rs", &doc("#[cfg(test)] fn f() {}\nuse crate::worker;"), 3, "http imports worker");
    let declared = doc("mod h1 { #[cfg(test)] mod suite; }");
    let suite = doc("use crate::worker::Thread;");
    let found = check(&house(&[("src/http/mod.rs", &declared), ("src/http/h1/suite/deep.rs", &suite)]));
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_map_is_what_there_is() {
    bad("src/lib.rs", "//! The crate.\n", 1, "no map of the floors");
    bad("src/lib.rs", &MAP.replace("base/   ", "base/ lost/ "), 11, "the map shows lost");
    bad("src/attic.rs", &doc(""), 1, "attic is on no floor");
}

#[test]
fn some_floors_go_without() {
    bad("src/router/mod.rs", &doc("fn f() { std::time::Instant::now(); }"), 2, "take `now` as an argument");
    bad("src/http/mod.rs", &doc("use std::time::SystemTime;\nfn f() { SystemTime::now(); }"), 3, "take `now`");
    bad("src/worker/mod.rs", &doc("use std::sync::{Arc, Mutex};"), 2, "a worker waits for no lock");
    bad("src/worker/mod.rs", &doc("use tokio::time;"), 2, "tokio belongs to the control thread");
    bad("src/http/mod.rs", &doc("use io_uring::opcode;"), 2, "the ring is spoken to in runtime/");
    good("src/runtime/mod.rs", &doc("use io_uring::opcode;\nfn f() { std::time::Instant::now(); }"));
    good("src/router/mod.rs", &doc("#[cfg(test)] mod tests { fn f() { std::time::Instant::now(); } }"));
}

#[test]
fn sizes_have_limits() {
    let function = |lines: usize| {
        doc(&format!("impl A {{ async fn long<const N: usize>(x: [u8; 3]) {{{}}} }}", "\n".repeat(lines - 1)))
    };
    good("src/http/mod.rs", &function(70));
    bad("src/http/mod.rs", &function(71), 2, "long has 71 lines, over 70");
    good("src/http/mod.rs", &doc(&"//\n".repeat(498)));
    bad("src/http/mod.rs", &doc(&"//\n".repeat(500)), 501, "lines, over 500");
    let in_macro = doc(&format!("proptest! {{\n#[test] fn long(x in 0..3) {{{}}} }}", "\n".repeat(70)));
    bad("src/http/mod.rs", &in_macro, 3, "long has 71 lines");
}

#[test]
fn unsafe_stays_in_the_runtime_and_is_proven() {
    bad("src/http/mod.rs", &doc("// SAFETY: no.\nunsafe impl Send for A {}"), 3, "unsafe outside src/runtime");
    bad("tests/gateway/main.rs", &doc("fn f() { unsafe {} }"), 2, "unsafe outside src/runtime");
    bad("src/runtime/ring.rs", &doc("fn f() {\n    unsafe { g() }\n}"), 3, "without its proof");
    bad(
        "src/runtime/ring.rs",
        &doc("// SAFETY: of another.\nlet a = 1;\nlet b = unsafe { g() };"),
        4,
        "without its proof",
    );
    good("src/runtime/ring.rs", &doc("// SAFETY: the pointer is\n// ours.\nlet a =\n    unsafe { g() };"));
    good("src/runtime/ring.rs", &doc("unsafe fn f() {} // unsafe in a comment, \"unsafe\" in a string"));
}

#[test]
fn nothing_is_left_over() {
    bad("src/http/mod.rs", &doc("// TODO: later"), 2, "a leftover TODO");
    bad("Makefile", "run:\n\t# FIXME\n", 2, "a leftover FIXME");
    bad("README.md", "XXX\n", 1, "a leftover XXX");
    good("README.md", "TODOS mktemp.XXXXXX\n");
    bad("src/http/mod.rs", &doc("fn f() { dbg!(1); }"), 2, "a leftover dbg!");
    bad("src/http/mod.rs", &doc("fn f() { todo!() }"), 2, "a leftover todo!");
    bad("src/http/mod.rs", &doc("fn f() { unimplemented!() }"), 2, "a leftover unimplemented!");
    bad("tests/gateway/main.rs", &doc("#[test]\n#[ignore = \"slow\"]\nfn f() {}"), 3, "a test that is switched off");
    bad("src/http/mod.rs", &doc("fn f( {}"), 1, "this is not Rust");
}

#[test]
fn lines_are_clean() {
    bad("src/http/mod.rs", "use a::b;\n//! Late.\n", 1, "no //! at the top");
    bad("src/http/mod.rs", &doc("// a "), 2, "whitespace at the end");
    bad("Cargo.toml", "[a]\n\tb = 1\n", 2, "a tab");
    bad("README.md", "a", 1, "no end");
    bad("README.md", "see /work/notes\n", 1, "/work/ is a place on one machine");
    bad("config/gateway.toml", "a = \"/home/me/a.pem\"\n", 1, "/home/ is a place on one machine");
    good("README.md", "https://example.com/home/ and src/work/a\n");
    good("tests/gateway/corpus/odd", "TODO /root/ \t");
}

#[test]
fn tests_take_no_fixed_port_and_do_not_sleep() {
    bad("tests/gateway/main.rs", &doc("const A: &str = \"127.0.0.1:8080\";"), 2, "a fixed port");
    bad("tests/gateway/main.rs", &doc("const A: &str = \"http://localhost:8080\";"), 2, "a fixed port");
    good("tests/gateway/main.rs", &doc("const A: &str = \"127.0.0.1:0\";"));
    good("src/http/mod.rs", &doc("const A: &str = \"127.0.0.1:80\";"));
    bad("tests/gateway/main.rs", &doc("use std::thread;\nfn f() { thread::sleep(d); }"), 3, "a test that sleeps");
    bad("tests/gateway/main.rs", &doc("use tokio::{time::sleep};"), 2, "a test that sleeps");
    bad("src/cli.rs", &doc("#[test]\nfn f() { std::thread::sleep(d); }"), 3, "a test that sleeps");
}

#[test]
fn a_feature_has_four_places() {
    let example = ("config/examples/cors.toml", "[gateway]\n");
    let test = ("tests/gateway/cors.rs", "//! Its test.\n");
    let row = ("README.md", "| CORS | [cors](config/examples/cors.toml) |\n");
    assert!(check(&house(&[example, test, row])).is_empty());
    for (files, words) in [([example, test], "add a table row"), ([example, row], "write tests/gateway/cors.rs")] {
        let found = check(&house(&files));
        assert!(found.len() == 1 && found[0].what.contains(words), "{found:?}");
    }
}
