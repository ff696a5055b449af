//! Changes to the fields of a head on its way: lines left out, renamed, replaced and added.
//!
//! A list of [`Step`]s is applied one after the other to the lines that would be sent. That is how it is defined, and
//! a property test compares it with just that. But nearly all lines of a head are named by no step, and these must
//! stay in the runs that are copied whole. Where nothing is renamed, what becomes of a head is known beforehand
//! (`plan`). Else a first pass picks the few lines that any step could mean, by the number of a known name or by a
//! sieve over the shape of another, and the steps are applied to these alone.

mod plan;
mod written;

use super::fields::{FieldName, FieldSpan, Known, KnownSet, NewField};
use super::h1::encode::{put_field, put_new};
use super::template::{Sources, Template};
pub(super) use plan::Plan;
pub use written::{FieldTemplate, Values, field_name, read_name, values};

/// A name that a step is about, which is none of those that only the encoder writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    known: Known,
    text: Box<str>,
}

impl Name {
    /// The name, or `None` if it is not one that may be written; see [`FieldName`].
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        FieldName::new(text.as_bytes())?;
        Some(Self { known: Known::classify(text.as_bytes()), text: text.into() })
    }

    fn is(&self, (known, text): (Known, &[u8])) -> bool {
        self.known == known && (known != Known::Other || self.text.as_bytes().eq_ignore_ascii_case(text))
    }

    fn is_text(&self, text: &[u8]) -> bool {
        self.text.as_bytes().eq_ignore_ascii_case(text)
    }

    fn as_pair(&self) -> (Known, &[u8]) {
        (self.known, self.text.as_bytes())
    }
}

/// One change. A value that comes out empty is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Every line of this name is left out.
    Remove(Name),
    /// Every line whose name begins like this is left out.
    RemovePrefix(Box<str>),
    /// Every line of the first name gets the second. If there is one, lines that had the second name are left out.
    Rename(Name, Name),
    /// A line behind all others takes the place of every line of this name.
    Set(Name, Template),
    /// A line behind all others, if there is no line of this name.
    Add(Name, Template),
    /// A line behind all others.
    Append(Name, Template),
}

/// A list of changes that can be applied to any head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edits {
    steps: Box<[Step]>,
    plan: Option<Plan>,
    /// The known names that any step is about.
    known: KnownSet,
    /// The same for other names, by their [`shape`].
    others: u64,
    prefixes: Box<[Box<str>]>,
    /// Whether any step may be about a field that the gateway itself adds.
    own: bool,
}

/// What the steps are applied with. The storage is recycled by its owner.
#[derive(Debug)]
pub struct Editing<'a> {
    /// The steps.
    pub edits: &'a Edits,
    /// Where lines are noted meanwhile.
    pub scratch: &'a mut Scratch,
    /// What values are made of, if they [need](Edits::needs_sources) any.
    pub sources: Option<Sources<'a>>,
}

/// The lines of one head that the steps are about, while they are applied.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Received lines, by their place, before any step.
    picked: Vec<u16>,
    /// What is there behind the steps applied so far: received lines, then the gateway's own, then new ones.
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    origin: Origin,
    /// The step that has renamed it last.
    renamed: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was received at this place of the head.
    Received(u16),
    /// The gateway adds it, at this place of its list.
    Own(u16),
    /// This step has made it.
    Step(u16),
}

/// What becomes of a received line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate<'a> {
    Keep,
    Drop,
    Rename(&'a [u8]),
}

impl Edits {
    /// The changes of `steps`, in their order; `None` if there are none. `own` are the names of the fields that the
    /// gateway adds to the heads that these changes are for.
    #[must_use]
    pub fn new(steps: Vec<Step>, own: &[&[u8]]) -> Option<Self> {
        if steps.is_empty() {
            return None;
        }
        let (mut known, mut others, mut prefixes) = (KnownSet::EMPTY, 0, Vec::new());
        for step in &steps {
            let names = match step {
                Step::Rename(from, to) => [Some(from), Some(to)],
                Step::Remove(name) | Step::Set(name, _) | Step::Add(name, _) | Step::Append(name, _) => {
                    [Some(name), None]
                }
                Step::RemovePrefix(prefix) => {
                    let fits = |text: &str| begins(text.as_bytes(), prefix) && Name::new(text).is_some();
                    for (name, _) in Known::ALL.iter().filter(|(_, text)| fits(text)) {
                        known = known.with(KnownSet::of(&[*name]));
                    }
                    prefixes.push(prefix.clone());
                    [None, None]
                }
            };
            for name in names.into_iter().flatten() {
                match name.known {
                    Known::Other => others |= shape(name.text.as_bytes()),
                    name => known = known.with(KnownSet::of(&[name])),
                }
            }
        }
        let plan = Plan::new(&steps);
        let mut edits = Self { steps: steps.into(), plan, known, others, prefixes: prefixes.into(), own: false };
        edits.own = own.iter().any(|name| edits.may_concern(Known::classify(name), name));
        Some(edits)
    }

    /// Whether values are made of what is known of a request.
    #[must_use]
    pub fn needs_sources(&self) -> bool {
        self.plan.as_ref().is_none_or(Plan::needs_sources)
    }

    /// Whether a step may be about lines of this name.
    fn may_concern(&self, known: Known, name: &[u8]) -> bool {
        match known {
            Known::Other => self.others & shape(name) != 0 || self.prefixes.iter().any(|prefix| begins(name, prefix)),
            known => self.known.contains(known),
        }
    }

