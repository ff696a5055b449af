//! The path that is sent on.
//!
//! ```toml
//! path = "/api/users/{id}/*"
//! strip_prefix = "/api"              # /api/users/7/x is sent on as /users/7/x
//! rewrite = "/people/{id}/*"         # or: as /people/7/x; without the final /*, as /people/7
//! forward_path = "raw"               # or: as it was received, before anything was decoded or resolved
//! ```
//!
//! What is captured is inserted as it stands in the normal form, so still with its percent escapes: a `%2F` stays one,
//! and nothing can become a segment border. What a rewrite puts together of parts of segments is looked at again: where
//! it is no longer in normal form, as when an expression has captured half of an escape, the request is refused.
//!
//! `raw` is for services that need each byte as it was sent, such as for a signature. They must then be as careful as we
//! are: they get dot segments that we have resolved only to find the route.

use std::ops::Range;

use serde_spanned::Spanned;

use super::captures::Captures;
use super::config::{ForwardConfig, ForwardPath};
use super::path::{PathError, Slashes, is_plain, normalize};
use super::pattern::{self, Fault, Pattern};
use super::tree;
use crate::base::decode::{Diagnostic, closest};

/// What path a route sends on.
#[derive(Debug)]
pub(super) enum Forward {
    /// The path that was matched, without so many bytes at its front.
    Without(usize),
    /// As it was received.
    Raw,
    Rewrite(Rewrite),
}

/// A path to be written.
#[derive(Debug)]
pub(super) struct Rewrite {
    pieces: Box<[Piece]>,
    /// A capture may be a part of a segment, so what comes out is checked.
    checked: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    Capture(usize),
    /// What follows the first so many segments.
    Rest(u32),
}

impl Forward {
    /// Compiles what is written for a route that takes `pattern`, which is written at `path`.
    pub(super) fn compile(
        config: &ForwardConfig,
        pattern: &Pattern,
        path: Range<usize>,
        slashes: Slashes,
    ) -> Result<Self, Box<Diagnostic>> {
        let raw = config.forward_path.as_ref().filter(|form| *form.get_ref() == ForwardPath::Raw);
        let strip = config.strip_prefix.as_ref();
        match (strip, &config.rewrite, raw) {
            (Some(strip), Some(rewrite), _) => {
                let message = "`strip_prefix` and `rewrite` are both there, and each says which path is sent on";
                let fault = Diagnostic::new(rewrite.span(), message, "the one").related(strip.span(), "the other");
                Err(fault.help("leave one of them out; a rewrite can leave out a prefix as well").into())
            }
            (Some(changed), None, Some(raw)) | (None, Some(changed), Some(raw)) => {
                let key = if strip.is_some() { "strip_prefix" } else { "rewrite" };
                let message =
                    format!("`forward_path = \"raw\"` sends the path as it was received, and `{key}` changes it");
                let fault = Diagnostic::new(changed.span(), message, "this changes the path");
                Err(fault.related(raw.span(), "this leaves it as it is").help("leave one of them out").into())
            }
            (None, None, Some(_)) => Ok(Self::Raw),
            (Some(strip), None, None) => strip_prefix(strip, pattern, path).map(Self::Without),
            (None, Some(rewrite), None) => {
                let read = Rewrite::parse(rewrite.get_ref(), pattern, slashes);
                let fault = |(message, label, help): Fault| Diagnostic::new(rewrite.span(), message, label).help(help);
                read.map(Self::Rewrite).map_err(|wrong| Box::new(fault(wrong)))
            }
            (None, None, None) => Ok(Self::Without(0)),
        }
    }

    /// Appends the path to send on to `target`: for a `path` in normal form, of which `captures` are the captures, and
    /// which was `received` in this form.
    pub(super) fn write(
        &self,
        path: &[u8],
        received: &[u8],
        captures: &mut Captures,
        target: &mut Vec<u8>,
    ) -> Result<(), PathError> {
        let start = target.len();
        match self {
            Self::Raw => target.extend_from_slice(received),
            Self::Without(stripped) => target.extend_from_slice(path.get(*stripped..).unwrap_or_default()),
            Self::Rewrite(rewrite) => rewrite.write(path, captures, target),
        }
        if target.len() == start {
            target.push(b'/');
        }
        match self {
            Self::Rewrite(Rewrite { checked: true, .. }) => check(&target[start..], &mut captures.text),
            _ => Ok(()),
        }
    }
}

