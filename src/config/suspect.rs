//! What is suspicious within one section: keys that cannot have the effect that they were written for.

use super::sections::TimeoutsConfig;
use crate::base::decode::{Diagnostic, Section};
use crate::base::units::{Setting, display_duration};
use crate::upstream::balance::Method;
use crate::upstream::targets::{TargetAddress, TargetConfig};

/// Of the timeouts that are written together, those that can never end anything, as warnings.
pub(super) fn timeouts(section: &Section<'_, '_>, config: &TimeoutsConfig) -> Vec<Diagnostic> {
    let Some(Setting::On(total)) = config.total else { return Vec::new() };
    let first_byte = config.first_byte.and_then(Setting::value);
    let both = [("connect_timeout", config.connect), ("first_byte_timeout", first_byte)];
    let in_vain = both.into_iter().filter_map(|(key, timeout)| {
        let (timeout, place) = (timeout.filter(|timeout| *timeout > total)?, section.place(key)?);
        let (timeout, total) = (display_duration(timeout), display_duration(total));
        let message = format!("`{key}` ({timeout}) never ends anything, for `timeout` ({total}) is over before it");
        let warning = Diagnostic::new(place, message, "this is longer than `timeout`").warning();
        Some(warning.help(format!("make `timeout` longer, or leave `{key}` out")))
    });
    in_vain.collect()
}

/// What a service says of its targets. `is_found_out` is whether one that is dead is ever left out.
pub(super) fn service(section: &mut Section<'_, '_>, targets: &[TargetConfig], balance: &Method, is_found_out: bool) {
    let is_one = |target: &TargetConfig| matches!(target.address, TargetAddress::Ip(_) | TargetAddress::Unix(_));
    let one = matches!(targets, [target] if is_one(target));
    if !one && !is_found_out && !targets.is_empty() {
        let (key, message) = match section.place("affinity") {
            Some(_) => ("affinity", "clients stay at a target that is dead: nobody finds out that it is"),
            None => ("ejection", "a target that is dead goes on to get its share: nobody finds out that it is"),
        };
        if let Some(place) = section.place(key) {
            let warning = Diagnostic::new(place, message, "with `ejection = false` and without `health`");
            section.warn(warning.help("add health = { path = \"/health\" }, or leave `ejection` as it is by default"));
        }
    }
    if let (Method::ConsistentHash { .. }, Some(place)) = (balance, section.place("slow_start")) {
        let warning = Diagnostic::new(place, "`slow_start` has no effect with consistent_hash", "no key moves for it");
        section.warn(warning.help("leave it out, or choose another `balance`"));
    }
}

/// Attempts that all go to the same target, `attempts` of them, as a service has written.
pub(super) fn attempts(section: &mut Section<'_, '_>, targets: &[TargetConfig], attempts: Option<u32>) {
    let Some(attempts) = attempts.filter(|attempts| *attempts > 2) else { return };
    let [target] = targets else { return };
    if let (TargetAddress::Ip(_) | TargetAddress::Unix(_), Some(place)) = (&target.address, section.place("retries")) {
        let message = format!("all {attempts} attempts go to one target, `{}`", target.address);
        let warning = Diagnostic::new(place, message, "a target that fails gets its requests again");
        section.warn(
            warning.related(target.span.clone(), "the only target").help("add a target, or write fewer attempts"),
        );
    }
}
