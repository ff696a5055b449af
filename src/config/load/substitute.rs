//! `${...}` in the strings of a configuration.
//!
//! ```toml
//! targets = ["${USERS_HOST}:3001"]                 # a variable of the environment, which must be set
//! first_byte_timeout = "${PATIENCE:-30s}"          # or this, where it is not set or is empty
//! secret = "${file:secrets/affinity}"              # what is in a file, without one newline at its end
//! request_headers = { set = { X-Price = "5 $$" } } # a dollar sign, which needs the second one only before `$` and `{`
//! ```
//!
//! Names of variables are made of `A` to `Z`, `0` to `9` and `_`. Those in lower case, such as `${client.ip}`, name what is
//! only known of a request: they are left for the values that can have them. What is put in is a piece of the string and
//! nothing else: a `${` in it means nothing. Where no string can be, as in `workers = "${WORKERS:-2}"`, what is put in is the
//! number or the boolean that it looks like.

use crate::base::decode::DOLLAR;

/// What a `${...}` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'t> {
    /// `${NAME}` or `${NAME:-default}`.
    Variable { name: &'t str, default: Option<&'t str> },
    /// `${file:path}`.
    File(&'t str),
}

/// What was found for a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The text.
    pub(super) text: String,
    /// Whether there was a reference.
    pub(super) replaced: bool,
    /// Whether it may be a secret.
    pub(super) hidden: bool,
}

impl Found {
    pub(super) fn new(text: impl Into<String>, hidden: bool) -> Self {
        Self { text: text.into(), replaced: true, hidden }
    }
}

/// Why there is nothing to put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The part of the string that is at fault.
    pub(super) at: String,
    pub(super) message: String,
    pub(super) help: String,
}

impl Problem {
    pub(super) fn new(at: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into(), help: help.into() }
    }
}

/// The string with what `look` finds in place of what `text` refers to, and with [`DOLLAR`] for dollars where that is
/// needed. `None` where it has no dollar.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn substitute<'t>(
    text: &'t str,
    mut look: impl FnMut(Reference<'t>) -> Result<Found, (String, String)>,
) -> Result<Option<Found>, Problem> {
    if text.contains(DOLLAR) {
        return Err(Problem::new(DOLLAR, "U+FDD0 is not a character", "leave it out"));
    }
    if !text.contains('$') {
        return Ok(None);
    }
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    let (mut replaced, mut hidden) = (false, false);
    while let Some((before, after)) = rest.split_once('$') {
        made.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            made.push(DOLLAR);
            rest = after;
            continue;
        }
        let Some(inside) = after.strip_prefix('{') else {
            made.push(DOLLAR);
            rest = after;
            continue;
        };
        let Some((inside, after)) = inside.split_once('}') else {
            let help = "close it with `}`; for a dollar sign before a brace write `$${`";
            return Err(Problem::new(format!("${{{inside}"), format!("`${{{inside}` has no end"), help));
        };
        rest = after;
        let whole = || format!("${{{inside}}}");
        let Some(reference) = read(inside).map_err(|(message, help)| Problem::new(whole(), message, help))? else {
            made.push_str(&whole());
            continue;
        };
        let found = look(reference).map_err(|(message, help)| Problem::new(whole(), message, help))?;
        if found.text.contains(DOLLAR) {
            let message = format!("`{}` stands for text with U+FDD0 in it, which is not a character", whole());
            return Err(Problem::new(whole(), message, "leave it out there"));
        }
        made.push_str(&found.text.replace('$', DOLLAR.encode_utf8(&mut [0; 4])));
        replaced = true;
        hidden |= found.hidden;
    }
    made.push_str(rest);
    Ok(Some(Found { text: settle(&made), replaced, hidden }))
}

/// Leaves [`DOLLAR`] only where a dollar sign would be taken for the beginning of something.
fn settle(text: &str) -> String {
    let mut settled = String::with_capacity(text.len());
    let mut all = text.chars().peekable();
    while let Some(next) = all.next() {
        let matters = matches!(all.peek(), Some(&('{' | '$' | DOLLAR)));
        settled.push(if next == DOLLAR && !matters { '$' } else { next });
    }
    settled
}

/// Reads what stands in the braces; nothing where it is a name of what is known of a request.
fn read(inside: &str) -> Result<Option<Reference<'_>>, (String, String)> {
    if let Some(path) = inside.strip_prefix("file:") {
        return match path {
            "" => Err(("`${file:}` names no file".into(), "write its path, such as `${file:secrets/token}`".into())),
            path => Ok(Some(Reference::File(path))),
        };
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if inside.contains("${") {
        let problem = format!("`${{{inside}}}` has another `${{` in it");
        return Err((problem, "a default is plain text; give the variable its value where it is set".into()));
    }
    if is_variable(name) {
        return Ok(Some(Reference::Variable { name, default }));
    }
    // Names of what is known of a request are in lower case up to their first dot.
    let family = name.split('.').next().unwrap_or_default();
    let is_name = !family.is_empty() && family.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if default.is_none() && is_name {
        return Ok(None);
    }
    let problem = match inside {
        "" => "`${}` names nothing".to_owned(),
        _ => format!("`{name}` cannot be the name of a variable"),
    };
    Err((problem, instead(inside, name)))
}

