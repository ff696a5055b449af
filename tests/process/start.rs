//! Starts that must fail, and what they say; `check` and `run`, which must agree.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use serde_json::Value;

use crate::gateway::{BINARY, Setup, field};
use crate::program::{Directory, Finished, Program, command, run, wait_until};

fn nowhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 9))
}

fn start(file: &str) -> Finished {
    run(BINARY, &["run", "--config", file])
}

#[test]
fn an_address_in_use_is_named() {
    let directory = Directory::new();
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = other.local_addr().unwrap();
    // The first address of the file is the public listener's, the second is that of operators.
    let text = Setup::new("epoll", nowhere()).text();
    let free = "address = \"127.0.0.1:0\"";
    let (before, after) = text.rsplit_once(free).unwrap();
    let public = text.replacen(free, &format!("address = \"{taken}\""), 1);
    let admin = format!("{before}address = \"{taken}\"{after}");
    for (text, name) in [(public, "public"), (admin, "admin")] {
        let finished = start(&directory.write("gateway.toml", text));
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        let expected = format!("cannot listen at {taken} ({name}): ");
        assert!(finished.errors.contains(&expected) && finished.errors.contains("choose another port"), "{finished:?}");
        assert_eq!(finished.output, "");
    }
}

#[test]
fn another_gateway_does_not_share_the_port() {
    for driver in ["epoll", "io_uring"] {
        if driver == "io_uring" && !crate::gateway::has_io_uring() {
            continue;
        }
        let first = Setup::new(driver, nowhere()).start();
        let address = format!("address = \"{}\"", first.public);
        let text = Setup::new(driver, nowhere()).text().replacen("address = \"127.0.0.1:0\"", &address, 1);
        let directory = Directory::new();
        let finished = start(&directory.write("gateway.toml", text));
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.errors.contains("cannot listen at"), "{finished:?}");
        first.stop();
    }
}

#[test]
fn a_file_that_is_not_there() {
    for verb in ["run", "check"] {
        let finished = run(BINARY, &[verb, "--config", "nowhere/gateway.toml"]);
        assert_eq!(finished.status.code(), Some(1));
        assert!(finished.errors.contains("nowhere/gateway.toml: cannot read the file"), "{finished:?}");
    }
}

#[test]
fn a_fault_is_shown_with_a_caret() {
    let directory = Directory::new();
    let text = Setup::new("epoll", nowhere()).text().replace("driver =", "drivr =");
    let finished = start(&directory.write("gateway.toml", text));
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.errors.contains("gateway.toml:2:1"), "{}", finished.errors);
    assert!(finished.errors.contains('^') && finished.errors.contains("driver"), "{}", finished.errors);
    assert!(!finished.errors.contains('\u{1b}'), "no colours where nobody looks");
}

fn files_in(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}

#[test]
fn what_check_refuses_run_refuses_in_the_same_words() {
    let is_refused = |file: &PathBuf| std::fs::read_to_string(file.with_extension("txt")).unwrap().contains("Error: ");
    let (refused, taken): (Vec<PathBuf>, Vec<PathBuf>) =
        files_in("src/config/golden").into_iter().partition(is_refused);
    assert!(refused.len() >= 60 && taken.len() >= 10);
    for file in taken {
        // What is only warned of is taken.
        let checked = run(BINARY, &["check", "--config", file.to_str().unwrap()]);
        assert!(
            checked.errors.starts_with("Warning: ") && checked.output.contains(", 1 warning")
                || checked.output.ends_with(" warnings\n"),
            "{checked:?}"
        );
        let told = run(BINARY, &["check", "--format", "json", "--config", file.to_str().unwrap()]).good();
        let told: Value = serde_json::from_str(&told).unwrap();
        let count = told["warnings"].as_array().unwrap().len();
        assert_eq!((&told["valid"], &told["errors"]), (&true.into(), &serde_json::json!([])));
        assert_eq!(count, checked.errors.matches("Warning: ").count(), "{checked:?}");
        checked.good();
    }
    for file in refused {
        let file = file.to_str().unwrap();
        let checked = run(BINARY, &["check", "--config", file]);
        let started = start(file);
        assert_eq!((checked.status.code(), started.status.code()), (Some(1), Some(1)), "{file}: {started:?}");
        assert_eq!(checked.errors, started.errors, "{file}");
        assert!(checked.errors.contains("Error: ") && checked.output.is_empty(), "{checked:?}");
        programs_are_told_the_same(file, &checked.errors);
    }
}

/// What `check --format json` says of a wrong file is what it says to people, with the same places.
fn programs_are_told_the_same(file: &str, human: &str) {
    let told = run(BINARY, &["check", "--format", "json", "--config", file]);
    assert_eq!((told.status.code(), told.errors.as_str()), (Some(1), ""), "{file}");
    let told: Value = serde_json::from_str(&told.output).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!((&told["file"], &told["valid"], &told["routes"]), (&file.into(), &false.into(), &Value::Null));
    let errors = told["errors"].as_array().unwrap();
    let (mut rest, messages) = (human, human.lines().filter(|line| line.starts_with("Error: ")).count());
    assert_eq!(errors.len(), messages, "{file}");
    for error in errors {
        // In the order in which people see them.
        let mut find = |what: String| {
            let at = rest.find(&what).unwrap_or_else(|| panic!("{file}: no {what:?} in {rest}"));
            rest = &rest[at..];
        };
        let (place, text) = (&error["place"], |key: &str| error[key].as_str().unwrap_or_default());
        if place.is_null() {
            // A fault of the file itself is one line.
            find(text("message").to_owned());
            find(text("help").to_owned());
            continue;
        }
        find(format!("Error: {}", text("message")));
        // It may be in a file that is included.
        find(format!("{}:{}:{} ]", place["file"].as_str().unwrap(), place["line"], place["column"]));
        let [from, to] =
            [["line", "column"], ["end_line", "end_column"]].map(|keys| keys.map(|key| place[key].as_u64()));
        assert!(from <= to, "{file}: {place}");
        if !text("help").is_empty() {
            find(format!("Help: {}", text("help")));
        }
    }
}

