//! Steps on heads, compared with a list of lines to which they are applied one after the other.

use super::*;
use crate::http::fields::{FieldName, FieldValue};
use crate::http::h1::encode::{Dropped, RequestForward, Target, encode_request};
use crate::http::h1::parse::{HeadLimits, RequestHead};
use crate::http::message::Framing;
use crate::http::template::{Encoding, TemplateConfig};
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn value(text: &str) -> Template {
    TemplateConfig::parse(text).unwrap().compile(&[]).unwrap()
}

fn parse_head(lines: &str) -> RequestHead {
    let mut head = RequestHead::default();
    let input = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    head.parse(input.as_bytes(), &HeadLimits::default()).unwrap();
    head
}

const OWN: &[NewField<'static>] = &[
    (FieldName::literal("X-Forwarded-For"), FieldValue::literal("1.2.3.4")),
    (FieldName::literal("Via"), FieldValue::literal("1.1 tidegate")),
];

/// What is sent on of a head with these lines, without the first two.
fn sent(steps: &[Step], lines: &str) -> String {
    let head = parse_head(lines);
    let own: Vec<&[u8]> = OWN.iter().map(|(name, _)| name.as_bytes()).collect();
    let edits = Edits::new(steps.to_vec(), &own);
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let sources = Sources {
        request: &head,
        path: b"/",
        captures: &[],
        client_ip: b"6.6.6.6",
        client_port: None,
        request_id: b"id",
        scheme: "http",
        service: "",
        route: "r",
    };
    let forward = RequestForward {
        target: Target::new(b"/").unwrap(),
        framing: Framing::None,
        host: None,
        default_host: FieldValue::literal("h"),
        close: false,
        drop: Dropped { known: KnownSet::of(&[Known::Date]), ..Dropped::default() },
        append: OWN,
    };
    let editing = edits.as_ref().map(|edits| Editing {
        edits,
        scratch: &mut scratch,
        sources: edits.needs_sources().then_some(sources),
    });
    encode_request(&head, &forward, editing, &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_prefix("GET / HTTP/1.1\r\nHost: h\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned()
}

#[test]
fn each_step() {
    let ours = "X-Forwarded-For: 1.2.3.4\r\nVia: 1.1 tidegate\r\n";
    for (steps, lines, expected) in [
        (vec![], "A: 1\r\n", format!("A: 1\r\n{ours}")),
        (vec![Step::Remove(name("x-a"))], "B: 1\r\nX-A: 1\r\nx-a: 2\r\nC: 3\r\n", format!("B: 1\r\nC: 3\r\n{ours}")),
        (vec![Step::Remove(name("Server"))], "server: x\r\nC: 3\r\n", format!("C: 3\r\n{ours}")),
        (
            vec![Step::RemovePrefix("X-In".into())],
            "X-Internal: 1\r\nx-in: 1\r\nX-I: 2\r\n",
            format!("X-I: 2\r\n{ours}"),
        ),
        (vec![Step::RemovePrefix("accept".into())], "Accept-Language: de\r\nA: 1\r\n", format!("A: 1\r\n{ours}")),
        (vec![Step::RemovePrefix("x-forwarded".into())], "A: 1\r\n", "A: 1\r\nVia: 1.1 tidegate\r\n".into()),
        // Lines that only the encoder writes are out of reach.
        (vec![Step::RemovePrefix("H".into())], "Hm: 1\r\n", ours.into()),
        (vec![Step::Set(name("via"), value("x"))], "Via: 1.0 y\r\n", "X-Forwarded-For: 1.2.3.4\r\nvia: x\r\n".into()),
        (
            vec![Step::Set(name("X-A"), value("${client.ip}"))],
            "x-a: 1\r\nB:2\r\n",
            format!("B: 2\r\n{ours}X-A: 6.6.6.6\r\n"),
        ),
        (vec![Step::Set(name("X-A"), value("${query.none}"))], "x-a: 1\r\nB: 2\r\n", format!("B: 2\r\n{ours}")),
        (vec![Step::Add(name("X-A"), value("2"))], "x-a: 1\r\n", format!("x-a: 1\r\n{ours}")),
        (vec![Step::Add(name("X-A"), value("2"))], "", format!("{ours}X-A: 2\r\n")),
        (vec![Step::Append(name("X-A"), value("2"))], "x-a: 1\r\n", format!("x-a: 1\r\n{ours}X-A: 2\r\n")),
        (
            vec![Step::Rename(name("X-Old"), name("X-New"))],
            "A: 1\r\nx-old:  1\r\nB: 1\r\nX-New: 2\r\nX-Old: 3\r\n",
            format!("A: 1\r\nX-New: 1\r\nB: 1\r\nX-New: 3\r\n{ours}"),
        ),
        (vec![Step::Rename(name("X-Old"), name("X-New"))], "X-New: 2\r\n", format!("X-New: 2\r\n{ours}")),
        (vec![Step::Rename(name("x-a"), name("X-A"))], "x-a: 2\r\n", format!("X-A: 2\r\n{ours}")),
        (
            vec![Step::Rename(name("Via"), name("X-Via"))],
            "",
            "X-Forwarded-For: 1.2.3.4\r\nX-Via: 1.1 tidegate\r\n".into(),
        ),
        // A line that a step has made is a line like any other to the next one.
        (
            vec![
                Step::Set(name("X-A"), value("1")),
                Step::Rename(name("X-A"), name("X-B")),
                Step::Add(name("X-B"), value("2")),
            ],
            "X-B: 0\r\n",
            format!("{ours}X-B: 1\r\n"),
        ),
        // A field that is left out anyway is not there to be added to.
        (vec![Step::Add(name("Date"), value("now"))], "Date: then\r\n", format!("{ours}Date: now\r\n")),
    ] {
        assert_eq!(sent(&steps, lines), expected, "{steps:?} on {lines:?}");
    }
}

#[test]
fn names_that_only_the_encoder_writes_are_refused() {
    for refused in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Expect",
        "a b",
        "",
    ] {
        assert_eq!(Name::new(refused), None, "{refused}");
    }
    assert!(Edits::new(Vec::new(), &[]).is_none());
}

/// The lines of a head as a list, and one step after the other applied to it.
fn naive(steps: &[Step], mut lines: Vec<(String, String)>) -> Vec<(String, String)> {
    let same = |name: &Name, line: &(String, String)| line.0.eq_ignore_ascii_case(&name.text);
    let text = |template: &Template| {
        let head = parse_head("");
        let mut out = Vec::new();
        let sources = Sources {
            request: &head,
            path: b"",
            captures: &[],
            client_ip: b"6.6.6.6",
            client_port: None,
            request_id: b"",
            scheme: "",
            service: "",
            route: "",
        };
        template.render(&sources, Encoding::Field, &mut out);
        String::from_utf8(out).unwrap()
    };
    // A value that comes out empty is not written, but its line was there for the other steps.
    let empty = "\0";
    let push = |lines: &mut Vec<(String, String)>, name: &Name, value: &Template| {
        let value = text(value);
        lines.push((name.text.to_string(), if value.is_empty() { empty.to_owned() } else { value }));
    };
    for step in steps {
        match step {
            Step::Remove(name) => lines.retain(|line| !same(name, line)),
            Step::RemovePrefix(prefix) => {
                lines.retain(|line| !line.0.to_lowercase().starts_with(&prefix.to_lowercase()));
            }
            Step::Rename(from, to) => {
                if lines.iter().any(|line| same(from, line)) {
                    lines.retain(|line| !same(to, line) || same(from, line));
                    for line in lines.iter_mut().filter(|line| line.0.eq_ignore_ascii_case(&from.text)) {
                        line.0 = to.text.to_string();
                    }
                }
            }
            Step::Set(name, value) => {
                lines.retain(|line| !same(name, line));
                push(&mut lines, name, value);
            }
            Step::Add(name, value) => {
                if !lines.iter().any(|line| same(name, line)) {
                    push(&mut lines, name, value);
                }
            }
            Step::Append(name, value) => push(&mut lines, name, value),
        }
    }
    lines.retain(|line| line.1 != empty);
    lines
}

fn any_name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] =
        &["X-A", "x-a", "X-B", "X-Ab", "Via", "VIA", "Server", "X-Forwarded-For", "Accept", "Cookie", "A", "x_a"];
    proptest::sample::select(NAMES).prop_map(str::to_owned)
}

