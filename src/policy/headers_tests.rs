//! Which rules are read, what is wrong with others, and in which order they hold.

use super::*;
use crate::http::template::TemplateConfig;
use toml::de::DeTable;

/// What is read of a table, and what is wrong with it.
fn read(text: &str, scope: Scope) -> (RulesConfig, Vec<Diagnostic>) {
    let tree = DeTable::parse(text).unwrap();
    let mut faults = Vec::new();
    let mut section = Section::new("[routes.x]", 0..0, tree.get_ref(), &mut faults);
    let rules = RulesConfig::read(&mut section, scope);
    section.finish(&[]);
    (rules, faults)
}

fn rules(text: &str) -> RulesConfig {
    let (rules, faults) = read(text, Scope::Route);
    assert!(faults.is_empty(), "{faults:?}");
    rules
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn value(text: &str) -> crate::http::template::Template {
    TemplateConfig::parse(text).unwrap().compile(&["id"]).unwrap()
}

const EVERY: &str = r#"
    [request_headers]
    set = { X-B = "${path.id}", X-A = "1" }
    append = { X-D = ["2", "3"], X-E = "4" }
    remove = ["Server", "X-Internal-*"]
    rename = { Old = "New" }
    add = { X-C = "$$" }
"#;

fn compiled(defaults: &str, service: &str, route: &str) -> Option<Edits> {
    let (defaults, service, route) = (rules(defaults), rules(service), rules(route));
    Rules::compile(&defaults, Some(&service), &route, &["id"], &[b"Via"], Vec::new()).unwrap().request
}

#[test]
fn rules_hold_in_their_order() {
    let steps = vec![
        Step::Remove(name("Server")),
        Step::RemovePrefix("X-Internal-".into()),
        Step::Rename(name("Old"), name("New")),
        Step::Set(name("X-B"), value("${path.id}")),
        Step::Set(name("X-A"), value("1")),
        Step::Add(name("X-C"), value("$$")),
        Step::Append(name("X-D"), value("2")),
        Step::Append(name("X-D"), value("3")),
        Step::Append(name("X-E"), value("4")),
    ];
    assert_eq!(compiled("", "", EVERY), Edits::new(steps, &[b"Via"]));
    assert_eq!(compiled("", "", ""), None);
}

#[test]
fn scopes_add_up_and_false_drops_the_defaults() {
    let remove = |text: &str| format!("request_headers = {{ remove = [\"{text}\"] }}");
    let of = |names: &[&str]| Edits::new(names.iter().map(|text| Step::Remove(name(text))).collect(), &[]);
    let (a, b, c) = (remove("A"), remove("B"), remove("C"));
    let off = "request_headers = false";
    for (defaults, service, route, expected) in [
        (&*a, &*b, &*c, of(&["A", "B", "C"])),
        (&*a, "", "", of(&["A"])),
        (&*a, &*b, off, of(&["B"])),
        (&*a, off, &*c, of(&["C"])),
        (&*a, off, off, None),
        (off, &*b, "", of(&["B"])),
        (&*a, "response_headers = false", "", of(&["A"])),
    ] {
        assert_eq!(compiled(defaults, service, route), expected, "{defaults} {service} {route}");
    }
}

#[test]
fn what_is_wrong_with_rules() {
    for (text, message, help) in [
        ("set = { Host = \"a\" }", "`Host` says where", "`preserve_host = false`"),
        ("remove = [\"Content-Length\"]", "`Content-Length` frames the message", "leave it out"),
        ("add = { connection = \"x\" }", "`connection` belongs to one connection", "leave it out"),
        ("rename = { TE = \"X\" }", "`TE` belongs to one connection", "leave it out"),
        ("rename = { X = \"Upgrade\" }", "wrong value for `X`: `Upgrade` belongs", "leave it out"),
        ("append = { Expect = \"x\" }", "`Expect` is settled with the client", "leave it out"),
        ("set = { \"a b\" = \"x\" }", "`a b` is not the name of a field", "letters, digits"),
        ("remove = [\"*\"]", "`*` is not the beginning of a name", "in front of the star"),
        ("remove = [\"X *\"]", "`X *` is not the beginning of a name", "in front of the star"),
        ("remove = \"X\"", "`remove` cannot be a string", "a list of names"),
        ("remove = [1]", "`remove` cannot be a whole number", "the name of a field"),
        ("set = { X = \"a\\nb\" }", "it has control characters", "one line of text"),
        ("set = { X = \"\" }", "it is empty", "use `remove`"),
        ("set = { X = \"${client.pi}\" }", "there is no `${client.pi}`", "did you mean `${client.ip}`?"),
        ("set = { X = [\"a\"] }", "`X` cannot be a list", "it must be a string"),
        ("set = { X = \"1\", x = \"2\" }", "`X` and `x` are one field", "remove one of them"),
        ("sets = { X = \"1\" }", "unknown key `sets`", "did you mean `set`?"),
    ] {
        let (_, faults) = read(&format!("request_headers = {{ {text} }}"), Scope::Route);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        let helps = faults[0].help.as_deref().unwrap_or_default();
        assert!(faults[0].message.contains(message) && helps.contains(help), "{text}: {faults:?}");
    }
}

#[test]
fn captures_are_those_of_one_route() {
    let text =
        "request_headers = { set = { X = \"${path.id}\" } }\nresponse_headers = { add = { Y = \"${path.name}\" } }";
    let (_, faults) = read(text, Scope::Shared);
    assert_eq!(faults.len(), 2);
    assert!(faults[0].message.contains("of one route") && faults[0].help.as_deref().unwrap().contains("on the route"));
    let faults = rules(text).check(&["id"]);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].message.starts_with("`${path.name}` is nothing"), "{faults:?}");
    let compiled = Rules::compile(&RulesConfig::default(), None, &rules(text), &["id"], &[], Vec::new());
    assert!(compiled.unwrap_err().message.starts_with("`${path.name}` is nothing"));
}
