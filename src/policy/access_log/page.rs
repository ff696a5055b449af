//! Bytes that lines are written to, one small piece behind the other.
//!
//! A line is a hundred pieces of a few bytes. To copy just as many bytes as a piece has is a call each time, which takes
//! longer to find out what to do than to do it, and so does a look each time whether there is room. So a field gets a
//! room of constant size once, writes what it has from the beginning on, and says how long that is; a copy of constant
//! size, which may be of some bytes too many, or of two halves that overlap, is an instruction or two.

/// The longest small piece. Copies of such pieces, with what they copy in vain, stay within it.
pub(super) const SMALL: usize = 64;

/// Room for a small piece.
pub(super) type Small = [u8; SMALL];

/// Room for a key, a small value and a quote.
pub(super) const ROOM: usize = 128;

/// Bytes that grow at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// What is written, and behind it bytes that mean nothing.
    bytes: Vec<u8>,
    end: usize,
}

impl Page {
    /// An empty one, with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Page {
        Page { bytes: vec![0; bytes], end: 0 }
    }

    /// What is written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    /// What is written, to be changed.
    pub(super) fn written_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.end]
    }

    pub(super) fn clear(&mut self) {
        self.end = 0;
    }

    /// The room behind what is written; what [`advance`](Page::advance) is told of it becomes a part of that.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [u8; ROOM] {
        if self.bytes.len() < self.end + ROOM {
            self.grow(ROOM);
        }
        // There is as much now.
        self.bytes[self.end..self.end + ROOM].as_mut_array().expect("as much room as there is")
    }

    /// So many bytes of the room are written.
    #[inline(always)]
    pub(super) fn advance(&mut self, length: usize) {
        self.end += length;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        self.bytes.resize((self.end + more).max(2 * self.bytes.len()), 0);
    }

    /// Writes a text of any length.
    #[inline]
    pub(super) fn put(&mut self, text: &[u8]) {
        if text.len() > SMALL {
            return self.put_large(text);
        }
        let length = copy_small(text, front(self.room(), 0));
        self.advance(length);
    }

    fn put_large(&mut self, text: &[u8]) {
        if self.bytes.len() - self.end < text.len() {
            self.grow(text.len());
        }
        self.bytes[self.end..][..text.len()].copy_from_slice(text);
        self.advance(text.len());
    }
}

/// The `N` bytes of a room from `at` on.
#[inline(always)]
pub(super) fn front<const N: usize>(room: &mut [u8; ROOM], at: usize) -> &mut [u8; N] {
    room[at..at + N].as_mut_array().expect("so many bytes")
}

/// Copies a text of at most [`SMALL`] bytes, and says how long it is.
#[inline]
pub(super) fn copy_small(text: &[u8], to: &mut Small) -> usize {
    match text {
        [] => {}
        [byte] => to[0] = *byte,
        _ if text.len() <= 4 => copy_ends::<2>(text, to),
        _ if text.len() <= 8 => copy_ends::<4>(text, to),
        _ if text.len() <= 16 => copy_ends::<8>(text, to),
        _ if text.len() <= 32 => copy_ends::<16>(text, to),
        _ => copy_ends::<32>(text, to),
    }
    text.len()
}

/// Copies a text of `N` to `2 * N` bytes: the first `N`, and over their end the last.
#[inline(always)]
fn copy_ends<const N: usize>(text: &[u8], to: &mut Small) {
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        to[..N].copy_from_slice(first);
        to[text.len() - N..text.len()].copy_from_slice(last);
    }
}
