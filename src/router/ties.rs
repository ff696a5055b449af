//! Which of two routes with the same host and path comes first, and the faults of those between which nothing decides.

use std::collections::{BTreeMap, HashMap};

use super::compile::RouteInput;
use super::{Paths, RouteId, Rule};
use crate::base::decode::Diagnostic;

/// What decides among routes with the same host and path: the higher priority, then the number of conditions.
fn rank(rules: &[Option<Rule>], id: RouteId) -> (i32, usize) {
    rules[id.index()].as_ref().map_or((0, 0), |rule| (rule.priority, rule.conditions.count()))
}

/// Brings routes with the same host and path into order.
pub(super) fn sort(group: &mut [RouteId], rules: &[Option<Rule>]) {
    group.sort_by_key(|&id| {
        let (priority, conditions) = rank(rules, id);
        (std::cmp::Reverse(priority), std::cmp::Reverse(conditions), id)
    });
}

/// The pairs of a group, which is in order, between which nothing decides: for each route the first of the file that it
/// clashes with.
pub(super) fn ties_in(group: &[RouteId], rules: &[Option<Rule>]) -> Vec<(RouteId, RouteId)> {
    let mut ties = Vec::new();
    for equals in group.chunk_by(|a, b| rank(rules, *a) == rank(rules, *b)) {
        let first = first_clashes(equals, rules);
        let clashing = first.into_iter().zip(equals).filter_map(|(first, &id)| Some((equals[first?], id)));
        ties.extend(clashing);
    }
    ties
}

/// For each of some routes of one rank, the place of the first that it clashes with.
///
/// To compare each with each would be fifty million pairs for ten thousand routes. Those whose expressions begin
/// differently are not compared, nor those that want different values of one header or query key.
fn first_clashes(equals: &[RouteId], rules: &[Option<Rule>]) -> Vec<Option<usize>> {
    let mut first = vec![None; equals.len()];
    let mut compare = |a: usize, b: usize| {
        let (earlier, later) = (a.min(b), a.max(b));
        let is_news = earlier < later && first[later].is_none_or(|first| earlier < first);
        if is_news && !kept_apart(rules, equals[earlier], equals[later]) {
            first[later] = Some(earlier);
        }
    };
    let beginnings = by_beginning(equals, rules);
    // Where the present one begins like others, which begin like each other: from the shortest to the longest.
    let mut above: Vec<(&[u8], &[usize])> = Vec::new();
    for (&text, places) in &beginnings {
        while above.pop_if(|(shorter, _)| !text.starts_with(shorter)).is_some() {}
        let (kinds, mixed) = by_value(places, equals, rules);
        let others = above.iter().map(|&(_, others)| (places.as_slice(), others));
        let among = kinds.iter().flat_map(|kind| [(&**kind, &**kind), (&**kind, &*mixed)]);
        for (these, those) in among.chain([(&*mixed, &*mixed)]).chain(others) {
            these.iter().for_each(|&a| those.iter().for_each(|&b| compare(a, b)));
        }
        above.push((text, places));
    }
    first
}

/// Routes, by their places, by what their paths begin with, as far as that is told by their expressions; in order, so
/// that what begins like another comes after it.
fn by_beginning<'a>(equals: &[RouteId], rules: &'a [Option<Rule>]) -> BTreeMap<&'a [u8], Vec<usize>> {
    let mut beginnings: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (place, id) in equals.iter().enumerate() {
        let prefixes = match rules[id.index()].as_ref().map(|rule| &rule.paths) {
            Some(Paths::Expression(expression)) => expression.prefixes(),
            _ => None,
        };
        match prefixes {
            Some(prefixes) => prefixes.iter().for_each(|prefix| beginnings.entry(prefix).or_default().push(place)),
            None => beginnings.entry(b"").or_default().push(place),
        }
    }
    beginnings
}

/// Divides routes, by their places, by the value of the header or query key that most of them have to be exactly so: no
/// request fulfils two with different values. Those without it are given back at the end.
fn by_value(places: &[usize], equals: &[RouteId], rules: &[Option<Rule>]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let exact = |place: usize| rules[equals[place].index()].iter().flat_map(|rule| rule.conditions.exact());
    let mut counts: HashMap<_, usize> = HashMap::new();
    for (name, _) in places.iter().copied().flat_map(exact) {
        *counts.entry(name).or_default() += 1;
    }
    let Some((most, _)) = counts.into_iter().max_by_key(|&(name, count)| (count, name)) else {
        return (Vec::new(), places.to_vec());
    };
    let (mut kinds, mut mixed): (HashMap<&[u8], Vec<usize>>, _) = (HashMap::new(), Vec::new());
    for &place in places {
        match exact(place).find(|(name, _)| *name == most) {
            Some((_, value)) => kinds.entry(value).or_default().push(place),
            None => mixed.push(place),
        }
    }
    (kinds.into_values().collect(), mixed)
}

fn kept_apart(rules: &[Option<Rule>], a: RouteId, b: RouteId) -> bool {
    let (Some(a), Some(b)) = (&rules[a.index()], &rules[b.index()]) else { return true };
    let paths = match (&a.paths, &b.paths) {
        (Paths::Expression(a), Paths::Expression(b)) => a.excludes(b),
        _ => false,
    };
    paths || a.conditions.excludes(&b.conditions)
}

/// The fault of two routes between which nothing decides.
pub(super) fn tie(routes: &[RouteInput<'_>], rules: &[Option<Rule>], first: RouteId, second: RouteId) -> Diagnostic {
    let (a, b) = (&routes[first.index()], &routes[second.index()]);
    let names = format!("routes `{}` and `{}`", a.name.get_ref(), b.name.get_ref());
    let rule = rules[second.index()].as_ref();
    let (message, help) = if rule.is_some_and(|rule| matches!(rule.paths, Paths::Expression(_))) {
        let help = "let each begin with `^` and other text, or give one a higher `priority` or one more condition";
        (format!("the expressions of {names} may match the same path"), help)
    } else if rule.is_some_and(|rule| rule.conditions.count() > 0) {
        let help = "give one a higher `priority`, or one more condition";
        (format!("{names} have the same paths and as many conditions, and a request can fulfil both"), help)
    } else {
        let help = "change the path of one, or give it a condition (`methods`, `headers`, `query`) or a `priority`";
        (format!("{names} take the same requests"), help)
    };
    let fault = Diagnostic::new(b.matches.place(b.name), message, format!("`{}` takes them here", b.name.get_ref()));
    fault.related(a.matches.place(a.name), format!("`{}` takes them here", a.name.get_ref())).help(help)
}
