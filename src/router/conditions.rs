//! What a request must have, besides host and path, for a route to take it.
//!
//! ```toml
//! methods = ["GET", "POST"]                       # any of; GET takes HEAD too
//! headers = { x-api-version = "v2", x-debug = true, user-agent = "~ ^curl/" }
//! query = { region = "eu", page = "~ ^[0-9]+$" }
//! listeners = ["public"]                          # any of
//! ```
//!
//! A header or a query key is compared exactly, or must be there (`true`), or match an expression. Lines of one field
//! are one value, joined with `, ` (RFC 9110 section 5.3). Of a query key that comes more than once, the first counts;
//! keys and values are compared decoded (`%20` and `+` are spaces), and a key without `=` has an empty value.

use super::expression::Expression;
use super::{ListenerId, Lookup};
use crate::http::fields::{Field, Known};
use crate::http::h1::parse::RequestHead;
use crate::http::message::Method;
use crate::http::query;

/// The conditions of one route, compiled.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) methods: Option<Methods>,
    pub(super) headers: Box<[Condition]>,
    pub(super) query: Box<[Condition]>,
    /// Empty for all.
    pub(super) listeners: Box<[ListenerId]>,
}

/// What a header or a query key must be.
#[derive(Debug)]
pub(super) struct Condition {
    /// In lower case for a header.
    pub(super) name: Box<[u8]>,
    pub(super) known: Known,
    pub(super) test: Test,
}

/// What a value must be.
#[derive(Debug)]
pub(super) enum Test {
    Exact(Box<[u8]>),
    Present,
    Matches(Expression),
}

/// A set of methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Methods {
    /// Those that have a kind, as bits.
    kinds: u16,
    others: Vec<Box<str>>,
}

/// How a request and the conditions of a route fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// All hold.
    Holds,
    /// All but the method.
    ButMethod,
    /// One that is not the method does not hold.
    Fails,
}

impl Conditions {
    /// How many there are, as far as precedence goes.
    pub(super) fn count(&self) -> usize {
        usize::from(self.methods.is_some()) + self.headers.len() + self.query.len()
    }

    /// Whether requests of this listener are served.
    pub(super) fn serves(&self, listener: ListenerId) -> bool {
        self.listeners.is_empty() || self.listeners.contains(&listener)
    }

    /// Tries a request; `text` is memory to decode in.
    pub(super) fn fit(&self, lookup: &Lookup<'_>, text: &mut Vec<u8>) -> Fit {
        let head = lookup.head;
        if !self.serves(lookup.listener)
            || !self.headers.iter().all(|condition| condition.holds_in_fields(lookup, text))
            || !self.query.iter().all(|condition| condition.holds_in_query(lookup, text))
        {
            return Fit::Fails;
        }
        match &self.methods {
            Some(methods) if !methods.contains(head) => Fit::ButMethod,
            _ => Fit::Holds,
        }
    }

    /// What must be exactly so: a header or, if the first is true, a query key, with its name and value.
    pub(super) fn exact(&self) -> impl Iterator<Item = ((bool, &[u8]), &[u8])> {
        let all = self.headers.iter().map(|header| (false, header)).chain(self.query.iter().map(|key| (true, key)));
        all.filter_map(|(in_query, condition)| match &condition.test {
            Test::Exact(value) => Some(((in_query, &*condition.name), &**value)),
            Test::Present | Test::Matches(_) => None,
        })
    }

    /// Whether no request fulfils both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (Some(ours), Some(theirs)) => !ours.meets(theirs),
            _ => false,
        };
        let (ours, theirs) = (&self.listeners, &other.listeners);
        let listeners = !ours.is_empty() && !theirs.is_empty() && !ours.iter().any(|one| theirs.contains(one));
        methods || listeners || excludes(&self.headers, &other.headers) || excludes(&self.query, &other.query)
    }
}

/// Whether no request fulfils both, because of one name.
fn excludes(ours: &[Condition], theirs: &[Condition]) -> bool {
    let same = |a: &Condition, b: &Condition| a.name == b.name;
    ours.iter().any(|a| theirs.iter().any(|b| same(a, b) && a.test.excludes(&b.test)))
}

impl Condition {
    pub(super) fn holds_in_fields(&self, lookup: &Lookup<'_>, text: &mut Vec<u8>) -> bool {
        let mut values = lookup.head.fields().filter(|field| self.names(field)).map(|field| field.value);
        let Some(first) = values.next() else { return false };
        let Some(second) = values.next() else { return self.test.holds(first, lookup.worker) };
        text.clear();
        text.extend_from_slice(first);
        for value in [second].into_iter().chain(values) {
            text.extend_from_slice(b", ");
            text.extend_from_slice(value);
        }
        self.test.holds(text, lookup.worker)
    }

    fn names(&self, field: &Field<'_>) -> bool {
        field.known == self.known && (self.known != Known::Other || field.name.eq_ignore_ascii_case(&self.name))
    }

