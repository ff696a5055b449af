//! Bodies on their way through, in the buffers they came in.
//!
//! A step takes what was received apart, and hands the pieces of data to the
//! other side in one call, with whatever the framing there puts around them.
//! Nothing is received while the other side does not take: a [`Sending`] that
//! waits is awaited before the next receive.

use std::io::IoSlice;
use std::ops::Range;

use arrayvec::ArrayVec;

use super::exchange::Body;
use crate::http::body::BodyEncoder;
use crate::http::error::BodyError;
use crate::http::message::Framing;
use crate::net::{Reader, Sending, Stream};

/// Pieces of data that are handed on where they lie; further ones are put together first.
const PIECES: usize = 16;

/// A body on its way from one stream to another.
pub(super) struct Relay<'a> {
    pub(super) from: &'a mut Reader,
    pub(super) body: &'a mut Body,
    pub(super) to: &'a Stream,
    encoder: BodyEncoder,
    limit: u64,
    sent: u64,
    /// How much of what was recorded is sent before anything else.
    again: usize,
}

/// What a step came to.
pub(super) struct Step<'a> {
    /// To be awaited before the next step.
    pub(super) sending: Sending<'a>,
    /// Whether the body is over.
    pub(super) done: bool,
}

/// Why a body cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed(BodyError),
    TooLarge,
}

impl<'a> Relay<'a> {
    /// A body that is sent in `framing` and may have `limit` bytes.
    pub(super) fn new(
        from: &'a mut Reader,
        body: &'a mut Body,
        to: &'a Stream,
        framing: Framing,
        limit: u64,
    ) -> Relay<'a> {
        // What an earlier attempt has taken from the client is sent again.
        let again = body.recorded.get().map_or(0, <[u8]>::len);
        body.again();
        Relay { from, body, to, encoder: BodyEncoder::new(framing), limit, sent: 0, again }
    }

    /// Bytes handed to the other side, with heads and framing.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends `head`, and behind it what has been received of the body.
    pub(super) fn step(&mut self, head: &[u8]) -> Result<Step<'a>, Fault> {
        let input = self.from.bytes();
        let mut pieces = Pieces::new();
        let Body { decoder, tail, gathered, recorded } = &mut *self.body;
        gathered.clear();
        let taken = take(decoder, input, &mut pieces, gathered)?;
        if decoder.received() > self.limit {
            return Err(Fault::TooLarge);
        }
        let again = recorded.get().map_or(&[][..], |bytes| &bytes[..std::mem::take(&mut self.again)]);
        let wrap = self.encoder.wrap(again.len() + taken.data).map_err(Fault::Malformed)?;
        if taken.done {
            self.encoder.finish(decoder.trailers(), tail).map_err(Fault::Malformed)?;
        }
        let mut parts = Parts::new();
        put(head, &mut parts);
        put(wrap.before.as_bytes(), &mut parts);
        put(again, &mut parts);
        for piece in &pieces {
            put(&input[piece.clone()], &mut parts);
        }
        put(gathered, &mut parts);
        put(wrap.after, &mut parts);
        put(tail, &mut parts);
        self.sent += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let sending = self.to.send(&parts);
        drop(parts);
        for piece in &pieces {
            recorded.add(&input[piece.clone()]);
        }
        recorded.add(gathered);
        self.from.consume(taken.used);
        Ok(Step { sending, done: taken.done })
    }

    /// Waits until what a step sends has gone out, or waits for room: then what has been received behind it must not keep
    /// a buffer from those who need one.
    pub(super) async fn depart(&mut self, sending: &mut Sending<'_>) {
        sending.departed().await;
        if !sending.is_done() {
            self.from.park();
        }
    }

    /// Whether more has been received than the last step took.
    pub(super) fn has_more(&self) -> bool {
        !self.from.is_empty()
    }
}

/// What is sent in one call: the pieces of data, and what goes around them.
type Parts<'p> = ArrayVec<IoSlice<'p>, { PIECES + 6 }>;

fn put<'p>(part: &'p [u8], parts: &mut Parts<'p>) {
    if !part.is_empty() {
        parts.push(IoSlice::new(part));
    }
}

/// Where pieces of data lie in the input.
type Pieces = ArrayVec<Range<usize>, PIECES>;

struct Taken {
    data: usize,
    used: usize,
    done: bool,
}

/// Finds the pieces of data in `input`; those that are too many are put into `gathered`, for tiny chunks must not cost
/// a system call each.
fn take(
    decoder: &mut crate::http::body::BodyDecoder,
    input: &[u8],
    pieces: &mut Pieces,
    gathered: &mut Vec<u8>,
) -> Result<Taken, Fault> {
    let mut taken = Taken { data: 0, used: 0, done: false };
    while !taken.done {
        let step = decoder.decode(&input[taken.used..]).map_err(Fault::Malformed)?;
        let data = taken.used + step.data.start..taken.used + step.data.end;
        taken.data += data.len();
        if !data.is_empty()
            && let Err(full) = pieces.try_push(data)
        {
            gathered.extend_from_slice(&input[full.element()]);
        }
        taken.done = step.done;
        if step.consumed == 0 {
            break;
        }
        taken.used += step.consumed;
    }
    Ok(taken)
}
