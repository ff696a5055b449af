//! What holds, key by key, and where it comes from: what was written, what is inherited, what is built in.
//!
//! ```text
//! [services.users]
//! targets = ["10.0.0.1:3001"]     # services.toml:2, "${USERS_HOST}:3001"
//! connect_timeout = "5s"          # built-in
//!
//! [services.users.retries]
//! attempts = 3                    # [defaults], gateway.toml:7
//! ```
//!
//! It goes by the description of all keys ([`super::schema`]) and by the tree that the configuration was decoded
//! from. What it says is held against what runs: its text, read again, must make the same snapshot.

mod print;
mod value;

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Config;
use super::load;
use super::schema::{self, Default, Key, Kind, Table, When};
use crate::base::decode::{SourceMap, Value};
use crate::base::secret::MASK;

/// One key of a table, and what holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The tables that it is in and itself, such as `services`, `users`, `pool`, `queue`.
    pub path: Vec<String>,
    /// The value as it would be written, with secrets masked.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was written.
    Written {
        /// The table in which it was written, if not in its own: `[defaults]`, or such as `service users`.
        scope: Option<String>,
        /// The file and the line.
        place: String,
        /// What was written, where something was put in for `${...}`.
        from: Option<String>,
    },
    /// Nobody has written anything.
    BuiltIn,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Written { scope, place, from } = self else { return f.write_str("built-in") };
        if let Some(scope) = scope {
            write!(f, "{scope}, ")?;
        }
        f.write_str(place)?;
        from.iter().try_for_each(|from| write!(f, ", {from}"))
    }
}

/// What the widest scope is called.
const DEFAULTS: &str = "[defaults]";

/// A table in which a key may have been written.
#[derive(Clone, Copy)]
struct Scope<'a> {
    /// What it is called where it is not the key's own table.
    name: Option<&'a str>,
    table: &'a DeTable<'a>,
}

/// A key that is in force, with the tables of the scopes that are below it.
type Tables<'a> = Vec<Scope<'a>>;

/// What collects rows.
struct Collector<'a> {
    sources: &'a SourceMap,
    /// Whether what holds is looked for in all scopes; else what is written in a narrow one stays what it is there, for
    /// it may hold beside several others.
    resolves: bool,
    /// Whether what nobody has written is left out.
    written_only: bool,
    rows: Vec<Row>,
}

impl Config {
    /// The whole configuration as it holds, as TOML with a comment behind each key that says where its value comes from.
    /// Read again, it means the same, unless something is masked in it.
    #[must_use]
    pub fn effective(&self) -> String {
        let texts = load::texts(&self.source);
        let tree = load::tree_of(&self.source, &texts);
        print::file(self, &tree)
    }

    /// What holds for a route with one of its services: the keys of the route, each its own, else its service's, else the
    /// default; and then those of the service. `service` is nothing where the gateway answers.
    #[must_use]
    pub fn effective_route(&self, name: &str, service: Option<&str>) -> Vec<Row> {
        let texts = load::texts(&self.source);
        let tree = load::tree_of(&self.source, &texts);
        route(&self.source, &tree, name, service)
    }
}

/// What holds for the gateway as a whole, in the sections that have no name.
pub(super) fn whole(sources: &SourceMap, tree: &DeTable<'_>) -> Vec<Row> {
    let mut collector = Collector::new(sources);
    for key in ["gateway", "admin", "metrics", "access_log"].into_iter().filter_map(|name| schema::FILE.key(name)) {
        collector.key(&[], key, &[Scope { name: None, table: tree }]);
    }
    collector.rows
}

