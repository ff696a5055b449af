//! Every way in which a head or a body can be wrong, one variant a cause.
//!
//! Each has a status for the client, a stable code for machines and a sentence for people, which is what
//! problem details (RFC 9457) are made of. An error in a request is answered with [`HeadError::status`] and a
//! close; the same error in a backend's response is always a 502, and nothing of that response goes on.

macro_rules! causes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $status:literal, $code:literal, $detail:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $detail] $(#[$doc])* $variant,)+ }

        impl $name {
            /// Every cause, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The status of the answer when the fault is in a request.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// A stable name in snake case, for problem details, logs and counters.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What is wrong, for people. It repeats nothing of what was received.
            pub fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.detail())
            }
        }

        impl std::error::Error for $name {}
    };
}

causes! {
    /// Why a head was refused. After any of these the connection is closed, for where the next message would
    /// begin is no longer certain.
    HeadError {
        HeadTooLarge = 431, "head_too_large", "The head is larger than allowed.";
        TooManyFields = 431, "too_many_fields", "The head has more fields than allowed.";
        TargetTooLong = 414, "target_too_long", "The request target is longer than allowed.";
        /// RFC 9112 section 2.2: only CRLF ends a line here, and CR or LF stand nowhere else.
        BadLineEnd = 400, "bad_line_end", "A line does not end with CRLF.";
        BadRequestLine = 400, "bad_request_line", "The request line is malformed.";
        BadMethod = 400, "bad_method", "The method is not a short token of upper-case letters.";
        /// RFC 9110 section 9.1 and 9.3.6: the method is known but implemented for no target at all, hence 501.
        ConnectRefused = 501, "connect_refused", "CONNECT is not implemented: this gateway is no tunnel.";
        BadVersion = 400, "bad_version", "The HTTP version is malformed.";
        UnsupportedVersion = 505, "unsupported_version", "Only HTTP/1.0 and HTTP/1.1 are spoken on this connection.";
        /// RFC 9113 section 3.4. A loop that speaks h2c takes this as its cue and hands the bytes over; one that
        /// does not refuses it like any other version.
        Http2Preface = 505, "http2_preface", "HTTP/2 without TLS is not spoken on this listener.";
        BadTarget = 400, "bad_target", "The request target has characters that must be percent-encoded.";
        BadPercent = 400, "bad_percent_encoding", "The request target has a percent-encoding that is malformed, or one of NUL.";
        BadTargetForm = 400, "bad_target_form", "The form of the request target does not fit the method.";
        BadAuthority = 400, "bad_authority", "The authority of the request target is malformed.";
        BadFieldLine = 400, "bad_field_line", "A field line is malformed.";
        BadFieldName = 400, "bad_field_name", "A field name is malformed.";
        /// tchar, but not a letter, a digit, `-` or `_`: backends fold such names into others.
        OddFieldName = 400, "odd_field_name", "A field name has unusual characters.";
        /// `Content_Length` and the like: CGI, WSGI and their kin read it as `Content-Length`.
        AmbiguousFieldName = 400, "ambiguous_field_name", "A field name with an underscore imitates a protected field.";
        BadFieldValue = 400, "bad_field_value", "A field value has control characters.";
        MissingHost = 400, "missing_host", "An HTTP/1.1 request needs a Host field.";
        DuplicateHost = 400, "duplicate_host", "The request has more than one Host field.";
        BadHost = 400, "bad_host", "The Host field is malformed.";
        BadContentLength = 400, "bad_content_length", "The Content-Length is not a plain decimal number.";
        DuplicateContentLength = 400, "duplicate_content_length", "There is more than one Content-Length field.";
        BadTransferEncoding = 400, "bad_transfer_encoding", "The Transfer-Encoding is malformed, or not finally chunked.";
        DuplicateTransferEncoding = 400, "duplicate_transfer_encoding", "There is more than one Transfer-Encoding field.";
        /// RFC 9112 section 6.1.
        UnsupportedTransferCoding = 501, "unsupported_transfer_coding", "Only the chunked transfer coding is implemented.";
        /// RFC 9112 section 6.3: ought to be handled as an error.
        LengthAndChunked = 400, "length_and_chunked", "Content-Length and Transfer-Encoding exclude each other.";
        /// RFC 9112 section 6.1: the framing is faulty even if the fields are not.
        ChunkedInHttp10 = 400, "chunked_in_http10", "HTTP/1.0 has no Transfer-Encoding.";
        BadConnection = 400, "bad_connection", "The Connection field is malformed or names a field that must stay.";
        /// RFC 9110 section 10.1.1.
        BadExpect = 417, "bad_expect", "The only expectation that can be met is 100-continue.";
        /// Responses only.
        BadStatusLine = 400, "bad_status_line", "The status line is malformed.";
        /// Responses only: 101 answers an Upgrade that was never sent (RFC 9110 section 15.2.2).
        UnexpectedUpgrade = 400, "unexpected_upgrade", "The protocol was switched without having been asked for.";
        /// Responses only: a 1xx with Content-Length or Transfer-Encoding (RFC 9110 section 8.6).
        FramedInterim = 400, "framed_interim", "An interim response announces a body.";
    }
}

causes! {
    /// Why a body was refused, or could not be sent. The connection on which it was is closed.
    BodyError {
        ChunkSize = 400, "bad_chunk_size", "A chunk size is not a plain hexadecimal number.";
        ChunkSizeTooLarge = 400, "chunk_size_too_large", "A chunk size is out of range.";
        ChunkLine = 400, "bad_chunk_line", "A chunk size line is malformed or does not end with CRLF.";
        ChunkLineTooLong = 400, "chunk_line_too_long", "A chunk size line is longer than allowed.";
        ChunkEnd = 400, "bad_chunk_end", "A chunk is not followed by CRLF.";
        ChunkOverhead = 400, "chunk_overhead", "The chunks carry too little for what frames them.";
        Trailer = 400, "bad_trailer", "The trailer section is malformed.";
        /// RFC 9110 section 6.5.1: framing and routing cannot come after the content.
        ForbiddenTrailer = 400, "forbidden_trailer", "A trailer field is about framing or routing.";
        TrailersTooLarge = 431, "trailers_too_large", "The trailer section is larger than allowed.";
        Truncated = 400, "truncated_body", "The connection ended before the body did.";
        /// While sending: more was passed than was announced.
        TooLong = 500, "body_too_long", "The body is longer than announced.";
        /// While sending: the body ended before what was announced had been passed.
        TooShort = 500, "body_too_short", "The body is shorter than announced.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_snake_case() {
        let mut codes: Vec<_> = HeadError::ALL.iter().map(|e| e.code()).collect();
        codes.extend(BodyError::ALL.iter().map(|e| e.code()));
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(codes.iter().all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')));
    }

    #[test]
    fn statuses_are_errors() {
        assert!(HeadError::ALL.iter().all(|e| (400..600).contains(&e.status()) && !e.detail().is_empty()));
        assert!(BodyError::ALL.iter().all(|e| (400..600).contains(&e.status()) && !e.detail().is_empty()));
    }
}
