//! Regular expressions, as routes use them: on bytes, in bounded memory, and without a lock.
//!
//! ```toml
//! path = "~ ^/v[0-9]+/users/(?<id>[^/]+)$"   # anchored only where it says so; named groups are captures
//! ```
//!
//! Matching takes time in proportion to the text, whatever the expression. Bytes are compared as ASCII (`\w` is
//! `[0-9A-Za-z_]`), for a path in normal form has no others. Each worker searches with a copy of its own: the scratch
//! memory behind an expression is handed to one thread without a lock, and to others through one.

use std::fmt;

use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_automata::util::primitives::{NonMaxUsize, PatternID};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, Look};

/// The largest compiled form of one expression, in bytes.
const PROGRAM_MAX: usize = 256 * 1024;

/// What one worker remembers of its searches with one expression, in bytes.
const CACHE_MAX: usize = 256 * 1024;

/// More alternatives than this are left to the search itself.
const PREFIXES_MAX: usize = 16;

/// A compiled regular expression.
pub(super) struct Expression {
    text: Box<str>,
    /// One for each worker.
    copies: Box<[Regex]>,
    /// The named groups: name and number.
    groups: Box<[(Box<str>, usize)]>,
    /// What every text that matches begins with: one of these. `None` where that cannot be said.
    prefixes: Option<Box<[Box<[u8]>]>>,
    anchored: bool,
}

/// The places of groups while they are searched for.
pub(super) type Slots = Vec<Option<NonMaxUsize>>;

impl Expression {
    /// Compiles an expression, with a copy for each of so many workers.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(super) fn new(text: &str, workers: usize) -> Result<Self, String> {
        let hir = parse(text)?;
        let config = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(PROGRAM_MAX))
            .onepass_size_limit(Some(PROGRAM_MAX))
            .hybrid_cache_capacity(CACHE_MAX);
        let regex =
            Regex::builder().configure(config).build_from_hir(&hir).map_err(|error| match error.size_limit() {
                Some(_) => "it is too large".to_owned(),
                None => error.to_string(),
            })?;
        let names = regex.group_info().pattern_names(PatternID::ZERO).enumerate();
        let groups = names.filter_map(|(group, name)| Some((name?.into(), group))).collect();
        let copies = (0..workers.max(1)).map(|_| regex.clone()).collect();
        let (prefixes, anchored) = (prefixes(&hir), is_anchored(&hir));
        Ok(Self { text: text.into(), copies, groups, prefixes, anchored })
    }

    /// The expression as it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it can only match at the beginning of a text.
    pub(super) fn is_anchored(&self) -> bool {
        self.anchored
    }

    /// What every text that matches begins with: one of these. `None` where that cannot be said.
    pub(super) fn prefixes(&self) -> Option<&[Box<[u8]>]> {
        self.prefixes.as_deref()
    }

    /// Whether `text` matches. `worker` is the one who asks.
    #[must_use]
    pub(super) fn is_match(&self, text: &[u8], worker: usize) -> bool {
        let may = |prefixes: &[Box<[u8]>]| prefixes.iter().any(|prefix| text.starts_with(prefix));
        self.prefixes.as_deref().is_none_or(may) && self.copy(worker).is_match(Input::new(text))
    }

    /// The names of the groups that have one.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(name, _)| &**name)
    }

    /// Writes where the named groups are in `text` into `spans`; a group that took no part is empty.
    pub(super) fn capture(&self, text: &[u8], worker: usize, slots: &mut Slots, spans: &mut Vec<(u32, u32)>) {
        let regex = self.copy(worker);
        slots.clear();
        slots.resize(regex.group_info().slot_len(), None);
        let found = regex.search_slots(&Input::new(text), slots);
        debug_assert!(found.is_some(), "captures are asked for of what matches");
        let place = |slot: usize| slots.get(slot).copied().flatten().map_or(0, |offset| offset.get() as u32);
        spans.extend(self.groups.iter().map(|&(_, group)| (place(2 * group), place(2 * group + 1))));
    }

    /// Whether no text matches both, as far as the beginnings tell.
    #[must_use]
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (&self.prefixes, &other.prefixes) else { return false };
        let differ = |a: &[u8], b: &[u8]| !a.starts_with(b) && !b.starts_with(a);
        ours.iter().all(|a| theirs.iter().all(|b| differ(a, b)))
    }

    fn copy(&self, worker: usize) -> &Regex {
        self.copies.get(worker).unwrap_or(&self.copies[0])
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~ {}", self.text)
    }
}