/// Refuses a path that is not in normal form any more.
fn check(path: &[u8], buffer: &mut Vec<u8>) -> Result<(), PathError> {
    if is_plain(path, Slashes::Kept) {
        return Ok(());
    }
    match normalize(path, Slashes::Kept, buffer)? {
        normal if normal == path => Ok(()),
        _ => Err(PathError::DisguisedDots),
    }
}

impl Rewrite {
    fn parse(text: &str, pattern: &Pattern, slashes: Slashes) -> Result<Self, Fault> {
        if !text.starts_with('/') {
            let message = format!("the rewrite `{text}` does not begin with a slash");
            return Err((message, "the first character must be `/`", format!("write \"/{text}\"")));
        }
        let (path, open) = match text.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let rest = match pattern {
            Pattern::Segments(segments) if segments.open => segments.list.len(),
            _ if !open => 0,
            _ => {
                let message = format!("the rewrite `{text}` ends in `/*`, and the path of the route does not");
                let help = format!("end both in `/*`, or write \"{path}\"");
                return Err((message, "there is nothing to append", help));
            }
        };
        if path.contains('*') {
            let message = format!("the rewrite `{text}` has a `*` that is not its last segment");
            let help = "only a final \"/*\" stands for what follows; name what is in between: \"{name}\"";
            return Err((message, "this path", help.into()));
        }
        if !path.is_empty() {
            pattern::normal(path, if open { "/*" } else { "" }, slashes)?;
        }
        let names = pattern.names();
        let mut pieces = Vec::new();
        let mut whole = matches!(pattern, Pattern::Segments(_));
        let mut left = path;
        while let Some((literal, behind)) = left.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(|| unclosed(text))?;
            whole &= literal.ends_with('/') && (behind.is_empty() || behind.starts_with('/'));
            pieces.push(Piece::Literal(literal.as_bytes().into()));
            pieces.push(Piece::Capture(capture(name, &names, text)?));
            left = behind;
        }
        if left.contains('}') {
            return Err(unclosed(text));
        }
        pieces.push(Piece::Literal(left.as_bytes().into()));
        if open {
            pieces.push(Piece::Rest(u32::try_from(rest).unwrap_or(u32::MAX)));
        }
        pieces.retain(|piece| *piece != Piece::Literal([].into()));
        Ok(Self { checked: !whole && !names.is_empty(), pieces: pieces.into() })
    }

    fn write(&self, path: &[u8], captures: &Captures, target: &mut Vec<u8>) {
        for piece in &self.pieces {
            target.extend_from_slice(match piece {
                Piece::Literal(text) => text,
                Piece::Capture(index) => captures.get(*index, path).unwrap_or_default(),
                Piece::Rest(segments) => path.get(tree::after(path, *segments)..).unwrap_or_default(),
            });
        }
    }
}

/// The place of the capture called `name` among `names`.
fn capture(name: &str, names: &[&str], text: &str) -> Result<usize, Fault> {
    names.iter().position(|known| *known == name).ok_or_else(|| {
        let message = format!("the rewrite `{text}` uses a capture that the path does not have, `{name}`");
        let help = match (closest(name, names), names) {
            (Some(meant), _) => format!("did you mean `{{{meant}}}`?"),
            (None, []) => "the path has no captures; write them as \"/users/{id}\"".into(),
            (None, names) => format!("the path has: {}", names.join(", ")),
        };
        (message, "there is no such capture", help)
    })
}

fn unclosed(text: &str) -> Fault {
    let message = format!("the rewrite `{text}` has a brace without its other one");
    (message, "this path", "write captures as \"/people/{id}\"; a brace itself is written %7B or %7D".into())
}

