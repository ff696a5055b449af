//! The commands that say something of a configuration: `explain`, `config` and `schema`.

use serde_json::Value;

use crate::gateway::BINARY;
use crate::program::{Directory, run};

const TEXT: &str = r#"
include = ["routes/*.toml"]
[listeners.public]
address = "127.0.0.1:0"
[services.users]
targets = ["${file:address}"]
timeout = "${TIMEOUT_THAT_NOBODY_SETS:-9s}"
"#;

const ROUTES: &str = r#"
[routes.user]
path = "/users/{id}"
methods = ["GET"]
service = "users"
rewrite = "/people/{id}"
"#;

fn files() -> (Directory, String) {
    let directory = Directory::new();
    std::fs::create_dir(directory.path("routes")).unwrap();
    directory.write("routes/users.toml", ROUTES);
    directory.write("address", "10.1.2.3:3001\n");
    let file = directory.write("gateway.toml", TEXT);
    (directory, file)
}

#[test]
fn explain_says_which_route_and_exits_by_it() {
    let (_directory, file) = files();
    let explain = |arguments: &[&str]| run(BINARY, &[&["explain", "--config", &file], arguments].concat());
    let text = explain(&["GET", "http://a.example/users/7?x=y"]).good();
    for line in ["route `user` takes it", "routes/users.toml:2", "as /people/7?x=y", "timeout = \"9s\""] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let wrong = explain(&["POST", "/users/7", "-H", "X-A: b"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.output.contains("405") && wrong.output.contains("Allow: GET, HEAD"), "{wrong:?}");
    let told = explain(&["--format", "json", "GET", "/nowhere"]);
    let json: Value = serde_json::from_str(&told.output).unwrap();
    assert_eq!((told.status.code(), &json["outcome"], &json["status"]), (Some(1), &"no_route".into(), &404.into()));
    let impossible = explain(&["GET", "users"]);
    assert_eq!(impossible.status.code(), Some(1));
    assert!(impossible.errors.starts_with("Error: `users` is neither a URL nor a path"), "{impossible:?}");
}

#[test]
fn config_prints_what_check_accepts() {
    let (directory, file) = files();
    let text = run(BINARY, &["config", "--config", &file]).good();
    assert!(text.contains("workers = 0                     # built-in\n"), "{text}");
    assert!(text.contains("timeout = \"9s\"") && text.contains("TIMEOUT_THAT_NOBODY_SETS"), "{text}");
    // What comes from a file may be a secret.
    assert!(text.contains("targets = [\"***\"]") && !text.contains("10.1.2.3"), "{text}");
    let effective = directory.write("effective.toml", text.replace("***", "10.1.2.3:3001"));
    run(BINARY, &["check", "--config", &effective]).good();
    let faulty = directory.write("faulty.toml", "[gatewy]\n");
    let refused = run(BINARY, &["config", "--config", &faulty]);
    assert_eq!((refused.status.code(), refused.output.as_str()), (Some(1), ""));
    assert!(refused.errors.contains("did you mean `gateway`?"), "{refused:?}");
}

/// A full disk: the exit code says that something failed, and standard error what.
#[test]
fn what_cannot_be_printed_is_said() {
    let (_directory, file) = files();
    for arguments in [
        &["man"][..],
        &["schema"],
        &["completions", "bash"],
        &["config", "--config", &file],
        &["check", "--format", "json", "--config", &file],
    ] {
        let script = ["-c", "exec \"$0\" \"$@\" > /dev/full", BINARY];
        let refused = run("sh", &[&script[..], arguments].concat());
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let said = "Error: cannot write to standard output: No space left on device";
        assert!(refused.errors.contains(said) && refused.errors.contains("make room"), "{arguments:?}: {refused:?}");
    }
}

#[test]
fn no_color_switches_colours_off_on_a_terminal() {
    let directory = Directory::new();
    let file = directory.write("gateway.toml", "[gatewy]\n");
    // `script` gives it a terminal.
    let shown = |variable: &str| {
        run("script", &["-qec", &format!("env {variable} {BINARY} check --config {file}"), "/dev/null"]).output
    };
    let (plain, colored) = (shown("NO_COLOR=1"), shown("NO_COLOR="));
    assert!(plain.contains("did you mean `gateway`?") && !plain.contains('\u{1b}'), "{plain}");
    assert!(colored.contains('\u{1b}'), "{colored}");
}

#[test]
fn the_manual_page_is_whole() {
    let page = run(BINARY, &["man"]).good();
    for words in [
        ".TH tidegate 1",
        ".SS \"tidegate run",
        "\\fB\\-\\-listener\\fR \\fINAME\\fR",
        "SIGQUIT",
        "SIGUSR2",
        "TIDEGATE_LOG",
        "NO_COLOR",
        "NOTIFY_SOCKET",
        ".SH \"EXIT STATUS\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("tidegate\\-run(1)"), "no page that nothing prints");
}

#[test]
fn schema_prints_a_schema() {
    let schema: Value = serde_json::from_str(&run(BINARY, &["schema"]).good()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["services"].is_object() && schema["$defs"]["route"].is_object());
}
