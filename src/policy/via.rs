//! Who has forwarded a message: the Via field.
//!
//! ```toml
//! [gateway]
//! via = "tidegate"      # the name in `Via: 1.1 tidegate`; false for none
//! ```
//!
//! A line is added to each request and each response, with the version of HTTP in which the message was received
//! (RFC 9110 section 7.6.3). Lines that are there already stay as they are.

use crate::base::decode::{FromValue, Value, Wrong, text};
use crate::base::units::Setting;
use crate::http::fields::{FieldName, FieldValue, OwnedValue};
use crate::http::message::Version;

/// The field's name.
pub const NAME: FieldName<'static> = FieldName::literal("Via");

/// What the user wrote as `via`: the name under which the gateway is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViaConfig(pub String);

impl Default for ViaConfig {
    fn default() -> Self {
        Self("tidegate".into())
    }
}

/// The most bytes of a name.
const NAME_MAX: usize = 64;

impl FromValue for ViaConfig {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "a name such as \"tidegate\"")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.into()));
        }
        let problem = format!("`{text}` cannot be a name in Via");
        Err(Wrong::content(problem, "write 1 to 64 letters, digits and any of `-._:`, such as \"tidegate\""))
    }
}

/// The line's value, as it is added to messages that were received in either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    http10: OwnedValue,
    http11: OwnedValue,
}

impl Via {
    /// What runs of what was written; `None` for no Via.
    #[must_use]
    pub fn compile(config: &Setting<ViaConfig>) -> Option<Self> {
        let Setting::On(ViaConfig(name)) = config else { return None };
        let value = |version: &str| OwnedValue::new(&format!("{version} {name}"));
        Some(Self { http10: value("1.0")?, http11: value("1.1")? })
    }

    /// The value for a message that was received in `version`.
    #[must_use]
    pub fn value(&self, version: Version) -> FieldValue<'_> {
        match version {
            Version::Http10 => self.http10.get(),
            Version::Http11 => self.http11.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_message() {
        let via = Via::compile(&Setting::On(ViaConfig("gw-1.example:80".into()))).unwrap();
        assert_eq!(via.value(Version::Http10).as_bytes(), b"1.0 gw-1.example:80");
        assert_eq!(via.value(Version::Http11).as_bytes(), b"1.1 gw-1.example:80");
        assert_eq!(Via::compile(&Setting::Off), None);
    }
}
