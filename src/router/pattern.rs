//! The paths that a route takes: what its `path` means.
//!
//! ```toml
//! path = "/users"             # exactly this path
//! path = "/users/*"           # this path and all below it, on the borders of segments
//! path = "/users/{id}"        # a capture is one whole segment, not empty
//! path = "/users/{id}/*"      # both
//! path = "~ ^/v[0-9]+/"       # a regular expression, anchored only as it is written
//! ```
//!
//! What is written must be in the normal form in which requests are compared ([`normalize`]), or no request would
//! match; the error shows the normal form.

use serde_spanned::Spanned;

use super::expression::Expression;
use super::path::{Slashes, normalize};
use crate::base::decode::Diagnostic;

/// The paths of one route.
#[derive(Debug)]
pub(super) enum Pattern {
    Segments(Segments),
    Expression(Expression),
}

/// A path, segment by segment.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub(super) list: Vec<Segment>,
    /// It ends in `/*`: all below it belongs to it.
    pub(super) open: bool,
}

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    /// `{name}`
    Capture(String),
}

impl Pattern {
    /// Every path.
    pub(super) fn any() -> Self {
        Self::Segments(Segments { list: Vec::new(), open: true })
    }

    /// Reads the path of a route; an expression gets a copy for each of so many workers.
    pub(super) fn parse(path: &Spanned<String>, slashes: Slashes, workers: usize) -> Result<Self, Box<Diagnostic>> {
        let text = path.get_ref().as_str();
        let fault = |(message, label, help): Fault| Box::new(Diagnostic::new(path.span(), message, label).help(help));
        match text.strip_prefix('~') {
            Some(expression) => self::expression("path", expression, workers).map(Self::Expression).map_err(fault),
            None => segments(text, slashes).map(Self::Segments).map_err(fault),
        }
    }

    /// The names of the captures, in the order in which they stand.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Expression(expression) => expression.names().collect(),
            Self::Segments(segments) => segments.captures().map(|(_, name)| name).collect(),
        }
    }
}

impl Segments {
    /// The place among the segments and the name of each capture.
    pub(super) fn captures(&self) -> impl Iterator<Item = (u32, &str)> {
        self.list.iter().zip(0..).filter_map(|(segment, place)| match segment {
            Segment::Capture(name) => Some((place, name.as_str())),
            Segment::Literal(_) => None,
        })
    }

    /// Whether every path of this pattern lies under `prefix`, which begins with a slash.
    pub(super) fn is_under(&self, prefix: &str) -> bool {
        let mut list = self.list.iter();
        prefix.split('/').skip(1).all(|part| list.next().is_some_and(|first| *first == Segment::Literal(part.into())))
    }
}

/// What is wrong, what to write under the caret, and what to write instead.
pub(super) type Fault = (String, &'static str, String);

/// Reads the expression behind a `~` that stands in `key`.
pub(super) fn expression(key: &str, text: &str, workers: usize) -> Result<Expression, Fault> {
    let Some(expression) = text.strip_prefix(' ').map(str::trim_start).filter(|text| !text.is_empty()) else {
        let message = format!("`{key}` begins with `~`, but not with `~ ` and an expression");
        let help = match text.trim() {
            "" => "write a regular expression behind it, such as \"~ ^/v[0-9]+/\"".to_owned(),
            text => format!("for a regular expression write \"~ {text}\""),
        };
        return Err((message, "this value", help));
    };
    Expression::new(expression, workers).map_err(|problem| {
        let message = format!("the regular expression of `{key}` cannot be used: {problem}");
        (message, "this expression", "write it as in Rust's `regex`; single quotes keep backslashes as they are".into())
    })
}

/// Reads a path that is no expression.
fn segments(text: &str, slashes: Slashes) -> Result<Segments, Fault> {
    if !text.starts_with('/') {
        let message = format!("the path `{text}` does not begin with a slash");
        return Err((message, "the first character must be `/`", format!("write \"/{text}\"")));
    }
    let (path, star) = match text.strip_suffix("/*") {
        Some(prefix) => (prefix, "/*"),
        None => (text, ""),
    };
    if let Some(place) = path.find('*') {
        let last = place + 1 == path.len();
        let until = if last { place } else { path[..place].rfind('/').unwrap_or(0) };
        let message = format!("the path `{text}` has a `*` that does not stand for whole segments");
        let help = format!("a `*` can only be the last segment, such as \"{}/*\"", path[..until].trim_end_matches('/'));
        return Err((message, "this path", help));
    }
    // The prefix `/*` is the empty string here.
    if !path.is_empty() {
        normal(path, star, slashes)?;
    }
    let mut list: Vec<Segment> = Vec::new();
    for part in path.split('/').skip(1) {
        let segment = segment(text, part)?;
        if matches!(segment, Segment::Capture(_)) && list.contains(&segment) {
            let message = format!("the path `{text}` has the capture `{part}` twice");
            return Err((message, "this path", "give each capture a name of its own".into()));
        }
        list.push(segment);
    }
    Ok(Segments { list, open: !star.is_empty() })
}

/// Reads one segment of the path `text`.
fn segment(text: &str, part: &str) -> Result<Segment, Fault> {
    if !part.contains(['{', '}']) {
        return Ok(Segment::Literal(part.into()));
    }
    let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        let message = format!("the path `{text}` has a capture that is a part of a segment, `{part}`");
        let help = "a capture is a whole segment, such as \"/users/{id}\"; for parts of one, write a regular expression \
                    with a named group, such as \"~ ^/users/u-(?<id>[^/]+)$\"";
        return Err((message, "this path", help.into()));
    };
    if is_name(name) {
        return Ok(Segment::Capture(name.into()));
    }
    let message = format!("`{part}` in the path `{text}` is not a capture");
    let help = match name.strip_suffix('*') {
        Some(_) => "for all that follows, end the path with \"/*\"",
        None => "the name of a capture is letters, digits and `_`, and begins with a letter: \"/users/{id}\"",
    };
    Err((message, "this path", help.into()))
}

