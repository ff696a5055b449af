//! The command line: parse it, and do what it says.

mod explain;
mod man;
mod serve;

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::{Config, Diagnostics, Severity, schema};
use crate::control::log::{self, Log};
use crate::demo;
use crate::snapshot::Snapshot;

/// A thread-per-core API gateway.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve what a configuration file says, until SIGTERM, SIGINT or SIGQUIT.
    Run {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Serve a demo: the gateway in front of three small services of its own.
    Demo,
    /// Say whether a configuration file would be accepted: exit code 0 if it would, 1 if not.
    Check {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// How to say it: for people, or for programs on standard output.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Say which route a request takes, why, what else came close, and what holds for it: exit code 0 if one takes it.
    Explain(explain::Arguments),
    /// Print the configuration as it holds: every key with its value and where that comes from, secrets masked.
    Config {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a JSON Schema of the configuration file, for editors.
    Schema,
    /// Print a completion script for a shell, such as `tidegate completions bash > /etc/bash_completion.d/tidegate`.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page, such as `tidegate man | man -l -`.
    Man,
}

/// How `check` says what it has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    /// One object with `file`, `valid`, `errors` and `warnings` (each with `message`, `label`, `help`, `place` and
    /// `related`), and how many `routes` and `services` there are.
    Json,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Check { config, format } => check(&config, format),
        Command::Run { config: path } => {
            let log = log::start();
            match Config::load(&path) {
                Ok(config) => {
                    for warning in config.warnings().compact().lines() {
                        tracing::warn!("{warning}");
                    }
                    serve::serve(&config, Some(Arc::new(move || Config::load(&path))), &log, |_| String::new())
                }
                Err(faults) => refuse(&faults),
            }
        }
        Command::Demo => {
            let log = log::start();
            run_demo(&log)
        }
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Config { config } => match Config::load(&config) {
            Ok(config) => {
                show(&config.warnings());
                exit_code(print_all(config.effective().as_bytes()))
            }
            Err(faults) => refuse(&faults),
        },
        Command::Schema => exit_code(print_all(format!("{:#}\n", schema::document()).as_bytes())),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tidegate", &mut script);
            exit_code(print_all(&script))
        }
        Command::Man => exit_code(print_all(man::page(Arguments::command()).as_bytes())),
    }
}

/// Prints what a program or a file is to take; false if it could not be taken, as when a disk is full. What failed is
/// said on standard error.
fn print_all(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout();
    let printed = stdout.write_all(bytes).and_then(|()| stdout.flush());
    if let Err(error) = &printed {
        let advice = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room where it goes",
            ErrorKind::BrokenPipe => "who was to read it has ended before",
            _ => "see where it goes",
        };
        complain(&format!("cannot write to standard output: {error}; {advice}"));
    }
    printed.is_ok()
}

/// Says on standard error what is wrong.
fn complain(problem: &str) {
    // Nobody is left to be told when this fails.
    let _ = std::io::stderr().write_all(format!("Error: {problem}\n").as_bytes());
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(path: &Path, format: Format) -> ExitCode {
    let checked = Config::load(path).and_then(|config| Ok((Snapshot::compile(&config)?, config.warnings())));
    match (&checked, format) {
        (_, Format::Json) => {
            let printed = print_all(format!("{}\n", report(path, &checked)).as_bytes());
            return exit_code(printed && checked.is_ok());
        }
        (Ok((snapshot, warnings)), Format::Human) => {
            let (routes, services) = (snapshot.routes.len(), snapshot.services.len());
            let file = path.display();
            let with = match warnings.count() {
                0 => String::new(),
                some => format!(", {}", count(some, "warning")),
            };
            show(warnings);
            say(&format!("{file} is good: {} to {}{with}\n", count(routes, "route"), count(services, "service")));
        }
        (Err(faults), Format::Human) => return refuse(faults),
    }
    ExitCode::SUCCESS
}

/// What a check has found, for programs.
fn report(path: &Path, checked: &Result<(Snapshot, Diagnostics), Diagnostics>) -> serde_json::Value {
    let snapshot = checked.as_ref().ok().map(|(snapshot, _)| snapshot);
    let found = checked.as_ref().map_or_else(|faults| faults, |(_, warnings)| warnings);
    serde_json::json!({
        "file": path.display().to_string(),
        "valid": checked.is_ok(),
        "errors": found.of(Severity::Error).to_json(),
        "warnings": found.of(Severity::Warning).to_json(),
        "routes": snapshot.map(|snapshot| snapshot.routes.len()),
        "services": snapshot.map(|snapshot| snapshot.services.len()),
    })
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn refuse(faults: &Diagnostics) -> ExitCode {
    show(faults);
    ExitCode::FAILURE
}

/// Shows what is wrong, or perhaps wrong, to people.
fn show(faults: &Diagnostics) {
    let mut stderr = std::io::stderr();
    let color = stderr.is_terminal() && log::wants_color();
    // Nobody is left to be told when this fails.
    let _ = stderr.write_all(faults.render(color).as_bytes());
}

fn say(text: &str) {
    // Nobody is left to be told when this fails.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn run_demo(log: &Log) -> ExitCode {
    let mut config = match Config::parse("config/demo.toml", include_str!("../config/demo.toml")) {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    match demo::start(&mut config) {
        Ok(_origins) => serve::serve(&config, None, log, demo::banner),
        Err(error) => {
            tracing::error!(%error, "the demo's own services did not start; it needs free ports on loopback, and descriptors");
            ExitCode::FAILURE
        }
    }
}
