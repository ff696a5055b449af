//! One value of the file, as a type of ours.

use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::DeValue;

use crate::base::units::{Rate, Setting, Size, UnitError, parse_duration, parse_rate, parse_size};

/// A value with its place.
pub type Value<'t> = Spanned<DeValue<'t>>;

/// Why a value is not of a type. The key and the place are added by who knows them.
#[derive(Debug)]
pub enum Wrong {
    /// It is of another TOML type, where this is expected.
    Type(String),
    /// It is of the right TOML type, but has this problem; and what to do about it.
    Content {
        /// What is wrong, as the end of a sentence that names the key.
        problem: String,
        /// What to write instead.
        help: String,
    },
    /// It is a duration of zero, as it was written.
    NoTime(String),
}

impl Wrong {
    /// [`Wrong::Content`].
    pub fn content(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Content { problem: problem.into(), help: help.into() }
    }

    /// The same, where `false` would have been right too.
    fn or_false(self) -> Self {
        match self {
            Self::Type(expected) => Self::Type(format!("{expected}, or `false` to switch it off")),
            Self::NoTime(text) => {
                Self::content(format!("`{text}` is no time at all"), "to switch it off, write `false`")
            }
            content @ Self::Content { .. } => content,
        }
    }
}

impl From<UnitError> for Wrong {
    fn from(error: UnitError) -> Self {
        Self::Content { problem: error.problem, help: error.help }
    }
}

/// A type that can be read from one value.
pub trait FromValue: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// Why the value is not of this type.
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong>;
}

impl FromValue for String {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        own_text(value, "a string")
    }
}

impl FromValue for bool {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(Wrong::Type("`true` or `false`".into())),
        }
    }
}

impl FromValue for usize {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return Err(Wrong::Type("a whole number".into()));
        };
        // toml keeps integers of any length, without their underscores.
        let parsed = Self::from_str_radix(integer.as_str(), integer.radix());
        parsed.map_err(|_| match integer.as_str().starts_with('-') {
            true => Wrong::content(format!("`{integer}` is negative"), "write a whole number from 0"),
            false => Wrong::content(format!("`{integer}` is too large"), "write a smaller number"),
        })
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let number = usize::from_value(value)?;
        Self::try_from(number).map_err(|_| Wrong::content(format!("`{number}` is too large"), "write a smaller number"))
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let expected = "a number such as 0.5";
        let text = match value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            _ => return Err(Wrong::Type(expected.into())),
        };
        let number: Option<Self> = text.parse().ok().filter(|number: &Self| number.is_finite());
        number.ok_or_else(|| Wrong::content(format!("`{text}` is not {expected}"), format!("write {expected}")))
    }
}

impl FromValue for Duration {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = quantity(value, "a duration such as \"250ms\", \"5s\" or \"1m\"")?;
        let duration = parse_duration(text)?;
        if duration.is_zero() {
            return Err(Wrong::NoTime(text.into()));
        }
        Ok(duration)
    }
}

impl FromValue for Size {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        Ok(parse_size(quantity(value, "a size such as \"8KiB\" or \"10MiB\"")?)?)
    }
}

impl FromValue for Rate {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        Ok(parse_rate(quantity(value, "a rate such as \"100B/s\"")?)?)
    }
}

impl<T: FromValue> FromValue for Setting<T> {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        match value.get_ref() {
            DeValue::Boolean(false) => Ok(Self::Off),
            _ => T::from_value(value).map(Self::On).map_err(Wrong::or_false),
        }
    }
}

impl<T: FromValue> FromValue for Spanned<T> {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        Ok(Self::new(value.span(), T::from_value(value)?))
    }
}

/// What stands for a dollar sign in the strings of a tree, where it would otherwise be taken for the beginning of a name:
/// in front of a brace or of another dollar sign. `$$` and what is put in for `${...}` make some. It is a noncharacter,
/// of those that Unicode leaves to the inside of programs, and none comes from a file.
pub const DOLLAR: char = '\u{fdd0}';

/// The text of a string in which names such as `${client.ip}` may stand, and [`DOLLAR`] for dollars; `expected` is what
/// else to say that it is.
pub fn raw_text<'v>(value: &'v Value<'_>, expected: &str) -> Result<&'v str, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => Err(Wrong::Type(expected.into())),
    }
}

/// The text of a string; `expected` is what else to say that it is.
pub fn own_text(value: &Value<'_>, expected: &str) -> Result<String, Wrong> {
    let text = raw_text(value, expected)?;
    no_names(text)?;
    Ok(text.replace(DOLLAR, "$"))
}

/// The text of a string that is an address, a number with a unit, a word of ours or the like, which has nothing like
/// `${` in it; `expected` is what else to say that it is.
pub fn text<'v>(value: &'v Value<'_>, expected: &str) -> Result<&'v str, Wrong> {
    let text = raw_text(value, expected)?;
    no_names(text)?;
    if text.contains(DOLLAR) {
        let problem = format!("`{}` has a `$` where none can be", text.replace(DOLLAR, "$"));
        return Err(Wrong::content(problem, format!("write {expected}")));
    }
    Ok(text)
}

/// Refuses names of what is only known of a request.
fn no_names(text: &str) -> Result<(), Wrong> {
    let Some(start) = text.find("${") else { return Ok(()) };
    let name = text[start..].split_inclusive('}').next().unwrap_or_default();
    let inside = name.trim_start_matches("${").trim_end_matches('}');
    if inside.contains('.') || matches!(inside, "service" | "route") {
        let problem = format!("`{name}` is known of a request, and this value is the same for all");
        return Err(Wrong::content(problem, "write the value itself, or `$$` for a dollar sign"));
    }
    let help = format!("variables are in upper case, such as `${{{}}}`", inside.to_ascii_uppercase());
    Err(Wrong::content(format!("there is no `{name}`"), help))
}

/// The text of a number with a unit. A bare number is taken as it is written, so that the error can say which unit to
/// add.
fn quantity<'v>(value: &'v Value<'_>, expected: &str) -> Result<&'v str, Wrong> {
    match value.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str()),
        DeValue::Float(number) => Ok(number.as_str()),
        _ => text(value, expected),
    }
}

/// The type of a value, as people say it.
pub fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
