//! `ejection`, as it is written.

use std::time::Duration;

use super::{Ejection, FailureRate};
use crate::base::decode::{Diagnostic, FromValue, Section, Value, Wrong};
use crate::base::statuses::StatusSet;
use crate::base::units::{Setting, display_duration};

/// `[services.NAME.ejection]`.
#[derive(Clone, Debug, PartialEq)]
pub struct EjectionConfig {
    /// `consecutive_failures`: so many in a row.
    pub consecutive_failures: u32,
    /// `failure_rate`: this share of a window; off unless it is written.
    pub failure_rate: Setting<Share>,
    /// `minimum`: of fewer requests in a window the rate says nothing.
    pub minimum: usize,
    /// `window`: over which the rate is taken.
    pub window: Duration,
    /// `statuses`: answers that are failures.
    pub statuses: StatusSet,
    /// `ejected_for`: how long the first time.
    pub ejected_for: Duration,
    /// `longest`: how long at most, after several in a row.
    pub longest: Duration,
    /// `most`: the share of the targets that may be out at once.
    pub most: f64,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_rate: Setting::Off,
            minimum: 20,
            window: Duration::from_secs(10),
            statuses: StatusSet::of(&[502, 503, 504]),
            ejected_for: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            most: 0.5,
        }
    }
}

impl EjectionConfig {
    /// Reads `ejection` of a service; on with its defaults where it is not written.
    pub fn read(section: &mut Section<'_, '_>) -> Setting<EjectionConfig> {
        let mut config = EjectionConfig::default();
        let Some(setting) = section.table_or_off("ejection", "`ejection`") else { return Setting::On(config) };
        let Setting::On(mut section) = setting else { return Setting::Off };
        section.read_within("consecutive_failures", 1..=1_000_000, &mut config.consecutive_failures);
        section.read("failure_rate", &mut config.failure_rate);
        section.read_within("minimum", 1..=1_000_000, &mut config.minimum);
        section.read("window", &mut config.window);
        section.read("statuses", &mut config.statuses);
        section.read("ejected_for", &mut config.ejected_for);
        section.read("longest", &mut config.longest);
        section.read_within("most", 0.0..=1.0, &mut config.most);
        section.finish(&[]);
        if config.ejected_for > config.longest {
            if let Some(place) = section.place("longest") {
                let (first, longest) = (display_duration(config.ejected_for), display_duration(config.longest));
                let message = format!("`longest` ({longest}) is shorter than `ejected_for` ({first})");
                let fault = Diagnostic::new(place, message, "the first ejection is longer than this");
                section.fault(fault.help("make `longest` longer or `ejected_for` shorter"));
            }
            // Not where the default meets a longer `ejected_for`: it grows with it.
            config.longest = config.ejected_for;
        }
        Setting::On(config)
    }

    /// What runs.
    #[must_use]
    pub fn compile(&self) -> Ejection {
        let rate = |rate: Share| FailureRate { rate: rate.0, minimum: self.minimum as u64, window: self.window };
        Ejection {
            consecutive_failures: self.consecutive_failures,
            failure_rate: self.failure_rate.value().map(rate),
            statuses: self.statuses,
            ejected_for: self.ejected_for,
            longest: self.longest,
            most: self.most,
        }
    }
}

/// A part of a whole, above 0 and up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromValue for Share {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let share = f64::from_value(value)?;
        if share > 0.0 && share <= 1.0 {
            return Ok(Self(share));
        }
        Err(Wrong::content(format!("`{share}` is no share"), "write a number above 0 and up to 1, such as 0.5"))
    }
}
