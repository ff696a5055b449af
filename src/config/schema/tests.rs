//! The description against the decoders, and against every file of ours with a validator of JSON Schema.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::*;
use crate::config::{Config, Environment};

/// The key that no table has.
const NONE: &str = "zzzzzzzz";

/// A table of the description: how to write a header for it, and what must stand in it to come to all of its keys.
struct Place {
    header: String,
    table: &'static Table,
}

/// The table that the elements of a list of this kind may be.
fn element(kind: &Kind) -> Option<&'static Table> {
    match kind {
        Kind::List(kind) => kind.table(),
        Kind::Any(kinds) => kinds.iter().find_map(element),
        _ => None,
    }
}

/// All tables of the description.
fn places(table: &'static Table, path: &str, found: &mut Vec<Place>) {
    for key in table.keys {
        let own = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let inner = |table, path: &str, brackets: [&str; 2], found: &mut Vec<Place>| {
            found.push(Place { header: format!("{}{path}{}", brackets[0], brackets[1]), table });
            places(table, path, found);
        };
        match &key.kind {
            Kind::Named(table) => inner(table, &format!("{own}.x"), ["[", "]"], found),
            kind => {
                if let Some(table) = kind.table() {
                    inner(table, &own, ["[", "]"], found);
                }
                if let Some(table) = element(kind) {
                    inner(table, &own, ["[[", "]]"], found);
                }
            }
        }
    }
}

/// The values of other keys that keys of a table depend on, as lines.
fn variants(table: &Table) -> BTreeSet<String> {
    let lines = table.keys.iter().filter_map(|key| match key.when {
        When::Is(other, value) => Some(format!("{other} = {value}\n")),
        _ => None,
    });
    let lines: BTreeSet<String> = lines.collect();
    if lines.is_empty() { [String::new()].into() } else { lines }
}

/// The keys that the decoder knows of a table.
fn known(place: &Place) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for variant in variants(place.table) {
        let text = format!("{}\n{variant}{NONE} = 1\n", place.header);
        let faults = Config::parse_in("probe.toml", &text, &Environment::of([])).unwrap_err();
        let lists = faults.iter().filter(|fault| fault.message.contains(NONE));
        let lists: Vec<&str> =
            lists.filter_map(|fault| fault.help.as_deref()?.strip_prefix("there is only: ")).collect();
        let [list] = lists.as_slice() else { panic!("{}: {faults}", place.header) };
        all.extend(list.split(", ").map(str::to_owned));
    }
    all
}

#[test]
fn every_key_of_the_decoders_is_described_and_no_other() {
    let mut found = vec![Place { header: String::new(), table: FILE }];
    places(FILE, "", &mut found);
    assert!(found.len() > 20, "they are found");
    for place in &found {
        let described: BTreeSet<String> = place.table.keys.iter().map(|key| key.name.to_owned()).collect();
        assert_eq!(described.len(), place.table.keys.len(), "{}: a key is there twice", place.header);
        assert_eq!(known(place), described, "{} of the decoder, and of the description", place.header);
    }
}

/// A value of TOML as one of JSON.
fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).unwrap().into(),
        DeValue::Float(number) => number.as_str().parse::<f64>().unwrap().into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(object(table)),
    }
}

fn object(table: &DeTable<'_>) -> Map<String, Value> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
}

fn faults(validator: &Validator, text: &str) -> Vec<String> {
    let tree = DeTable::parse(text).unwrap();
    let value = Value::Object(object(tree.get_ref()));
    validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn validator() -> Validator {
    let document = document();
    jsonschema::meta::validate(&document).unwrap();
    jsonschema::validator_for(&document).unwrap()
}

#[test]
fn every_file_of_ours_fits_the_schema() {
    let validator = validator();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("config/gateway.toml"), root.join("config/demo.toml")];
    files.extend(fs::read_dir(root.join("config/examples")).unwrap().map(|entry| entry.unwrap().path()));
    for file in files {
        let found = faults(&validator, &fs::read_to_string(&file).unwrap());
        assert!(found.is_empty(), "{}: {found:#?}", file.display());
    }
}

#[test]
fn what_is_substituted_fits_the_schema() {
    let text = "include = [\"${WHERE}.toml\"]\n[gateway]\ndriver = \"${DRIVER:-auto}\"\n[services.s]\ntargets = [\"${A}\"]\n\
        timeout = \"${T}\"\nbalance = { method = \"${B}\" }\n[services.s.pool]\nidle_timeout = \"${file:t}\"\n\
        max_connections = \"${MOST:-10}\"\n[routes.r]\npreserve_host = \"${P}\"\nlimits = { body = \"${L:-false}\" }\n\
        access_log = { sample = { share = \"${SHARE}\" } }\n";
    assert_eq!(faults(&validator(), text), Vec::<String>::new());
}

#[test]
fn what_is_wrong_does_not_fit_the_schema() {
    let validator = validator();
    for text in [
        "[gatewy]\n",
        "[gateway]\nworkers = \"4\"\n",
        "[gateway]\nworkers = 5000\n",
        "[gateway]\ndriver = \"kqueue\"\n",
        "[gateway]\npin = \"on\"\n",
        "[gateway.limits]\nhead_timeout = \"5 s\"\n",
        "[gateway.limits]\nhead = 1024\n",
        "[listeners.public]\n",
        "[listeners.\"a b\"]\naddress = \"127.0.0.1:1\"\n",
        "[services.s]\n",
        "[services.s]\ntargets = \"127.0.0.1:1\"\n",
        "[services.s]\ntargets = [{ weight = 1 }]\n",
        "[services.s]\ntargets = []\nretries = true\n",
        "[services.s]\ntargets = []\nbalance = \"random\"\n",
        "[routes.r]\npath = \"users\"\n",
        "[routes.r]\nmethods = [\"get\"]\n",
        "[routes.r]\nservice = [\"a\", \"b\"]\n",
        "[routes.r]\nheaders = { a = false }\n",
        "[routes.r.upgrade]\nprotocol = \"websocket\"\n",
    ] {
        assert!(!faults(&validator, text).is_empty(), "{text}");
    }
}

#[test]
fn every_default_is_one_that_can_be_written() {
    let mut found = vec![Place { header: String::new(), table: FILE }];
    places(FILE, "", &mut found);
    let validator = validator();
    let names: BTreeSet<&str> = found.iter().map(|place| place.table.name).collect();
    let document = document();
    let defined: BTreeSet<&str> = document["$defs"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(names.iter().all(|name| *name == FILE.name || defined.contains(name)), "{names:?}");
    for key in FILE.keys.iter().filter(|key| matches!(key.kind, Kind::Table(_))) {
        let lines = key.kind.table().unwrap().keys.iter().filter_map(|inner| match inner.default {
            Default::Is(value) => Some(format!("{} = {value}\n", inner.name)),
            _ => None,
        });
        let text = format!("[{}]\n{}", key.name, lines.collect::<String>());
        assert_eq!(faults(&validator, &text), Vec::<String>::new(), "{text}");
    }
}
