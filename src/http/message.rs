//! The words of a message, whatever its version: version, method, framing.

/// The version of a message on an HTTP/1 connection. Others never get past the parser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `HTTP/1.0`: no chunked coding, no 1xx, closes unless both sides say `keep-alive`.
    Http10,
    /// `HTTP/1.1`: persistent unless a side says `close`.
    #[default]
    Http11,
}

/// The kind of a method (RFC 9110 section 9, RFC 5789). The text of an [`Method::Other`] stays in its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `CONNECT`
    Connect,
    /// `TRACE`
    Trace,
    /// Any other method.
    Other,
}

impl Method {
    /// The kind of the method with this text. Methods are case-sensitive (RFC 9110 section 9.1).
    pub fn classify(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }

    /// Whether the method only reads (RFC 9110 section 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending a request twice does what sending it once does (RFC 9110 section 9.2.2). Of an unknown
    /// method we do not know, so it is not.
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, and nothing in the head announces one.
    #[default]
    None,
    /// So many bytes, announced by Content-Length; zero is different from [`Framing::None`] only in what the
    /// head says.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// All bytes until the connection closes. Only responses end like this.
    UntilClose,
}

impl Framing {
    /// Whether a body of at least one byte may follow.
    pub fn may_have_body(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }

    /// The framing in which a response's body that was received as `self` is sent to a client of `version`:
    /// a length is kept, and a body of unknown length is chunked for HTTP/1.1 and ends with the connection for
    /// HTTP/1.0 (RFC 9112 section 6.1).
    pub fn for_client(self, version: Version) -> Self {
        match (self, version) {
            (Self::Chunked | Self::UntilClose, Version::Http10) => Self::UntilClose,
            (Self::Chunked | Self::UntilClose, Version::Http11) => Self::Chunked,
            (kept, _) => kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::classify(b"GET"), Method::Get);
        assert_eq!(Method::classify(b"get"), Method::Other);
        assert_eq!(Method::classify(b"PURGE"), Method::Other);
        assert!(Method::Put.is_idempotent() && !Method::Put.is_safe());
        assert!(!Method::Post.is_idempotent() && !Method::Other.is_idempotent());
    }

    #[test]
    fn a_body_of_unknown_length_is_framed_by_the_client_s_version() {
        for received in [Framing::Chunked, Framing::UntilClose] {
            assert_eq!(received.for_client(Version::Http11), Framing::Chunked);
            assert_eq!(received.for_client(Version::Http10), Framing::UntilClose);
        }
        for received in [Framing::None, Framing::Length(7)] {
            assert_eq!(received.for_client(Version::Http10), received);
            assert_eq!(received.for_client(Version::Http11), received);
        }
    }
}
