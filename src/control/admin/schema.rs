//! Words to say what an answer looks like (JSON Schema, draft 2020-12).
//!
//! Every member of an object is always there, and there are no others: a test holds each answer against its schema, and
//! would find one that has grown without it.

use serde_json::{Map, Value, json};

/// An object with exactly these members.
pub(super) fn object(members: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false })
}

/// A text, and what it is.
pub(super) fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

/// A whole number from zero, and what it is.
pub(super) fn whole(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

/// A whole number, perhaps below zero, and what it is.
pub(super) fn integer(description: &str) -> Value {
    json!({ "type": "integer", "description": description })
}

/// A number from 0 to 1, and what it is.
pub(super) fn share(description: &str) -> Value {
    json!({ "type": "number", "minimum": 0, "maximum": 1, "description": description })
}

/// A duration as it is written in a configuration, and what it is.
pub(super) fn duration(description: &str) -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$", "description": description })
}

/// Yes or no, and what it is.
pub(super) fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "description": description })
}

/// One of these words.
pub(super) fn word(words: &[&str]) -> Value {
    json!({ "type": "string", "enum": words })
}

/// Any number of these.
pub(super) fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// This, or null: `when` says what that means.
pub(super) fn or_null(mut schema: Value, when: &str) -> Value {
    match schema.get("type").and_then(Value::as_str).filter(|_| schema.get("enum").is_none()) {
        Some(kind) => {
            let description = schema.get("description").and_then(Value::as_str);
            let description =
                description.map_or_else(|| format!("null: {when}"), |text| format!("{text}; null: {when}"));
            schema["type"] = json!([kind, "null"]);
            schema["description"] = description.into();
            schema
        }
        None => json!({ "anyOf": [schema, { "type": "null", "description": when }] }),
    }
}

/// Another schema of the document.
pub(super) fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
