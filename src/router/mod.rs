//! Which route a request takes, and the path that is sent on.
//!
//! ```toml
//! [routes.users]
//! path = "/api/users/*"     # this path and everything under it; without the star, exactly this path
//! service = "users"
//! strip_prefix = "/api"     # /api/users/7 is sent on as /users/7
//! ```
//!
//! An exact path wins over a prefix and a longer prefix over a shorter one. Prefixes end on the borders of segments:
//! `/api/users/*` takes `/api/users`, `/api/users/` and `/api/users/7`, but not `/api/users-old`.
//!
//! A path is matched in its normal form ([`path`]), and the path that was matched is the one that is sent on: what the
//! gateway decides about and what the backend sees are the same bytes.
//!
//! Routes are kept in a tree of segments, so a look-up costs one walk over the path, however many routes there are, and
//! a path made of thousands of slashes costs no more than any other of its length.

pub mod path;

use std::fmt;

/// A route of one [`Router`], an index in the order in which the routes were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The place of this route among the routes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The paths that one route takes, in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This path alone.
    Exact(String),
    /// This path and all below it; without the `/*` it is written with, so that `/*` is the empty string.
    Prefix(String),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Prefix(prefix) => write!(f, "{prefix}/*"),
        }
    }
}

impl Pattern {
    /// Whether every path that this pattern takes lies under `prefix`, on the borders of segments.
    #[must_use]
    pub fn is_under(&self, prefix: &str) -> bool {
        let (Self::Exact(path) | Self::Prefix(path)) = self;
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// All routes, compiled. Immutable, and without interior state: any thread may look up at any time.
#[derive(Debug)]
pub struct Router {
    nodes: Vec<Node>,
    /// For each route, how many bytes of its paths are not sent on.
    strip: Vec<usize>,
}

/// One segment of some route's path.
#[derive(Debug, Default)]
struct Node {
    /// The segments that may follow, sorted.
    children: Vec<(Box<[u8]>, u32)>,
    exact: Option<RouteId>,
    prefix: Option<RouteId>,
}

impl Default for Router {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], strip: Vec::new() }
    }
}

impl Router {
    /// Adds a route, and gives it the next id. `strip_prefix` is cut off the paths that are sent on: empty, or a path
    /// without a final slash that the pattern [is under](Pattern::is_under).
    ///
    /// # Errors
    /// Another route that takes exactly the same paths.
    pub fn add(&mut self, pattern: &Pattern, strip_prefix: &str) -> Result<RouteId, RouteId> {
        debug_assert!(pattern.is_under(strip_prefix), "{pattern} is not under {strip_prefix}");
        let id = RouteId(u32::try_from(self.strip.len()).expect("fewer routes than fit 32 bits"));
        let (Pattern::Exact(path) | Pattern::Prefix(path)) = pattern;
        let mut at = 0;
        for segment in segments(path.as_bytes()) {
            at = self.child(at, segment);
        }
        let slot = match pattern {
            Pattern::Exact(_) => &mut self.nodes[at].exact,
            Pattern::Prefix(_) => &mut self.nodes[at].prefix,
        };
        if let Some(other) = *slot {
            return Err(other);
        }
        *slot = Some(id);
        self.strip.push(strip_prefix.len());
        Ok(id)
    }

    /// The route that takes `path`, which is in normal form (see [`path::normalize`]) and has no query.
    #[must_use]
    pub fn route(&self, path: &[u8]) -> Option<RouteId> {
        let mut node = &self.nodes[0];
        let mut best = node.prefix;
        for segment in segments(path) {
            let Ok(child) = node.children.binary_search_by(|(name, _)| (**name).cmp(segment)) else {
                return best;
            };
            node = &self.nodes[node.children[child].1 as usize];
            best = node.prefix.or(best);
        }
        node.exact.or(best)
    }

    /// The path to send on for a `path` that `route` took: without what the route strips, and always with a `/` in
    /// front. The query is not part of either.
    #[must_use]
    pub fn rewrite<'p>(&self, route: RouteId, path: &'p [u8]) -> &'p [u8] {
        match path.get(self.strip[route.index()]..) {
            Some([]) | None => b"/",
            Some(rest) => rest,
        }
    }

    /// The node of `segment` under `parent`, made where there is none.
    fn child(&mut self, parent: usize, segment: &[u8]) -> usize {
        match self.nodes[parent].children.binary_search_by(|(name, _)| (**name).cmp(segment)) {
            Ok(child) => self.nodes[parent].children[child].1 as usize,
            Err(place) => {
                let index = self.nodes.len();
                self.nodes.push(Node::default());
                let id = u32::try_from(index).expect("fewer segments than fit 32 bits");
                self.nodes[parent].children.insert(place, (segment.into(), id));
                index
            }
        }
    }
}

