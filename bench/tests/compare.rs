//! The comparison of instruction counts still works: its arithmetic, and every case that it counts.

use std::path::Path;
use std::process::{Command, Output};

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: scripts/setup.sh python3"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complained}", output.status);
    output
}

#[test]
fn its_arithmetic_is_right() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let output = succeeds(Command::new("python3").args(["-m", "unittest", "test_bench"]).current_dir(scripts));
    let summary = String::from_utf8_lossy(&output.stderr);
    assert!(summary.contains("OK") && !summary.contains("Ran 0"), "{summary}");
}

/// As callgrind sees them; the benches do each of them once.
#[test]
fn the_program_lists_its_cases_and_does_them() {
    let program = env!("CARGO_BIN_EXE_instructions");
    let list = succeeds(Command::new(program).arg("list"));
    let list = String::from_utf8(list.stdout).expect("names");
    for wanted in ["head/parse/wrk", "pick/round_robin", "log/record", "metrics/request", "request/small"] {
        let line = list.lines().find(|line| line.split(' ').next() == Some(wanted));
        let times = line.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
        assert!(times.is_some_and(|times| times > 0), "{wanted} is not in\n{list}");
        succeeds(Command::new(program).arg(wanted));
    }
}

#[test]
fn what_is_no_case_is_an_error() {
    for arguments in [&["request/none"][..], &["route/file"], &[], &["list", "list"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_instructions")).args(arguments).output().expect("it starts");
        assert!(!output.status.success() && output.stderr.starts_with(b"instructions: "), "{arguments:?}: {output:?}");
    }
}
