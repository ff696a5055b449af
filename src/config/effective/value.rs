//! Values as they would be written, with secrets masked.

use toml::de::{DeTable, DeValue};

use crate::base::decode::{DOLLAR, SourceMap, Value};
use crate::base::secret::{MASK, sounds_secret};

/// A value as TOML. What a file or a variable with such a name has given, and what stands in a field of such a name, is
/// masked. `name` is the field that it stands in.
pub(super) fn text(sources: &SourceMap, value: &Value<'_>, name: Option<&str>) -> String {
    match value.get_ref() {
        DeValue::String(text) => {
            let hidden = sources.substitution(&value.span()).is_some_and(|substitution| substitution.hidden);
            if hidden || name.is_some_and(sounds_secret) { format!("\"{MASK}\"") } else { string(text) }
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(list) => {
            let all: Vec<String> = list.iter().map(|value| text(sources, value, name)).collect();
            format!("[{}]", all.join(", "))
        }
        DeValue::Table(all) => table(sources, all),
    }
}

fn table(sources: &SourceMap, table: &DeTable<'_>) -> String {
    let mut all: Vec<_> = table.iter().collect();
    all.sort_by_key(|(name, _)| name.span().start);
    let entry = |(name, value): &(&serde_spanned::Spanned<_>, &Value<'_>)| {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        format!("{} = {}", key(name), text(sources, value, Some(name)))
    };
    match all.is_empty() {
        true => "{}".into(),
        false => format!("{{ {} }}", all.iter().map(entry).collect::<Vec<_>>().join(", ")),
    }
}

/// What was written for a secret, to say where it comes from: its `${...}` without their defaults, which are as secret as
/// what they stand in for. What stands around them is masked as well where `all` of it is a secret. Nothing where escapes
/// make it unclear what is what.
pub(super) fn without_secrets(written: &str, all: bool) -> Option<String> {
    if written.contains('\\') {
        return None;
    }
    let text = written.trim_matches(['"', '\'']);
    let around = |text: &str| if all && !text.is_empty() { MASK.to_owned() } else { text.to_owned() };
    let (mut out, mut rest) = (String::from("\""), text);
    while let Some((before, after)) = rest.split_once("${") {
        out += &around(before);
        let (inside, after) = after.split_once('}').unwrap_or((after, ""));
        match inside.split_once(":-") {
            // Perhaps a brace that opens nothing: what follows is text.
            _ if inside.contains("${") || (all && before.ends_with('$')) => out += MASK,
            Some((name, _)) => out += &format!("${{{name}:-{MASK}}}"),
            None => out += &format!("${{{inside}}}"),
        }
        rest = after;
    }
    Some(out + &around(rest) + "\"")
}

/// A key as it would be written.
pub(super) fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A string of a tree as it would be written: what has been put in is no longer to be looked up.
fn string(text: &str) -> String {
    quoted(&text.replace(DOLLAR, "$$"))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            c if c.is_control() => out += &format!("\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_for_a_secret() {
        for (written, hidden, secret) in [
            ("\"${A}\"", Some("\"${A}\""), Some("\"${A}\"")),
            ("\"${A:-hush}\"", Some("\"${A:-***}\""), Some("\"${A:-***}\"")),
            ("'/h?key=${A}&b'", Some("\"/h?key=${A}&b\""), Some("\"***${A}***\"")),
            ("\"${A:-hush}${B:-hush}\"", Some("\"${A:-***}${B:-***}\""), Some("\"${A:-***}${B:-***}\"")),
            ("\"\"\"${file:a/b}\"\"\"", Some("\"${file:a/b}\""), Some("\"${file:a/b}\"")),
            ("\"$${X ${A:-hush}\"", Some("\"$***\""), Some("\"******\"")),
            ("\"$${hush}${A}\"", Some("\"$${hush}${A}\""), Some("\"******${A}\"")),
            ("\"\\u0024{A:-hush}\"", None, None),
        ] {
            assert_eq!(without_secrets(written, false).as_deref(), hidden, "{written}");
            assert_eq!(without_secrets(written, true).as_deref(), secret, "{written}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(text in "\\PC{0,8}|[\\x00-\\x1f\"\\\\\u{7f}\u{85}]{0,4}", name in "\\PC{0,4}") {
            let written = format!("{} = {}", key(&name), quoted(&text));
            let tree = DeTable::parse(&written).unwrap();
            let value = tree.get_ref().get(name.as_str()).unwrap();
            prop_assert!(matches!(value.get_ref(), DeValue::String(is) if **is == text), "{}", written);
        }
    }
}
