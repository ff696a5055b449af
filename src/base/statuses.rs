//! A set of response statuses, as `["502", "503"]` or `["5xx"]` names them.

use std::fmt;

use toml::de::DeValue;

use crate::base::decode::{FromValue, Value, Wrong, text};

/// Statuses from 100 to 599.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusSet([u64; 8]);

const FIRST: u16 = 100;
const LAST: u16 = 599;

impl StatusSet {
    /// These.
    #[must_use]
    pub fn of(statuses: &[u16]) -> StatusSet {
        let mut set = StatusSet::default();
        statuses.iter().for_each(|&status| set.add(status..=status));
        set
    }

    /// Adds what is written as `502` or `5xx`; false where it is neither.
    pub fn parse_and_add(&mut self, text: &str) -> bool {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
        let class = text.strip_suffix("xx").and_then(digits);
        match (class, digits(text)) {
            (Some(class @ 1..=5), _) => self.add(class * 100..=class * 100 + 99),
            (None, Some(status @ FIRST..=LAST)) => self.add(status..=status),
            _ => return false,
        }
        true
    }

    /// Whether `status` is one of them.
    #[must_use]
    pub const fn contains(&self, status: u16) -> bool {
        if status < FIRST || status > LAST {
            return false;
        }
        let bit = (status - FIRST) as usize;
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == StatusSet::default()
    }

    fn add(&mut self, statuses: std::ops::RangeInclusive<u16>) {
        for status in statuses.filter(|status| (FIRST..=LAST).contains(status)) {
            let bit = usize::from(status - FIRST);
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }
}

impl FromValue for StatusSet {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let example = "[\"502\", \"503\"] or [\"5xx\"]";
        let DeValue::Array(list) = value.get_ref() else {
            return Err(Wrong::Type(format!("a list, such as {example}")));
        };
        let mut set = StatusSet::default();
        for value in list {
            let text = match value.get_ref() {
                DeValue::Integer(status) => status.as_str(),
                _ => text(value, "a list of strings such as \"502\" or \"5xx\"")?,
            };
            if !set.parse_and_add(text) {
                let problem = format!("`{text}` is no status");
                return Err(Wrong::content(problem, format!("write a list such as {example}")));
            }
        }
        Ok(set)
    }
}

impl fmt::Debug for StatusSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries((FIRST..=LAST).filter(|&status| self.contains(status))).finish()
    }
}

impl fmt::Display for StatusSet {
    /// As people write it: `2xx, 301`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for class in (FIRST..=LAST).step_by(100) {
            let statuses = || class..class + 100;
            if statuses().all(|status| self.contains(status)) {
                write!(formatter, "{separator}{}xx", class / 100)?;
                separator = ", ";
                continue;
            }
            for status in statuses().filter(|&status| self.contains(status)) {
                write!(formatter, "{separator}{status}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_it_and_nothing_else() {
        for (text, expected) in [
            ("502", Some(502..=502)),
            ("100", Some(100..=100)),
            ("599", Some(599..=599)),
            ("5xx", Some(500..=599)),
            ("1xx", Some(100..=199)),
            ("600", None),
            ("99", None),
            ("0xx", None),
            ("6xx", None),
            ("xx", None),
            ("5XX", None),
            ("+5xx", None),
            ("+502", None),
            ("5x", None),
            ("", None),
        ] {
            let mut set = StatusSet::default();
            assert_eq!(set.parse_and_add(text), expected.is_some(), "{text}");
            for status in 0..=u16::MAX {
                let is_there = expected.as_ref().is_some_and(|range| range.contains(&status));
                assert_eq!(set.contains(status), is_there, "{status} of {text}");
            }
        }
    }

    #[test]
    fn sets_add_up() {
        let mut set = StatusSet::of(&[502, 504]);
        assert!(set.parse_and_add("429") && !set.is_empty());
        assert_eq!(format!("{set:?}"), "{429, 502, 504}");
        assert_eq!(set.to_string(), "429, 502, 504");
        assert!(set.parse_and_add("5xx"));
        assert_eq!((set.to_string(), StatusSet::default().to_string()), ("429, 5xx".to_owned(), String::new()));
    }
}
