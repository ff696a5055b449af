//! Bodies: taken apart as they are received, put together as they are sent, whatever their framing.
//!
//! Neither side holds data. The decoder says where in the input the data is, and the encoder what goes before
//! and behind a slice, so that a body passes through in the buffers it came in.

use super::error::BodyError;
use super::h1::chunked::{ChunkedDecoder, Step, Trailers};
use super::message::Framing;

/// Takes a body apart. Its trailer storage is recycled by [`reset`](Self::reset).
#[derive(Debug, Default)]
pub struct BodyDecoder {
    mode: Decoding,
    received: u64,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, Default)]
enum Decoding {
    #[default]
    None,
    /// So many bytes are to come.
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    /// The connection has ended, and with it the body.
    Closed,
}

impl BodyDecoder {
    /// A decoder of a body with this framing.
    pub fn new(framing: Framing) -> Self {
        let mut decoder = Self::default();
        decoder.reset(framing);
        decoder
    }

    /// Begins the body of the next message.
    pub fn reset(&mut self, framing: Framing) {
        self.received = 0;
        self.trailers.clear();
        self.mode = match framing {
            Framing::None => Decoding::None,
            Framing::Length(length) => Decoding::Length(length),
            Framing::Chunked => Decoding::Chunked(ChunkedDecoder::default()),
            Framing::UntilClose => Decoding::UntilClose,
        };
    }

    /// Takes at most one piece of data from the start of `input`. Call again with what is behind
    /// [`Step::consumed`] until the input is used up or the body is done; a body that is done takes nothing.
    ///
    /// # Errors
    /// A fault of the chunked coding. Data of earlier steps may have been sent on: what is sent on must then be
    /// cut so that its receiver can tell.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let step = match &mut self.mode {
            Decoding::None | Decoding::Closed => Step { consumed: 0, data: 0..0, done: true },
            Decoding::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= length as u64;
                Step { consumed: length, data: 0..length, done: *left == 0 }
            }
            Decoding::Chunked(decoder) => decoder.decode(input, &mut self.trailers)?,
            Decoding::UntilClose => Step { consumed: input.len(), data: 0..input.len(), done: false },
        };
        self.received += step.data.len() as u64;
        Ok(step)
    }

    /// Takes note that the sender has closed its side.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if the body was to go on.
    pub fn end_of_input(&mut self) -> Result<(), BodyError> {
        if let Decoding::UntilClose = self.mode {
            self.mode = Decoding::Closed;
        }
        if self.is_done() { Ok(()) } else { Err(BodyError::Truncated) }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        match &self.mode {
            Decoding::None | Decoding::Closed => true,
            Decoding::Length(left) => *left == 0,
            Decoding::Chunked(decoder) => decoder.is_done(),
            Decoding::UntilClose => false,
        }
    }

    /// Bytes of data so far, without the coding.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The trailers that may be sent on, once the body is done.
    pub fn trailers(&self) -> &Trailers {
        &self.trailers
    }
}

/// The line before a chunk's data: its size and CRLF.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLine {
    bytes: [u8; Self::MAX],
    start: u8,
}

impl ChunkLine {
    /// Sixteen digits and CRLF.
    const MAX: usize = 18;

    /// No line, for framings without one.
    const EMPTY: Self = Self { bytes: [0; Self::MAX], start: Self::MAX as u8 };

    /// The line of a chunk of `size` bytes, which is not zero: that would be the last chunk.
    fn new(size: usize) -> Self {
        let mut bytes = [0; Self::MAX];
        bytes[Self::MAX - 2..].copy_from_slice(b"\r\n");
        let mut start = Self::MAX - 2;
        let mut rest = size;
        while rest > 0 {
            start -= 1;
            bytes[start] = b"0123456789abcdef"[rest & 15];
            rest >>= 4;
        }
        Self { bytes, start: start as u8 }
    }

    /// The bytes of the line.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start.into()..]
    }
}

/// What goes around a slice of data.
#[derive(Clone, Copy, Debug)]
pub struct Wrap {
    /// Before the data.
    pub before: ChunkLine,
    /// Behind the data.
    pub after: &'static [u8],
}

/// Puts a body together.
#[derive(Clone, Copy, Debug)]
pub struct BodyEncoder {
    /// [`Framing::Length`] counts down.
    framing: Framing,
}

impl BodyEncoder {
    /// An encoder of a body with this framing.
    pub fn new(framing: Framing) -> Self {
        Self { framing }
    }

    /// What goes around the next `length` bytes of data. Nothing goes around an empty slice, and it is no end.
    ///
    /// # Errors
    /// [`BodyError::TooLong`] if they are more than was announced: they must not be sent.
    pub fn wrap(&mut self, length: usize) -> Result<Wrap, BodyError> {
        match &mut self.framing {
            Framing::Length(left) => *left = left.checked_sub(length as u64).ok_or(BodyError::TooLong)?,
            Framing::None if length > 0 => return Err(BodyError::TooLong),
            Framing::Chunked if length > 0 => return Ok(Wrap { before: ChunkLine::new(length), after: b"\r\n" }),
            Framing::None | Framing::Chunked | Framing::UntilClose => {}
        }
        Ok(Wrap { before: ChunkLine::EMPTY, after: b"" })
    }

