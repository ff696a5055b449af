//! Heads, strictly: what is accepted has exactly one reading.
//!
//! httparse splits a head into lines and checks their bytes; what it lets through and we do not is listed with
//! each module. A head goes through three steps, which is also the order in which its faults are found:
//!
//! 1. The scan: the end of the head is looked for, each byte once however often more input arrives, and
//!    the limits are held against it while it is still incomplete.
//! 2. The start line: [`RequestHead`], [`ResponseHead`] and their target or status.
//! 3. The fields: names, values, and what they say about framing and connection.
//!
//! The outcome does not depend on how the input was split.
//!
//! A complete head is copied once into storage of its own, so that the receive buffer can go on while the head
//! is routed, checked and forwarded, perhaps more than once.

mod request;
mod response;
mod scan;
mod section;
mod target;

pub use request::{RequestHead, refused_line};
pub use response::{ResponseContext, ResponseHead};
pub use section::Fields;
pub use target::is_authority;

pub(super) use section::Section;
pub(super) use target::is_writable;

use crate::http::fields::MAX_HEAD;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    head: usize,
    fields: usize,
    target: usize,
}

impl HeadLimits {
    /// The most fields under any configuration: their places are kept on the stack while parsing.
    pub const MAX_FIELDS: usize = 256;

    /// Limits of `head` bytes in all (start line and fields with their line ends and the empty line), `fields`
    /// fields and `target` bytes of request target. `None` if a limit is zero, `head` is above 65535, `fields`
    /// above 256 or `target` above `head`.
    pub const fn new(head: usize, fields: usize, target: usize) -> Option<Self> {
        let fit = head <= MAX_HEAD && fields <= Self::MAX_FIELDS && target <= head;
        if fit && head > 0 && fields > 0 && target > 0 { Some(Self { head, fields, target }) } else { None }
    }

    /// The most bytes of a head.
    pub const fn head(&self) -> usize {
        self.head
    }
}

impl Default for HeadLimits {
    /// 32 KiB, 100 fields, 8 KiB of target.
    fn default() -> Self {
        const DEFAULT: HeadLimits = HeadLimits::new(32 * 1024, 100, 8 * 1024).expect("within bounds");
        DEFAULT
    }
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More input is needed. The next call passes the same input again with more behind it.
    Incomplete,
    /// The head is complete.
    Complete {
        /// How many bytes of the input it took; what follows is the body or the next message.
        consumed: usize,
    },
}
