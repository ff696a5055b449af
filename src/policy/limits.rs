//! What one route admits: how large a request body may be.
//!
//! ```toml
//! [defaults]
//! limits = { body = "10MiB" }      # for every route; this is also what holds without it
//!
//! [routes.uploads]
//! path = "/uploads/*"
//! service = "files"
//! limits = { body = "5GB" }        # or `body = false` for no limit, or `limits = false` for none at all
//! ```
//!
//! A larger body is refused with 413: at once where its length is announced, else when the bytes that arrived pass the
//! limit. Nothing is buffered for the counting.

use crate::base::units::{Setting, Size};

/// The largest body where nothing else is written.
pub const DEFAULT_BODY: Size = Size::mib(10);

/// What the user wrote in one `limits` table. `None` is a key that is not there, and is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The largest request body.
    pub body: Option<Setting<Size>>,
}

/// The limits of one route, as they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body in bytes; `u64::MAX` for no limit.
    pub body: u64,
}

impl Limits {
    /// Resolves what a route wrote against what `[defaults]` wrote, key by key. `Setting::Off` is `limits = false`.
    #[must_use]
    pub fn compile(route: Option<&Setting<LimitsConfig>>, defaults: Option<&Setting<LimitsConfig>>) -> Self {
        let written = |scope: Option<&Setting<LimitsConfig>>| match scope {
            Some(Setting::On(limits)) => limits.body,
            Some(Setting::Off) => Some(Setting::Off),
            None => None,
        };
        let body = written(route).or_else(|| written(defaults)).unwrap_or(Setting::On(DEFAULT_BODY));
        Self { body: body.value().map_or(u64::MAX, Size::bytes) }
    }

    /// Whether a body of `length` bytes, announced or counted so far, is within the limit.
    #[must_use]
    pub const fn admits_body(&self, length: u64) -> bool {
        length <= self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_scope_wins_and_what_is_not_written_is_inherited() {
        let of = |body: Option<Setting<Size>>| Setting::On(LimitsConfig { body });
        let size = |bytes| of(Some(Setting::On(Size(bytes))));
        let (none, off) = (of(None), of(Some(Setting::Off)));
        for (route, defaults, expected) in [
            (None, None, DEFAULT_BODY.bytes()),
            (Some(&none), Some(&none), DEFAULT_BODY.bytes()),
            (None, Some(&size(5)), 5),
            (Some(&none), Some(&size(5)), 5),
            (Some(&size(7)), Some(&size(5)), 7),
            (Some(&size(0)), None, 0),
            (Some(&off), Some(&size(5)), u64::MAX),
            (Some(&Setting::Off), Some(&size(5)), u64::MAX),
            (None, Some(&Setting::Off), u64::MAX),
            (Some(&size(7)), Some(&Setting::Off), 7),
        ] {
            assert_eq!(Limits::compile(route, defaults).body, expected, "{route:?} in {defaults:?}");
        }
    }

    #[test]
    fn the_limit_itself_is_admitted() {
        let limits = Limits { body: 10 };
        assert!(limits.admits_body(10) && !limits.admits_body(11));
        assert!(Limits { body: u64::MAX }.admits_body(u64::MAX));
    }
}
