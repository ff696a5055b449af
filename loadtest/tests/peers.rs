//! The comparison with peers still works: its arithmetic, and a short run of it from end to end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("python3 can be started: scripts/setup.sh python3");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complained}", output.status);
    output
}

#[test]
fn its_arithmetic_is_right() {
    let output = succeeds(Command::new("python3").args(["-m", "unittest", "test_peers"]).current_dir(peers()));
    let summary = String::from_utf8_lossy(&output.stderr);
    assert!(summary.contains("OK") && !summary.contains("Ran 0"), "{summary}");
}

/// Figures of so short a run are worth nothing; that there are some is what counts.
#[test]
fn a_short_run_makes_a_table_a_chart_and_json() {
    let loadtest = Path::new(env!("CARGO_BIN_EXE_loadtest"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let mut contenders = "nginx,haproxy,relay,direct".to_owned();
    // Cargo builds it beside the generator, but not if only this package is tested.
    let tidegate = loadtest.with_file_name("tidegate");
    if tidegate.exists() {
        contenders.push_str(",tidegate-epoll");
    }
    let mut command = Command::new("python3");
    command.arg(peers().join("run.py")).args([
        "--rounds",
        "1",
        "--seconds",
        "0.3",
        "--cases",
        "128B,routes10,chain,wrk",
    ]);
    command.args(["--contenders", &contenders]).arg("--out").arg(&out);
    succeeds(command.env("LOADTEST", loadtest).env("TIDEGATE", &tidegate));
    let json = std::fs::read_to_string(out.join("peers.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (case, names) in
        [("128B", contenders.as_str()), ("routes10", "nginx,haproxy"), ("chain", "nginx,haproxy"), ("wrk", "nginx")]
    {
        for name in names.split(',').filter(|name| *name != "direct") {
            let cost = results["summary"][case][name]["cpu_us"].as_f64();
            assert!(cost.is_some_and(|cost| cost > 0.0), "{case}, {name}: {}", results["summary"][case]);
        }
    }
    let table = std::fs::read_to_string(out.join("peers.md")).unwrap();
    assert!(table.contains("| Tidegate, epoll |") == tidegate.exists() && table.contains("| nginx |"), "{table}");
    assert!(std::fs::read_to_string(out.join("peers.svg")).unwrap().ends_with("</svg>\n"));
}
