//! Tables of routes, and which of them a request takes.

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::DeTable;

use super::path::Slashes;
use super::*;
use crate::base::decode::{Section, WHOLE_FILE};
use crate::http::h1::parse::HeadLimits;

const AROUND: Surroundings<'static> =
    Surroundings { listeners: &["public", "private"], slashes: Slashes::Kept, workers: 2 };

/// The router of a file's `[routes.NAME]` sections, with their names; or all that is wrong with them.
pub(super) fn table(text: &str) -> Result<(Router, Vec<String>), String> {
    compiled(text, |router, inputs| {
        (std::mem::take(router), inputs.iter().map(|input| input.name.get_ref().clone()).collect())
    })
}

/// Looks at the router of a file's `[routes.NAME]` sections, and at what it was compiled from.
pub(super) fn inputs_of<T>(text: &str, look: impl FnOnce(&Router, &[RouteInput<'_>]) -> T) -> T {
    compiled(text, |router, inputs| look(router, inputs)).unwrap_or_else(|faults| panic!("{faults}"))
}

fn compiled<T>(text: &str, look: impl FnOnce(&mut Router, &[RouteInput<'_>]) -> T) -> Result<T, String> {
    let mut faults = Vec::new();
    let tree = DeTable::parse(text).unwrap();
    let mut file = Section::new(WHOLE_FILE, Range::default(), tree.get_ref(), &mut faults);
    let routes: Vec<(Spanned<String>, MatchConfig, ForwardConfig)> = file.named("routes", |name, section| {
        let read = (name, MatchConfig::read(section), ForwardConfig::read(section));
        section.read("service", &mut String::new());
        section.finish(&[]);
        Some(read)
    });
    file.finish(&[]);
    let inputs: Vec<RouteInput<'_>> =
        routes.iter().map(|(name, matches, forward)| RouteInput { name, matches, forward }).collect();
    let mut router = Router::compile(&inputs, &AROUND).unwrap_or_else(|wrong| {
        faults.extend(wrong);
        Router::default()
    });
    let lines =
        faults.iter().map(|fault| format!("{}; {}\n", fault.message, fault.help.as_deref().unwrap_or_default()));
    match faults.is_empty() {
        true => Ok(look(&mut router, &inputs)),
        false => Err(lines.collect()),
    }
}

/// The router of one route with these keys.
pub(super) fn router(keys: &str) -> Result<Router, String> {
    table(&format!("[routes.only]\n{keys}")).map(|(router, _)| router)
}

/// Looks up a request, which is a request line and fields, from the first listener.
pub(super) fn find(router: &Router, request: &str, captures: &mut Captures) -> Result<RouteId, Missed> {
    find_from(router, request, ListenerId(0), captures)
}

fn find_from(router: &Router, request: &str, listener: ListenerId, captures: &mut Captures) -> Result<RouteId, Missed> {
    with(request, listener, |lookup| router.find(lookup, captures))
}

/// Calls `ask` with the look-up of a request.
pub(super) fn with<T>(request: &str, listener: ListenerId, ask: impl FnOnce(&Lookup<'_>) -> T) -> T {
    let mut head = RequestHead::default();
    head.parse(format!("{request}\r\n\r\n").as_bytes(), &HeadLimits::default()).unwrap();
    let mut buffer = Vec::new();
    let path = path::normalize(head.path().as_bytes(), Slashes::Kept, &mut buffer).unwrap();
    ask(&Lookup { head: &head, path, listener, worker: 1 })
}

/// Asserts which route each request takes: a method, a URL without its scheme, and fields; `-` stands for no route and
/// `!` for a wrong method.
fn assert_routes(text: &str, requests: &[(&str, &str)]) {
    let (router, names) = table(text).unwrap_or_else(|faults| panic!("{faults}"));
    let mut captures = Captures::default();
    for (request, expected) in requests {
        let mut words = request.splitn(3, ' ');
        let (method, url) = (words.next().unwrap(), words.next().unwrap());
        let (host, path) = url.split_at(url.find('/').unwrap());
        let fields = words.next().map_or(String::new(), |fields| format!("\r\n{fields}"));
        let taken = find(&router, &format!("{method} {path} HTTP/1.1\r\nHost: {host}{fields}"), &mut captures);
        let name = match taken {
            Ok(id) => names[id.index()].as_str(),
            Err(Missed::NoRoute) => "-",
            Err(Missed::MethodNotAllowed) => "!",
        };
        assert_eq!(name, *expected, "{request}");
    }
}

#[test]
fn paths_in_the_order_of_precedence() {
    let text = "
        [routes]
        rest = {}
        exact = { path = '/a/b' }
        literal_first = { path = '/a/{x}' }
        literal_second = { path = '/{x}/b' }
        both = { path = '/{x}/{y}' }
        expression = { path = '~ ^/[a-z]/[a-z]+/[a-z]$' }
        long = { path = '/a/b/*' }
        longer = { path = '/a/{x}/c/*' }
        captured = { path = '/a/{x}/*' }
        short = { path = '/a/*' }
        root = { path = '/' }
    ";
    assert_routes(
        text,
        &[
            ("GET h/", "root"),
            ("GET h/z", "rest"),
            ("GET h//", "rest"),
            ("GET h/a", "short"),
            ("GET h/a/", "short"),
            ("GET h/a/b", "exact"),
            ("GET h/a/z", "literal_first"),
            ("GET h/z/b", "literal_second"),
            ("GET h/z/z", "both"),
            ("GET h/z/", "rest"),
            ("GET h/a/b/", "long"),
            ("GET h/a/b/c", "expression"),
            ("GET h/a/b/C", "long"),
            ("GET h/a/b/c/d", "longer"),
            ("GET h/a/z/z/z", "captured"),
            ("GET h/a/z/c/z", "longer"),
            ("GET h/a//z", "short"),
            ("GET h/ab", "rest"),
        ],
    );
}

#[test]
fn the_example_of_the_readme() {
    let readme = include_str!("../../README.md").split("With the routes").nth(1).unwrap();
    let (text, rest) = readme.split_once("```toml").unwrap().1.split_once("```").unwrap();
    let rows = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (method, target) = cells[1].split_once(' ').unwrap();
        let target = target.replace(" with `", " ").replace('`', "");
        let host = if target.starts_with('/') { "h" } else { "" };
        (format!("{method} {host}{target}"), if cells[2].starts_with("none") { "-" } else { cells[2] })
    });
    let rows: Vec<(String, &str)> = rows.collect();
    assert_eq!(rows.len(), 7);
    assert_routes(text, &rows.iter().map(|(request, route)| (request.as_str(), *route)).collect::<Vec<_>>());
}

#[test]
fn a_walk_turns_back_where_a_literal_leads_nowhere() {
    let text = "
        [routes]
        one = { path = '/a/b/c/d' }
        two = { path = '/{w}/b/{y}/e' }
        three = { path = '/a/{x}/c/f' }
        four = { path = '/{w}/{x}/{y}/{z}' }
        five = { path = '/{w}/b/*', methods = ['POST'] }
        six = { path = '/a/*', methods = ['POST'] }
    ";
    assert_routes(
        text,
        &[
            ("GET h/a/b/c/d", "one"),
            ("GET h/a/b/c/e", "two"),
            ("GET h/a/b/c/f", "three"),
            ("GET h/a/b/c/g", "four"),
            ("POST h/a/b/c", "five"),
            ("POST h/a/c/b", "six"),
            ("GET h/a/b/c", "!"),
            ("GET h/b/c/d", "-"),
        ],
    );
}

#[test]
fn hosts_come_before_paths_and_priority_before_all() {
    let text = "
        [routes]
        exact = { hosts = ['a.example.com'], path = '/*' }
        exact_only = { hosts = ['A.Example.Com.'], path = '/exact' }
        longest = { hosts = ['*.example.com'], path = '/x' }
        wildcard = { hosts = ['*.com', '[::1]'], path = '/x' }
        any = { path = '/x' }
        first = { path = '/first/*', priority = 1 }
        second = { hosts = ['a.example.com'], path = '/first/of/all' }
        most = { path = '/first/of/*', priority = 2, methods = ['PUT'] }
        least = { priority = -1 }
    ";
    assert_routes(
        text,
        &[
            ("GET a.example.com/x", "exact"),
            ("GET A.EXAMPLE.com.:8080/exact", "exact_only"),
            ("GET b.example.com/x", "longest"),
            ("GET c.b.example.com:1/x", "longest"),
            ("GET example.com/x", "wildcard"),
            ("GET [0:0::1]:80/x", "wildcard"),
            ("GET com/x", "any"),
            ("GET example.org/x", "any"),
            ("GET example.org/y", "least"),
            ("GET a.example.com/first/of/all", "first"),
            ("PUT a.example.com/first/of/all", "most"),
            ("PUT b.example.com/first", "first"),
        ],
    );
}

#[test]
fn more_conditions_first_and_all_must_hold() {
    let text = "
        [routes]
        plain = { path = '/x' }
        one = { path = '/x', methods = ['GET'] }
        two = { path = '/x', methods = ['GET'], headers = { x-v = '2' } }
        three = { path = '/x', methods = ['GET'], headers = { X-V = '2' }, query = { a = true } }
        other = { path = '/x', methods = ['POST'] }
        below = { path = '/*', methods = ['GET', 'PURGE'] }
    ";
    assert_routes(
        text,
        &[
            ("GET h/x", "one"),
            ("HEAD h/x", "one"),
            ("POST h/x", "other"),
            ("PUT h/x", "plain"),
            ("GET h/x X-v: 2", "two"),
            ("GET h/x X-v: 3", "one"),
            ("GET h/x?a X-v: 2", "three"),
            ("GET h/x?b=a X-v: 2", "two"),
            ("POST h/x?a X-v: 2", "other"),
            ("GET h/y", "below"),
            ("PURGE h/y", "below"),
            ("POST h/y", "!"),
        ],
    );
}

#[test]
fn a_request_without_a_host_takes_routes_without_hosts() {
    let (router, _) = table("[routes]\na = { hosts = ['*.com', 'h'] }\nb = { path = '/b' }").unwrap();
    let mut captures = Captures::default();
    assert_eq!(find(&router, "GET /b HTTP/1.0", &mut captures), Ok(RouteId(1)));
    assert_eq!(find(&router, "GET /a HTTP/1.0", &mut captures), Err(Missed::NoRoute));
    assert_eq!(find(&router, "GET /a HTTP/1.0\r\nHost: h", &mut captures), Ok(RouteId(0)));
    // The authority of the target is the host, whatever the field says.
    assert_eq!(find(&router, "GET http://h/b HTTP/1.1\r\nHost: x", &mut captures), Ok(RouteId(0)));
    assert_eq!(find(&Router::default(), "GET / HTTP/1.0", &mut captures), Err(Missed::NoRoute));
}

#[test]
fn listeners() {
    let text = "[routes]\na = { listeners = ['private'] }\nb = { listeners = ['public'], path = '/x' }";
    let (router, _) = table(text).unwrap();
    let mut captures = Captures::default();
    for (path, listener, expected) in [
        ("/x", 0, Ok(RouteId(1))),
        ("/x", 1, Ok(RouteId(0))),
        ("/y", 0, Err(Missed::NoRoute)),
        ("/y", 1, Ok(RouteId(0))),
    ] {
        let request = format!("GET {path} HTTP/1.0");
        assert_eq!(find_from(&router, &request, ListenerId(listener), &mut captures), expected, "{path} {listener}");
    }
}

#[test]
fn captures_are_parts_of_the_path_as_it_stands() {
    let text = "
        [routes]
        a = { path = '/a/{x}/{y}' }
        b = { path = '/b/{x}/*' }
        c = { path = '~ ^/c(?<n>[0-9]+)(-(?<m>.))?$' }
    ";
    let (router, _) = table(text).unwrap();
    let mut captures = Captures::default();
    for (path, names, expected) in [
        ("/a/1/%2fz", &["x", "y"][..], &[&b"1"[..], b"%2Fz"][..]),
        ("/b/%41/c/d", &["x"], &[b"A"]),
        ("/b/1", &["x"], &[b"1"]),
        ("/c42-x", &["n", "m"], &[b"42", b"x"]),
        ("/c7", &["n", "m"], &[b"7", b""]),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h");
        with(&request, ListenerId(0), |lookup| {
            let id = router.find(lookup, &mut captures).unwrap();
            assert!(router.capture_names(id).iter().map(|name| &**name).eq(names.iter().copied()), "{path}");
            let found: Vec<_> = (0..expected.len()).map(|i| captures.get(i, lookup.path).unwrap()).collect();
            assert_eq!(found, expected, "{path}");
            assert_eq!(captures.get(expected.len(), lookup.path), None);
            assert_eq!(router.capture_index(id, names[0]), Some(0));
            assert_eq!(router.capture_index(id, "nobody"), None);
        });
    }
    let names = |path: &str| MatchConfig { path: Some(Spanned::new(0..0, path.into())), ..MatchConfig::default() };
    assert_eq!(names("/{a}/{b}/*").capture_names(), ["a", "b"]);
    assert_eq!(names("~ (?<a>.)").capture_names(), ["a"]);
    assert!(names("no path").capture_names().is_empty() && MatchConfig::default().capture_names().is_empty());
}

#[test]
fn allow_lists_the_methods_of_all_routes_that_only_the_method_kept_out() {
    let text = "
        [routes]
        a = { path = '/x', methods = ['GET'] }
        b = { path = '/x', methods = ['POST', 'BAN'], headers = { x-v = '2' } }
        c = { path = '~ ^/x', methods = ['PUT'] }
        d = { hosts = ['h'], methods = ['OPTIONS'] }
        e = { path = '/y', methods = ['DELETE'], priority = 7 }
        f = { path = '/x', methods = ['TRACE'], listeners = ['private'] }
    ";
    let (router, _) = table(text).unwrap();
    let mut captures = Captures::default();
    for (request, expected) in [
        ("PATCH /x HTTP/1.0", "GET, HEAD, PUT"),
        ("PATCH /x HTTP/1.0\r\nX-V: 2", "GET, HEAD, POST, PUT, BAN"),
        ("PATCH /x HTTP/1.0\r\nX-V: 2\r\nHost: h", "GET, HEAD, POST, PUT, OPTIONS, BAN"),
        ("PATCH /y HTTP/1.0", "DELETE"),
        ("PATCH /z HTTP/1.0", ""),
    ] {
        with(request, ListenerId(0), |lookup| {
            let missed = if expected.is_empty() { Missed::NoRoute } else { Missed::MethodNotAllowed };
            assert_eq!(router.find(lookup, &mut captures), Err(missed), "{request}");
            let mut list = b"left over".to_vec();
            router.allowed(lookup, &mut captures, &mut list);
            assert_eq!(String::from_utf8(list).unwrap(), expected, "{request}");
        });
    }
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    for (a, b) in [
        ("", ""),
        ("", "path = '/*'"),
        ("path = '/x'", "path = '/x'"),
        ("path = '/{a}/x/*'", "path = '/{b}/x/*'"),
        ("path = '/x', hosts = ['a', 'b']", "path = '/x', hosts = ['c', 'B']"),
        ("path = '/x', methods = ['GET']", "path = '/x', methods = ['HEAD']"),
        ("path = '/x', methods = ['GET']", "path = '/x', headers = { a = '1' }"),
        ("path = '/x', headers = { a = '1' }", "path = '/x', query = { a = '1' }"),
        ("path = '/x', headers = { a = '1' }", "path = '/x', headers = { a = true }"),
        ("path = '/x', listeners = ['public']", "path = '/x'"),
        ("path = '/x', priority = 3", "path = '/x', priority = 3"),
        ("path = '~ ^/a'", "path = '~ ^/ab'"),
        ("path = '~ a'", "path = '~ b'"),
    ] {
        let faults = table(&format!("[routes]\na = {{ {a} }}\nb = {{ {b} }}")).unwrap_err();
        assert!(faults.contains("routes `a` and `b`"), "{a} and {b}: {faults}");
        assert_eq!(faults.lines().count(), 1, "{faults}");
    }
    for (a, b) in [
        ("path = '/x'", "path = '/x', priority = 1"),
        ("path = '/x'", "path = '/x/'"),
        ("path = '/x'", "path = '/x/*'"),
        ("path = '/x', hosts = ['a']", "path = '/x', hosts = ['*.a']"),
        ("path = '/x', methods = ['GET']", "path = '/x', methods = ['POST']"),
        ("path = '/x', query = { v = '1' }", "path = '/x', query = { v = '2' }"),
        ("path = '/x', query = { v = '1' }", "path = '/x', query = { v = '~ ^[^1]$' }"),
        ("path = '/x', listeners = ['public']", "path = '/x', listeners = ['private']"),
        ("path = '~ ^/a'", "path = '~ ^/b'"),
        ("path = '~ a'", "path = '~ b', methods = ['GET']"),
        ("path = '~ a', priority = 1", "path = '~ b'"),
        ("path = '~ a', hosts = ['a']", "path = '~ b'"),
    ] {
        assert!(table(&format!("[routes]\na = {{ {a} }}\nb = {{ {b} }}")).is_ok(), "{a} and {b}");
    }
}

#[test]
fn what_is_wrong_with_one_route() {
    for (keys, expected) in [
        ("hosts = 'a'", "`hosts` cannot be a string; it must be a list"),
        ("hosts = []", "the list is empty; leave it out"),
        ("hosts = ['a', 'A.']", "the host `A.` is there twice"),
        ("hosts = ['a:80']", "`a:80` has a port; write \"a\""),
        ("methods = ['get']", "not in upper case, and methods are compared with their case; write \"GET\""),
        ("methods = ['GET', 'GET']", "the method `GET` is there twice"),
        ("methods = ['CONNECT']", "no route takes CONNECT"),
        ("methods = ['G T']", "`G T` is not a method"),
        ("headers = {}", "the table is empty"),
        ("headers = { 'a b' = '1' }", "`a b` is not the name of a field"),
        ("headers = { host = 'a' }", "the host is not a condition of `headers`; write it under `hosts`"),
        ("headers = { X-A = '1', x-a = '2' }", "`x-a` is there twice in `headers`"),
        ("headers = { x-a = ' 1' }", "no field has the value of `headers.x-a`"),
        ("headers = { x-a = '~ (' }", "the regular expression of `headers.x-a` cannot be used: unclosed group"),
        ("headers = { x-a = '~x' }", "not with `~ ` and an expression; for a regular expression write \"~ x\""),
        ("headers = { x-a = 1 }", "1 is a number, and what is compared is text; write \"1\""),
        ("headers = { x-a = false }", "`headers.x-a` cannot be `false`"),
        ("query = { '' = '1' }", "cannot be empty"),
        ("listeners = ['publik']", "there is no listener `publik`; did you mean `public`?"),
        ("listeners = ['quite_other']", "add a section [listeners.quite_other]"),
        ("priority = 'high'", "it must be a whole number"),
        ("priority = 99999999999999999999", "is out of bounds"),
    ] {
        let faults = router(keys).unwrap_err();
        assert!(faults.contains(expected), "{keys}: {faults}");
        assert_eq!(faults.lines().count(), 1, "{faults}");
    }
}

/// Expressions, and what each of them tells of the beginning of a path.
const EXPRESSIONS: [(&str, &[&str]); 8] = [
    ("~ ^/a", &["/a"]),
    ("~ ^/ab?", &["/a"]),
    ("~ ^/abc", &["/abc"]),
    ("~ ^/(abd|b)", &["/abd", "/b"]),
    ("~ ^/(b|c)/", &["/b/", "/c/"]),
    ("~ ^/c/d", &["/c/d"]),
    ("~ ^/[^/]+/x", &["/"]),
    ("~ /x$", &[""]),
];

proptest::proptest! {
    /// Routes of one path or of expressions, each with some headers and query keys that must be `1`, `2` or there at all:
    /// every route is told of with the first that nothing keeps apart from it, as if all pairs had been compared.
    #[test]
    fn ties_are_those_of_all_pairs(
        written in proptest::collection::vec((0..EXPRESSIONS.len(), proptest::array::uniform3(0..4_u8)), 0..9),
        expressions in proptest::bool::ANY,
    ) {
        let test = |value: u8| if value == 3 { "true".to_owned() } else { format!("\"{value}\"") };
        let mut text = String::new();
        for (index, (expression, values)) in written.iter().enumerate() {
            let path = if expressions { EXPRESSIONS[*expression].0 } else { "/p" };
            text += &format!("[routes.r{index}]\npath = \"{path}\"\n");
            for (name, value) in ["headers.a", "headers.b", "query.a"].into_iter().zip(values).filter(|(_, value)| **value > 0) {
                text += &format!("{name} = {}\n", test(*value));
            }
        }
        let count = |values: &[u8; 3]| values.iter().filter(|value| **value > 0).count();
        let begin_apart = |a: usize, b: usize| {
            let differ = |a: &str, b: &str| !a.starts_with(b) && !b.starts_with(a);
            expressions && EXPRESSIONS[a].1.iter().all(|a| EXPRESSIONS[b].1.iter().all(|b| differ(a, b)))
        };
        let apart = |(x, a): &(usize, [u8; 3]), (y, b): &(usize, [u8; 3])| {
            begin_apart(*x, *y) || a.iter().zip(b).any(|(a, b)| a != b && (1..3).contains(a) && (1..3).contains(b))
        };
        let mut expected = Vec::new();
        for (index, route) in written.iter().enumerate() {
            let mut before = written[..index].iter().enumerate();
            let clash = before.find(|(_, other)| count(&other.1) == count(&route.1) && !apart(other, route));
            expected.extend(clash.map(|(other, _)| (other, index)));
        }
        expected.sort_unstable();
        let told = table(&text).err().unwrap_or_default();
        let pairs = told.lines().map(|line| {
            let mut names = line.split('`').skip(1).step_by(2).map(|name| name[1..].parse::<usize>().unwrap());
            (names.next().unwrap(), names.next().unwrap())
        });
        proptest::prop_assert_eq!(pairs.collect::<Vec<_>>(), expected, "{}", text);
    }
}
