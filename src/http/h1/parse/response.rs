//! Response heads, from backends.
//!
//! Beyond httparse, and beyond what the fields' rules say:
//! - The status is 100 to 599. A status line without the space before an empty reason is taken, for many servers
//!   send it and it has one reading.
//! - 101 without having been asked for is malformed: what follows would be of a protocol that nobody speaks.
//! - An interim response (1xx) that announces a body is malformed, for the final response follows on the same
//!   connection and readers disagree about where.
//! - A 204 that announces a body has none (RFC 9112 section 6.3); the announcement is not sent on, and the
//!   connection is not used again, for a backend that says so may also send one. `Content-Length: 0` is common
//!   and harmless.

use super::section::{Fields, Section};
use super::{HeadLimits, Progress};
use crate::http::error::HeadError;
use crate::http::fields::Known;
use crate::http::message::{Framing, Method, Version};

/// What is known of the request that a response answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseContext {
    /// Its method: the response to a HEAD has no body.
    pub method: Method,
    /// Whether it was sent with Upgrade, so that a 101 is an answer.
    pub upgrade_requested: bool,
}

/// The head of a response, and the storage it is in. [`clear`](Self::clear) it before the next one.
#[derive(Debug, Default)]
pub struct ResponseHead {
    section: Section,
    version: Version,
    status: u16,
    reason: (u16, u16),
    framing: Framing,
}

impl ResponseHead {
    /// Forgets the head and keeps its storage, up to 8 KiB of bytes.
    pub fn clear(&mut self) {
        self.section.clear();
    }

    /// Takes a head from the start of `input`, as [`RequestHead::parse`](super::RequestHead::parse) does. After an
    /// interim response (1xx) comes another head.
    ///
    /// # Errors
    /// The first fault of the head. Towards the client every one of them is a 502.
    pub fn parse(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
        context: &ResponseContext,
    ) -> Result<Progress, HeadError> {
        debug_assert!(self.section.bytes.is_empty(), "a head is cleared before the next one");
        match self.section.scan.find_end(input, limits, check_start)? {
            None => Ok(Progress::Incomplete),
            Some(end) => {
                self.read(&input[..end], context)?;
                Ok(Progress::Complete { consumed: end })
            }
        }
    }

    /// Reads a complete head.
    fn read(&mut self, head: &[u8], context: &ResponseContext) -> Result<(), HeadError> {
        let (line, fields) = self.section.scan.split(head);
        self.read_line(line)?;
        self.section.fill(head, fields, self.version)?;
        self.framing = self.find_framing(context)?;
        Ok(())
    }

    /// Reads the status line, without its line end: `HTTP/1.1 200 OK`.
    fn read_line(&mut self, line: &[u8]) -> Result<(), HeadError> {
        let (version, rest) = line.split_at_checked(9).ok_or(HeadError::BadStatusLine)?;
        self.version = match version {
            b"HTTP/1.1 " => Version::Http11,
            b"HTTP/1.0 " => Version::Http10,
            _ => return Err(HeadError::BadStatusLine),
        };
        let (digits, rest) = rest.split_at_checked(3).ok_or(HeadError::BadStatusLine)?;
        if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), None | Some(b' ')) {
            return Err(HeadError::BadStatusLine);
        }
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        if !(100..=599).contains(&self.status) {
            return Err(HeadError::BadStatusLine);
        }
        // RFC 9112 section 4: tabs, spaces, visible characters, and what older senders have put there.
        if !rest.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f) {
            return Err(HeadError::BadStatusLine);
        }
        // A head of at most 65535 bytes: no offset is cut.
        self.reason = (line.len().min(13) as u16, line.len() as u16);
        Ok(())
    }

    /// How the end of the body is found (RFC 9112 section 6.3).
    fn find_framing(&mut self, context: &ResponseContext) -> Result<Framing, HeadError> {
        let facts = &mut self.section.facts;
        let announced = facts.chunked || facts.content_length.is_some_and(|length| length > 0);
        match self.status {
            101 if !context.upgrade_requested => return Err(HeadError::UnexpectedUpgrade),
            100..=199 if facts.chunked || facts.content_length.is_some() => return Err(HeadError::FramedInterim),
            100..=199 => return Ok(Framing::None),
            204 => {
                facts.close |= announced;
                facts.content_length = None;
                return Ok(Framing::None);
            }
            304 => return Ok(Framing::None),
            _ if context.method == Method::Head => return Ok(Framing::None),
            _ => {}
        }
        Ok(match facts.content_length {
            _ if facts.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        })
    }

    /// The version of the status line.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The status code, 100 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether this is an interim response (1xx), after which another head comes. A 101 is final.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The reason phrase, perhaps empty. It may have bytes above 127.
    pub fn reason(&self) -> &[u8] {
        &self.section.bytes[self.reason.0.into()..self.reason.1.into()]
    }

    /// The fields in the order in which they came.
    pub fn fields(&self) -> Fields<'_> {
        self.section.fields()
    }

    /// The value of the first field with this name.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        self.section.get(known)
    }

    /// How the end of the body is found: [`Framing::None`] for the answer to a HEAD, 1xx, 204 and 304.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// What Content-Length says. For the answer to a HEAD and a 304 it is the length of a body that does not
    /// come; a 204 never has one.
    pub fn content_length(&self) -> Option<u64> {
        self.section.facts.content_length
    }

    /// Whether the backend keeps the connection after this exchange (RFC 9112 section 9.3).
    pub fn keep_alive(&self) -> bool {
        let facts = &self.section.facts;
        let persistent = self.version == Version::Http11 || facts.keep_alive;
        persistent && !facts.close && self.framing != Framing::UntilClose && self.status != 101
    }

    pub(in crate::http::h1) fn section(&self) -> &Section {
        &self.section
    }
}

/// Refuses what is not HTTP/1 as soon as it can be: `line` may still be incomplete.
fn check_start(line: &[u8]) -> Result<(), HeadError> {
    const START: &[u8] = b"HTTP/1.";
    let length = line.len().min(START.len());
    if line[..length] == START[..length] { Ok(()) } else { Err(HeadError::BadStatusLine) }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
