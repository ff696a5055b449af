//! Names and values: which are known, which may be written.

use super::*;

#[test]
fn every_known_name_is_found_in_any_case() {
    for &(known, text) in Known::ALL {
        assert_eq!(Known::classify(text.as_bytes()), known, "{text}");
        assert_eq!(Known::classify(text.to_ascii_uppercase().as_bytes()), known, "{text}");
        assert_eq!(Known::classify(text.to_ascii_lowercase().as_bytes()), known, "{text}");
        assert_eq!(Known::classify(format!("{text}x").as_bytes()), Known::Other, "{text}x");
    }
    assert_eq!(Known::classify(b""), Known::Other);
    assert_eq!(Known::classify(b"Content_Length"), Known::Other);
}

/// The parser judges the shape of unknown names only.
#[test]
fn what_is_known_has_a_plain_shape_whichever_byte_is_changed() {
    for (known, text) in Known::ALL {
        for place in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut name = text.as_bytes().to_vec();
                name[place] = byte;
                let is_plain = name_shape(&name) == NameShape::Plain;
                assert!(is_plain || Known::classify(&name) == Known::Other, "{known:?} {:?}", name.escape_ascii());
            }
        }
    }
}

#[test]
fn sets_have_their_members_only() {
    let set = KnownSet::of(&[Known::Host, Known::MaxForwards]);
    let members = Known::ALL.iter().filter(|(known, _)| set.contains(*known)).count();
    assert_eq!(members, 2);
    assert!(!set.contains(Known::Other));
    assert!(KnownSet::HOP_BY_HOP.contains(Known::Te) && !KnownSet::HOP_BY_HOP.contains(Known::Trailer));
}

#[test]
fn shapes_of_names() {
    let table: &[(&[u8], NameShape)] = &[
        (b"X-Plain-1", NameShape::Plain),
        (b"x_y", NameShape::Underscore),
        (b"x.y", NameShape::Odd),
        (b"x_y!", NameShape::Odd),
        (b"", NameShape::Malformed),
        (b"a b", NameShape::Malformed),
        (b"a:", NameShape::Malformed),
        (b"a\x7f", NameShape::Malformed),
        (b"a\xe4", NameShape::Malformed),
        (b"a(b)", NameShape::Malformed),
    ];
    for (name, shape) in table {
        assert_eq!(name_shape(name), *shape, "{name:?}");
    }
}

#[test]
fn underscores_imitate_protected_names() {
    for name in ["Content_Length", "TRANSFER_ENCODING", "x_forwarded_for", "X-Forwarded_Prefix", "X_Real_IP"] {
        assert!(imitates_protected(name.as_bytes()), "{name}");
    }
    for name in ["x_custom", "session_id", "content_md5", "x_forwarded", &"a_".repeat(40)] {
        assert!(!imitates_protected(name.as_bytes()), "{name}");
    }
}

#[test]
fn written_fields_cannot_end_their_line_or_frame_a_message() {
    for bad in ["a\r\nb", "a\nb", "a\rb", "a\0", "\x7f"] {
        assert_eq!(FieldValue::new(bad.as_bytes()), None, "{bad:?}");
    }
    assert!(FieldValue::new("tab\t sp \u{e4}".as_bytes()).is_some());
    for bad in ["", "a b", "a:", "a\r\n", "Content-Length", "transfer-encoding", "HOST", "Connection", "x.y"] {
        assert_eq!(FieldName::new(bad.as_bytes()), None, "{bad:?}");
    }
    assert!(FieldName::new(b"X-Request-Id").is_some() && FieldName::new(b"x_y").is_some());
}

#[test]
fn white_space_is_trimmed() {
    assert_eq!(trim(b" \ta b\t "), b"a b");
    assert_eq!(trim(b" \t "), b"");
    assert_eq!(trim(b""), b"");
}
