//! The description as a JSON Schema (draft 2020-12).
//!
//! It is a little wider than the decoders: what depends on another key, and what a string means, is theirs to say. A
//! string may have `${...}` in it wherever one may stand.

use serde_json::{Map, Value, json};

use super::{Default, FILE, Key, Kind, Table};

/// Behind this, nothing is known of a string beforehand.
const SUBSTITUTED: &str = "\\$\\{";

/// The names of tables that are of the user's choice.
const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";

/// The JSON Schema of a configuration file.
#[must_use]
pub fn document() -> Value {
    let mut definitions = Map::new();
    let mut schema = table(FILE, &mut definitions);
    // What is required may stand in a file that is included.
    schema.remove("required");
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "Tidegate".into());
    schema.insert("$defs".into(), definitions.into());
    schema.into()
}

/// A reference to a table, which is defined once.
fn reference(of: &'static Table, definitions: &mut Map<String, Value>) -> Value {
    if !definitions.contains_key(of.name) {
        // Held while its own parts are defined.
        definitions.insert(of.name.into(), Value::Null);
        let made = table(of, definitions);
        definitions.insert(of.name.into(), made.into());
    }
    json!({ "$ref": format!("#/$defs/{}", of.name) })
}

fn table(of: &'static Table, definitions: &mut Map<String, Value>) -> Map<String, Value> {
    let mut properties = Map::new();
    for key in of.keys {
        properties.insert(key.name.into(), property(key, definitions));
    }
    let required: Vec<&str> =
        of.keys.iter().filter(|key| matches!(key.default, Default::Required)).map(|key| key.name).collect();
    let mut made = Map::new();
    made.insert("type".into(), "object".into());
    made.insert("description".into(), of.about.into());
    made.insert("properties".into(), properties.into());
    made.insert("additionalProperties".into(), false.into());
    if !required.is_empty() {
        made.insert("required".into(), required.into());
    }
    made
}

fn property(key: &'static Key, definitions: &mut Map<String, Value>) -> Value {
    let mut made = kind(&key.kind, definitions);
    if let Value::Object(schema) = &mut made {
        schema.insert("description".into(), key.about.into());
        let text = match key.default {
            Default::Is(text) => Some(text.to_owned()),
            Default::With(text, ..) => Some(format!("\"{text}\"")),
            Default::Required | Default::None => None,
        };
        // Those that can be written here are written alike in JSON.
        if let Some(default) = text.and_then(|text| serde_json::from_str(&text).ok()) {
            schema.insert("default".into(), default);
        }
    }
    made
}

fn kind(of: &'static Kind, definitions: &mut Map<String, Value>) -> Value {
    match of {
        Kind::Boolean => json!({ "type": ["boolean", "string"], "pattern": SUBSTITUTED }),
        Kind::True => json!({ "anyOf": [{ "const": true }, { "type": "string", "pattern": SUBSTITUTED }] }),
        Kind::False => json!({ "anyOf": [{ "const": false }, { "type": "string", "pattern": SUBSTITUTED }] }),
        Kind::Integer(least, most) => {
            json!({ "type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": SUBSTITUTED })
        }
        Kind::Number(least, most) => {
            json!({ "type": ["number", "string"], "minimum": least, "maximum": most, "pattern": SUBSTITUTED })
        }
        Kind::Text | Kind::Secret => json!({ "type": "string" }),
        Kind::Pattern(pattern) => text(pattern),
        Kind::Word(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": SUBSTITUTED }] })
        }
        Kind::Duration => text("^[0-9]+(ms|s|m|h)$"),
        Kind::Size => text("^(0|[0-9]+(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB))$"),
        Kind::Rate => text("^(0|[0-9]+(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)/s)$"),
        Kind::List(element) => json!({ "type": "array", "items": kind(element, definitions) }),
        Kind::Map(value) => json!({ "type": "object", "additionalProperties": kind(value, definitions) }),
        Kind::Table(table) => reference(table, definitions),
        Kind::Named(table) => json!({
            "type": "object",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": reference(table, definitions),
        }),
        Kind::Any(kinds) => {
            let all: Vec<Value> = kinds.iter().map(|one| kind(one, definitions)).collect();
            json!({ "anyOf": all })
        }
    }
}

fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{pattern}|{SUBSTITUTED}") })
}