    fn name_of_step(&self, step: u16) -> &Name {
        match &self.steps[usize::from(step)] {
            Step::Rename(_, name) | Step::Remove(name) => name,
            Step::Set(name, _) | Step::Add(name, _) | Step::Append(name, _) => name,
            Step::RemovePrefix(_) => unreachable!("it makes no lines"),
        }
    }
}

/// Whether `name` begins with `prefix`, in any case.
fn begins(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// One of 64 bits for a name that is not empty, the same for any case of its letters.
fn shape(name: &[u8]) -> u64 {
    let letter = |byte: Option<&u8>| usize::from(byte.map_or(0, |byte| byte | 0x20));
    1 << ((name.len() + 5 * letter(name.first()) + 11 * letter(name.last())) & 63)
}

/// A head's lines, the gateway's own among them.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) spans: &'a [FieldSpan],
    pub(super) own: &'a [NewField<'a>],
}

impl<'a> Editing<'a> {
    /// What becomes of the head, where that is known beforehand.
    pub(super) fn plan(&self) -> Option<&'a Plan> {
        self.edits.plan.as_ref()
    }

    /// Appends the gateway's own lines and the new ones as they are planned; `missing` is [`Plan::missing`].
    pub(super) fn put_planned(&self, plan: &Plan, own: &[NewField<'_>], missing: u64, out: &mut Vec<u8>) {
        plan.put(own, self.edits.own, missing, self.sources.as_ref(), out);
    }

    /// Applies all steps to the lines of `head` that are `wanted`.
    pub(super) fn apply(&mut self, head: &Head<'_>, wanted: impl Fn(&FieldSpan) -> bool) {
        let Scratch { picked, lines } = &mut *self.scratch;
        picked.clear();
        lines.clear();
        for (place, span) in head.spans.iter().enumerate() {
            if self.edits.may_concern(span.known, &head.bytes[span.name()]) && wanted(span) {
                picked.push(place as u16);
                lines.push(Line { origin: Origin::Received(place as u16), renamed: None });
            }
        }
        if self.edits.own {
            lines.extend((0..head.own.len()).map(|place| Line { origin: Origin::Own(place as u16), renamed: None }));
        }
        for (number, step) in self.edits.steps.iter().enumerate() {
            apply(self.edits, head, number as u16, step, lines);
        }
    }

    /// What becomes of each received line, asked in their order. Lines that no step is about are kept.
    pub(super) fn fates(&self) -> impl FnMut(usize) -> Fate<'a> {
        let (edits, scratch) = (self.edits, &*self.scratch);
        let (mut picked, mut lines) = (scratch.picked.iter().peekable(), scratch.lines.iter().peekable());
        move |place| {
            if picked.next_if(|next| usize::from(**next) == place).is_none() {
                return Fate::Keep;
            }
            let line = lines.next_if(|line| line.origin == Origin::Received(place as u16));
            match line.map(|line| line.renamed) {
                None => Fate::Drop,
                Some(None) => Fate::Keep,
                Some(Some(step)) => Fate::Rename(edits.name_of_step(step).text.as_bytes()),
            }
        }
    }

    /// Appends the gateway's own lines, with their changes, and the new ones.
    pub(super) fn put_others(&self, head: &Head<'_>, out: &mut Vec<u8>) {
        if !self.edits.own {
            put_new(head.own, out);
        }
        for line in &self.scratch.lines {
            let name = name_of(self.edits, head, line).1;
            match line.origin {
                Origin::Received(_) => {}
                Origin::Own(place) => {
                    put_field(name, head.own[usize::from(place)].1.as_bytes(), out);
                }
                Origin::Step(step) => self.put_made(name, step, out),
            }
        }
    }

    /// Appends a line that a step has made, unless its value is empty.
    fn put_made(&self, name: &[u8], step: u16, out: &mut Vec<u8>) {
        let (Step::Set(_, value) | Step::Add(_, value) | Step::Append(_, value)) = &self.edits.steps[usize::from(step)]
        else {
            return;
        };
        plan::put_made(name, value, self.sources.as_ref(), out);
    }
}

/// Applies one step to `lines`.
fn apply(edits: &Edits, head: &Head<'_>, number: u16, step: &Step, lines: &mut Vec<Line>) {
    let made = Line { origin: Origin::Step(number), renamed: None };
    let is = |name: &Name, line: &Line| name.is(name_of(edits, head, line));
    match step {
        Step::Remove(name) => lines.retain(|line| !is(name, line)),
        Step::RemovePrefix(prefix) => lines.retain(|line| !begins(name_of(edits, head, line).1, prefix)),
        Step::Rename(from, to) if lines.iter().any(|line| is(from, line)) => {
            lines.retain(|line| !is(to, line) || is(from, line));
            for line in lines.iter_mut().filter(|line| is(from, line)) {
                line.renamed = Some(number);
            }
        }
        Step::Rename(..) => {}
        Step::Set(name, _) => {
            lines.retain(|line| !is(name, line));
            lines.push(made);
        }
        Step::Add(name, _) if lines.iter().any(|line| is(name, line)) => {}
        Step::Add(..) | Step::Append(..) => lines.push(made),
    }
}

/// The name that a line has now.
fn name_of<'a>(edits: &'a Edits, head: &Head<'a>, line: &Line) -> (Known, &'a [u8]) {
    match (line.renamed, line.origin) {
        (Some(step), _) | (None, Origin::Step(step)) => edits.name_of_step(step).as_pair(),
        (None, Origin::Received(place)) => {
            let span = &head.spans[usize::from(place)];
            (span.known, &head.bytes[span.name()])
        }
        (None, Origin::Own(place)) => {
            let name = head.own[usize::from(place)].0.as_bytes();
            (Known::classify(name), name)
        }
    }
}

#[cfg(test)]
mod tests;
