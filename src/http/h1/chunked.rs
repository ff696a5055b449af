//! The chunked transfer coding, strictly (RFC 9112 section 7.1).
//!
//! The decoder looks at each byte once and keeps nothing of the data: it says where in the input the data is.
//! What it demands beyond, or against, the letter:
//! - Lines end with CRLF only, and what follows a chunk's data is CRLF and nothing else.
//! - A size is 1 to 16 hexadecimal digits, at most 2^62, with nothing before them, and after them `;` or CRLF:
//!   the white space that RFC 9112 allows before `;` for the sake of bad senders (BWS) is refused.
//! - Extensions are skipped, never sent on. They have no control characters but HTAB, and a size line is at most
//!   256 bytes.
//! - Framing may not outweigh data for long: each chunk may spend 16 bytes and twice its data on its line, and
//!   what exceeds that adds up to at most 16 KiB. So chunks of one byte pass, and an extension on each does not.
//! - Trailers follow the rules of fields in heads, in at most 8 KiB and 64 fields. Framing, routing and
//!   connection fields among them are an error. Fields that steer how the message is read or who sent it are
//!   dropped (RFC 9110 section 6.5.1). The others are kept, ready to be sent on.

use std::ops::Range;

use crate::http::error::BodyError;
use crate::http::fields::{Known, KnownSet, NameShape, imitates_protected, is_forwarding, is_value, name_shape, trim};

const MAX_SIZE_DIGITS: u8 = 16;
const MAX_SIZE: u64 = 1 << 62;
const MAX_LINE: u16 = 256;
const MAX_EXCESS: u64 = 16 * 1024;
const MAX_TRAILER_BYTES: usize = 8 * 1024;
const MAX_TRAILER_FIELDS: usize = 64;

/// What one call of a decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bytes of the input were used. Without progress and without `done`, more input is needed.
    pub consumed: usize,
    /// Where in the input the body's data is; it may be empty.
    pub data: Range<usize>,
    /// The body has ended; what follows `consumed` belongs to the next message.
    pub done: bool,
}

/// The trailer section of a chunked body, as far as it is sent on.
#[derive(Debug, Default)]
pub struct Trailers {
    /// `Name: value\r\n` of each field that is kept.
    kept: Vec<u8>,
    /// The line that is being received.
    line: Vec<u8>,
    bytes: usize,
    fields: usize,
}

impl Trailers {
    /// Forgets the fields and keeps the storage.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.line.clear();
        (self.bytes, self.fields) = (0, 0);
    }

    /// The kept fields, each as `Name: value\r\n`: ready to follow the last chunk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.kept
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the digits of a size.
    #[default]
    Size,
    /// Behind the `;` of a size line.
    Extension,
    /// Behind the CR of a size line.
    SizeEnd,
    /// In the data of a chunk, with so many bytes left.
    Data(u64),
    /// Behind the data of a chunk.
    DataCr,
    DataLf,
    /// In a line of the trailer section, perhaps the empty one that ends it.
    Trailer,
    TrailerLf,
    Done,
}

/// Takes a chunked body apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    size: u64,
    digits: u8,
    /// Bytes of the current size line.
    line: u16,
    /// By how much framing outweighs data.
    excess: u64,
}

