//! The search for a head's end, which resumes where it stopped.
//!
//! Input that trickles in is looked at once, whatever its pieces, so that a slow client costs no more than a
//! fast one. Line ends are CRLF only (RFC 9112 section 2.2 lets a recipient take a bare LF; backends differ
//! in that, so we do not). Limits are checked on the way: a head that is too large is refused before it is whole.

use memchr::memchr;

use super::HeadLimits;
use crate::http::error::HeadError;

/// How far the search has come, relative to the head's first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Bytes looked at.
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// Lines that have ended, the empty one at the end of the head excepted.
    lines: usize,
    /// The length of the start line, once it has ended.
    start_line: usize,
}

impl Scan {
    /// The start line of `head` without its line end, and the lines of fields behind it, in a head that is complete.
    pub(super) fn split<'h>(&self, head: &'h [u8]) -> (&'h [u8], &'h [u8]) {
        (&head[..self.start_line], &head[self.start_line + 2..])
    }

    /// How many fields a head has that is complete.
    pub(super) fn fields(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    /// The length of the head at the start of `input`, once it is complete. `check` sees the start line without
    /// its LF, perhaps incomplete, and may refuse it early; it must say the same of a longer line.
    pub(super) fn find_end(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
        check: impl Fn(&[u8]) -> Result<(), HeadError>,
    ) -> Result<Option<usize>, HeadError> {
        let window = &input[..input.len().min(limits.head)];
        if window.len() < self.at {
            // The caller has broken its promise to pass the same input again: begin anew.
            *self = Self::default();
        }
        while let Some(distance) = memchr(b'\n', &window[self.at..]) {
            let lf = self.at + distance;
            if self.lines == 0 {
                check(&window[..lf])?;
            }
            if lf == self.line || window[lf - 1] != b'\r' {
                return Err(HeadError::BadLineEnd);
            }
            if self.lines == 0 {
                self.start_line = lf - 1;
            }
            self.at = lf + 1;
            if lf == self.line + 1 {
                return Ok(Some(self.at));
            }
            self.line = self.at;
            self.lines += 1;
            // The start line is no field.
            if self.lines > limits.fields + 1 {
                return Err(HeadError::TooManyFields);
            }
        }
        if self.lines == 0 {
            check(window)?;
        }
        self.at = window.len();
        if window.len() == limits.head { Err(HeadError::HeadTooLarge) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        let whole = Scan::default().find_end(input, limits, |_| Ok(()));
        let mut scan = Scan::default();
        let mut split = Ok(None);
        for end in 0..=input.len() {
            split = scan.find_end(&input[..end], limits, |_| Ok(()));
            if split != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, split, "{:?}", input.escape_ascii().to_string());
        whole
    }

    #[test]
    fn ends_are_found_and_limits_kept() {
        let limits = HeadLimits::new(32, 2, 8).unwrap();
        type Found = Result<Option<usize>, HeadError>;
        let table: &[(&[u8], Found)] = &[
            (b"", Ok(None)),
            (b"a\r\n", Ok(None)),
            (b"a\r\n\r\n", Ok(Some(5))),
            (b"a\r\nb\r\nc\r\n\r\nrest", Ok(Some(11))),
            (b"a\r\nb\r\nc\r\nd", Ok(None)),
            (b"a\r\nb\r\nc\r\nd\r\n", Err(HeadError::TooManyFields)),
            (b"a\n", Err(HeadError::BadLineEnd)),
            (b"a\r\n\n", Err(HeadError::BadLineEnd)),
            (b"a\r\nb\n", Err(HeadError::BadLineEnd)),
            (b"0123456789012345678901234567\r\n\r\n", Ok(Some(32))),
            (b"01234567890123456789012345678\r\n\r\n", Err(HeadError::HeadTooLarge)),
            (b"0123456789012345678901234567890", Ok(None)),
            (b"01234567890123456789012345678901", Err(HeadError::HeadTooLarge)),
        ];
        for (input, expected) in table {
            assert_eq!(find(input, &limits), *expected, "{:?}", input.escape_ascii().to_string());
        }
    }

    #[test]
    fn input_that_shrinks_is_begun_anew() {
        let limits = HeadLimits::default();
        let mut scan = Scan::default();
        assert_eq!(scan.find_end(b"GET / HTTP/1.1\r\n", &limits, |_| Ok(())), Ok(None));
        assert_eq!(scan.find_end(b"a\r\n\r\n", &limits, |_| Ok(())), Ok(Some(5)));
    }
}
