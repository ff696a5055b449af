//! A text that is never shown: a token, a key, a password.
//!
//! ```toml
//! [admin]
//! token = "${file:/run/secrets/admin_token}"
//! ```
//!
//! A configuration is written to logs, to views and into error messages; a secret in it comes out as `***` everywhere. Who
//! needs the text asks for it with [`Secret::expose`], which is easy to find in the code. Two secrets are compared in a
//! time that tells nothing of where they differ.

use std::collections::HashSet;
use std::fmt;
use std::hint::black_box;

use super::decode::{FromValue, Value, Wrong, own_text};

/// What stands for a secret wherever one would be shown.
pub const MASK: &str = "***";

/// What names of secrets have in them.
const PARTS: [&str; 15] = [
    "auth",
    "cookie",
    "credential",
    "hmac",
    "jwt",
    "key",
    "pass",
    "pwd",
    "secret",
    "session",
    "signature",
    "signing",
    "token",
    "bearer",
    "csrf",
];

/// Words that name a secret, but are also parts of words that do not.
const WORDS: [&str; 7] = ["creds", "dsn", "otp", "pw", "salt", "sid", "sig"];

/// Words that have one of [`PARTS`] in them by chance.
const HARMLESS: [&str; 8] =
    ["author", "authors", "authority", "bypass", "keyword", "keywords", "passive", "passthrough"];

/// Whether what has this name, be it a variable, a field or a key of a query, is likely to be a secret. Words are told
/// apart by what is neither a letter nor a digit; upper and lower case are the same.
#[must_use]
pub fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let is_part = !HARMLESS.contains(&word) && PARTS.iter().any(|part| word.contains(part));
        is_part || WORDS.contains(&word.trim_end_matches(|c: char| c.is_ascii_digit()))
    })
}

/// Texts that may be secrets, for those who show what they have been put into.
#[derive(Clone, Default)]
pub struct Hidden(HashSet<Box<str>>);

impl Hidden {
    /// The text as it may be shown: [`MASK`] for one of these, whatever the case of its letters.
    #[must_use]
    pub fn show<'t>(&self, text: &'t str) -> &'t str {
        if !self.0.is_empty() && self.0.contains(&*text.to_ascii_lowercase()) { MASK } else { text }
    }
}

impl FromIterator<String> for Hidden {
    fn from_iter<T: IntoIterator<Item = String>>(texts: T) -> Hidden {
        Hidden(texts.into_iter().map(|text| text.to_ascii_lowercase().into()).collect())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} texts", self.0.len())
    }
}

/// A secret text.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// A secret of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The text. Not to be logged, shown or put into an error.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `offered` is the secret. How long it takes depends on the length of `offered` alone. Nothing matches a
    /// secret without a text.
    #[must_use]
    pub fn matches(&self, offered: &[u8]) -> bool {
        let own = self.0.as_bytes();
        if own.is_empty() {
            return false;
        }
        let mut difference = u8::from(own.len() != offered.len());
        for (offered, own) in offered.iter().zip(own.iter().cycle()) {
            // The compiler must not end the loop at the first difference.
            difference = black_box(difference | (offered ^ own));
        }
        difference == 0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes()) || (self.0.is_empty() && other.0.is_empty())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl FromValue for Secret {
    fn from_value(value: &Value<'_>) -> Result<Self, Wrong> {
        let text = own_text(value, "a string, such as \"${file:/run/secrets/token}\"")?;
        if text.is_empty() {
            return Err(Wrong::content("a secret without a text protects nothing", "write one, or leave the key out"));
        }
        Ok(Self::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_spanned::Spanned;
    use toml::de::DeValue;

    fn read(text: &'static str) -> Result<Secret, Wrong> {
        Secret::from_value(&Spanned::new(0..0, DeValue::String(text.into())))
    }

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!((format!("{secret:?}"), secret.to_string()), ("***".into(), "***".into()));
        assert_eq!(format!("{:#?}", Some(&secret)), "Some(\n    ***,\n)");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(secret, Secret::new("hunter2"));
        assert_ne!(secret, Secret::new("hunter3"));
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let hidden: Hidden = ["/Hush-1/*".to_owned()].into_iter().collect();
        assert_eq!((hidden.show("/hush-1/*"), hidden.show("/Hush-1/*"), hidden.show("/hush")), (MASK, MASK, "/hush"));
        assert_eq!((Hidden::default().show("/hush-1/*"), format!("{hidden:?}").as_str()), ("/hush-1/*", "1 texts"));
    }

    #[test]
    fn which_names_are_of_secrets() {
        for name in [
            "Authorization",
            "Proxy-Authorization",
            "X-Auth",
            "X-Auth-Token",
            "BACKEND_AUTH",
            "oauth2",
            "Set-Cookie",
            "cookie",
            "X-Api-Key",
            "apikey",
            "API_KEY",
            "key",
            "KEYFILE",
            "DB_PASSWORD",
            "DB_PASSWD",
            "HEALTH_PASS",
            "backendPass",
            "ADMIN_PWD",
            "HMAC",
            "X-Signature",
            "X-Amz-Signature",
            "sig",
            "sig2",
            "X-Session",
            "sessionid",
            "sid",
            "CREDENTIALS",
            "DB_DSN",
            "client_secret",
            "id_token",
            "JWT",
        ] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in [
            "",
            "Accept",
            "path",
            "USERS_HOST",
            "X-Author",
            ":authority",
            "bypass",
            "keyword",
            "design",
            "side",
            "spinning",
            "X-Version",
            "q",
        ] {
            assert!(!sounds_secret(name), "{name}");
        }
    }

    #[test]
    fn a_value_is_a_text_that_is_not_empty() {
        assert_eq!(read("a").unwrap(), Secret::new("a"));
        let Err(Wrong::Content { problem, .. }) = read("") else { panic!("it was taken") };
        assert_eq!(problem, "a secret without a text protects nothing");
        let number = Secret::from_value(&Spanned::new(0..0, DeValue::Boolean(true)));
        assert!(matches!(number, Err(Wrong::Type(_))));
    }

    #[test]
    fn nothing_matches_an_empty_one() {
        assert!(!Secret::new("").matches(b"") && !Secret::new("").matches(b"a") && !Secret::new("a").matches(b""));
        assert_eq!(Secret::new(""), Secret::new(""));
    }

    proptest! {
        #[test]
        fn it_matches_what_is_equal_and_nothing_else(own in "[ab]{1,4}", offered in "[ab]{0,8}") {
            prop_assert_eq!(Secret::new(own.as_str()).matches(offered.as_bytes()), own == offered);
        }
    }
}
