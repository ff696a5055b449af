//! What is said of a reload: to the log, and in short to `/metrics`.

use std::time::Duration;

use super::{Outcome, Refused, Reloaded};

/// Why a reload was refused, short enough for a line of a log and a label of a metric.
pub(super) fn brief(refused: &Refused) -> String {
    first(refused.to_string().lines()).join("\n")
}

/// The first lines of a diagnosis, and how many more there are.
fn first<'a>(mut lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut first: Vec<String> = lines.by_ref().take(LINES).map(|line| line.chars().take(LINE).collect()).collect();
    match lines.count() {
        0 => {}
        more => first.push(format!("and {more} more, which `tidegate check` and the answer of POST /reload tell")),
    }
    first
}

/// The most lines of a diagnosis that are logged, and characters of each.
const LINES: usize = 5;
const LINE: usize = 400;

/// Writes to the log how a reload has ended.
pub(super) fn tell(outcome: &Outcome, cause: &'static str, took: Duration) {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(reloaded) => {
            let Reloaded { number, routes, services, opened, closed, needs_restart, warnings } = &**reloaded;
            tracing::info!(cause, edition = number, routes, services, took_ms, "the configuration was reloaded");
            opened.iter().for_each(|listener| tracing::info!(listener, "a listener was added"));
            let advice = "its connections end after what they carry";
            closed.iter().for_each(|listener| tracing::info!(listener, "a listener was removed; {advice}"));
            for change in needs_restart {
                tracing::warn!("{change}: this takes a restart; everything else of the new configuration runs");
            }
            first(warnings.iter().map(String::as_str)).iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Err(refused) => {
            let why = brief(refused);
            tracing::error!(cause, took_ms, "the reload was refused, the old configuration serves on: {why}");
        }
    }
}