    /// Ends the body: appends the last chunk with the `trailers` to `out` if it is chunked, and nothing otherwise.
    /// Trailers have no place in other framings and are left out. After [`Framing::UntilClose`] the connection is
    /// to be closed.
    ///
    /// # Errors
    /// [`BodyError::TooShort`] if more was announced: the connection must be closed, so that its receiver can tell.
    pub fn finish(self, trailers: &Trailers, out: &mut Vec<u8>) -> Result<(), BodyError> {
        match self.framing {
            Framing::Length(1..) => return Err(BodyError::TooShort),
            Framing::Chunked => {
                for part in [b"0\r\n", trailers.as_bytes(), b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
            Framing::None | Framing::Length(0) | Framing::UntilClose => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a decoder of `framing` takes from `input` in pieces of `size`.
    fn decode(framing: Framing, input: &[u8], size: usize) -> (Vec<u8>, usize, BodyDecoder) {
        let mut decoder = BodyDecoder::new(framing);
        let (mut data, mut used) = (Vec::new(), 0);
        for piece in input.chunks(size) {
            let mut at = 0;
            while at < piece.len() && !decoder.is_done() {
                let step = decoder.decode(&piece[at..]).unwrap();
                data.extend_from_slice(&piece[at..][step.data]);
                at += step.consumed;
            }
            used += at;
        }
        (data, used, decoder)
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let table: &[(Framing, &[u8], &[u8], usize)] = &[
            (Framing::None, b"next", b"", 0),
            (Framing::Length(0), b"next", b"", 0),
            (Framing::Length(3), b"abcnext", b"abc", 3),
            (Framing::Chunked, b"3\r\nabc\r\n0\r\n\r\nnext", b"abc", 13),
            (Framing::UntilClose, b"abc", b"abc", 3),
        ];
        for (framing, input, data, used) in table {
            for size in 1..=input.len() {
                let (got, at, mut decoder) = decode(*framing, input, size);
                assert_eq!((&got[..], at), (*data, *used), "{framing:?} in pieces of {size}");
                assert_eq!(decoder.received(), data.len() as u64);
                assert_eq!(decoder.is_done(), *framing != Framing::UntilClose);
                assert_eq!(decoder.end_of_input(), Ok(()));
                assert!(decoder.is_done());
            }
        }
    }

    #[test]
    fn a_body_that_is_cut_is_truncated() {
        for (framing, input) in [(Framing::Length(3), &b"ab"[..]), (Framing::Chunked, b"3\r\nabc\r\n0\r\n")] {
            let (_, _, mut decoder) = decode(framing, input, 1);
            assert_eq!(decoder.end_of_input(), Err(BodyError::Truncated));
        }
    }

    #[test]
    fn chunk_lines() {
        for (size, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
            assert_eq!(ChunkLine::new(size).as_bytes(), line.as_bytes());
        }
        assert_eq!(ChunkLine::EMPTY.as_bytes(), b"");
    }

    #[test]
    fn an_encoder_sends_what_was_announced() {
        let none = Trailers::default();
        let mut out = Vec::new();
        let mut length = BodyEncoder::new(Framing::Length(3));
        assert!(length.wrap(2).is_ok());
        assert_eq!(length.wrap(2).unwrap_err(), BodyError::TooLong);
        assert_eq!(length.finish(&none, &mut out), Err(BodyError::TooShort));
        assert!(length.wrap(1).is_ok());
        assert_eq!(length.finish(&none, &mut out), Ok(()));
        assert_eq!(BodyEncoder::new(Framing::None).wrap(1).unwrap_err(), BodyError::TooLong);
        assert!(BodyEncoder::new(Framing::UntilClose).wrap(1 << 40).is_ok());
        assert_eq!(BodyEncoder::new(Framing::UntilClose).finish(&none, &mut out), Ok(()));
        assert!(out.is_empty());
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let (_, _, source) = decode(Framing::Chunked, b"0\r\nX-Sum: 1\r\nexpires: 0\r\nb:  2 \r\n\r\n", 5);
        let mut encoder = BodyEncoder::new(Framing::Chunked);
        let mut out = Vec::new();
        for piece in [&b"hello, "[..], b"", b"world"] {
            let wrap = encoder.wrap(piece.len()).unwrap();
            out.extend_from_slice(wrap.before.as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(wrap.after);
        }
        encoder.finish(source.trailers(), &mut out).unwrap();
        assert_eq!(out, b"7\r\nhello, \r\n5\r\nworld\r\n0\r\nX-Sum: 1\r\nb: 2\r\n\r\n");
        let (data, used, again) = decode(Framing::Chunked, &out, 3);
        assert_eq!((&data[..], used), (&b"hello, world"[..], out.len()));
        assert_eq!(again.trailers().as_bytes(), source.trailers().as_bytes());
    }
}
