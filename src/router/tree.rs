//! Paths as trees of segments: one walk finds all routes that take a path, the most specific first.
//!
//! A node has few children or many. Many are in a hash map, so that a step costs the same among ten thousand as among
//! ten. Where both a literal segment and a capture fit, the walk takes the literal and remembers the capture.

use std::cmp::Reverse;
use std::collections::HashMap;

use ahash::RandomState;

use super::RouteId;
use super::pattern::{Segment, Segments};

/// Above this, a map is quicker than a look at each child.
const FEW: usize = 4;

/// A map whose keys come from the configuration.
pub(super) type Map = HashMap<Box<[u8]>, u32, RandomState>;

/// An empty map. Its seeds are constants: requests are looked up in it and never put into it, so nobody outside can
/// make its keys collide.
pub(super) fn map() -> Map {
    Map::with_hasher(RandomState::with_seeds(
        0x243f_6a88_85a3_08d3,
        0x1319_8a2e_0370_7344,
        0xa409_3822_299f_31d0,
        0x082e_fa98_ec4e_6c89,
    ))
}

/// The trees of all hosts. Each begins at a root of its own.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    literals: Literals,
    /// The node of a segment that is captured.
    capture: Option<u32>,
    /// The routes of exactly this path, best first.
    exact: Box<[RouteId]>,
    /// The routes of this path and all below it, best first.
    prefix: Box<[RouteId]>,
}

#[derive(Debug)]
enum Literals {
    Few(Box<[(Box<[u8]>, u32)]>),
    Many(Map),
}

impl Literals {
    fn get(&self, segment: &[u8]) -> Option<u32> {
        match self {
            Self::Few(few) => few.iter().find(|(name, _)| **name == *segment).map(|(_, node)| *node),
            Self::Many(map) => map.get(segment).copied(),
        }
    }
}

/// What a walk remembers on its way.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Captures that were passed by: node, depth, and where the rest of the path begins.
    passed: Vec<(u32, u32, u32)>,
    /// Prefixes that take the path, in the order of the walk.
    prefixes: Vec<Passed>,
    /// The walk came back to a capture, so its prefixes are not in the order of their depth.
    turned: bool,
}

/// A prefix that takes a path: its depth, its place in the order of the walk, and its node.
#[derive(Clone, Copy, Debug)]
struct Passed {
    depth: u32,
    order: u32,
    node: u32,
}

impl Tree {
    /// Calls `enough` with each route that takes exactly `path`, best first, until it says so; `true` if it did.
    /// `walk` then knows the prefixes that were met.
    pub(super) fn walk(
        &self,
        root: u32,
        path: &[u8],
        walk: &mut Walk,
        mut enough: impl FnMut(RouteId) -> bool,
    ) -> bool {
        walk.passed.clear();
        walk.prefixes.clear();
        walk.turned = false;
        // The path begins with a slash; a segment begins at `at`, unless that is behind the end.
        let (mut node, mut depth, mut at) = (&self.nodes[root as usize], 0, 1);
        let mut index = root;
        loop {
            if !node.prefix.is_empty() {
                walk.prefixes.push(Passed { depth, order: walk.prefixes.len() as u32, node: index });
            }
            let next = if at > path.len() {
                if node.exact.iter().any(|&route| enough(route)) {
                    return true;
                }
                None
            } else {
                let end = end_of_segment(path, at);
                let literal = node.literals.get(&path[at..end]);
                // A capture is never empty.
                let capture = node.capture.filter(|_| end > at);
                if let (Some(_), Some(capture)) = (literal, capture) {
                    walk.passed.push((capture, depth + 1, end as u32 + 1));
                }
                literal.or(capture).map(|next| (next, depth + 1, end + 1))
            };
            (index, depth, at) = match next {
                Some(next) => next,
                None => {
                    let Some((next, depth, at)) = walk.passed.pop() else { return false };
                    walk.turned = true;
                    (next, depth, at as usize)
                }
            };
            node = &self.nodes[index as usize];
        }
    }

