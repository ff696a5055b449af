//! The id of a request: whose it is, and in which field it stands.
//!
//! ```toml
//! [gateway]
//! request_id = { header = "X-Request-Id", accept = "trusted" }
//! ```
//!
//! The service, the client, refusals and the log get the same id in this field. `accept` says whose id is kept where a
//! request comes with one: that of a proxy in `trusted_proxies` ("trusted"), anybody's ("always") or nobody's ("never").
//! An id is kept if it is of 1 to 128 letters, digits and any of `-._~+/=:@`; else a new one is made, a UUID of
//! version 7. A response's own field of this name is replaced.

use crate::base::decode::{FromValue, Section, Value, Wrong, text};
use crate::base::request_id::RequestId;
use crate::http::fields::{FieldName, Known, KnownSet, OwnedName};
use crate::http::h1::parse::RequestHead;

/// What the user wrote as `request_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestIdConfig {
    /// `header`: the field that the id stands in.
    pub header: HeaderName,
    /// `accept`: whose id is kept.
    pub accept: Accept,
}

/// The name of the field that the id stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(OwnedName);

impl Default for HeaderName {
    fn default() -> Self {
        Self(OwnedName::new("X-Request-Id").expect("it is a name"))
    }
}

impl HeaderName {
    /// The name, if it is that of a field which means nothing else.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let free = matches!(Known::classify(text.as_bytes()), Known::Other | Known::XRequestId);
        OwnedName::new(text).filter(|_| free).map(Self)
    }
}

/// Whose id is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// `"trusted"`: that of a trusted proxy.
    #[default]
    Trusted,
    /// `"always"`: anybody's.
    Always,
    /// `"never"`: nobody's.
    Never,
}

impl RequestIdConfig {
    /// Reads the table.
    pub fn read(mut section: Section<'_, '_>) -> Self {
        let mut config = Self::default();
        section.read("header", &mut config.header);
        section.read("accept", &mut config.accept);
        section.finish(&[]);
        config
    }
}

impl FromValue for HeaderName {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = text(value, "the name of a field, such as \"X-Request-Id\"")?;
        Self::new(text).ok_or_else(|| {
            let problem = format!("`{text}` cannot be the name of this field");
            Wrong::content(problem, "write one such as \"X-Request-Id\" or \"X-Correlation-Id\"")
        })
    }
}

impl FromValue for Accept {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let expected = "\"trusted\", \"always\" or \"never\"";
        match text(value, expected)? {
            "trusted" => Ok(Self::Trusted),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Err(Wrong::content(format!("there is no `{other}`"), format!("write {expected}"))),
        }
    }
}

/// How requests get their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    name: OwnedName,
    known: Known,
    accept: Accept,
}

impl RequestIds {
    /// What runs of what was written.
    #[must_use]
    pub fn compile(config: &RequestIdConfig) -> Self {
        let HeaderName(name) = &config.header;
        Self { name: name.clone(), known: Known::classify(name.get().as_bytes()), accept: config.accept }
    }

    /// The id of a request that comes from a proxy that is `trusted` or not; a new one has this time of day.
    #[must_use]
    pub fn of(&self, head: &RequestHead, trusted: bool, unix_millis: u64) -> RequestId {
        let accepted = match self.accept {
            Accept::Trusted => trusted,
            Accept::Always => true,
            Accept::Never => false,
        };
        let kept = if accepted { self.find(head).and_then(RequestId::kept) } else { None };
        kept.unwrap_or_else(|| RequestId::new(unix_millis))
    }

    /// The value of the field, if it is there once: of two, nobody knows which one the log of the other side has.
    fn find<'h>(&self, head: &'h RequestHead) -> Option<&'h [u8]> {
        let mut lines = head.fields().filter(|field| {
            field.known == self.known
                && (self.known != Known::Other || field.name.eq_ignore_ascii_case(self.name.get().as_bytes()))
        });
        let first = lines.next()?;
        lines.next().is_none().then_some(first.value)
    }

    /// The field's name.
    #[must_use]
    pub fn name(&self) -> FieldName<'_> {
        self.name.get()
    }

    /// What is left out of heads, for our field takes its place: a known name, or another.
    #[must_use]
    pub fn dropped(&self) -> (KnownSet, Option<FieldName<'_>>) {
        match self.known {
            Known::Other => (KnownSet::EMPTY, Some(self.name())),
            known => (KnownSet::of(&[known]), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::parse::HeadLimits;

    fn id(header: &str, accept: Accept, lines: &str, trusted: bool) -> String {
        let ids = RequestIds::compile(&RequestIdConfig { header: HeaderName::new(header).unwrap(), accept });
        let mut head = RequestHead::default();
        head.parse(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes(), &HeadLimits::default()).unwrap();
        ids.of(&head, trusted, 1 << 40).as_str().to_owned()
    }

    #[test]
    fn whose_id_is_kept() {
        let line = "x-request-id: mine\r\n";
        for (accept, trusted, kept) in [
            (Accept::Trusted, true, true),
            (Accept::Trusted, false, false),
            (Accept::Always, false, true),
            (Accept::Never, true, false),
        ] {
            assert_eq!(id("X-Request-Id", accept, line, trusted) == "mine", kept, "{accept:?} {trusted}");
        }
        assert_eq!(id("X-Correlation-Id", Accept::Always, "X-Correlation-ID: a\r\nX-Request-Id: b\r\n", false), "a");
        for odd in ["", "x-request-id: a b\r\n", "x-request-id: a\r\nx-request-id: a\r\n", "x-request-id:\r\n"] {
            assert_eq!(id("X-Request-Id", Accept::Always, odd, true).len(), 36, "{odd}");
        }
    }
}
