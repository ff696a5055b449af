//! Durations, sizes and rates as people write them: one whole number, then one unit.
//!
//! ```toml
//! timeout = "250ms"    # ms, s, m, h
//! body = "10MiB"       # B; KiB, MiB, GiB, TiB (powers of 1024); KB, MB, GB, TB (powers of 1000)
//! body_rate = "1KiB/s" # a size a second
//! ```
//!
//! Decimals and sums are refused: `"1.5s"` is `"1500ms"` and `"1m30s"` is `"90s"`. One spelling a value keeps files
//! searchable, and nobody has to know how a fraction rounds. A unit must be written, for a bare `30` is seconds to one
//! reader and milliseconds to the next; only a size or a rate of `"0"` may go without.
//!
//! Every error says what was read, what is expected, and an example to copy.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest duration that can be written: a year of 365 days. Deadlines are sums of a few of these and the clock, so
/// none can overflow.
pub const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a string is no duration, size or rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    /// What is wrong with what was read, such as "`10q` has an unknown unit `q`".
    pub problem: String,
    /// What to write instead, such as "sizes are written like \"8KiB\" or \"10MiB\"".
    pub help: String,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.help)
    }
}

impl std::error::Error for UnitError {}

/// A value, or the decision to have none (`= false` in the file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<T> {
    /// Switched off with `false`.
    Off,
    /// Switched on, with this value.
    On(T),
}

impl<T> Setting<T> {
    /// The value, or `None` where it is switched off.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// `n` times 1024 bytes.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` times 1024 * 1024 bytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_size(text)
    }
}

impl fmt::Display for Size {
    /// The shortest exact form: the largest unit that divides the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let divides = |&&(_, bytes): &&(&str, u64)| self.0.is_multiple_of(bytes);
        let (unit, bytes) = SIZE_UNITS.iter().filter(divides).max_by_key(|unit| unit.1).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// A flow of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// Bytes in one second.
    pub bytes_per_second: u64,
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_rate(text)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes_per_second {
            0 => f.write_str("0"),
            bytes => write!(f, "{}/s", Size(bytes)),
        }
    }
}

/// Reads a duration such as `"250ms"`, `"5s"`, `"1m"` or `"1h"`, up to [`LONGEST`]. Zero is read; whether it makes sense
/// is for the caller to say.
///
/// # Errors
/// Anything but one whole number and one of the units.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split("duration", DURATION_HELP, &DURATION_UNITS, text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => {
            return Err(missing_unit(text, format!("write \"{text}s\" for seconds or \"{text}ms\" for milliseconds")));
        }
        _ => return Err(unknown_unit(text, unit, &DURATION_UNITS, DURATION_HELP)),
    };
    let duration = number.checked_mul(milliseconds).map(Duration::from_millis);
    duration.filter(|&duration| duration <= LONGEST).ok_or_else(|| UnitError {
        problem: format!("`{text}` is too long a time"),
        help: "the longest duration is a year, \"8760h\"".into(),
    })
}

/// Reads a size such as `"8KiB"`, `"10MiB"`, `"1GB"` or `"0"`.
///
/// # Errors
/// Anything but one whole number and one of the units, or more than fits 64 bits.
pub fn parse_size(text: &str) -> Result<Size, UnitError> {
    let units = SIZE_UNITS.map(|known| known.0);
    let (number, unit) = split("size", SIZE_HELP, &units, text)?;
    if unit.is_empty() {
        return match number {
            0 => Ok(Size(0)),
            _ => Err(missing_unit(text, format!("write \"{text}B\" for bytes or \"{text}KiB\" for kibibytes"))),
        };
    }
    let Some(&(_, bytes)) = SIZE_UNITS.iter().find(|known| known.0 == unit) else {
        return Err(unknown_unit(text, unit, &units, SIZE_HELP));
    };
    number.checked_mul(bytes).map(Size).ok_or_else(|| too_large(text))
}

/// Reads a rate such as `"100B/s"`, `"1KiB/s"` or `"0"`.
///
/// # Errors
/// Anything but a size, a slash and `s`.
pub fn parse_rate(text: &str) -> Result<Rate, UnitError> {
    if text == "0" {
        return Ok(Rate { bytes_per_second: 0 });
    }
    let Some((size, per)) = text.split_once('/') else {
        let help = match parse_size(text) {
            Ok(_) => format!("write \"{text}/s\""),
            Err(_) => RATE_HELP.into(),
        };
        return Err(UnitError { problem: format!("`{text}` does not say per what time"), help });
    };
    if per != "s" {
        return Err(UnitError { problem: format!("`{text}` is not per second"), help: RATE_HELP.into() });
    }
    let size = parse_size(size).map_err(|error| UnitError { help: RATE_HELP.into(), ..error })?;
    Ok(Rate { bytes_per_second: size.bytes() })
}

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that divides it.
#[must_use]
pub fn display_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|&(_, size)| milliseconds > 0 && milliseconds.is_multiple_of(size)) {
        Some((unit, size)) => format!("{}{unit}", milliseconds / size),
        None => format!("{milliseconds}ms"),
    }
}