/// The same file on free ports.
fn on_free_ports(text: &str) -> String {
    let freed = text.lines().map(|line| match (line.split_once("address = \""), line.split_once(" = [")) {
        (Some(("", address)), None) => {
            let host = address.rsplit_once(':').expect("a port").0;
            format!("address = \"{host}:0\"\n")
        }
        _ => format!("{line}\n"),
    });
    let admin = if text.contains("[admin]") { "" } else { "\n[admin]\naddress = \"127.0.0.1:0\"\n" };
    freed.collect::<String>() + admin
}

#[test]
fn what_check_accepts_runs() {
    let files = files_in("config").into_iter().chain(files_in("config/examples"));
    let directory = Directory::new();
    for file in files {
        let original = run(BINARY, &["check", "--config", file.to_str().unwrap()]).good();
        assert!(original.contains(" is good: "), "{original}");
        let told = run(BINARY, &["check", "--format", "json", "--config", file.to_str().unwrap()]).good();
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["valid"], &told["errors"]), (&true.into(), &serde_json::json!([])));
        assert!(told["routes"].is_u64() && told["services"].is_u64(), "{told}");
        let text = on_free_ports(&std::fs::read_to_string(&file).unwrap());
        // Whoever runs the tests may not write there.
        let copy = directory.write("gateway.toml", text.replace("/var/log/tidegate/", &directory.path("")));
        run(BINARY, &["check", "--config", &copy]).good();
        let mut gateway = Program::start(command(BINARY, &["run", "--config", &copy]));
        wait_until("the gateway of a good file", || {
            assert!(gateway.ended().is_none(), "{}: {}", file.display(), gateway.errors().text());
            gateway.errors().text().contains("\"admin\":\"")
        });
        gateway.signal(Signal::TERM);
        gateway.finish().good();
    }
}

#[test]
fn the_log_says_where_it_listens_and_on_what() {
    let gateway = Setup::new("epoll", nowhere()).workers(2).start();
    let line = gateway.program().errors().wait_for("\"admin\"");
    assert_eq!((field(&line, "workers"), field(&line, "driver")), (Some("2"), Some("epoll")));
    assert_eq!(gateway.connect().get("/").status, 502, "nobody answers behind it");
    let health = crate::client::Client::connect(gateway.admin).get("/health");
    assert_eq!((health.status, health.text().as_str()), (200, "{\"status\":\"ok\"}\n"));
    gateway.stop();
}

#[test]
fn shells_complete_and_the_manual_names_every_command() {
    let help = run(BINARY, &["--help"]).good();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains(&"run") && commands.contains(&"check"), "{help}");
    let manual = run(BINARY, &["man"]).good();
    assert!(manual.contains(".TH tidegate 1"), "{manual}");
    for command in &commands {
        assert!(manual.contains(&format!(".SS \"tidegate {command}")), "{command}: {manual}");
    }
    // What the shell offers behind `tidegate ch`, asked of the shell itself.
    let directory = Directory::new();
    let script = directory.write("tidegate.bash", run(BINARY, &["completions", "bash"]).good());
    let complete = "source \"$1\"; COMP_WORDS=(tidegate \"$2\"); COMP_CWORD=1; _tidegate tidegate \"$2\" tidegate; \
                    echo \"${COMPREPLY[@]}\"";
    let offered = |word: &str| run("bash", &["-c", complete, "bash", &script, word]).good();
    assert_eq!(offered("ch").trim(), "check");
    let all = offered("");
    assert!(commands.iter().all(|command| all.split_whitespace().any(|word| word == *command)), "{all}");
    // Who cannot be told must not take the file for a good one.
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/minimal.toml");
    for arguments in ["check --format json --config \"$2\"", "man", "completions bash"] {
        let full = format!("\"$1\" {arguments} > /dev/full");
        assert_eq!(run("sh", &["-c", &full, "sh", BINARY, good]).status.code(), Some(1), "{arguments}");
    }
    for shell in ["zsh", "fish"] {
        let script = run(BINARY, &["completions", shell]).good();
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
}

/// Whether systemd takes our units, with the program that was built.
#[test]
fn the_units_of_systemd_are_right() {
    let directory = Directory::new();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/config/systemd");
    let units = ["tidegate.service", "tidegate.socket"].map(|name| {
        let text = std::fs::read_to_string(format!("{root}/{name}")).unwrap();
        directory.write(name, text.replace("/usr/local/bin/tidegate", BINARY))
    });
    let Ok(checked) = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output() else {
        eprintln!("the units are not verified: there is no systemd-analyze here");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stderr);
    // It says more of units that this machine has.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("tidegate")).collect();
    assert!(ours.is_empty() && checked.status.success(), "{said}");
}
