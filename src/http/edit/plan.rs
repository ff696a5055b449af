//! What steps come to that rename nothing: known when they are read, and nearly free when they are applied.
//!
//! Without renames, no step depends on what another has found in a head. So the received lines that are left out are a
//! set of names, and the new lines are a list, of which some are there only if a name is missing. The text of lines
//! whose values are fixed is put together once, and copied whole.

use super::{Name, Step, begins, shape};
use crate::http::fields::{FieldSpan, Known, KnownSet, NewField};
use crate::http::template::{Encoding, Sources, Template};

/// What becomes of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Plan {
    /// Known names that are left out.
    pub(in crate::http) known: KnownSet,
    /// Other names that are left out, and one bit for the shape of each.
    names: Vec<Name>,
    shapes: u64,
    prefixes: Vec<Box<str>>,
    made: Vec<Made>,
    /// How many of the new lines depend on what is missing.
    conditions: u32,
}

/// A new line, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Made {
    /// These lines, as they are sent.
    Fixed(Name, Box<[u8]>),
    /// A line.
    Line(Name, Template),
    /// A line, if there is none of its name.
    IfMissing(Name, Template),
}

impl Made {
    const fn name(&self) -> &Name {
        let (Self::Fixed(name, _) | Self::Line(name, _) | Self::IfMissing(name, _)) = self;
        name
    }
}

impl Plan {
    /// The plan for these steps; `None` if one of them renames, or too many depend on what is missing.
    pub(super) fn new(steps: &[Step]) -> Option<Self> {
        let mut plan = Self::default();
        for step in steps {
            match step {
                Step::Rename(..) => return None,
                Step::Remove(name) => plan.leave_out(name),
                Step::RemovePrefix(prefix) => plan.leave_out_prefix(prefix),
                Step::Set(name, value) => {
                    plan.leave_out(name);
                    plan.made.push(Made::Line(name.clone(), value.clone()));
                }
                Step::Append(name, value) => plan.made.push(Made::Line(name.clone(), value.clone())),
                Step::Add(name, _) if plan.made.iter().any(|made| name.is(made.name().as_pair())) => {}
                Step::Add(name, value) if plan.drops(name.as_pair()) => {
                    plan.made.push(Made::Line(name.clone(), value.clone()));
                }
                Step::Add(name, value) => plan.made.push(Made::IfMissing(name.clone(), value.clone())),
            }
        }
        plan.conditions = plan.made.iter().filter(|made| matches!(made, Made::IfMissing(..))).count() as u32;
        plan.made = joined(plan.made);
        (plan.conditions <= u64::BITS).then_some(plan)
    }

    fn leave_out(&mut self, name: &Name) {
        self.made.retain(|made| !name.is(made.name().as_pair()));
        match name.known {
            Known::Other => {
                self.shapes |= shape(name.text.as_bytes());
                self.names.push(name.clone());
            }
            known => self.known = self.known.with(KnownSet::of(&[known])),
        }
    }

    fn leave_out_prefix(&mut self, prefix: &str) {
        self.made.retain(|made| !begins(made.name().as_pair().1, prefix));
        let fits = |text: &str| begins(text.as_bytes(), prefix) && Name::new(text).is_some();
        for (name, _) in Known::ALL.iter().filter(|(_, text)| fits(text)) {
            self.known = self.known.with(KnownSet::of(&[*name]));
        }
        self.prefixes.push(prefix.into());
    }

    /// Whether lines of this name are left out.
    pub(super) fn drops(&self, (known, name): (Known, &[u8])) -> bool {
        match known {
            Known::Other => self.drops_other(name),
            known => self.known.contains(known),
        }
    }

    /// The same for a name that is none of the known ones.
    pub(in crate::http) fn drops_other(&self, name: &[u8]) -> bool {
        self.shapes & shape(name) != 0 && self.names.iter().any(|other| other.is((Known::Other, name)))
            || self.prefixes.iter().any(|prefix| begins(name, prefix))
    }

    /// Whether any other name is left out.
    pub(in crate::http) fn has_others(&self) -> bool {
        self.shapes != 0 || !self.prefixes.is_empty()
    }

    /// Whether the values of new lines are made of what is known of a request.
    pub(super) fn needs_sources(&self) -> bool {
        self.made.iter().any(|made| !matches!(made, Made::Fixed(..)))
    }

    /// Which of the conditional lines are to be added, one bit for each: no line of `head` that is `wanted` has their
    /// name, and none of the gateway's own.
    pub(in crate::http) fn missing(&self, head: &super::Head<'_>, wanted: impl Fn(&FieldSpan) -> bool) -> u64 {
        let mut missing = 0;
        if self.conditions == 0 {
            return missing;
        }
        let conditional = self.made.iter().filter(|made| matches!(made, Made::IfMissing(..)));
        for (place, made) in conditional.enumerate() {
            let name = made.name();
            let received = |span: &FieldSpan| name.is((span.known, &head.bytes[span.name()])) && wanted(span);
            if !head.spans.iter().any(received) && !head.own.iter().any(|(own, _)| name.is_text(own.as_bytes())) {
                missing |= 1 << place;
            }
        }
        missing
    }

    /// Appends the gateway's own lines, but not those that are left out, and the new ones.
    pub(super) fn put(
        &self,
        own: &[NewField<'_>],
        filter_own: bool,
        missing: u64,
        sources: Option<&Sources<'_>>,
        out: &mut Vec<u8>,
    ) {
        if filter_own {
            let stays = |own: &&NewField<'_>| {
                let name = own.0.as_bytes();
                !self.drops((Known::classify(name), name))
            };
            for (name, value) in own.iter().filter(stays) {
                super::put_field(name.as_bytes(), value.as_bytes(), out);
            }
        } else {
            super::put_new(own, out);
        }
        let mut condition = 0;
        for made in &self.made {
            match made {
                Made::Fixed(_, lines) => out.extend_from_slice(lines),
                Made::Line(name, value) => put_made(name.text.as_bytes(), value, sources, out),
                Made::IfMissing(name, value) => {
                    if missing >> condition & 1 == 1 {
                        put_made(name.text.as_bytes(), value, sources, out);
                    }
                    condition += 1;
                }
            }
        }
    }
}

/// The same lines, with the text of neighbours that are fixed in one.
fn joined(made: Vec<Made>) -> Vec<Made> {
    let mut all: Vec<Made> = Vec::new();
    for made in made {
        let (name, line) = match &made {
            Made::Line(name, value) if let Some(text) = value.fixed() => match text {
                "" => (name.clone(), String::new()),
                text => (name.clone(), format!("{}: {text}\r\n", name.text)),
            },
            _ => {
                all.push(made);
                continue;
            }
        };
        match all.last_mut() {
            Some(Made::Fixed(_, lines)) => *lines = [lines, line.as_bytes()].concat().into(),
            _ => all.push(Made::Fixed(name, line.into_bytes().into())),
        }
    }
    all
}

/// Appends a line, unless its value is empty.
pub(super) fn put_made(name: &[u8], value: &Template, sources: Option<&Sources<'_>>, out: &mut Vec<u8>) {
    debug_assert!(sources.is_some(), "who needs sources has asked for them");
    let Some(sources) = sources else { return };
    let before = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let start = out.len();
    value.render(sources, Encoding::Field, out);
    if out.len() == start {
        out.truncate(before);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}
