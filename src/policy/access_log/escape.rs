//! Texts of strangers, so that they end no line, no string and no colour of a terminal.

use super::page::Page;

/// Writes `text` to the end of `out` as the inside of a JSON string (RFC 8259 section 7).
///
/// Beyond what JSON asks for, everything is escaped that a viewer might take for the end of a line or for an order: DEL,
/// the control characters of Latin 1, and the separators of lines and paragraphs. What is no UTF-8 becomes U+FFFD.
pub(super) fn put_json(text: &[u8], out: &mut Page) {
    if is_harmless(text) {
        return out.put(text);
    }
    for chunk in text.utf8_chunks() {
        put_json_text(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.put("\u{fffd}".as_bytes());
        }
    }
}

fn put_json_text(text: &str, out: &mut Page) {
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        let short = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            other if is_order(other) => "",
            _ => continue,
        };
        out.put(&text.as_bytes()[plain..at]);
        plain = at + character.len_utf8();
        if short.is_empty() {
            // All of them are in the first plane.
            let code = u32::from(character) as u16;
            out.put(b"\\u");
            code.to_be_bytes().iter().for_each(|byte| put_hex(*byte, out));
        } else {
            out.put(short.as_bytes());
        }
    }
    out.put(&text.as_bytes()[plain..]);
}

/// Writes `text` to the end of `out` so that it can stand in a template, also between quotes: what is an order, a quote,
/// a backslash or no UTF-8 becomes `\xHH`.
pub(super) fn put_plain(text: &[u8], out: &mut Page) {
    if is_harmless(text) {
        return out.put(text);
    }
    let escape = |bytes: &[u8], out: &mut Page| {
        for byte in bytes {
            out.put(b"\\x");
            put_hex(*byte, out);
        }
    };
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut plain = 0;
        for (at, character) in valid.char_indices() {
            if matches!(character, '"' | '\\') || is_order(character) {
                out.put(&valid.as_bytes()[plain..at]);
                plain = at + character.len_utf8();
                escape(&valid.as_bytes()[at..plain], out);
            }
        }
        out.put(&valid.as_bytes()[plain..]);
        escape(chunk.invalid(), out);
    }
}

/// Whether nothing has to be escaped: as a rule, all is ASCII without quotes.
#[inline]
pub(super) fn is_harmless(text: &[u8]) -> bool {
    match text {
        [] => true,
        [byte] => are_harmless(&[*byte; BLOCK]),
        _ if text.len() < 4 => ends_are_harmless::<2>(text),
        _ if text.len() < 8 => ends_are_harmless::<4>(text),
        _ if text.len() < 16 => ends_are_harmless::<8>(text),
        _ => text.as_chunks().0.iter().all(are_harmless) && text.last_chunk().is_none_or(are_harmless),
    }
}

/// So many bytes are looked at at once.
const BLOCK: usize = 16;

/// Whether nothing of a text of `N` to `2 * N` bytes has to be escaped.
#[inline(always)]
fn ends_are_harmless<const N: usize>(text: &[u8]) -> bool {
    let mut block = [b' '; BLOCK];
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        block[..N].copy_from_slice(first);
        block[N..2 * N].copy_from_slice(last);
    }
    are_harmless(&block)
}

/// Whether none of these bytes has to be escaped.
#[inline(always)]
fn are_harmless(bytes: &[u8; BLOCK]) -> bool {
    let harm = bytes.map(|byte| !(b' '..0x7f).contains(&byte) | (byte == b'"') | (byte == b'\\'));
    u128::from_ne_bytes(harm.map(u8::from)) == 0
}

/// Whether somebody might take this character for an order rather than for text.
fn is_order(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn put_hex(byte: u8, out: &mut Page) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}