/// What holds for a route with one of its services.
fn route(sources: &SourceMap, tree: &DeTable<'_>, name: &str, service: Option<&str>) -> Vec<Row> {
    let section = |section: &str, name: &str| {
        let all = tree.get(section).and_then(|all| all.get_ref().as_table())?;
        all.get(name).and_then(|one| one.get_ref().as_table())
    };
    let mut collector = Collector { resolves: true, ..Collector::new(sources) };
    let wider = defaults(tree);
    let service_name = service.map(|name| format!("service {name}"));
    let of_service = service.and_then(|name| section("services", name));
    let mut around = wider.clone();
    if let Some(table) = of_service {
        around.insert(0, Scope { name: service_name.as_deref(), table });
    }
    // What `[access_log]` says holds for all.
    around.push(Scope { name: Some("[access_log]"), table: tree });
    if let Some(table) = section("routes", name) {
        let own = Scope { name: None, table };
        collector.route(&["routes", name], own, &around, of_service.is_some());
    }
    if let (Some(table), Some(name)) = (of_service, service) {
        let own = Scope { name: None, table };
        let scopes: Tables<'_> = std::iter::once(own).chain(wider).collect();
        let keys = schema::SERVICE.keys.iter().filter(|key| schema::ROUTE.key(key.name).is_none());
        keys.for_each(|key| collector.key(&["services", name], key, &scopes));
    }
    collector.rows
}

/// `[defaults]`, if it is there.
fn defaults<'a>(tree: &'a DeTable<'a>) -> Tables<'a> {
    let table = tree.get("defaults").and_then(|defaults| defaults.get_ref().as_table());
    table.map(|table| Scope { name: Some(DEFAULTS), table }).into_iter().collect()
}

impl<'a> Collector<'a> {
    fn new(sources: &'a SourceMap) -> Self {
        Self { sources, resolves: false, written_only: false, rows: Vec::new() }
    }

    /// All keys of a route, those of wider scopes among them.
    fn route(&mut self, path: &[&str], own: Scope<'a>, around: &[Scope<'a>], is_sent: bool) {
        let scopes: Tables<'_> = std::iter::once(own).chain(around.iter().copied()).collect();
        for key in schema::ROUTE.keys {
            match key.name {
                "request_headers" | "response_headers" => self.rules(path, key, &scopes),
                "limits" | "access_log" => self.key(path, key, &scopes),
                // What a service is asked for has no meaning where none is.
                name => match schema::SERVICE.key(name).filter(|_| is_sent) {
                    Some(shared) => self.key(path, shared, &scopes),
                    // A wider scope may have other keys of the same name.
                    None => self.key(path, key, &scopes[..1]),
                },
            }
        }
    }

    /// Rules add up: those of all scopes hold, the widest first, but for those of the defaults that another drops.
    fn rules(&mut self, path: &[&str], key: &'static Key, scopes: &[Scope<'a>]) {
        let written = |scope: &Scope<'a>| scope.table.get(key.name).map(|value| (*scope, value));
        let all: Vec<_> = scopes.iter().filter_map(written).collect();
        let is_off = |value: &Value<'_>| matches!(value.get_ref(), DeValue::Boolean(false));
        let is_default = |scope: &Scope<'_>| scope.name == Some(DEFAULTS);
        let drops = all.iter().any(|(scope, value)| !is_default(scope) && is_off(value));
        for (scope, value) in all.into_iter().rev() {
            let is_dropped = drops && is_default(&scope);
            if !is_dropped && !is_off(value) {
                self.written(path, key, scope, value);
            }
        }
    }

    /// What holds of one key, from the first of the scopes that has it.
    fn key(&mut self, path: &[&str], key: &'static Key, scopes: &[Scope<'a>]) {
        let mut tables = Tables::new();
        for scope in scopes {
            let Some(value) = scope.table.get(key.name) else { continue };
            match (value.get_ref(), key.kind.table()) {
                (DeValue::Table(table), Some(_)) => tables.push(Scope { name: scope.name, table }),
                // What is switched off further out gives nothing to what is switched on.
                _ if !tables.is_empty() => break,
                _ => return self.written(path, key, *scope, value),
            }
        }
        if let (Some(inner), false) = (key.kind.table(), tables.is_empty()) {
            let before = self.written_only;
            self.written_only |= !self.resolves && is_partial(path, key.name);
            self.table(&join(path, key.name), inner, &tables);
            self.written_only = before;
            return;
        }
        if self.written_only || !applies(key, scopes.first()) {
            return;
        }
        match key.default {
            Default::Is("{}") => {
                if let Some(inner) = key.kind.table() {
                    self.table(&join(path, key.name), inner, &[]);
                }
            }
            Default::Is(value) => self.built_in(path, key, value.to_owned()),
            Default::With(value, other, of) => {
                let value = match find(scopes, other) {
                    Some(DeValue::String(written)) => of(&format!("\"{written}\"")),
                    _ => format!("\"{value}\""),
                };
                self.built_in(path, key, value);
            }
            Default::Required | Default::None => {}
        }
    }

    fn table(&mut self, path: &[String], table: &'static Table, scopes: &[Scope<'a>]) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        table.keys.iter().for_each(|key| self.key(&path, key, scopes));
    }

    fn written(&mut self, path: &[&str], key: &'static Key, scope: Scope<'a>, value: &Value<'_>) {
        let place = self.sources.place(value.span().start);
        let is_secret = matches!(key.kind, Kind::Secret);
        let from = self.sources.substitution(&value.span()).filter(|substitution| substitution.replaced);
        let from = from.and_then(|substitution| {
            let written = self.sources.text_at(&value.span());
            match is_secret || substitution.hidden {
                true => value::without_secrets(written, is_secret),
                false => Some(written.to_owned()),
            }
        });
        let source = Source::Written {
            scope: scope.name.map(str::to_owned),
            place: format!("{}:{}", place.file.name(), place.line),
            from,
        };
        let value = match is_secret {
            true => format!("\"{MASK}\""),
            false => value::text(self.sources, value, None),
        };
        self.rows.push(Row { path: join(path, key.name), value, source });
    }

    fn built_in(&mut self, path: &[&str], key: &Key, value: String) {
        self.rows.push(Row { path: join(path, key.name), value, source: Source::BuiltIn });
    }
}

