//! The two fields that switch protocols, on a head that was written without them (RFC 9110 section 7.8).
//!
//! Connection and Upgrade are for the next hop alone, so neither a request's nor a response's are ever copied. Where a
//! switch is wanted, they are written anew, behind all others: in a request with what is asked for, in a 101 with what
//! it is answered with. What else Connection named stays away.

use crate::http::fields::FieldValue;

/// Makes the head that was written last into `out` ask for, or grant, a switch to `protocols`.
///
/// A 101 is written with [`encode_response`](super::encode::encode_response) first, for a client of HTTP/1.1 and with
/// its connection kept. A request's head may already have `Connection: TE`, to which this adds (RFC 9110 section 5.3).
pub fn put_upgrade(protocols: FieldValue<'_>, out: &mut Vec<u8>) {
    debug_assert!(out.ends_with(b"\r\n\r\n"), "a head was written before");
    out.truncate(out.len() - 2);
    for part in [b"Connection: Upgrade\r\nUpgrade: ", protocols.as_bytes(), b"\r\n\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::{FieldName, Known, KnownSet};
    use crate::http::h1::encode::{Dropped, RequestForward, ResponseForward, Target, encode_request, encode_response};
    use crate::http::h1::parse::{HeadLimits, Progress, RequestHead, ResponseContext, ResponseHead};
    use crate::http::message::{Framing, Version};

    fn value(text: &str) -> FieldValue<'_> {
        FieldValue::new(text.as_bytes()).unwrap()
    }

    /// What a backend gets of this request, asked for `offer`.
    fn sent_request(received: &str, offer: &str) -> String {
        let mut head = RequestHead::default();
        head.parse(received.as_bytes(), &HeadLimits::default()).unwrap();
        let forward = RequestForward {
            target: Target::new(b"/chat").unwrap(),
            framing: head.framing(),
            host: None,
            default_host: value("backend"),
            close: false,
            drop: Dropped { known: KnownSet::of(&[Known::XRequestId]), ..Dropped::default() },
            append: &[(FieldName::literal("X-Request-Id"), value("7"))],
        };
        let mut out = Vec::new();
        encode_request(&head, &forward, None, &mut out);
        put_upgrade(value(offer), &mut out);
        // What we write, we would read.
        let mut again = RequestHead::default();
        assert_eq!(again.parse(&out, &HeadLimits::default()), Ok(Progress::Complete { consumed: out.len() }));
        assert_eq!(again.upgrade(), Some(offer.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_ask_for_what_they_may() {
        let head = "GET /chat HTTP/1.1\r\nHost: a\r\n";
        let socket = "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nOrigin: http://a\r\n";
        let added = "X-Request-Id: 7\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        for (received, te) in [
            (format!("{head}Connection: Upgrade\r\nUpgrade: websocket\r\n{socket}\r\n"), ""),
            (format!("{head}connection: keep-alive, upgrade\r\n{socket}upgrade: WebSocket, h2c\r\n\r\n"), ""),
            // What else Connection names stays away.
            (
                format!(
                    "{head}X-Hop: 1\r\nConnection: Upgrade, X-Hop, HTTP2-Settings\r\nHTTP2-Settings: a\r\nUpgrade: h2c, websocket\r\n{socket}\r\n"
                ),
                "",
            ),
            (
                format!("{head}TE: trailers\r\nConnection: TE, Upgrade\r\nUpgrade: websocket\r\n{socket}\r\n"),
                "Connection: TE\r\nTE: trailers\r\n",
            ),
        ] {
            assert_eq!(sent_request(&received, "websocket"), format!("{head}{socket}{te}{added}"));
        }
    }

    /// What a client gets of this 101.
    fn sent_response(fields: &str) -> String {
        let received = format!("HTTP/1.1 101 Switching\r\n{fields}\r\n");
        let mut head = ResponseHead::default();
        let context = ResponseContext { upgrade_requested: true, ..ResponseContext::default() };
        head.parse(received.as_bytes(), &HeadLimits::default(), &context).unwrap();
        assert!(!head.is_interim() && head.framing() == Framing::None);
        let forward = ResponseForward {
            framing: head.framing().for_client(Version::Http11),
            client: Version::Http11,
            keep_alive: true,
            drop: Dropped::default(),
            append: &[(FieldName::literal("X-Request-Id"), value("7"))],
        };
        let mut out = Vec::new();
        encode_response(&head, &forward, None, &mut out);
        put_upgrade(FieldValue::new(head.get(Known::Upgrade).unwrap()).unwrap(), &mut out);
        let mut again = ResponseHead::default();
        let read = again.parse(&out, &HeadLimits::default(), &context);
        assert_eq!(read, Ok(Progress::Complete { consumed: out.len() }));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_101_keeps_its_fields_in_order() {
        let socket =
            "Sec-WebSocket-Accept: y\r\nSec-WebSocket-Protocol: chat\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n";
        let sent = format!(
            "HTTP/1.1 101 Switching\r\n{socket}X-Request-Id: 7\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        for received in [
            format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{socket}"),
            format!("{socket}connection: upgrade, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nupgrade:websocket\r\n"),
            // A backend that forgets Connection means it all the same.
            format!("Upgrade: websocket\r\n{socket}Trailer: X\r\n"),
        ] {
            assert_eq!(sent_response(&received), sent);
        }
    }
}