    pub(super) fn holds_in_query(&self, lookup: &Lookup<'_>, text: &mut Vec<u8>) -> bool {
        let Some(query) = lookup.head.query_bytes() else { return false };
        let Some(value) = query::value(query, &self.name) else { return false };
        text.clear();
        text.extend(query::decoded(value));
        self.test.holds(text, lookup.worker)
    }
}

impl Test {
    fn holds(&self, value: &[u8], worker: usize) -> bool {
        match self {
            Self::Exact(expected) => value == &**expected,
            Self::Present => true,
            Self::Matches(expression) => expression.is_match(value, worker),
        }
    }

    /// Whether no value passes both, as far as can be said.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a != b,
            (Self::Exact(value), Self::Matches(expression)) | (Self::Matches(expression), Self::Exact(value)) => {
                !expression.is_match(value, 0)
            }
            (Self::Matches(a), Self::Matches(b)) => a.excludes(b),
            (Self::Present, _) | (_, Self::Present) => false,
        }
    }
}

/// The methods that have a kind, in the order in which `Allow` lists them.
const KINDS: [(Method, &str); 8] = [
    (Method::Get, "GET"),
    (Method::Head, "HEAD"),
    (Method::Post, "POST"),
    (Method::Put, "PUT"),
    (Method::Delete, "DELETE"),
    (Method::Patch, "PATCH"),
    (Method::Options, "OPTIONS"),
    (Method::Trace, "TRACE"),
];

impl Methods {
    /// Adds a method. RFC 9110 section 9.3.2: what is there for GET is there for HEAD, too.
    pub(super) fn add(&mut self, text: &str) {
        match Method::classify(text.as_bytes()) {
            Method::Other => {
                if let Err(place) = self.others.binary_search_by(|other| (**other).cmp(text)) {
                    self.others.insert(place, text.into());
                }
            }
            Method::Get => self.kinds |= bit(Method::Get) | bit(Method::Head),
            kind => self.kinds |= bit(kind),
        }
    }

    /// Adds all of `other`.
    pub(super) fn extend(&mut self, other: &Self) {
        self.kinds |= other.kinds;
        other.others.iter().for_each(|text| self.add(text));
    }

    fn contains(&self, head: &RequestHead) -> bool {
        match head.method() {
            Method::Other => self.others.iter().any(|other| **other == *head.method_text()),
            kind => self.kinds & bit(kind) != 0,
        }
    }

    /// Whether all of `other` are in it.
    pub(super) fn has_all(&self, other: &Self) -> bool {
        other.kinds & !self.kinds == 0 && other.others.iter().all(|method| self.others.contains(method))
    }

    fn meets(&self, other: &Self) -> bool {
        self.kinds & other.kinds != 0 || self.others.iter().any(|method| other.others.contains(method))
    }

    /// Writes the list that an `Allow` field has (RFC 9110 section 10.2.1).
    pub(super) fn list(&self, into: &mut Vec<u8>) {
        let kinds = KINDS.iter().filter(|(kind, _)| self.kinds & bit(*kind) != 0).map(|(_, text)| *text);
        for text in kinds.chain(self.others.iter().map(|text| &**text)) {
            if !into.is_empty() {
                into.extend_from_slice(b", ");
            }
            into.extend_from_slice(text.as_bytes());
        }
    }
}

