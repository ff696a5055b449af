//! Where redirects lead, whatever the request says, and which are refused when they are read.

use super::*;
use crate::http::h1::parse::{HeadLimits, RequestHead};
use proptest::prelude::*;
use toml::de::DeTable;

/// What is read of `redirect = ...`, and what is wrong with it.
fn read(text: &str) -> (Option<RedirectConfig>, Vec<Diagnostic>) {
    let text = format!("redirect = {text}");
    let tree = DeTable::parse(&text).unwrap();
    let mut faults = Vec::new();
    let mut section = Section::new("[routes.x]", 0..0, tree.get_ref(), &mut faults);
    let config = RedirectConfig::read(&mut section);
    section.finish(&[]);
    (config, faults)
}

fn redirect(text: &str) -> Redirect {
    let (config, faults) = read(text);
    assert!(faults.is_empty(), "{text}: {faults:?}");
    config.unwrap().compile(&["id"]).unwrap()
}

/// The Location for a request with this target and host; `path` is its path in normal form, and its last segment is
/// captured.
fn location(redirect: &Redirect, target: &str, host: Option<&str>) -> Result<String, NoHost> {
    let mut head = RequestHead::default();
    let host = host.map_or(String::new(), |host| format!("Host: {host}\r\n"));
    let version = if host.is_empty() { "1.0" } else { "1.1" };
    let input = format!("GET {target} HTTP/{version}\r\n{host}X-Next: //evil/\r\n\r\n");
    head.parse(input.as_bytes(), &HeadLimits::default()).unwrap();
    let path = head.path().to_owned();
    let last = path.rfind('/').map_or(0, |slash| slash as u32 + 1);
    let sources = Sources {
        request: &head,
        path: path.as_bytes(),
        captures: &[(last, path.len() as u32)],
        client_ip: b"192.0.2.1",
        client_port: None,
        request_id: b"id",
        scheme: "http",
        service: "",
        route: "r",
    };
    let mut out = b"before".to_vec();
    redirect.put_location(&sources, &mut out)?;
    Ok(String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned())
}

#[test]
fn where_redirects_lead() {
    for (text, target, host, expected) in [
        // The whole target.
        ("\"https://b.example/new\"", "/a", "h", "https://b.example/new"),
        ("\"https://b.example/new\"", "/a?x=1&y", "h", "https://b.example/new?x=1&y"),
        ("\"https://b.example/new?z\"", "/a?x=1", "h", "https://b.example/new?z"),
        ("\"https://b.example/new#z\"", "/a?x=1", "h", "https://b.example/new#z"),
        ("{ to = \"https://b.example/\", query = \"drop\" }", "/a?x=1", "h", "https://b.example/"),
        ("\"https://b.example${request.path}\"", "/a/b?c", "h", "https://b.example/a/b?c"),
        ("\"https://www.${request.host}:8443/n/${path.id}\"", "/a/7", "h.example:80", "https://www.h.example:8443/n/7"),
        ("\"${request.scheme}\"", "/", "h", "refused"),
        ("\"/new/${path.id}\"", "/a/7?q", "h", "/new/7?q"),
        ("\"/new?from=${query.a}\"", "/a?a=%2F%0D&b", "h", "/new?from=%2F%0D"),
        // The parts that change.
        ("{ scheme = \"https\" }", "/a/b?c", "h.example:8080", "https://h.example/a/b?c"),
        ("{ scheme = \"http\" }", "/a", "h.example:8080", "http://h.example:8080/a"),
        ("{ scheme = \"https\", port = 8443 }", "/a", "[::1]:80", "https://[::1]:8443/a"),
        ("{ scheme = \"https\", port = 443 }", "/a", "h", "https://h/a"),
        ("{ host = \"www.example.com\" }", "/a?b", "h:8080", "http://www.example.com/a?b"),
        ("{ port = 8081, query = \"drop\" }", "/a?b", "h:8080", "http://h:8081/a"),
        ("{ path = \"/n/${path.id}\" }", "/a/7?b", "h:8080", "/n/7?b"),
        ("{ host = \"b\", path = \"${request.path}/x\" }", "/a", "h", "http://b/a/x"),
    ] {
        if expected == "refused" {
            assert_eq!(read(text).1.len(), 1, "{text}");
            continue;
        }
        assert_eq!(location(&redirect(text), target, Some(host)).unwrap(), expected, "{text} for {target} at {host}");
    }
    assert_eq!(redirect("\"/a\"").status, 307);
    assert_eq!(redirect("{ to = \"/a\", status = 301 }").status, 301);
}