/// Reads an expression on bytes.
fn parse(text: &str) -> Result<Hir, String> {
    let mut builder = ParserBuilder::new();
    builder.unicode(false).utf8(false).nest_limit(64);
    builder.build().parse(text).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        error => error.to_string(),
    })
}

fn is_anchored(hir: &Hir) -> bool {
    hir.properties().look_set_prefix().contains(Look::Start)
}

/// What every match begins with, where the expression can only match at the beginning of the text.
fn prefixes(hir: &Hir) -> Option<Box<[Box<[u8]>]>> {
    if !is_anchored(hir) {
        return None;
    }
    let literals = Extractor::new().kind(ExtractKind::Prefix).limit_total(PREFIXES_MAX).extract(hir);
    Some(literals.literals()?.iter().map(|literal| literal.as_bytes().into()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(text: &str) -> Expression {
        Expression::new(text, 2).unwrap()
    }

    #[test]
    fn anchored_only_as_written() {
        for (text, path, expected) in [
            ("^/v[0-9]+/", "/v12/x", true),
            ("^/v[0-9]+/", "/a/v12/x", false),
            ("/v[0-9]+/", "/a/v12/x", true),
            ("^/a$", "/a/", false),
            ("(?i)^/A", "/a", true),
            ("^/(a|b)/", "/b/", true),
            ("^/(a|b)/", "/c/", false),
            ("", "/", true),
            ("^/%FF$", "/%FF", true),
        ] {
            for worker in [0, 1, 7] {
                assert_eq!(expression(text).is_match(path.as_bytes(), worker), expected, "{text} {path}");
            }
        }
        // Bytes that are no UTF-8, as header fields may have them.
        assert!(expression("^.$").is_match(b"\xff", 0));
    }

    #[test]
    fn beginnings_keep_apart() {
        for (a, b, apart) in [
            ("^/a/", "^/b/", true),
            ("^/a/", "^/a/b", false),
            ("^/(a|b)/", "^/(c|d)/", true),
            ("^/(a|b)/", "^/(b|c)/", false),
            ("^/a/x", "/b/", false),
            ("^/a|^/b", "^/c", true),
            ("^/a|/b", "^/c", false),
            ("(?m)^/a", "^/b", false),
            ("^/ab?", "^/ac", false),
            ("^/ab+", "^/ac", true),
            ("^/a{2}", "^/ab", true),
            ("^/[ab]", "^/[cd]", true),
            // Apart, but not by literal text.
            ("^/[a-z]", "^/[0-9]", false),
            ("(?i)^/a", "^/A", false),
            ("^/[^/]+/x", "^/a/y", false),
        ] {
            assert_eq!(expression(a).excludes(&expression(b)), apart, "{a} and {b}");
            assert_eq!(expression(b).excludes(&expression(a)), apart, "{b} and {a}");
        }
    }

    #[test]
    fn named_groups_are_captures() {
        let expression = expression("^/(x|y)/(?<id>[0-9]+)(/(?P<rest>.*))?$");
        assert_eq!(expression.names().collect::<Vec<_>>(), ["id", "rest"]);
        let (mut slots, mut spans) = (Slots::new(), Vec::new());
        expression.capture(b"/x/42/a/b", 0, &mut slots, &mut spans);
        assert_eq!(spans, [(3, 5), (6, 9)]);
        spans.clear();
        expression.capture(b"/y/7", 1, &mut slots, &mut spans);
        assert_eq!(spans, [(3, 4), (0, 0)]);
    }

    #[test]
    fn what_is_wrong() {
        for (text, expected) in [
            ("^/(a", "unclosed group"),
            ("^/[a", "unclosed character class"),
            ("*", "repetition operator missing expression"),
            ("(?<a>.)(?<a>.)", "duplicate capture group name"),
            ("a{1000}{1000}", "it is too large"),
        ] {
            let error = Expression::new(text, 1).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
