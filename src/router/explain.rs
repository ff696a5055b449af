//! Why a request takes the route that it takes, for people.
//!
//! It asks the same trees, expressions and conditions as [`Router::find`], but goes on where that would stop: every route
//! that takes the host and the path of a request is a candidate, and of each that does not take the request the first
//! condition is named that does not hold.

use std::collections::{HashMap, HashSet};

use super::conditions::{Conditions, Fit};
use super::host;
use super::{Captures, Lookup, RouteId, Router};

/// A route that takes the host and the path of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The route.
    pub route: RouteId,
    /// Of its hosts the one that the request was found by: a name, or a wildcard such as `*.example.com`; nothing where
    /// it takes any host.
    pub host: Option<String>,
    /// Its priority.
    pub priority: i32,
    /// How many conditions it has, as far as precedence goes.
    pub conditions: usize,
    /// The first condition that does not hold; nothing where the route would take the request.
    pub fails: Option<Condition>,
}

/// A condition of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `listeners`.
    Listener,
    /// The header at this place.
    Header(usize),
    /// The query key at this place.
    Query(usize),
    /// `methods`. All others hold.
    Method,
}

impl Router {
    /// Every route that takes the host and the path of a request, in the order of precedence. The first whose conditions
    /// hold is the one that [`Router::find`] finds.
    #[must_use]
    pub fn candidates(&self, lookup: &Lookup<'_>, captures: &mut Captures) -> Vec<Candidate> {
        let mut sites = Vec::new();
        self.visit_sites(lookup, |site| sites.push(site));
        let names = self.hosts.names_of_sites();
        let at = |site: u32| self.candidates_at(site, names.get(&site), lookup, captures);
        let mut found: Vec<Candidate> = sites.into_iter().flat_map(at).collect();
        // A route may name several hosts that all take the request; the best one decides.
        let mut seen = HashSet::new();
        found.retain(|candidate| seen.insert(candidate.route));
        // What was found is in order but for the priorities.
        found.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
        found
    }

    /// Every route that takes the path of a request and whose conditions hold, but for another host; each with a host that
    /// it would take.
    #[must_use]
    pub fn at_other_hosts(&self, lookup: &Lookup<'_>, captures: &mut Captures) -> Vec<Candidate> {
        let mut own = HashSet::new();
        self.visit_sites(lookup, |site| own.extend([site]));
        let others = (0..).zip(&self.sites).map(|(site, _)| site).filter(|site| !own.contains(site));
        let names = self.hosts.names_of_sites();
        let all = others.flat_map(|site| self.candidates_at(site, names.get(&site), lookup, captures));
        all.filter(|candidate| candidate.fails.is_none()).collect()
    }

    /// The routes of one site, in the order of precedence but for the priorities.
    fn candidates_at(
        &self,
        site: u32,
        host: Option<&String>,
        lookup: &Lookup<'_>,
        captures: &mut Captures,
    ) -> Vec<Candidate> {
        let Captures { walk, text, .. } = captures;
        let mut found = Vec::new();
        self.visit_site(&self.sites[site as usize], lookup, walk, |route| {
            let rule = self.rule(route);
            let (host, priority, conditions) = (host.cloned(), rule.priority, rule.conditions.count());
            let fails = rule.conditions.fails(lookup, text);
            found.push(Candidate { route, host, priority, conditions, fails });
            false
        });
        found
    }
}

impl Conditions {
    /// The first condition that does not hold, the method last.
    fn fails(&self, lookup: &Lookup<'_>, text: &mut Vec<u8>) -> Option<Condition> {
        match self.fit(lookup, text) {
            Fit::Holds => return None,
            Fit::ButMethod => return Some(Condition::Method),
            Fit::Fails => {}
        }
        let header = self.headers.iter().position(|header| !header.holds_in_fields(lookup, text));
        let mut query = || self.query.iter().position(|key| !key.holds_in_query(lookup, text));
        // Where all of these hold, the listener is what is left.
        match (self.serves(lookup.listener), header) {
            (false, _) => Some(Condition::Listener),
            (true, Some(place)) => Some(Condition::Header(place)),
            (true, None) => query().map(Condition::Query),
        }
    }
}

impl host::Hosts {
    /// What is written of the hosts of sites, but for the one of any host.
    fn names_of_sites(&self) -> HashMap<u32, String> {
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (exact, below) = self.names();
        let exact = exact.iter().map(|(host, site)| (*site, name(host)));
        exact.chain(below.iter().map(|(host, site)| (*site, format!("*.{}", name(host))))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{inputs_of, with};
    use super::*;
    use crate::router::ListenerId;

    /// The candidates for a request: `name host fails`.
    fn candidates(text: &str, request: &str, elsewhere: bool) -> Vec<String> {
        inputs_of(text, |router, inputs| {
            let mut captures = Captures::default();
            with(request, ListenerId(0), |lookup| {
                let found = match elsewhere {
                    true => router.at_other_hosts(lookup, &mut captures),
                    false => router.candidates(lookup, &mut captures),
                };
                let show = |found: Candidate| {
                    let name = inputs[found.route.index()].name.get_ref();
                    let host = found.host.as_deref().unwrap_or("any");
                    found.fails.map_or(format!("{name} {host}"), |fails| format!("{name} {host} {fails:?}"))
                };
                found.into_iter().map(show).collect()
            })
        })
    }

    const TABLE: &str = r#"
        [routes.all]
        [routes.any]
        path = "/a/*"
        methods = ["GET"]
        [routes.host]
        hosts = ["a.x", "*.x"]
        path = "/a/*"
        headers = { h = "1", i = true }
        query = { q = "1" }
        [routes.expression]
        path = "~ ^/a"
        listeners = ["private"]
        [routes.exact]
        hosts = ["*.x"]
        path = "/a/b"
        [routes.top]
        priority = 1
        path = "/a/{c}"
        methods = ["PUT"]
        [routes.other]
        hosts = ["b.y"]
        path = "/a/b"
        [routes.others]
        hosts = ["*.y"]
        path = "/a/b"
        methods = ["PUT"]
    "#;

    #[test]
    fn all_that_come_close_and_what_keeps_them() {
        let get = |fields: &str| format!("GET /a/b?q=1 HTTP/1.1\r\nHost: a.x{fields}");
        assert_eq!(
            candidates(TABLE, &get(""), false),
            ["top any Method", "host a.x Header(0)", "exact *.x", "expression any Listener", "any any", "all any"]
        );
        let fields = get("\r\nH: 1\r\nI: 2");
        assert_eq!(candidates(TABLE, &fields, false)[1..3], ["host a.x", "exact *.x"]);
        assert_eq!(candidates(TABLE, &get("\r\nH: 1"), false)[1], "host a.x Header(1)");
        assert_eq!(candidates(TABLE, &fields.replace("q=1", "q=2"), false)[1], "host a.x Query(0)");
        assert_eq!(candidates(TABLE, &get(""), true), ["other b.y"]);
        assert_eq!(candidates(TABLE, "GET /z HTTP/1.0", false), ["all any"]);
    }
}