/// How many bytes are stripped: whole segments at the front of the route's path.
fn strip_prefix(prefix: &Spanned<String>, pattern: &Pattern, path: Range<usize>) -> Result<usize, Box<Diagnostic>> {
    let text = prefix.get_ref().as_str();
    let fault = |message: String, label: &str| Diagnostic::new(prefix.span(), message, label);
    if text.is_empty() || text == "/" {
        let fault = fault(format!("`strip_prefix = \"{text}\"` strips nothing"), "there is nothing to strip");
        return Err(fault.help("leave it out").into());
    }
    if let Some(plain) = text.strip_suffix("/*").or(text.strip_suffix('/')) {
        let fault = fault(format!("the prefix `{text}` does not end with a segment"), "this prefix");
        return Err(fault.help(format!("write \"{plain}\"")).into());
    }
    let help = match pattern {
        Pattern::Segments(segments) if text.starts_with('/') && segments.is_under(text) => return Ok(text.len()),
        Pattern::Segments(_) => "`strip_prefix` takes whole segments without captures from the front of `path`",
        Pattern::Expression(_) => {
            "of what an expression matches, send on a named group: path = \"~ ^/v[0-9]+(?<rest>/.*)$\" with \
             rewrite = \"/new{rest}\""
        }
    };
    let fault = fault(format!("`{text}` does not lead the path of the route"), "this is not the front of the path");
    Err(fault.related(path, "of this route").help(help).into())
}

#[cfg(test)]
mod tests {
    use super::super::{Router, tests::find};
    use super::*;

    fn compile(path: &str, key: &str, value: &str) -> Result<Router, String> {
        super::super::tests::router(&format!("path = '{path}'\n{key} = \"{value}\"\n"))
    }

    fn sent(path: &str, key: &str, value: &str, request: &str) -> Result<String, PathError> {
        let router = compile(path, key, value).unwrap();
        let mut captures = Captures::default();
        let route = find(&router, &format!("GET {request} HTTP/1.1\r\nHost: a"), &mut captures).unwrap();
        let mut buffer = Vec::new();
        let normal = normalize(request.as_bytes(), Slashes::Kept, &mut buffer).unwrap();
        let mut target = Vec::new();
        router.forward(route, normal, request.as_bytes(), &mut captures, &mut target)?;
        Ok(String::from_utf8(target).unwrap())
    }

    #[test]
    fn what_is_sent_on() {
        for (path, key, value, request, expected) in [
            ("/api/users/*", "strip_prefix", "/api", "/api/users/7", "/users/7"),
            ("/api/users/*", "strip_prefix", "/api/users", "/api/users", "/"),
            ("/api/users/*", "strip_prefix", "/api/users", "/api/users/", "/"),
            ("/api/users/*", "strip_prefix", "/api/users", "/api/users//x", "//x"),
            ("/x", "strip_prefix", "/x", "/x", "/"),
            ("/u/{id}", "rewrite", "/people/{id}", "/u/7", "/people/7"),
            ("/u/{id}", "rewrite", "/people/{id}", "/u/a%2fb%C3%a9", "/people/a%2Fb%C3%A9"),
            ("/u/{id}", "rewrite", "/p", "/u/7", "/p"),
            ("/u/{id}", "rewrite", "/p-{id}.json", "/u/7", "/p-7.json"),
            ("/{a}/{b}", "rewrite", "/{b}/{a}/{b}", "/x/y", "/y/x/y"),
            ("/u/{id}/*", "rewrite", "/p/{id}/*", "/u/7/x/y", "/p/7/x/y"),
            ("/u/{id}/*", "rewrite", "/p/{id}/*", "/u/7/", "/p/7/"),
            ("/u/{id}/*", "rewrite", "/p/{id}/*", "/u/7", "/p/7"),
            ("/u/{id}/*", "rewrite", "/p/{id}", "/u/7/x/y", "/p/7"),
            ("/u/*", "rewrite", "/*", "/u", "/"),
            ("/u/*", "rewrite", "/*", "/u/x", "/x"),
            ("/*", "rewrite", "/v2/*", "/", "/v2/"),
            ("/*", "rewrite", "/v2/*", "/x//y/", "/v2/x//y/"),
            ("~ ^/u-(?<id>[^/]+)(/(?<rest>.*))?$", "rewrite", "/p/{id}/{rest}", "/u-7/a/b", "/p/7/a/b"),
            ("~ ^/u-(?<id>[^/]+)(/(?<rest>.*))?$", "rewrite", "/p/{id}/{rest}", "/u-7", "/p/7/"),
            ("~ ^/v[0-9]+(?<rest>/.*)$", "rewrite", "/new{rest}", "/v1/x", "/new/x"),
            ("/a/*", "forward_path", "raw", "/a/../a/%7Ex%2f", "/a/../a/%7Ex%2f"),
            ("/a/*", "forward_path", "normal", "/a/../a/%7Ex%2f", "/a/~x%2F"),
        ] {
            assert_eq!(sent(path, key, value, request).as_deref(), Ok(expected), "{path} {value} {request}");
        }
    }