    /// Calls `enough` with each route whose prefix a walk that found no end has met, the longest first and of two as
    /// long the one with the literal segment first, until it says so; `true` if it did.
    pub(super) fn prefixes(&self, walk: &mut Walk, mut enough: impl FnMut(RouteId) -> bool) -> bool {
        if walk.turned {
            walk.prefixes.sort_unstable_by_key(|passed| (passed.depth, Reverse(passed.order)));
        }
        let mut longest_first = walk.prefixes.iter().rev().map(|passed| &self.nodes[passed.node as usize]);
        longest_first.any(|node| node.prefix.iter().any(|&route| enough(route)))
    }
}

/// Where the segment that begins at `start` ends. Segments are short: a plain loop is quicker than a call.
fn end_of_segment(path: &[u8], start: usize) -> usize {
    let rest = path.get(start..).unwrap_or_default();
    rest.iter().position(|&byte| byte == b'/').map_or(path.len(), |length| start + length)
}

/// Appends where the segments at `places`, which ascend, are in `path` to `spans`: their starts and ends.
pub(super) fn segments(path: &[u8], places: &[u32], spans: &mut Vec<(u32, u32)>) {
    let (mut segment, mut start) = (0, 1);
    for &place in places {
        for _ in segment..place {
            start = end_of_segment(path, start) + 1;
        }
        segment = place;
        spans.push((start as u32, end_of_segment(path, start) as u32));
    }
}

/// Where `path` goes on behind its first `count` segments: at a slash or at the end.
pub(super) fn after(path: &[u8], count: u32) -> usize {
    memchr::memchr_iter(b'/', path).nth(count as usize).unwrap_or(path.len())
}

/// A tree that grows.
#[derive(Debug, Default)]
pub(super) struct TreeBuilder {
    nodes: Vec<Growing>,
}

#[derive(Debug, Default)]
struct Growing {
    literals: HashMap<Box<[u8]>, u32>,
    capture: Option<u32>,
    exact: Vec<RouteId>,
    prefix: Vec<RouteId>,
}

impl TreeBuilder {
    /// A node without children.
    pub(super) fn node(&mut self) -> u32 {
        self.nodes.push(Growing::default());
        u32::try_from(self.nodes.len() - 1).expect("fewer segments than fit 32 bits")
    }

    /// Adds a route to the tree at `root`.
    pub(super) fn add(&mut self, root: u32, pattern: &Segments, route: RouteId) {
        let mut at = root;
        for segment in &pattern.list {
            let node = &self.nodes[at as usize];
            let known = match segment {
                Segment::Literal(name) => node.literals.get(name.as_bytes()).copied(),
                Segment::Capture(_) => node.capture,
            };
            at = known.unwrap_or_else(|| {
                let made = self.node();
                let node = &mut self.nodes[at as usize];
                match segment {
                    Segment::Literal(name) => drop(node.literals.insert(name.as_bytes().into(), made)),
                    Segment::Capture(_) => node.capture = Some(made),
                }
                made
            });
        }
        let node = &mut self.nodes[at as usize];
        if pattern.open { node.prefix.push(route) } else { node.exact.push(route) }
    }

    /// The routes of each pattern, to be brought in order.
    pub(super) fn groups(&mut self) -> impl Iterator<Item = &mut Vec<RouteId>> {
        self.nodes.iter_mut().flat_map(|node| [&mut node.exact, &mut node.prefix]).filter(|group| !group.is_empty())
    }

    /// The tree that searches.
    pub(super) fn finish(self) -> Tree {
        let finish = |node: Growing| Node {
            literals: match node.literals.len() {
                0..=FEW => {
                    let mut few: Vec<_> = node.literals.into_iter().collect();
                    few.sort_unstable();
                    Literals::Few(few.into())
                }
                _ => {
                    let mut many = map();
                    many.extend(node.literals);
                    Literals::Many(many)
                }
            },
            capture: node.capture,
            exact: node.exact.into(),
            prefix: node.prefix.into(),
        };
        Tree { nodes: self.nodes.into_iter().map(finish).collect() }
    }
}