/// Whether what a table leaves out comes from a wider scope, which may be another one for each request.
fn is_partial(path: &[&str], key: &str) -> bool {
    match path {
        ["routes", _] => matches!(key, "retries" | "access_log"),
        ["defaults"] => key == "access_log",
        _ => false,
    }
}

/// Whether the default of a key holds in this table.
fn applies(key: &Key, own: Option<&Scope<'_>>) -> bool {
    let is = |other: &str, value: &str| {
        let written = own.and_then(|own| own.table.get(other)).map(Spanned::get_ref);
        written.is_some_and(|written| match written {
            DeValue::String(text) => format!("\"{text}\"") == value,
            DeValue::Boolean(written) => written.to_string() == value,
            _ => false,
        })
    };
    match key.when {
        When::Always => true,
        When::Is(other, value) => is(other, value),
        When::IsOrFree(other, value) => is(other, value) || own.is_none_or(|own| !own.table.contains_key(other)),
        When::IsNot(other, value) => !is(other, value),
        When::Without(others) => !others.iter().any(|other| own.is_some_and(|own| own.table.contains_key(*other))),
    }
}

fn find<'a>(scopes: &[Scope<'a>], key: &str) -> Option<&'a DeValue<'a>> {
    scopes.iter().find_map(|scope| scope.table.get(key)).map(Spanned::get_ref)
}

fn join(path: &[&str], key: &str) -> Vec<String> {
    path.iter().copied().chain([key]).map(str::to_owned).collect()
}

/// The tables with names under a key, in the order of the files.
fn named<'a>(tree: &'a DeTable<'a>, key: &str) -> Vec<(&'a Spanned<DeString<'a>>, &'a DeTable<'a>)> {
    let all = tree.get(key).and_then(|all| all.get_ref().as_table());
    let mut all: Vec<_> = all
        .into_iter()
        .flat_map(|all| all.iter())
        .filter_map(|(name, one)| Some((name, one.get_ref().as_table()?)))
        .collect();
    all.sort_by_key(|(name, _): &(&Spanned<DeString<'_>>, _)| name.span().start);
    all
}

/// Where something is written, for people.
fn place_of(sources: &SourceMap, span: &Range<usize>) -> String {
    let place = sources.place(span.start);
    format!("{}:{}", place.file.name(), place.line)
}

#[cfg(test)]
mod tests;
