//! The effective configuration as TOML.

use std::collections::HashMap;
use std::fmt::Write;

use toml::de::DeTable;

use super::value::key;
use super::{Collector, Row, Scope, Tables, defaults, named, place_of};
use crate::config::schema::{self, Kind};
use crate::config::{ActionConfig, Config, RouteConfig};

/// Where comments begin, unless what is before them is longer.
const COLUMN: usize = 32;

/// The whole configuration.
pub(super) fn file(config: &Config, tree: &DeTable<'_>) -> String {
    let sources = &config.source;
    let mut out = format!(
        "# The configuration of {} as it holds: every key with its value, and behind it where that comes from.\n",
        sources.name()
    );
    let wider = defaults(tree);
    let routes: HashMap<&str, &RouteConfig> =
        config.routes.iter().map(|route| (route.name.get_ref().as_str(), route)).collect();
    let whole = Scope { name: None, table: tree };
    // What stands before any header belongs to the file.
    let switched_off = |key: &&schema::Key| tree.get(key.name).is_some_and(|value| !value.get_ref().is_table());
    for key in schema::FILE.keys.iter().filter(|key| key.name != "include").filter(switched_off) {
        let rows = collect(config, |collector| collector.key(&[], key, &[whole]));
        rows.iter().for_each(|row| line(&mut out, row));
    }
    for key in schema::FILE.keys.iter().filter(|key| key.name != "include" && !switched_off(key)) {
        let Kind::Named(table) = &key.kind else {
            let rows = collect(config, |collector| collector.key(&[], key, &[whole]));
            section(&mut out, &[key.name], None, &rows, "");
            continue;
        };
        for (name, own) in named(tree, key.name) {
            let path = [key.name, &**name.get_ref()];
            let own = Scope { name: None, table: own };
            // Services inherit from the defaults what they share with them, as routes do their limits.
            let shared = |inner: &schema::Key| match key.name {
                "services" => inner.name == "retries",
                "routes" => inner.name == "limits",
                _ => false,
            };
            let rows = collect(config, |collector| {
                for inner in table.keys {
                    let scopes: Tables<'_> = match shared(inner) {
                        true => std::iter::once(own).chain(wider.iter().copied()).collect(),
                        false => vec![own],
                    };
                    collector.key(&path, inner, &scopes);
                }
            });
            let route = routes.get(&**name.get_ref()).filter(|_| key.name == "routes");
            let notes = route.map(|route| inherited(config, tree, route, &rows)).unwrap_or_default();
            let place = place_of(sources, &name.span());
            section(&mut out, &path, Some(&place), &rows, &notes);
        }
    }
    out
}

fn collect<'a>(config: &'a Config, each: impl FnOnce(&mut Collector<'a>)) -> Vec<Row> {
    let mut collector = Collector::new(&config.source);
    each(&mut collector);
    collector.rows
}

/// A table with `notes` at its end, and then the tables in it.
fn section(out: &mut String, path: &[&str], place: Option<&str>, rows: &[Row], notes: &str) {
    let header: Vec<String> = path.iter().map(|part| key(part)).collect();
    let header = format!("[{}]", header.join("."));
    let depth = path.len();
    let (own, inner): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.path.len() == depth + 1);
    match place {
        // Its tables say it themselves.
        None if own.is_empty() => {}
        Some(place) => comment(out, &format!("\n{header}"), place),
        None => writeln!(out, "\n{header}").unwrap_or_default(),
    }
    own.into_iter().for_each(|row| line(out, row));
    out.push_str(notes);
    for rows in inner.chunk_by(|one, other| one.path[depth] == other.path[depth]) {
        let path: Vec<&str> = rows[0].path[..=depth].iter().map(String::as_str).collect();
        let rows: Vec<Row> = rows.iter().copied().cloned().collect();
        section(out, &path, None, &rows, "");
    }
}

fn line(out: &mut String, row: &Row) {
    let name = row.path.last().map(|name| key(name)).unwrap_or_default();
    comment(out, &format!("{name} = {}", row.value), &row.source.to_string());
}

fn comment(out: &mut String, text: &str, says: &str) {
    let width = text.trim_start_matches('\n').chars().count();
    let gap = COLUMN.saturating_sub(width).max(1);
    // A comment has no control characters.
    let says: String = says.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    writeln!(out, "{text}{:gap$}# {says}", "").unwrap_or_default();
}

/// What a route with one service has from others, as comments: written out, it would also hold for the services that
/// stand in for that one.
fn inherited(config: &Config, tree: &DeTable<'_>, route: &RouteConfig, own: &[Row]) -> String {
    let ActionConfig::Service(split) = &route.action else { return String::new() };
    let [share] = split.shares.as_slice() else {
        return "# timeouts, retries and rules over fields: those of its services, where it has none of its own\n"
            .into();
    };
    let rows = super::route(&config.source, tree, route.name.get_ref(), Some(share.name.get_ref()));
    let known = |row: &Row| own.iter().any(|own| own.path == row.path && own.source == row.source);
    let mut out = String::new();
    for row in rows.iter().filter(|row| row.path[0] == "routes" && !known(row)) {
        let names: Vec<String> = row.path[2..].iter().map(|part| key(part)).collect();
        comment(&mut out, &format!("# {} = {}", names.join("."), row.value), &row.source.to_string());
    }
    out
}