/// What to write instead of a name that is none.
fn instead(inside: &str, name: &str) -> String {
    // The other forms of a shell: `${NAME-default}`, `${NAME:=default}`, `${NAME:?error}`.
    let length = name.bytes().take_while(|byte| byte.is_ascii_uppercase() || *byte == b'_').count();
    let (variable, rest) = name.split_at(length);
    if let Some(default) = rest.trim_start_matches(':').strip_prefix(['-', '=', '?', '+'])
        && is_variable(variable)
    {
        return format!("a default is written `${{{variable}:-{default}}}`");
    }
    let upper = name.trim().to_ascii_uppercase().replace(['-', '.', ' '], "_");
    if is_variable(&upper) {
        return format!("did you mean `${{{}}}`?", inside.replacen(name, &upper, 1));
    }
    "write the name of a variable, such as `${USERS_HOST}`, or `$$` for a dollar sign".into()
}

/// `[A-Z_][A-Z0-9_]*`
fn is_variable(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(reference: Reference<'_>) -> Result<Found, (String, String)> {
        let text = match reference {
            Reference::Variable { name: "HOST", .. } => "10.0.0.1".to_owned(),
            Reference::Variable { name: "ODD", .. } => "$ $$ ${HOST} ${client.ip} }".to_owned(),
            Reference::Variable { name: _, default: Some(default) } => default.to_owned(),
            Reference::Variable { name, default: None } => return Err((format!("no {name}"), "set it".into())),
            Reference::File(path) => return Ok(Found::new(format!("<{path}>"), true)),
        };
        Ok(Found::new(text, false))
    }

    fn put(text: &str) -> Result<String, Problem> {
        Ok(substitute(text, look)?.map_or_else(|| text.to_owned(), |found| found.text.replace(DOLLAR, "#")))
    }

    #[test]
    fn what_is_put_in() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${HOST}:3001", "10.0.0.1:3001"),
            ("${HOST}${HOST}", "10.0.0.110.0.0.1"),
            ("${NONE:-5s}", "5s"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${HOST:-other}", "10.0.0.1"),
            ("${file:a/b}!", "<a/b>!"),
            ("~ ^/v[0-9]+$", "~ ^/v[0-9]+$"),
            ("5 $$", "5 $"),
            ("$$$$", "#$"),
            ("$${HOST}", "#{HOST}"),
            ("$$${HOST}", "$10.0.0.1"),
            ("$$${client.ip}", "#${client.ip}"),
            ("$", "$"),
            ("$a $", "$a $"),
            ("${client.ip} ${request.header.X-A} ${route}", "${client.ip} ${request.header.X-A} ${route}"),
            ("${ODD}", "$ #$ #{HOST} #{client.ip} }"),
        ] {
            assert_eq!(put(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(substitute("a ${file:b}", look).unwrap().unwrap().hidden);
        assert!(!substitute("a ${HOST}", look).unwrap().unwrap().hidden);
    }

    #[test]
    fn what_is_wrong() {
        for (text, at, message, help) in [
            ("a ${NONE} b", "${NONE}", "no NONE", "set it"),
            ("a ${HOST", "${HOST", "`${HOST` has no end", "close it with `}`"),
            ("${}", "${}", "`${}` names nothing", "such as `${USERS_HOST}`"),
            ("${Users-Host}", "${Users-Host}", "`Users-Host` cannot be the name", "did you mean `${USERS_HOST}`?"),
            ("${users:-x}", "${users:-x}", "`users` cannot be the name", "did you mean `${USERS:-x}`?"),
            ("${1ST}", "${1ST}", "`1ST` cannot be the name", "such as `${USERS_HOST}`"),
            ("${HOST-x}", "${HOST-x}", "`HOST-x` cannot be", "a default is written `${HOST:-x}`"),
            ("${HOST:=x}", "${HOST:=x}", "`HOST:=x` cannot be", "a default is written `${HOST:-x}`"),
            ("${HOST:-${OTHER}}", "${HOST:-${OTHER}", "has another `${` in it", "a default is plain text"),
            ("${file:}", "${file:}", "`${file:}` names no file", "write its path"),
            ("\u{fdd0}", "\u{fdd0}", "U+FDD0 is not a character", "leave it out"),
            ("${X:-\u{fdd0}}", "\u{fdd0}", "U+FDD0 is not a character", "leave it out"),
        ] {
            let problem = put(text).unwrap_err();
            assert_eq!(problem.at, at, "{text}");
            assert!(problem.message.contains(message) && problem.help.contains(help), "{text}: {problem:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_text_and_nothing_else(value in "[$a{}.A\u{e9}]{0,8}", before in "[a{}]{0,3}", after in "[a{}]{0,3}") {
            let look = |_: Reference<'_>| Ok(Found::new(value.clone(), false));
            let made = substitute(&format!("{before}${{X}}{after}"), look).unwrap();
            let text = made.map(|found| found.text).unwrap();
            prop_assert_eq!(text.replace(DOLLAR, "$"), format!("{before}{value}{after}"));
            prop_assert!(!text.contains("${") && !text.contains("$$"), "{}", text);
        }

        #[test]
        fn any_text_is_something_or_wrong(text in "[$a{}.A:-]{0,16}") {
            let _ = put(&text);
        }
    }
}
