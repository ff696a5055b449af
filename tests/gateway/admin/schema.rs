//! Holds a value against a JSON Schema, as far as the admin listener's document goes.
//!
//! A keyword that is not known here fails the test: what is not looked at would always be right. `tests/process/openapi.rs`
//! has the same document judged by programs that know all of JSON Schema.

use regex::Regex;
use serde_json::Value;

/// What is wrong with `value`, with its place; nothing if it is what `schema` of `document` says.
pub(super) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, schema, value, "it", &mut faults);
    faults
}

fn check(document: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let keywords = schema.as_object().unwrap_or_else(|| panic!("no schema: {schema}"));
    for (keyword, wanted) in keywords {
        let fault = match keyword.as_str() {
            "description" | "default" | "properties" => None,
            "$ref" => {
                let path =
                    wanted.as_str().and_then(|path| path.strip_prefix('#')).expect("a reference in the document");
                let other = document.pointer(path).unwrap_or_else(|| panic!("no {wanted} in the document"));
                check(document, other, value, place, faults);
                None
            }
            "type" => (!has_type(wanted, value)).then(|| format!("is no {wanted}")),
            "enum" => (!wanted.as_array().expect("a list").contains(value)).then(|| format!("is none of {wanted}")),
            "const" => (wanted != value).then(|| format!("is not {wanted}")),
            "minimum" => below(value, wanted).then(|| format!("is below {wanted}")),
            "maximum" => below(wanted, value).then(|| format!("is above {wanted}")),
            "minLength" => {
                let is_short = |text: &str| (text.chars().count() as u64) < wanted.as_u64().expect("a length");
                value.as_str().is_some_and(is_short).then(|| format!("is shorter than {wanted}"))
            }
            "pattern" => {
                let pattern = Regex::new(wanted.as_str().expect("a text")).expect("an expression");
                value.as_str().is_some_and(|text| !pattern.is_match(text)).then(|| format!("does not match {wanted}"))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, wanted, item, &format!("{place}[{index}]"), faults);
                }
                None
            }
            "anyOf" => {
                let any = wanted.as_array().expect("a list").iter();
                let fits = |schema: &Value| self::faults(document, schema, value).is_empty();
                (!any.clone().any(fits)).then(|| format!("is none of {} things", any.len()))
            }
            "required" => {
                let names = wanted.as_array().expect("a list").iter().filter_map(Value::as_str);
                let missing = names.filter(|name| value.is_object() && value.get(name).is_none());
                let missing: Vec<&str> = missing.collect();
                (!missing.is_empty()).then(|| format!("has no {missing:?}"))
            }
            "additionalProperties" => {
                assert_eq!(wanted, false, "only closed objects are known here");
                let known = |name: &str| schema["properties"].get(name).is_some();
                let more = value.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| !known(name));
                let more: Vec<&String> = more.collect();
                (!more.is_empty()).then(|| format!("has {more:?} besides"))
            }
            other => panic!("{other} is not known here"),
        };
        faults.extend(fault.map(|fault| format!("{place} {fault}: {value}")));
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(member) = value.get(name) {
            check(document, schema, member, &format!("{place}.{name}"), faults);
        }
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("no type: {other}"),
    };
    match wanted {
        Value::Array(any) => any.iter().filter_map(Value::as_str).any(is),
        one => is(one.as_str().expect("a type")),
    }
}

/// Whether `a` is a number less than the number `b`.
fn below(a: &Value, b: &Value) -> bool {
    matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a < b)
}

#[test]
fn what_does_not_fit_is_found() {
    let document = serde_json::json!({ "schemas": { "Word": { "type": "string", "enum": ["a", "b"] } } });
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "word": { "$ref": "#/schemas/Word" },
            "count": { "type": ["integer", "null"], "minimum": 0, "maximum": 9 },
            "list": { "type": "array", "items": { "anyOf": [{ "type": "null" }, { "type": "string", "pattern": "^x" }] } },
        },
        "required": ["word", "count"],
        "additionalProperties": false,
    });
    let count = |value: Value| faults(&document, &schema, &value).len();
    assert_eq!(count(serde_json::json!({ "word": "a", "count": 9, "list": [null, "xy"] })), 0);
    assert_eq!(count(serde_json::json!({ "word": "b", "count": null })), 0);
    for (wrong, faults) in [
        (serde_json::json!([]), 1),
        (serde_json::json!({ "word": "c", "count": 0 }), 1),
        (serde_json::json!({ "word": "a", "count": -1 }), 1),
        (serde_json::json!({ "word": "a", "count": 10 }), 1),
        (serde_json::json!({ "word": "a", "count": 0.5 }), 1),
        (serde_json::json!({ "word": 7, "count": 0 }), 2),
        (serde_json::json!({ "word": "a" }), 1),
        (serde_json::json!({ "word": "a", "count": 0, "more": 1 }), 1),
        (serde_json::json!({ "word": "a", "count": 0, "list": ["y", 7, "x"] }), 2),
    ] {
        assert_eq!(count(wrong.clone()), faults, "{wrong}");
    }
}
