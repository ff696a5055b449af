//! Which names there are, what they stand for, and that nothing can break out of its place.

use super::*;
use crate::http::h1::parse::HeadLimits;
use proptest::prelude::*;

const REQUEST: &str = "GET /users/7?q=a%20b&r=1&q=2&%71x=y&empty HTTP/1.1\r\nHost: api.example.com:8080\r\n\
    X-Name: J\u{e4}rn \"x\" <b>\r\nAccept: a\r\nAccept: b\r\nx_y: 1\r\n\r\n";

fn parse_head(input: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.parse(input.as_bytes(), &HeadLimits::default()).unwrap();
    head
}

fn sources(head: &RequestHead) -> Sources<'_> {
    Sources {
        request: head,
        path: b"/users/7",
        captures: &[(7, 8), (1, 6)],
        client_ip: b"2001:db8::1",
        client_port: Some(4711),
        request_id: b"0193515b",
        scheme: "https",
        service: "users",
        route: "api",
    }
}

fn template(text: &str) -> Template {
    TemplateConfig::parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}")).compile(&["id", "what"]).unwrap()
}

fn rendered(text: &str, head: &RequestHead, encoding: Encoding) -> String {
    let mut out = b"before ".to_vec();
    template(text).render(&sources(head), encoding, &mut out);
    String::from_utf8_lossy(&out).strip_prefix("before ").unwrap().to_owned()
}

#[test]
fn every_name() {
    let head = parse_head(REQUEST);
    for (text, expected) in [
        ("plain", "plain"),
        ("", ""),
        ("5 $$ and $${x}", "5 $ and ${x}"),
        ("5 $ and \u{fdd0}{x} and $$${client.ip}$", "5 $ and ${x} and $2001:db8::1$"),
        ("${request.method} ${request.scheme}://${request.host}${request.path}", "GET https://api.example.com/users/7"),
        ("[${request.id}]", "[0193515b]"),
        ("${request.header.accept}", "a, b"),
        ("${request.header.X_Y}${request.header.x-missing}", "1"),
        ("${request.header.HOST}", "api.example.com:8080"),
        ("${path.what}/${path.id}", "users/7"),
        ("${query.q}|${query.r}|${query.qx}|${query.empty}|${query.none}", "a%20b|1|y||"),
        ("${client.ip}:${client.port}", "2001:db8::1:4711"),
        ("${service}/${route}", "users/api"),
    ] {
        assert_eq!(rendered(text, &head, Encoding::Field), expected, "{text}");
    }
    let nowhere = Sources { client_port: None, captures: &[], ..sources(&head) };
    let mut out = Vec::new();
    template("${client.port}${path.id}").render(&nowhere, Encoding::Field, &mut out);
    assert!(out.is_empty(), "what is not there is empty");
}

#[test]
fn values_are_encoded_where_they_may_not_stand() {
    let head = parse_head(REQUEST);
    let name = "${request.header.x-name}";
    assert_eq!(rendered(name, &head, Encoding::Field), "J\u{e4}rn \"x\" <b>");
    assert_eq!(rendered(name, &head, Encoding::Uri), "J%C3%A4rn%20%22x%22%20%3Cb%3E");
    assert_eq!(rendered(name, &head, Encoding::Text), "J%C3%A4rn%20%22x%22%20%3Cb%3E");
    let odd = parse_head("GET / HTTP/1.1\r\nHost: [::1]:80\r\nX: a#b%41%zz%'&\\\t\r\nY: %4\r\n\r\n");
    assert_eq!(rendered("${request.header.x}", &odd, Encoding::Uri), "a%23b%41%25zz%25'&%5C");
    assert_eq!(rendered("${request.header.x}", &odd, Encoding::Text), "a%23b%41%25zz%25%27%26%5C");
    assert_eq!(rendered("${request.header.y}", &odd, Encoding::Uri), "%254");
    assert_eq!(rendered("${request.host}", &odd, Encoding::Uri), "[::1]");
    // What was written stays as it is written.
    assert_eq!(rendered("'a b'#", &odd, Encoding::Uri), "'a b'#");
}

#[test]
fn hosts_without_their_ports() {
    for (host, expected) in
        [("a", "a"), ("a:80", "a"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("1.2.3.4:5", "1.2.3.4"), ("", "")]
    {
        assert_eq!(host_without_port(host), expected);
    }
}

#[test]
fn what_is_wrong_with_a_template() {
    for (text, problem, help) in [
        ("${request.hots}", "there is no `${request.hots}`", "did you mean `${request.host}`?"),
        ("${client_ip}", "there is no `${client_ip}`", "did you mean `${client.ip}`?"),
        ("${requests.header.x-a}", "there is no `${requests.header.x-a}`", "did you mean `${request.header.x-a}`?"),
        ("${query}", "there is no `${query}`", "there is only: request.method"),
        ("${}", "there is no `${}`", "there is only: "),
        ("${client.ip", "`${client.ip` has no end", "close it with `}`"),
        ("${request.header.}", "`${request.header.}` does not name a field", "letters, digits"),
        ("${request.header.a b}", "`${request.header.a b}` does not name a field", "letters, digits"),
        ("${path.}", "`${path.}` has no name", "as in `${path.id}`"),
        ("${query.}", "`${query.}` has no name", "as in `${query.id}`"),
    ] {
        match TemplateConfig::parse(text) {
            Err(Wrong::Content { problem: is, help: helps }) => {
                assert!(is == problem && helps.contains(help), "{text}: {is}; {helps}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn captures_must_be_there() {
    let written = TemplateConfig::parse("${path.idd}").unwrap();
    assert_eq!(written.captures().collect::<Vec<_>>(), ["idd"]);
    let wrong = |captures: &[&str]| written.compile(captures).unwrap_err();
    assert!(wrong(&["id", "x"]).problem.starts_with("`${path.idd}` is nothing"));
    assert_eq!(wrong(&["id"]).help, "did you mean `${path.id}`?");
    assert_eq!(wrong(&["name", "x"]).help, "the path has only: name, x");
    assert!(wrong(&[]).help.starts_with("write `{idd}` into the route's path"));
}

proptest! {
    #[test]
    fn nothing_ends_a_line_and_what_is_encoded_decodes(value in proptest::collection::vec(any::<u8>(), 0..40)) {
        for encoding in [Encoding::Field, Encoding::Uri, Encoding::Text] {
            let mut out = Vec::new();
            put_encoded(&value, encoding, &mut out);
            prop_assert!(crate::http::fields::is_value(&out));
            if encoding != Encoding::Field {
                let plain = out.iter().all(|b| b.is_ascii_graphic() && !b"\"<>\\#^`{|}".contains(b));
                prop_assert!(plain, "{}", out.escape_ascii());
                // Twice is once.
                let mut again = Vec::new();
                put_encoded(&out, encoding, &mut again);
                prop_assert_eq!(&again, &out);
            }
        }
    }

    #[test]
    fn any_text_is_a_template_or_wrong(text in "[$a{}. ]{0,12}|(\\$\\{|\\}|request|client|path|\\.|header|ip|host|é){0,8}") {
        if let Ok(written) = TemplateConfig::parse(&text) {
            let names: Vec<&str> = written.captures().collect();
            prop_assert!(written.compile(&names).is_ok());
        }
    }
}