impl ChunkedDecoder {
    /// Goes on in `input` up to the end of the next piece of data, the end of the body, or the end of the input,
    /// all of which is used before more is asked for. Trailers are put into `trailers`.
    ///
    /// # Errors
    /// The first fault of the coding; the decoder is of no use afterwards.
    pub fn decode(&mut self, input: &[u8], trailers: &mut Trailers) -> Result<Step, BodyError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if let State::Data(left) = self.state {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                let left = left - length as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                return Ok(Step { consumed: at + length, data: at..at + length, done: false });
            }
            if self.state == State::Trailer {
                at += self.trailer_part(&input[at..], trailers)?;
            } else {
                self.byte(input[at], trailers)?;
                at += 1;
            }
        }
        Ok(Step { consumed: at, data: at..at, done: self.state == State::Done })
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// One byte of what is not data.
    fn byte(&mut self, byte: u8, trailers: &mut Trailers) -> Result<(), BodyError> {
        match self.state {
            State::Size => return self.size_byte(byte),
            State::Extension => {
                self.count_line_byte()?;
                match byte {
                    b'\r' => self.state = State::SizeEnd,
                    b'\t' | b' '..=0x7e | 0x80.. => {}
                    _ => return Err(BodyError::ChunkLine),
                }
            }
            State::SizeEnd if byte == b'\n' => self.end_size_line()?,
            State::SizeEnd => return Err(BodyError::ChunkLine),
            State::DataCr if byte == b'\r' => self.state = State::DataLf,
            State::DataLf if byte == b'\n' => self.state = State::Size,
            State::DataCr | State::DataLf => return Err(BodyError::ChunkEnd),
            State::TrailerLf if byte == b'\n' => {
                self.state = if trailers.line.is_empty() { State::Done } else { State::Trailer };
                if self.state == State::Trailer {
                    trailers.end_line()?;
                }
            }
            State::TrailerLf => return Err(BodyError::Trailer),
            // Not bytes of framing: `decode` handles them.
            State::Data(_) | State::Trailer | State::Done => {}
        }
        Ok(())
    }

    fn size_byte(&mut self, byte: u8) -> Result<(), BodyError> {
        self.count_line_byte()?;
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b';' if self.digits > 0 => return self.go(State::Extension),
            b'\r' if self.digits > 0 => return self.go(State::SizeEnd),
            _ => return Err(BodyError::ChunkSize),
        };
        if self.digits == MAX_SIZE_DIGITS {
            return Err(BodyError::ChunkSizeTooLarge);
        }
        self.digits += 1;
        // 16 digits fit into 64 bits.
        self.size = self.size << 4 | u64::from(value);
        if self.size > MAX_SIZE { Err(BodyError::ChunkSizeTooLarge) } else { Ok(()) }
    }

    fn end_size_line(&mut self) -> Result<(), BodyError> {
        self.excess += u64::from(self.line);
        self.excess = self.excess.saturating_sub(16 + self.size.saturating_mul(2));
        if self.excess > MAX_EXCESS {
            return Err(BodyError::ChunkOverhead);
        }
        let state = if self.size == 0 { State::Trailer } else { State::Data(self.size) };
        (self.size, self.digits, self.line) = (0, 0, 0);
        self.go(state)
    }

    fn count_line_byte(&mut self) -> Result<(), BodyError> {
        self.line += 1;
        // The LF is yet to come.
        if self.line >= MAX_LINE { Err(BodyError::ChunkLineTooLong) } else { Ok(()) }
    }

    fn go(&mut self, state: State) -> Result<(), BodyError> {
        self.state = state;
        Ok(())
    }

    /// Takes bytes of a trailer line up to and with its CR.
    fn trailer_part(&mut self, input: &[u8], trailers: &mut Trailers) -> Result<usize, BodyError> {
        let end = input.iter().position(|b| matches!(b, b'\r' | b'\n'));
        let part = &input[..end.unwrap_or(input.len())];
        trailers.bytes += part.len();
        if trailers.bytes > MAX_TRAILER_BYTES {
            return Err(BodyError::TrailersTooLarge);
        }
        trailers.line.extend_from_slice(part);
        match end {
            None => Ok(part.len()),
            Some(end) if input[end] == b'\r' => {
                self.state = State::TrailerLf;
                Ok(end + 1)
            }
            Some(_) => Err(BodyError::Trailer),
        }
    }
}

impl Trailers {
    /// Checks the line that has been received and keeps it if it may be sent on.
    fn end_line(&mut self) -> Result<(), BodyError> {
        self.bytes += 2;
        self.fields += 1;
        if self.bytes > MAX_TRAILER_BYTES || self.fields > MAX_TRAILER_FIELDS {
            return Err(BodyError::TrailersTooLarge);
        }
        let colon = self.line.iter().position(|&b| b == b':').ok_or(BodyError::Trailer)?;
        let (name, value) = (&self.line[..colon], trim(&self.line[colon + 1..]));
        let fit = match name_shape(name) {
            NameShape::Plain => true,
            NameShape::Underscore => !imitates_protected(name),
            NameShape::Odd | NameShape::Malformed => false,
        };
        if !fit || !is_value(value) {
            return Err(BodyError::Trailer);
        }
        let known = Known::classify(name);
        if FORBIDDEN.contains(known) {
            return Err(BodyError::ForbiddenTrailer);
        }
        if !DROPPED.contains(known) && !is_forwarding(name) {
            for part in [name, b": ", value, b"\r\n"] {
                self.kept.extend_from_slice(part);
            }
        }
        self.line.clear();
        Ok(())
    }
}

/// Framing, routing and connection fields: whoever sends these as trailers wants two readers to differ.
const FORBIDDEN: KnownSet = KnownSet::of(&[
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Host,
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
    Known::Upgrade,
    Known::Http2Settings,
]);

/// Fields that steer how the message is read, who sent it or how it is cached: too late once the head is gone.
const DROPPED: KnownSet = KnownSet::of(&[
    Known::Expect,
    Known::MaxForwards,
    Known::Authorization,
    Known::ProxyAuthorization,
    Known::ProxyAuthenticate,
    Known::WwwAuthenticate,
    Known::Cookie,
    Known::SetCookie,
    Known::Origin,
    Known::XRealIp,
    Known::XRequestId,
    Known::Forwarded,
    Known::Via,
    Known::ContentType,
    Known::ContentEncoding,
    Known::ContentRange,
    Known::Range,
    Known::IfRange,
    Known::IfMatch,
    Known::IfNoneMatch,
    Known::IfModifiedSince,
    Known::IfUnmodifiedSince,
    Known::CacheControl,
    Known::Pragma,
    Known::Expires,
    Known::Age,
    Known::Vary,
    Known::Location,
    Known::RetryAfter,
    Known::Date,
]);

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
