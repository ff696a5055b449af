//! Field names and values: which bytes they may have.
//!
//! A field of a head is a `FieldSpan`: offsets into the head's bytes and what was learnt of its line. Names
//! are looked up once, while the head is parsed; afterwards they are compared as numbers.

use std::ops::Range;

pub use super::known::{Known, KnownSet};
use crate::base::address::AddressText;
use crate::base::request_id::RequestId;

/// The most bytes a head may have under any configuration: the offsets of its fields are 16 bits wide.
pub const MAX_HEAD: usize = u16::MAX as usize;

/// Where a field stands in its head, and what was learnt of its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldSpan {
    pub(crate) name_start: u16,
    pub(crate) name_end: u16,
    pub(crate) value_start: u16,
    pub(crate) value_end: u16,
    pub(crate) known: Known,
    /// The line is exactly `name: value\r\n`, so it may be copied as it is.
    pub(crate) canonical: bool,
    /// The Connection field names this one.
    pub(crate) nominated: bool,
}

impl FieldSpan {
    pub(crate) fn name(&self) -> Range<usize> {
        self.name_start.into()..self.name_end.into()
    }

    pub(crate) fn value(&self) -> Range<usize> {
        self.value_start.into()..self.value_end.into()
    }
}

/// A field as a reader of a head sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was received.
    pub name: &'a [u8],
    /// The value without the white space around it. It may have bytes above 127 (obs-text).
    pub value: &'a [u8],
    /// Which name it is.
    pub known: Known,
    /// Whether it is dropped when the message is sent on, by its name or because Connection names it.
    pub hop_by_hop: bool,
}

/// What a name is made of, as far as strictness is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameShape {
    /// Letters, digits and `-`.
    Plain,
    /// Also `_`, which CGI and its kin take for `-`.
    Underscore,
    /// A token of RFC 9110, but with other characters.
    Odd,
    /// Not a token.
    Malformed,
}

const PLAIN: u8 = 0;
const UNDERSCORE: u8 = 1;
const ODD: u8 = 2;
const MALFORMED: u8 = 4;

const NAME_BYTES: [u8; 256] = {
    let mut table = [MALFORMED; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            table[b] = PLAIN;
        } else if byte == b'_' {
            table[b] = UNDERSCORE;
        } else if matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'.' | b'^' | b'`' | b'|' | b'~'
        ) {
            table[b] = ODD;
        }
        b += 1;
    }
    table
};

/// The shape of a name.
pub(crate) fn name_shape(name: &[u8]) -> NameShape {
    let seen = name.iter().fold(0, |seen, &b| seen | NAME_BYTES[usize::from(b)]);
    match seen {
        _ if name.is_empty() || seen & MALFORMED != 0 => NameShape::Malformed,
        _ if seen & ODD != 0 => NameShape::Odd,
        _ if seen & UNDERSCORE != 0 => NameShape::Underscore,
        _ => NameShape::Plain,
    }
}

/// Whether `name` is a token of RFC 9110 section 5.6.2.
pub(crate) fn is_token(name: &[u8]) -> bool {
    name_shape(name) != NameShape::Malformed
}

/// Whether every byte may stand in a field value: HTAB, SP, VCHAR and obs-text (RFC 9110 section 5.5).
pub(crate) fn is_value(value: &[u8]) -> bool {
    // To the end, also past a wrong one: so many bytes are looked at at once.
    value.iter().fold(true, |fit, &b| fit & ((b == b'\t') | ((b >= b' ') & (b != 0x7f))))
}

