//! The buffers that io_uring fills: a ring of them, shared with the kernel.
//!
//! The kernel picks a buffer when data is there (`IORING_REGISTER_PBUF_RING`,
//! io_uring_register(2)). A buffer in the ring belongs to the kernel: it is
//! held as a raw pointer, and becomes a `Box` again only when a completion
//! names it, or when the ring is gone.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::super::buffer::{BUFFER_SIZE, Pool};

/// The only group of buffers that a ring of ours has.
pub(super) const GROUP: u16 = 0;

/// The most buffers that are lent to the kernel at a time.
const MOST: usize = 256;

/// How many are lent at first. The kernel takes the one that was lent the longest ago, so with more than are needed each is
/// out of the processor's caches when its turn comes.
const AT_FIRST: usize = 32;

const PAGE: usize = 4096;

/// The ring and the buffers in it.
#[derive(Debug)]
pub(super) struct BufferRing {
    ring: NonNull<BufRingEntry>,
    entries: u16,
    tail: u16,
    /// By buffer id: the buffer, while the kernel has it.
    lent: Vec<Option<NonNull<u8>>>,
    free_ids: Vec<u16>,
    /// No more than these are lent now, nor ever more than `most`.
    limit: usize,
    most: usize,
    leaked: bool,
}

impl BufferRing {
    /// A ring for up to `buffers` buffers, registered with the ring behind `submitter`.
    pub(super) fn new(submitter: &Submitter<'_>, buffers: usize) -> io::Result<BufferRing> {
        let most = buffers.clamp(1, MOST);
        let entries = most.next_power_of_two() as u16;
        let layout = BufferRing::layout(entries);
        // SAFETY: the layout is not of size zero: there is at least one entry.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(ring) = NonNull::new(memory.cast::<BufRingEntry>()) else { handle_alloc_error(layout) };
        let ids = entries as usize;
        let ring = BufferRing {
            ring,
            entries,
            tail: 0,
            lent: vec![None; ids],
            free_ids: (0..entries).rev().collect(),
            limit: most.min(AT_FIRST),
            most,
            leaked: false,
        };
        // SAFETY: the memory is page-aligned, holds `entries` entries and stays
        // where it is until the drop, which comes after the io_uring instance
        // has been closed (see the order of the driver's fields).
        unsafe { submitter.register_buf_ring_with_flags(ring.ring.as_ptr() as u64, entries, GROUP, 0) }?;
        Ok(ring)
    }

    fn layout(entries: u16) -> Layout {
        Layout::from_size_align(entries as usize * size_of::<BufRingEntry>(), PAGE).expect("a few pages")
    }

    /// How many buffers the kernel has.
    pub(super) fn lent(&self) -> usize {
        self.lent.len() - self.free_ids.len()
    }

    /// Has more buffers lent from now on, for the kernel has found none.
    pub(super) fn grow(&mut self) {
        self.limit = self.most.min(self.limit * 2);
    }

    /// Lends the kernel what the pool has, up to the ring's limit.
    pub(super) fn fill(&mut self, pool: &Pool) {
        let before = self.tail;
        while self.lent() < self.limit {
            let Some(buffer) = pool.take() else { break };
            let Some(id) = self.free_ids.pop() else {
                pool.give(buffer);
                break;
            };
            debug_assert_eq!(buffer.len(), BUFFER_SIZE);
            let memory = NonNull::from(Box::leak(buffer)).cast::<u8>();
            let slot = (self.tail & (self.entries - 1)) as usize;
            // SAFETY: the slot is below `entries`, so inside of the allocation.
            let entry = unsafe { self.ring.as_ptr().add(slot) };
            // SAFETY: the allocation is aligned for entries and was zeroed, which is
            // a valid entry. The kernel reads entries below the tail only, which this
            // one is not yet; the tail itself, in the first entry's reserved field, it
            // only reads, and nobody else has a reference to it now.
            let entry = unsafe { &mut *entry };
            entry.set_addr(memory.as_ptr() as u64);
            entry.set_len(BUFFER_SIZE as u32);
            entry.set_bid(id);
            self.lent[id as usize] = Some(memory);
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            // SAFETY: the pointer is the ring's first entry, valid and initialised.
            let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
            // SAFETY: the tail lies in the ring's memory and is aligned for u16;
            // both sides access it as an atomic only. Release makes the entries
            // visible before it.
            unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
        }
    }

    /// The buffer that a completion names; the kernel has let go of it.
    pub(super) fn reclaim(&mut self, id: u16) -> Option<Box<[u8]>> {
        let memory = self.lent.get_mut(id as usize)?.take()?;
        self.free_ids.push(id);
        Some(into_box(memory))
    }

    /// Leaves all memory to a kernel that would not let go of it.
    pub(super) fn leak(&mut self) {
        self.leaked = true;
    }
}

/// Takes a lent buffer back.
fn into_box(memory: NonNull<u8>) -> Box<[u8]> {
    let slice = std::ptr::slice_from_raw_parts_mut(memory.as_ptr(), BUFFER_SIZE);
    // SAFETY: `fill` made the pointer by leaking a box of this very size, every
    // pointer is taken out of the table once, and the kernel writes to it no more.
    unsafe { Box::from_raw(slice) }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        for memory in self.lent.iter_mut().filter_map(Option::take) {
            drop(into_box(memory));
        }
        // SAFETY: allocated in `new` with the same layout, and freed only here.
        unsafe { dealloc(self.ring.as_ptr().cast(), BufferRing::layout(self.entries)) };
    }
}
