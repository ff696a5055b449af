//! The requests that are sent, as bytes that are made once.

use std::fmt::Write;
use std::net::SocketAddr;

/// What every request has; fields beyond those are made up.
const FIXED_FIELDS: usize = 3;

/// What all requests have in common.
pub(crate) struct Shape {
    pub(crate) address: SocketAddr,
    /// Header fields in all, but for those that frame an upload or end the connection.
    pub(crate) fields: usize,
    /// Bytes of the body.
    pub(crate) upload: usize,
    pub(crate) close: bool,
}

impl Shape {
    pub(crate) fn request(&self, path: &str) -> Box<[u8]> {
        let method = if self.upload > 0 { "POST" } else { "GET" };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (number, field) in ["User-Agent: loadtest/1", "Accept: */*"].iter().enumerate() {
            if self.fields > number + 1 {
                head.push_str(field);
                head.push_str("\r\n");
            }
        }
        for number in FIXED_FIELDS..self.fields {
            // Writing to a string cannot fail.
            let _ = write!(head, "X-Field-{number}: value-{number}-0123456789abcdef\r\n");
        }
        if self.upload > 0 {
            let _ = write!(head, "Content-Length: {}\r\n", self.upload);
        }
        if self.close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.resize(request.len() + self.upload, b'u');
        request.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_as_many_fields_as_it_should() {
        for fields in [1, 2, 3, 10, 60] {
            let shape = Shape { address: SocketAddr::from(([127, 0, 0, 1], 80)), fields, upload: 0, close: false };
            let request = shape.request("/a");
            let text = std::str::from_utf8(&request).unwrap();
            let lines: Vec<_> = text.split_terminator("\r\n").collect();
            assert_eq!((lines[0], lines[1], lines.len()), ("GET /a HTTP/1.1", "Host: 127.0.0.1:80", fields + 2));
        }
    }

    #[test]
    fn an_upload_has_its_length_and_its_bytes() {
        let shape = Shape { address: SocketAddr::from(([127, 0, 0, 1], 80)), fields: 3, upload: 7, close: true };
        let request = shape.request("/a");
        let text = std::str::from_utf8(&request).unwrap();
        assert!(text.starts_with("POST /a HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("\r\nContent-Length: 7\r\nConnection: close\r\n\r\nuuuuuuu"), "{text}");
    }
}
