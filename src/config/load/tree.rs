//! One tree from the trees of several files.

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::base::decode::{Diagnostic, Value};

/// The sections that hold tables with names, which may come from several files.
const NAMED: [&str; 4] = ["listeners", "services", "routes", "consumers"];

/// What says what a string at a place stands for.
type Put<'p, 't> = dyn FnMut(DeString<'t>, &Range<usize>) -> DeValue<'t> + 'p;

/// A tree with its places moved to where its file begins, at `base`, and with what its strings stand for.
pub(super) fn settle<'t>(table: DeTable<'t>, base: usize, put: &mut Put<'_, 't>) -> DeTable<'t> {
    let entries = table.into_iter().map(|(key, value)| {
        let span = shift(&key.span(), base);
        (Spanned::new(span, key.into_inner()), settle_value(value, base, put))
    });
    entries.collect()
}

fn settle_value<'t>(value: Value<'t>, base: usize, put: &mut Put<'_, 't>) -> Value<'t> {
    let span = shift(&value.span(), base);
    let settled = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(settle(table, base, put)),
        DeValue::Array(mut list) => {
            for value in list.iter_mut() {
                let taken = std::mem::replace(value, Spanned::new(0..0, DeValue::Boolean(false)));
                *value = settle_value(taken, base, put);
            }
            DeValue::Array(list)
        }
        DeValue::String(text) => put(text, &span),
        other => other,
    };
    Spanned::new(span, settled)
}

/// Adds the sections of a file to those of the files before it, and what is there twice to `faults`.
pub(super) fn merge<'t>(whole: &mut DeTable<'t>, file: DeTable<'t>, faults: &mut Vec<Diagnostic>) {
    for (key, value) in file {
        let name = key.get_ref().to_string();
        let Some((first, known)) = whole.remove_entry(&*name) else {
            whole.insert(key, value);
            continue;
        };
        let (place, is_named) = (known.span(), NAMED.contains(&name.as_str()));
        let known = match (known.into_inner(), value.into_inner()) {
            (DeValue::Table(mut known), DeValue::Table(more)) if is_named => {
                gather(&name, &mut known, more, faults);
                DeValue::Table(known)
            }
            // Each file has its own.
            (known, _) if name == "include" => known,
            (known, more) => {
                let what = if matches!(more, DeValue::Table(_)) { format!("[{name}]") } else { name };
                let help = "write it in one file; only [listeners.NAME], [services.NAME] and [routes.NAME] can come from \
                            several";
                faults.push(twice(&format!("`{what}`"), key.span(), first.span()).help(help));
                known
            }
        };
        whole.insert(first, Spanned::new(place, known));
    }
}

/// Adds tables with names to those of the files before.
fn gather<'t>(section: &str, known: &mut DeTable<'t>, more: DeTable<'t>, faults: &mut Vec<Diagnostic>) {
    for (name, value) in more {
        match known.get_key_value(&**name.get_ref()) {
            Some((first, _)) => {
                let fault = twice(&format!("`[{section}.{}]`", name.get_ref()), name.span(), first.span());
                faults.push(fault.help("give one of them another name, or remove it"));
            }
            None => drop(known.insert(name, value)),
        }
    }
}

fn twice(what: &str, second: Range<usize>, first: Range<usize>) -> Diagnostic {
    let fault = Diagnostic::new(second, format!("{what} is there twice"), "here for the second time");
    fault.related(first, "here for the first")
}

/// A place of a file that begins at `base`.
pub(super) fn shift(span: &Range<usize>, base: usize) -> Range<usize> {
    span.start + base..span.end + base
}