const DURATION_HELP: &str = "a duration is a whole number and a unit, such as \"250ms\", \"5s\", \"1m\" or \"1h\"";
const SIZE_HELP: &str = "a size is a whole number and a unit, such as \"512B\", \"8KiB\", \"10MiB\" or \"1GB\"";
const RATE_HELP: &str = "a rate is a size per second, such as \"100B/s\" or \"1KiB/s\"";

const DURATION_UNITS: [&str; 4] = ["ms", "s", "m", "h"];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Splits `"250ms"` into its number and its unit.
fn split<'t>(what: &str, help: &str, units: &[&str], text: &'t str) -> Result<(u64, &'t str), UnitError> {
    let error = |problem: String, help: String| Err(UnitError { problem, help });
    if text.is_empty() {
        return error(format!("an empty string is not a {what}"), help.into());
    }
    if text.contains(|c: char| c.is_whitespace()) {
        let closed: String = text.split_whitespace().collect();
        let (number, unit) = closed.split_at(closed.bytes().take_while(u8::is_ascii_digit).count());
        let help = match meant(unit, units).filter(|_| !number.is_empty()) {
            Some(meant) => format!("write \"{number}{meant}\""),
            None => help.to_owned(),
        };
        return error(format!("`{text}` has a space in it"), help);
    }
    if text.starts_with('-') {
        return error(format!("`{text}` is negative"), help.into());
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return error(format!("`{text}` is not a {what}"), help.into());
    }
    if unit.starts_with(['.', ',', '_']) {
        return error(format!("`{text}` is not a whole number"), format!("{help}; for a fraction take a smaller unit"));
    }
    if unit.contains(|c: char| c.is_ascii_digit()) {
        return error(format!("`{text}` has more than one number"), help.into());
    }
    match number.parse() {
        Ok(number) => Ok((number, unit)),
        Err(_) => Err(too_large(text)),
    }
}

fn too_large(text: &str) -> UnitError {
    UnitError { problem: format!("`{text}` is too large"), help: "the number must fit 64 bits".into() }
}

fn missing_unit(text: &str, help: String) -> UnitError {
    UnitError { problem: format!("`{text}` has no unit"), help }
}

fn unknown_unit(text: &str, unit: &str, units: &[&str], help: &str) -> UnitError {
    let number = &text[..text.len() - unit.len()];
    let help = match meant(unit, units) {
        Some(meant) => format!("did you mean \"{number}{meant}\"? {help}"),
        None => help.into(),
    };
    UnitError { problem: format!("`{text}` has an unknown unit `{unit}`"), help }
}

/// The one of `units` that `unit` was probably meant for: "sec", "minutes", "mib" and "M" are what people type.
fn meant<'u>(unit: &str, units: &[&'u str]) -> Option<&'u str> {
    let find = |is_meant: &dyn Fn(&str) -> bool| units.iter().copied().find(|known| is_meant(known));
    let lower = unit.to_ascii_lowercase();
    let word = WORDS.iter().find(|(_, words)| words.contains(&lower.as_str())).map(|(meant, _)| *meant);
    // Others begin like the unit that is meant, but for its case.
    let initial = unit.chars().next().map_or("", |first| &unit[..first.len_utf8()]);
    let begins = |known: &str| known[..1].eq_ignore_ascii_case(initial) && (known.len() > 1 || unit.len() > 1);
    find(&|known| known == unit)
        .or_else(|| find(&|known| known.eq_ignore_ascii_case(unit)))
        .or_else(|| find(&|known| word == Some(known)))
        .or_else(|| find(&begins))
}