    #[test]
    fn what_parts_make_is_checked() {
        for (path, rewrite, request, expected) in [
            ("~ ^/x(?<a>.)(?<b>.)$", "/{a}/{b}", "/x..", Err(PathError::DisguisedDots)),
            ("~ ^/x(?<a>.)(?<b>.)$", "/{a}{b}/c", "/x..", Err(PathError::AboveRoot)),
            ("~ ^/x(?<a>%.)(?<b>.*)$", "/{a}/{b}", "/x%2F", Err(PathError::BadEscape)),
            ("~ ^/x(?<a>.*)$", "/..{a}", "/x%2Fy", Err(PathError::DisguisedDots)),
            ("/{a}", "/..{a}", "/%2Fy", Err(PathError::DisguisedDots)),
            ("~ ^/x(?<a>.*)$", "/c/{a}", "/x%2Fy", Ok("/c/%2Fy")),
        ] {
            let is = sent(path, "rewrite", rewrite, request);
            assert_eq!(is.as_deref().map_err(|error| *error), expected, "{path} {rewrite} {request}");
        }
    }

    #[test]
    fn what_cannot_be_sent_on() {
        for (path, key, value, expected) in [
            ("/a/*", "strip_prefix", "/", "strips nothing"),
            ("/a/*", "strip_prefix", "/a/", "does not end with a segment"),
            ("/a/*", "strip_prefix", "a", "does not lead the path"),
            ("/a/{b}", "strip_prefix", "/a/{b}", "does not lead the path"),
            ("~ ^/a", "strip_prefix", "/a", "does not lead the path"),
            ("/a", "rewrite", "b", "does not begin with a slash"),
            ("/a", "rewrite", "/b/*", "ends in `/*`"),
            ("~ ^/a", "rewrite", "/b/*", "ends in `/*`"),
            ("/a/*", "rewrite", "/*/b", "not its last segment"),
            ("/a/{id}", "rewrite", "/{ID}", "did you mean `{id}`"),
            ("/a/{id}", "rewrite", "/{quite}", "the path has: id"),
            ("/a", "rewrite", "/{id}", "the path has no captures"),
            ("/a/{id}", "rewrite", "/{id", "without its other one"),
            ("/a/{id}", "rewrite", "/id}", "without its other one"),
            ("/a", "rewrite", "/b?c", "a path has no `?`"),
            ("/a", "rewrite", "/b/../c", "not in its normal form"),
            ("/a", "forward_path", "rough", "there is no form `rough`"),
            ("/a", "strip_prefix", "/a\"\nrewrite = \"/b", "both there"),
            ("/a", "strip_prefix", "/a\"\nforward_path = \"raw", "`strip_prefix` changes it"),
            ("/a", "rewrite", "/b\"\nforward_path = \"raw", "`rewrite` changes it"),
        ] {
            let faults = compile(path, key, value).unwrap_err();
            assert!(faults.contains(expected), "{path} {key} {value}: {faults}");
        }
    }
}
