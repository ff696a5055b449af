//! Texts of strangers, so that they end no line, no string and no colour of a terminal.

/// Writes `text` to the end of `out` as the inside of a JSON string (RFC 8259 section 7).
///
/// Beyond what JSON asks for, everything is escaped that a viewer might take for the end of a line or for an order: DEL,
/// the control characters of Latin 1, and the separators of lines and paragraphs. What is no UTF-8 becomes U+FFFD.
pub(super) fn put_json(text: &[u8], out: &mut Vec<u8>) {
    if is_harmless(text) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        put_json_text(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn put_json_text(text: &str, out: &mut Vec<u8>) {
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
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + character.len_utf8();
        if short.is_empty() {
            // All of them are in the first plane.
            let code = u32::from(character) as u16;
            out.extend_from_slice(b"\\u");
            code.to_be_bytes().iter().for_each(|byte| put_hex(*byte, out));
        } else {
            out.extend_from_slice(short.as_bytes());
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// Writes `text` to the end of `out` so that it can stand in a template, also between quotes: what is an order, a quote,
/// a backslash or no UTF-8 becomes `\xHH`.
pub(super) fn put_plain(text: &[u8], out: &mut Vec<u8>) {
    if is_harmless(text) {
        return out.extend_from_slice(text);
    }
    let escape = |bytes: &[u8], out: &mut Vec<u8>| {
        for byte in bytes {
            out.extend_from_slice(b"\\x");
            put_hex(*byte, out);
        }
    };
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut plain = 0;
        for (at, character) in valid.char_indices() {
            if matches!(character, '"' | '\\') || is_order(character) {
                out.extend_from_slice(&valid.as_bytes()[plain..at]);
                plain = at + character.len_utf8();
                escape(&valid.as_bytes()[at..plain], out);
            }
        }
        out.extend_from_slice(&valid.as_bytes()[plain..]);
        escape(chunk.invalid(), out);
    }
}

/// Whether nothing has to be escaped: as a rule, all is ASCII without quotes.
fn is_harmless(text: &[u8]) -> bool {
    // To the end, also past one that is not: so many bytes are looked at at once.
    text.iter().fold(true, |harmless, &byte| harmless & (b' '..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\'))
}

/// Whether somebody might take this character for an order rather than for text.
fn is_order(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn put_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}