/// `value` without SP and HTAB around it (OWS, RFC 9110 section 5.6.3).
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    let start = value.iter().position(|b| !is_space(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !is_space(b)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Whether `name`, which has a `_`, would be taken for a protected field by a backend that reads `_` as `-`:
/// framing, hop-by-hop and routing fields, and those with which a gateway vouches for its client.
pub(crate) fn imitates_protected(name: &[u8]) -> bool {
    const PROTECTED: KnownSet = KnownSet::HOP_BY_HOP.with(KnownSet::of(&[
        Known::Host,
        Known::ContentLength,
        Known::Trailer,
        Known::Expect,
        Known::XRealIp,
        Known::XRequestId,
        Known::Forwarded,
        Known::Authorization,
    ]));
    const LONGEST: usize = "proxy-authorization".len();
    let mut folded = [0; LONGEST];
    for (to, from) in folded.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { from.to_ascii_lowercase() };
    }
    is_forwarding(&folded) || (name.len() <= LONGEST && PROTECTED.contains(Known::classify(&folded[..name.len()])))
}

/// Whether `name` is one of the X-Forwarded fields, known or not.
pub(crate) fn is_forwarding(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    name.len() >= PREFIX.len() && name[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
}

/// A field name that may be written into a head: letters, digits, `-` and `_`, and none of those that frame a
/// message or manage its connection, for these the encoder alone writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldName<'a>(&'a [u8]);

impl<'a> FieldName<'a> {
    const RESERVED: KnownSet =
        KnownSet::HOP_BY_HOP.with(KnownSet::of(&[Known::Host, Known::ContentLength, Known::Trailer, Known::Expect]));

    /// The name, or `None` if it may not be written.
    pub fn new(name: &'a [u8]) -> Option<Self> {
        let fit = matches!(name_shape(name), NameShape::Plain | NameShape::Underscore);
        // Proxy-Authenticate and its like are reserved as well: they are never ours to add.
        (fit && !Self::RESERVED.contains(Known::classify(name))).then_some(Self(name))
    }

    /// The name of a field that the gateway itself writes, checked while compiling when used in a constant.
    ///
    /// # Panics
    /// If a byte may not stand in a name.
    pub const fn literal(name: &'a str) -> Self {
        let bytes = name.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            assert!(NAME_BYTES[bytes[i] as usize] & (ODD | MALFORMED) == 0, "not a field name");
            i += 1;
        }
        assert!(!bytes.is_empty(), "not a field name");
        Self(bytes)
    }

    /// The bytes of the name.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// A field value that may be written into a head: it cannot end its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldValue<'a>(&'a [u8]);

impl<'a> FieldValue<'a> {
    /// The value, or `None` if it has control characters.
    pub fn new(value: &'a [u8]) -> Option<Self> {
        is_value(value).then_some(Self(value))
    }

    /// A value that the gateway itself writes, checked while compiling when used in a constant.
    ///
    /// # Panics
    /// If a byte may not stand in a value.
    pub const fn literal(value: &'a str) -> Self {
        let bytes = value.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            assert!(bytes[i] == b'\t' || (bytes[i] >= b' ' && bytes[i] != 0x7f), "not a field value");
            i += 1;
        }
        Self(bytes)
    }

    /// A value that the parser has let through.
    pub(in crate::http) fn parsed(value: &'a [u8]) -> Self {
        debug_assert!(is_value(value), "the parser refuses control characters");
        Self(value)
    }

    /// The bytes of the value.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

// What these are made of has no control characters.
impl<'a> From<&'a RequestId> for FieldValue<'a> {
    fn from(id: &'a RequestId) -> Self {
        Self(id.as_bytes())
    }
}

impl<'a> From<&'a AddressText> for FieldValue<'a> {
    fn from(address: &'a AddressText) -> Self {
        Self(address.as_bytes())
    }
}

/// A [`FieldName`] that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedName(Box<[u8]>);

impl OwnedName {
    /// The name, or `None` if it may not be written.
    pub fn new(name: &str) -> Option<Self> {
        FieldName::new(name.as_bytes()).map(|name| Self(name.0.into()))
    }

    /// The name, which was checked when it was made.
    pub fn get(&self) -> FieldName<'_> {
        FieldName(&self.0)
    }
}

/// A [`FieldValue`] that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedValue(Box<[u8]>);

impl OwnedValue {
    /// The value, or `None` if it has control characters.
    pub fn new(value: &str) -> Option<Self> {
        FieldValue::new(value.as_bytes()).map(|value| Self(value.0.into()))
    }

    /// The value, which was checked when it was made.
    pub fn get(&self) -> FieldValue<'_> {
        FieldValue(&self.0)
    }
}

/// A field to be written: its name and its value, both checked.
pub type NewField<'a> = (FieldName<'a>, FieldValue<'a>);

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