fn any_step() -> impl Strategy<Value = Step> {
    let value = proptest::sample::select(&["1", "${client.ip}", "${query.none}", "a b"][..]).prop_map(value);
    let prefix = proptest::sample::select(&["X-", "x-a", "a", "V", "Accept"][..]);
    prop_oneof![
        any_name().prop_map(|text| Step::Remove(name(&text))),
        prefix.prop_map(|prefix| Step::RemovePrefix(prefix.into())),
        (any_name(), any_name()).prop_map(|(from, to)| Step::Rename(name(&from), name(&to))),
        (any_name(), value.clone()).prop_map(|(text, value)| Step::Set(name(&text), value)),
        (any_name(), value.clone()).prop_map(|(text, value)| Step::Add(name(&text), value)),
        (any_name(), value).prop_map(|(text, value)| Step::Append(name(&text), value)),
    ]
}

type Lines = Vec<(String, String, bool)>;

fn any_lines() -> impl Strategy<Value = Lines> {
    proptest::collection::vec((any_name(), "[0-9]{0,2}", any::<bool>()), 0..12)
}

fn agrees(steps: &[Step], lines: Lines) -> Result<(), TestCaseError> {
    let line = |(name, value, canonical): &(String, String, bool)| {
        format!("{name}:{}{value}\r\n", if *canonical { " " } else { "" })
    };
    let text: String = lines.iter().map(line).collect();
    let received = lines.into_iter().map(|(name, value, _)| (name, value));
    let own = OWN.iter().map(|(name, value)| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(name.as_bytes()), text(value.as_bytes()))
    });
    let expected = naive(steps, received.chain(own).collect());
    let expected: String = expected.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    prop_assert_eq!(sent(steps, &text), expected);
    Ok(())
}

#[test]
fn only_renames_cannot_be_planned() {
    let planned = |steps: &[Step]| Edits::new(steps.to_vec(), &[]).is_some_and(|edits| edits.plan.is_some());
    let add = |number: usize| Step::Add(name(&format!("X-{number}")), value("${client.ip}"));
    assert!(planned(&[Step::Remove(name("A")), add(1)]));
    assert!(!planned(&[Step::Rename(name("A"), name("B"))]));
    let many: Vec<Step> = (0..64).map(add).collect();
    assert!(planned(&many));
    assert!(!planned(&[&many[..], &[add(64)]].concat()));
}

proptest! {
    #[test]
    fn agrees_with_applying_the_steps_to_a_list(steps in proptest::collection::vec(any_step(), 0..8), lines in any_lines()) {
        agrees(&steps, lines)?;
    }

    #[test]
    fn a_plan_does_too(steps in proptest::collection::vec(any_step(), 0..8), lines in any_lines()) {
        let steps: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Rename(..))).collect();
        agrees(&steps, lines)?;
    }
}