const fn bit(method: Method) -> u16 {
    1 << method as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::parse::HeadLimits;

    fn condition(name: &str, test: Test) -> Condition {
        Condition { name: name.as_bytes().into(), known: Known::classify(name.as_bytes()), test }
    }

    fn exact(text: &str) -> Test {
        Test::Exact(text.as_bytes().into())
    }

    fn matches(text: &str) -> Test {
        Test::Matches(Expression::new(text, 1).unwrap())
    }

    fn fit(conditions: &Conditions, request: &str) -> Fit {
        let mut head = RequestHead::default();
        head.parse(format!("{request}\r\n\r\n").as_bytes(), &HeadLimits::default()).unwrap();
        let lookup = Lookup { head: &head, path: b"/", listener: ListenerId(1), worker: 0 };
        conditions.fit(&lookup, &mut b"left over".to_vec())
    }

    #[test]
    fn fields_are_compared_as_one_value() {
        for (test, fields, expected) in [
            (exact("v2"), "X-V: v2", true),
            (exact("v2"), "x-v:  v2 ", true),
            (exact("v2"), "X-V: V2", false),
            (exact("v2"), "X-W: v2", false),
            (exact("v2"), "X-V: v1\r\nX-V: v2", false),
            (exact("v1, v2"), "X-V: v1\r\nA: b\r\nx-v: v2", true),
            (exact(""), "X-V:", true),
            (exact(""), "A: b", false),
            (Test::Present, "X-V:", true),
            (Test::Present, "A: X-V", false),
            (matches("^v[0-9]$"), "X-V: v7", true),
            (matches("^v[0-9]$"), "X-V: v7\r\nX-V: v8", false),
            (matches("v8$"), "X-V: v7\r\nX-V: v8", true),
        ] {
            let says = format!("{test:?} {fields}");
            let conditions = Conditions { headers: [condition("x-v", test)].into(), ..Conditions::default() };
            let found = fit(&conditions, &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}"));
            assert_eq!(found == Fit::Holds, expected, "{says}");
        }
    }

    #[test]
    fn the_first_of_a_query_key_counts_and_is_decoded() {
        for (name, test, query, expected) in [
            ("a", exact("1"), "?a=1", true),
            ("a", exact("1"), "?b=1&a=1", true),
            ("a", exact("1"), "?a=2&a=1", false),
            ("a", exact("1"), "?a=1&a=2", true),
            ("a", exact("x y"), "?a=x+y", true),
            ("a", exact("x y"), "?%61=x%20%79", true),
            ("a", exact("x+y"), "?a=x%2By", true),
            ("a", exact("x=y"), "?a=x=y", true),
            ("a", exact("x&y"), "?a=x%26y", true),
            ("a", exact(""), "?a", true),
            ("a", exact(""), "?a=", true),
            ("a", exact(""), "?&&", false),
            ("A", exact("1"), "?a=1", false),
            ("ü", exact("é"), "?%C3%BC=%c3%a9", true),
            ("a", Test::Present, "?x&a", true),
            ("a", Test::Present, "?ab=1", false),
            ("a", Test::Present, "?", false),
            ("a", Test::Present, "", false),
            ("a", matches("^[0-9]+$"), "?a=%31%32", true),
            ("a", matches("^[0-9]+$"), "?a=x", false),
        ] {
            let says = format!("{name} {test:?} {query}");
            let conditions = Conditions { query: [condition(name, test)].into(), ..Conditions::default() };
            let found = fit(&conditions, &format!("GET /{query} HTTP/1.1\r\nHost: a"));
            assert_eq!(found == Fit::Holds, expected, "{says}");
        }
    }

    fn methods(list: &[&str]) -> Methods {
        let mut methods = Methods::default();
        list.iter().for_each(|method| methods.add(method));
        methods
    }

    #[test]
    fn get_takes_head_and_only_the_method_is_told_apart() {
        let conditions = |list: &[&str], listeners: &[u16]| Conditions {
            methods: Some(methods(list)),
            listeners: listeners.iter().map(|&id| ListenerId(id)).collect(),
            ..Conditions::default()
        };
        for (list, listeners, method, expected) in [
            (&["GET"][..], &[][..], "GET", Fit::Holds),
            (&["GET"], &[], "HEAD", Fit::Holds),
            (&["HEAD"], &[], "GET", Fit::ButMethod),
            (&["GET"], &[], "POST", Fit::ButMethod),
            (&["PURGE"], &[], "PURGE", Fit::Holds),
            (&["PURGE"], &[], "PURG", Fit::ButMethod),
            (&["GET"], &[0, 1], "GET", Fit::Holds),
            (&["GET"], &[0], "GET", Fit::Fails),
            (&["GET"], &[0], "POST", Fit::Fails),
        ] {
            let found = fit(&conditions(list, listeners), &format!("{method} / HTTP/1.1\r\nHost: a"));
            assert_eq!(found, expected, "{list:?} {listeners:?} {method}");
        }
    }

    #[test]
    fn allow_lists_each_method_once() {
        let mut all = methods(&["PURGE", "POST", "GET"]);
        all.extend(&methods(&["OPTIONS", "HEAD", "BAN", "PURGE"]));
        let mut list = Vec::new();
        all.list(&mut list);
        assert_eq!(list, b"GET, HEAD, POST, OPTIONS, BAN, PURGE");
    }

    #[test]
    fn what_keeps_apart() {
        let header = |name: &str, test| Conditions { headers: [condition(name, test)].into(), ..Conditions::default() };
        let with = |list: &[&str]| Conditions { methods: Some(methods(list)), ..Conditions::default() };
        let at = |id| Conditions { listeners: [ListenerId(id)].into(), ..Conditions::default() };
        for (a, b, apart) in [
            (header("a", exact("1")), header("a", exact("2")), true),
            (header("a", exact("1")), header("a", exact("1")), false),
            (header("a", exact("1")), header("b", exact("2")), false),
            (header("a", exact("1")), header("a", Test::Present), false),
            (header("a", exact("1")), header("a", matches("[0-9]")), false),
            (header("a", exact("1")), header("a", matches("[a-z]")), true),
            (header("a", matches("^1")), header("a", matches("^2")), true),
            (header("a", matches("1")), header("a", matches("2")), false),
            (with(&["GET"]), with(&["POST"]), true),
            (with(&["GET"]), with(&["HEAD"]), false),
            (with(&["A", "B"]), with(&["C", "B"]), false),
            (with(&["GET"]), Conditions::default(), false),
            (at(1), at(2), true),
            (at(1), at(1), false),
            (at(1), Conditions::default(), false),
        ] {
            assert_eq!((a.excludes(&b), b.excludes(&a)), (apart, apart), "{a:?} and {b:?}");
        }
    }
}