#[test]
fn nothing_leads_to_a_host_that_the_request_chooses() {
    for (text, target, expected) in [
        ("\"${request.path}\"", "//evil.example/x", "/evil.example/x"),
        ("\"/${path.id}\"", "/a/", "/"),
        ("\"/${query.to}\"", "/a?to=/evil.example", "/evil.example?to=/evil.example"),
        ("\"/${request.header.x-next}\"", "/a", "/evil/"),
        ("{ path = \"/${query.to}\" }", "/?to=//evil", "/evil?to=//evil"),
        ("\"https://b.example${request.path}\"", "//evil.example", "https://b.example//evil.example"),
        ("{ host = \"b.example\" }", "/.evil", "http://b.example/.evil"),
        ("\"/x\"", "/a?b=`{|}", "/x?b=%60%7B%7C%7D"),
    ] {
        assert_eq!(location(&redirect(text), target, Some("h")).unwrap(), expected, "{text} for {target}");
    }
}

#[test]
fn a_request_without_a_host() {
    for (text, expected) in [
        ("\"/new\"", Ok("/new".to_owned())),
        ("{ path = \"/new\" }", Ok("/new".to_owned())),
        ("{ host = \"b\" }", Ok("http://b/a".to_owned())),
        ("\"https://${request.host}/\"", Err(NoHost)),
        ("{ scheme = \"https\" }", Err(NoHost)),
    ] {
        assert_eq!(location(&redirect(text), "/a", None), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_redirect() {
    for (text, message, help) in [
        ("\"b.example/new\"", "begins neither with a scheme nor with a slash", "a path such as"),
        ("\"ftp://b/\"", "begins neither", "a URI such as"),
        ("\"//b.example\"", "two slashes begin a host", "write one slash"),
        ("\"/${request.path}\"", "two slashes begin a host", "write one slash"),
        ("\"https://\"", "it has no host", "https://www.example.com"),
        ("\"https:///x\"", "it has no host", "https://www.example.com"),
        ("\"https://u@h/\"", "it has no host", "https://www.example.com"),
        ("\"https://${request.header.x}/\"", "a request could choose the host", "`${request.host}`"),
        ("\"https://b.example${path.id}\"", "a request could choose the host", "a `/` behind it"),
        ("\"https://b.example:${query.port}/\"", "a request could choose the host", "a `/` behind it"),
        ("\"/a b\"", "` ` cannot stand in a URI", "\"%20\""),
        ("\"/caf\u{e9}\"", "`\u{e9}` cannot stand in a URI", "\"%C3%A9\""),
        ("\"/a\\nb\"", "cannot stand in a URI", "\"%0A\""),
        ("5", "`redirect` cannot be a whole number", "a string"),
        ("{}", "has no `to`", "add a line such as: to = "),
        ("{ status = 301 }", "has no `to`", "add a line such as: to = "),
        ("{ to = \"/a\", path = \"/b\" }", "`to` and `path` are both there", "leave `to` out"),
        ("{ to = \"/a\", status = 200 }", "200 is not the status of a redirect", "301 or 308 for good"),
        ("{ path = \"a\" }", "begins neither", "a path such as"),
        ("{ host = \"a b\" }", "`a b` is not a host", "www.example.com"),
        ("{ host = \"a:80\" }", "`a:80` has a port", "host = \"a\", port = 80"),
        ("{ port = 0 }", "it is not a port", "from 1 to 65535"),
        ("{ port = \"80\" }", "`port` cannot be a string", "a whole number"),
        ("{ scheme = \"ws\" }", "there is no scheme `ws`", "\"https\" or \"http\""),
        ("{ path = \"/a\", query = \"on\" }", "there is no `on`", "\"keep\" or \"drop\""),
        ("{ path = \"/a\", code = 301 }", "unknown key `code`", "there is only: to"),
    ] {
        let (_, faults) = read(text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        let helps = faults[0].help.as_deref().unwrap_or_default();
        assert!(faults[0].message.contains(message) && helps.contains(help), "{text}: {faults:?}");
    }
    let unknown = read("\"/${path.name}\"").0.unwrap().compile(&["id"]).unwrap_err();
    assert!(unknown.message.starts_with("`${path.name}` is nothing"));
}

proptest! {
    /// Whatever the request says, a Location is a URI with the host that was meant, or a path.
    #[test]
    fn any_request_is_sent_where_it_was_meant(path in "(/[a.%&@:]{0,3}){1,4}", query in "[a=&/:@%+?]{0,8}") {
        let escaped = |text: &str| text.replace('%', "%2F");
        let target = format!("{}?to={}", escaped(&path), escaped(&query));
        for (text, start) in [
            ("\"${request.path}\"", "/"),
            ("\"/${path.id}${query.to}\"", "/"),
            ("\"/${query.to}\"", "/"),
            ("\"https://b.example${request.path}\"", "https://b.example/"),
            ("{ scheme = \"https\" }", "https://h.example/"),
        ] {
            let location = location(&redirect(text), &target, Some("h.example")).unwrap();
            prop_assert!(location.starts_with(start) && !location.starts_with("//"), "{} gave {}", text, location);
            let plain = location.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
            prop_assert!(plain, "{}", location);
        }
    }
}