/// What units are called where there is more room.
const WORDS: [(&str, &[&str]); 13] = [
    ("ms", &["msec", "msecs", "millis", "millisecond", "milliseconds"]),
    ("s", &["sec", "secs", "second", "seconds"]),
    ("m", &["min", "mins", "minute", "minutes"]),
    ("h", &["hr", "hrs", "hour", "hours"]),
    ("B", &["byte", "bytes"]),
    ("KB", &["kilobyte", "kilobytes"]),
    ("MB", &["megabyte", "megabytes"]),
    ("GB", &["gigabyte", "gigabytes"]),
    ("TB", &["terabyte", "terabytes"]),
    ("KiB", &["ki", "kibibyte", "kibibytes"]),
    ("MiB", &["mi", "mebibyte", "mebibytes"]),
    ("GiB", &["gi", "gibibyte", "gibibytes"]),
    ("TiB", &["ti", "tebibyte", "tebibytes"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("0s", 0), ("250ms", 250), ("5s", 5_000), ("1m", 60_000), ("8760h", 31_536_000_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("0B", 0), ("512B", 512), ("8KiB", 8192), ("10MiB", 10 << 20), ("1GB", 1_000_000_000)]
        {
            assert_eq!(parse_size(text), Ok(Size(bytes)), "{text}");
        }
        assert_eq!(parse_size("18446744073709551615B"), Ok(Size(u64::MAX)));
    }

    #[test]
    fn rates() {
        for (text, bytes_per_second) in [("0", 0), ("0B/s", 0), ("100B/s", 100), ("1KiB/s", 1024)] {
            assert_eq!(parse_rate(text), Ok(Rate { bytes_per_second }), "{text}");
        }
    }

    #[test]
    fn units_in_words_are_understood_well_enough_to_say_what_to_write() {
        for (text, meant) in [
            ("5 seconds", "5s"),
            ("5 sec", "5s"),
            ("5secs", "5s"),
            ("10 minutes", "10m"),
            ("10min", "10m"),
            ("1 hour", "1h"),
            ("500 milliseconds", "500ms"),
            ("5 M", "5m"),
        ] {
            let help = parse_duration(text).unwrap_err().help;
            assert!(help.contains(&format!("\"{meant}\"")), "{text}: {help}");
        }
        for (text, meant) in [
            ("10 MB", "10MB"),
            ("10 megabytes", "10MB"),
            ("10 mebibytes", "10MiB"),
            ("10 Mi", "10MiB"),
            ("4 kib", "4KiB"),
            ("512 bytes", "512B"),
        ] {
            let help = parse_size(text).unwrap_err().help;
            assert!(help.contains(&format!("write \"{meant}\"")), "{text}: {help}");
        }
        for text in ["5 parsecs", " ", "five seconds"] {
            assert_eq!(parse_duration(text).unwrap_err().help, DURATION_HELP, "{text}");
        }
    }

    #[test]
    fn errors_say_what_was_read_and_what_to_write() {
        let duration = |text| parse_duration(text).unwrap_err().to_string();
        let size = |text| parse_size(text).unwrap_err().to_string();
        let rate = |text| parse_rate(text).unwrap_err().to_string();
        let table = [
            (duration(""), format!("an empty string is not a duration; {DURATION_HELP}")),
            (duration("soon"), format!("`soon` is not a duration; {DURATION_HELP}")),
            (duration("-5s"), format!("`-5s` is negative; {DURATION_HELP}")),
            (duration("5 s"), "`5 s` has a space in it; write \"5s\"".into()),
            (duration("30"), "`30` has no unit; write \"30s\" for seconds or \"30ms\" for milliseconds".into()),
            (
                duration("1.5s"),
                format!("`1.5s` is not a whole number; {DURATION_HELP}; for a fraction take a smaller unit"),
            ),
            (duration("1m30s"), format!("`1m30s` has more than one number; {DURATION_HELP}")),
            (duration("5sec"), format!("`5sec` has an unknown unit `sec`; did you mean \"5s\"? {DURATION_HELP}")),
            (duration("5S"), format!("`5S` has an unknown unit `S`; did you mean \"5s\"? {DURATION_HELP}")),
            (duration("2d"), format!("`2d` has an unknown unit `d`; {DURATION_HELP}")),
            (duration("9000h"), "`9000h` is too long a time; the longest duration is a year, \"8760h\"".into()),
            (
                duration("99999999999999999999s"),
                "`99999999999999999999s` is too large; the number must fit 64 bits".into(),
            ),
            (size("1024"), "`1024` has no unit; write \"1024B\" for bytes or \"1024KiB\" for kibibytes".into()),
            (size("10mib"), format!("`10mib` has an unknown unit `mib`; did you mean \"10MiB\"? {SIZE_HELP}")),
            (size("10M"), format!("`10M` has an unknown unit `M`; did you mean \"10MB\"? {SIZE_HELP}")),
            (size("1é"), format!("`1é` has an unknown unit `é`; {SIZE_HELP}")),
            (size("20000000TiB"), "`20000000TiB` is too large; the number must fit 64 bits".into()),
            (rate("100B"), "`100B` does not say per what time; write \"100B/s\"".into()),
            (rate("fast"), format!("`fast` does not say per what time; {RATE_HELP}")),
            (rate("6KB/m"), format!("`6KB/m` is not per second; {RATE_HELP}")),
            (rate("100/s"), format!("`100` has no unit; {RATE_HELP}")),
        ];
        for (is, expected) in table {
            assert_eq!(is, expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(bytes: u64, seconds in 0..=LONGEST.as_secs(), milliseconds in 0..100_000u64) {
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
            let rate = Rate { bytes_per_second: bytes };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            for duration in [Duration::from_secs(seconds), Duration::from_millis(milliseconds)] {
                prop_assert_eq!(parse_duration(&display_duration(duration)), Ok(duration));
            }
        }

        #[test]
        fn any_text_is_a_value_or_an_error(text in "\\PC*") {
            let _ = (parse_duration(&text), parse_size(&text), parse_rate(&text));
        }
    }
}
