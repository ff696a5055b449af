//! A response read piece by piece: what it says, and where it ends.
//!
//! A pure core. It is stricter than a client has to be: all that the
//! contenders are asked to send has a Content-Length.

use memchr::memmem;

const HEAD_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 64;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Where the response has come to.
#[derive(Default, Debug)]
pub(crate) struct Response {
    /// The head, as long as it is not whole and has come in more than one piece.
    partial: Vec<u8>,
    /// What the head has said, and how many bytes of the body are missing.
    body: Option<(Outcome, u64)>,
}

/// A whole response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// Bytes of the body.
    pub(crate) length: u64,
    /// The server has said that it closes the connection.
    pub(crate) close: bool,
}

/// The bytes are no response, or none with a Content-Length, or more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Response {
    /// Takes the next bytes; gives the outcome with the last one, and is then ready for another response.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Outcome>, Malformed> {
        if self.body.is_none() {
            let Some(rest) = self.head(bytes)? else { return Ok(None) };
            bytes = rest;
        }
        let Some((outcome, missing)) = &mut self.body else { return Err(Malformed) };
        *missing = missing.checked_sub(bytes.len() as u64).ok_or(Malformed)?;
        if *missing > 0 {
            return Ok(None);
        }
        let outcome = *outcome;
        self.body = None;
        Ok(Some(outcome))
    }

    /// Reads the head; gives what of the bytes comes after it.
    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
        if self.partial.is_empty()
            && let Some(at) = memmem::find(bytes, HEAD_END)
        {
            let (head, rest) = bytes.split_at(at + HEAD_END.len());
            let outcome = read_head(head)?;
            self.body = Some((outcome, outcome.length));
            return Ok(Some(rest));
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        let from = before.saturating_sub(HEAD_END.len() - 1);
        let Some(at) = memmem::find(&self.partial[from..], HEAD_END) else {
            return if self.partial.len() < HEAD_MAX { Ok(None) } else { Err(Malformed) };
        };
        let length = from + at + HEAD_END.len();
        let outcome = read_head(&self.partial[..length])?;
        self.partial.clear();
        self.body = Some((outcome, outcome.length));
        Ok(Some(&bytes[length - before..]))
    }
}

fn read_head(head: &[u8]) -> Result<Outcome, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    if !matches!(parsed.parse(head), Ok(httparse::Status::Complete(_))) {
        return Err(Malformed);
    }
    let status = parsed.code.ok_or(Malformed)?;
    let mut length = None;
    let mut close = parsed.version != Some(1);
    for field in parsed.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(field.value).ok().and_then(|text| text.parse().ok());
            length = Some(number.ok_or(Malformed)?);
        } else if field.name.eq_ignore_ascii_case("connection") {
            close |= field.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Outcome { status, length: length.ok_or(Malformed)?, close })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nserver: a\r\ncontent-length: 5\r\n\r\nhello";

    #[test]
    fn it_may_come_in_any_two_pieces() {
        for at in 0..RESPONSE.len() {
            let mut response = Response::default();
            // Twice, for it must be as new after the first.
            for _ in 0..2 {
                assert_eq!(response.feed(&RESPONSE[..at]), Ok(None), "{at}");
                let whole = Outcome { status: 200, length: 5, close: false };
                assert_eq!(response.feed(&RESPONSE[at..]), Ok(Some(whole)), "{at}");
            }
        }
    }

    #[test]
    fn it_may_come_byte_by_byte() {
        let mut response = Response::default();
        let outcomes: Vec<_> = RESPONSE.iter().map(|byte| response.feed(&[*byte]).unwrap()).collect();
        assert!(outcomes[..RESPONSE.len() - 1].iter().all(Option::is_none));
        assert!(outcomes[RESPONSE.len() - 1].is_some());
    }

    #[test]
    fn what_it_says_is_told() {
        let outcome = |text: &str| Response::default().feed(text.as_bytes());
        let close = "HTTP/1.1 503 No\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(outcome(close), Ok(Some(Outcome { status: 503, length: 0, close: true })));
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(outcome(old), Ok(Some(Outcome { status: 200, length: 0, close: true })));
    }

    #[test]
    fn what_is_no_response_is_malformed() {
        for text in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
            "hello\r\n\r\n",
        ] {
            assert_eq!(Response::default().feed(text.as_bytes()), Err(Malformed), "{text}");
        }
        let mut response = Response::default();
        let endless = (0..=HEAD_MAX).find_map(|_| response.feed(b"a").err());
        assert_eq!(endless, Some(Malformed));
    }
}