/// Whether `name` can be the name of a capture.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Refuses a path that is not in the normal form that requests are matched in. `star` is what was written after it.
/// Captures stand in it as they are written, for no request has braces in its path.
pub(super) fn normal(path: &str, star: &str, slashes: Slashes) -> Result<(), Fault> {
    if let Some(odd) = path.chars().find(|c| matches!(c, '?' | '#')) {
        let help = format!("leave out what begins with `{odd}`");
        return Err((format!("a path has no `{odd}`"), "only the path stands here", help));
    }
    if path.chars().any(|c| !c.is_ascii_graphic()) {
        let message = format!("the path `{path}{star}` has characters that a request cannot have");
        let help = format!("write them as percent escapes: \"{}{star}\"", escape(path));
        return Err((message, "this path", help));
    }
    let mut buffer = Vec::new();
    match normalize(path.as_bytes(), slashes, &mut buffer) {
        Ok(normal) if normal == path.as_bytes() => Ok(()),
        Ok(normal) => {
            let message = format!("the path `{path}{star}` is not in its normal form");
            let help = format!("write \"{}{star}\", as which requests are compared", String::from_utf8_lossy(normal));
            Err((message, "no request would match this", help))
        }
        Err(error) => {
            let message = format!("{} `{path}{star}`", error.detail().trim_end_matches('.').to_owned() + ":");
            Err((message, "requests for it are refused", "write the path of requests that can arrive".into()))
        }
    }
}

/// `text` with percent escapes for all that cannot stand in a path.
fn escape(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        _ if byte.is_ascii_graphic() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pattern, Box<Diagnostic>> {
        Pattern::parse(&Spanned::new(0..0, text.into()), Slashes::Kept, 1)
    }

    #[test]
    fn segments_captures_and_stars() {
        let literal = |text: &str| Segment::Literal(text.into());
        let capture = |text: &str| Segment::Capture(text.into());
        for (text, list, open) in [
            ("/", vec![literal("")], false),
            ("/*", vec![], true),
            ("/a", vec![literal("a")], false),
            ("/a/", vec![literal("a"), literal("")], false),
            ("/a//*", vec![literal("a"), literal("")], true),
            ("/a/{id}", vec![literal("a"), capture("id")], false),
            ("/{a}/{b_2}/*", vec![capture("a"), capture("b_2")], true),
        ] {
            let Ok(Pattern::Segments(segments)) = parse(text) else { panic!("{text}") };
            assert_eq!((segments.list, segments.open), (list, open), "{text}");
        }
        assert_eq!(parse("/{a}/x/{b}").unwrap().names(), ["a", "b"]);
        assert_eq!(parse("~ ^/(?<a>.)/(.)/(?<b>.)").unwrap().names(), ["a", "b"]);
    }

    #[test]
    fn what_is_under_a_prefix() {
        for (text, prefix, expected) in [
            ("/api/users/*", "/api", true),
            ("/api/users/*", "/api/users", true),
            ("/api/users/*", "/api/users/x", false),
            ("/api/users/*", "/ap", false),
            ("/api", "/api", true),
            ("/api/{id}", "/api", true),
            ("/api/{id}", "/api/{id}", false),
            ("/*", "/api", false),
        ] {
            let Ok(Pattern::Segments(segments)) = parse(text) else { panic!("{text}") };
            assert_eq!(segments.is_under(prefix), expected, "{text} {prefix}");
        }
    }

    #[test]
    fn what_is_no_path() {
        for (text, expected) in [
            ("a", "does not begin with a slash"),
            ("~a", "not with `~ `"),
            ("~ ", "not with `~ `"),
            ("~ (", "unclosed group"),
            ("/a-{id}", "a part of a segment"),
            ("/{id", "a part of a segment"),
            ("/id}", "a part of a segment"),
            ("/{}", "is not a capture"),
            ("/{rest*}", "does not stand for whole segments"),
            ("/{1a}", "is not a capture"),
            ("/{a}/{a}", "twice"),
            ("/{a}/../b", "not in its normal form"),
            ("/a*", "does not stand for whole segments"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(expected), "{text}: {}", error.message);
        }
    }
}