/// The segments of a path: `/a/b` has two, `/a/` has `a` and an empty one, and the empty path has none.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        match text.strip_suffix("/*") {
            Some(prefix) => Pattern::Prefix(prefix.into()),
            None => Pattern::Exact(text.into()),
        }
    }

    fn router(patterns: &[&str]) -> Router {
        let mut router = Router::default();
        for text in patterns {
            router.add(&pattern(text), "").unwrap();
        }
        router
    }

    #[test]
    fn exact_before_prefix_and_longest_prefix_first() {
        let patterns = ["/*", "/api/*", "/api/users/*", "/api/users", "/", "/api/users/", "/a/b/c"];
        let router = router(&patterns);
        for (path, expected) in [
            ("/", "/"),
            ("//", "/*"),
            ("/x", "/*"),
            ("/apis", "/*"),
            ("/api", "/api/*"),
            ("/api/", "/api/*"),
            ("/api/user", "/api/*"),
            ("/api/users", "/api/users"),
            ("/api/users/", "/api/users/"),
            ("/api/users/7", "/api/users/*"),
            ("/api/users-old", "/api/*"),
            ("/api/users//", "/api/users/*"),
            ("/API/users", "/*"),
            ("/a/b", "/*"),
            ("/a/b/c", "/a/b/c"),
            ("/a/b/c/", "/*"),
        ] {
            let route = router.route(path.as_bytes()).unwrap();
            assert_eq!(patterns[route.index()], expected, "{path}");
        }
    }

    #[test]
    fn no_route() {
        let router = router(&["/a/*", "/b"]);
        for path in ["/", "/c", "/b/", "/b/c", "/ab", ""] {
            assert_eq!(router.route(path.as_bytes()), None, "{path}");
        }
        assert_eq!(Router::default().route(b"/"), None);
    }

    #[test]
    fn the_same_paths_twice_are_refused() {
        let mut router = router(&["/a/*", "/a"]);
        assert_eq!(router.add(&pattern("/a/*"), ""), Err(RouteId(0)));
        assert_eq!(router.add(&pattern("/a"), ""), Err(RouteId(1)));
        assert_eq!(router.add(&pattern("/a/"), ""), Ok(RouteId(2)));
    }

    #[test]
    fn rewriting() {
        let mut router = Router::default();
        for (text, strip, path, expected) in [
            ("/api/users/*", "/api", "/api/users/7", "/users/7"),
            ("/v1/users/*", "/v1/users", "/v1/users", "/"),
            ("/v2/users/*", "/v2/users", "/v2/users/", "/"),
            ("/v3/users/*", "/v3/users", "/v3/users//x", "//x"),
            ("/x", "/x", "/x", "/"),
            ("/*", "", "/y", "/y"),
        ] {
            let route = router.add(&pattern(text), strip).unwrap();
            assert_eq!(router.route(path.as_bytes()), Some(route), "{path}");
            assert_eq!(router.rewrite(route, path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    /// What `/a/*` and `/a` say, in the plainest words, for one route after the other.
    fn naive(patterns: &[Pattern], path: &str) -> Option<usize> {
        let takes = |pattern: &Pattern| match pattern {
            Pattern::Exact(exact) => path == exact,
            Pattern::Prefix(prefix) => path == prefix || path.starts_with(&format!("{prefix}/")),
        };
        let rank = |pattern: &Pattern| match pattern {
            Pattern::Exact(_) => usize::MAX,
            Pattern::Prefix(prefix) => prefix.len(),
        };
        (0..patterns.len()).filter(|&i| takes(&patterns[i])).max_by_key(|&i| rank(&patterns[i]))
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_route(
            texts in proptest::collection::hash_set("(/(a|b|ab|)){0,4}(/\\*)?", 0..12),
            path in "(/(a|b|ab|)){1,5}",
        ) {
            let patterns: Vec<Pattern> = texts.iter().filter(|text| !text.is_empty()).map(|text| pattern(text)).collect();
            let mut router = Router::default();
            for pattern in &patterns {
                router.add(pattern, "").unwrap();
            }
            prop_assert_eq!(router.route(path.as_bytes()).map(RouteId::index), naive(&patterns, &path));
        }

        #[test]
        fn a_rewritten_path_begins_with_a_slash(strip in "(/[ab]){0,3}", rest in "(/[ab]{0,2}){0,3}") {
            let mut router = Router::default();
            let route = router.add(&Pattern::Prefix(strip.clone()), &strip).unwrap();
            let path = format!("{strip}{rest}");
            let sent = router.rewrite(route, path.as_bytes());
            prop_assert!(sent.starts_with(b"/"));
            prop_assert_eq!(sent, if rest.is_empty() { b"/" } else { rest.as_bytes() });
        }
    }
}
