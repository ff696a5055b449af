//! Does one case a fixed number of times, for callgrind to count (`scripts/bench.py`).
//!
//! ```text
//! instructions list      # the names of the cases that are counted, each with its number of iterations
//! instructions NAME      # does that case
//! ```
//!
//! Start, preparation and the first iterations are outside of [`measured`], inside of which callgrind collects.

use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;

use bench::{Case, Work, cases};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many iterations go before those that count, so that what is made once has been made: buffers, connections,
/// tables.
const WARM_UP: u64 = 300;

/// What is drawn at random, such as ids of requests, is the same in every run.
const SEED: u64 = 7;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => list(),
        [name] => count(name),
        _ => Err("write `list`, or the name of a case".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> Result<(), String> {
    let line = |case: &Case| Some(format!("{} {}\n", case.name(), case.counted()?));
    let lines: String = cases().iter().filter_map(line).collect();
    io::stdout().write_all(lines.as_bytes()).map_err(|error| format!("cannot write the list: {error}"))
}

fn count(name: &str) -> Result<(), String> {
    fastrand::seed(SEED);
    let all = cases();
    let Some(case) = all.iter().find(|case| case.name() == name) else {
        return Err(format!("there is no case `{name}`; `list` shows all"));
    };
    let Some(times) = case.counted() else { return Err(format!("`{name}` is only timed: make bench")) };
    let mut work = case.make();
    work(WARM_UP.min(times));
    measured(&mut work, times);
    Ok(())
}

/// What callgrind knows by its name: what is done in here is counted.
#[inline(never)]
fn measured(work: &mut Work, times: u64) {
    work(times);
    // Otherwise the call would be a jump, and this function would be over before the work begins.
    black_box(());
}
