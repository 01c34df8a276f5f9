//! The buffers that the kernel receives into: it takes the next one when something came, and gets it back once that was
//! read.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue};

/// Of these, each as large as [`BYTES`]; memory is used only as far as it was written once.
const COUNT: u16 = 512;
/// Enough for nearly all commands and replies. What is larger comes another way (`Slot::is_bulky`), and what was received
/// ahead of its reader is little.
pub(crate) const BYTES: usize = 2 * 1024;
/// The kernel wants the ring of buffers at a page's beginning.
const PAGE: usize = 4096;
/// The only group of buffers there is.
pub(crate) const GROUP: u16 = 0;

/// What came in one buffer, as far as it was not read yet.
#[derive(Debug)]
pub(crate) struct Chunk {
    buffer: u16,
    start: u32,
    end: u32,
}

impl Chunk {
    pub(crate) const fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}

pub(crate) struct Inbox {
    entries: NonNull<BufRingEntry>,
    buffers: NonNull<u8>,
    tail: u16,
    /// Buffers that the kernel has.
    offered: u16,
    is_leaked: bool,
}

impl Inbox {
    /// Gives all buffers to this ring.
    pub(crate) fn new(io: &IoUring) -> io::Result<Self> {
        let mut inbox = Self {
            entries: zeroed(entries_layout()).cast(),
            buffers: zeroed(buffers_layout()),
            tail: 0,
            offered: 0,
            is_leaked: false,
        };
        #[expect(unsafe_code)]
        // SAFETY: the entries are as many as is said, at a page's beginning, and live until the ring is gone (`Ring::drop`).
        unsafe {
            io.submitter().register_buf_ring_with_flags(inbox.entries.as_ptr() as u64, COUNT, GROUP, 0)?;
        }
        for buffer in 0..COUNT {
            inbox.offer(buffer);
        }
        Ok(inbox)
    }

    pub(crate) const fn has_offers(&self) -> bool {
        self.offered > 0
    }

    /// What a completion of a receiving request brought.
    pub(crate) fn chunk(&mut self, entry: &cqueue::Entry) -> Option<Chunk> {
        let buffer = cqueue::buffer_select(entry.flags())?;
        self.offered -= 1;
        Some(Chunk { buffer, start: 0, end: u32::try_from(entry.result()).unwrap_or(0).min(BYTES as u32) })
    }

    /// Copies what fits; the buffer goes back to the kernel with its last byte.
    pub(crate) fn read(&mut self, chunk: &mut Chunk, to: &mut [u8]) -> usize {
        let count = chunk.len().min(to.len());
        to[..count].copy_from_slice(&self.bytes(chunk)[..count]);
        chunk.start += count as u32;
        if chunk.len() == 0 {
            self.offer(chunk.buffer);
        }
        count
    }

    /// Takes the bytes out of the buffer, which the kernel gets back.
    pub(crate) fn take(&mut self, chunk: &Chunk, to: &mut Vec<u8>) {
        to.extend_from_slice(self.bytes(chunk));
        self.offer(chunk.buffer);
    }

    pub(crate) fn discard(&mut self, chunk: &Chunk) {
        self.offer(chunk.buffer);
    }

    /// The kernel may use the buffers for ever.
    pub(crate) const fn leak(&mut self) {
        self.is_leaked = true;
    }

    fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let at = usize::from(chunk.buffer) * BYTES + chunk.start as usize;
        #[expect(unsafe_code)]
        // SAFETY: within the buffers, which were zeroed at first; the kernel writes to this one only after it is offered again, and
        // who does that has no chunk any more.
        unsafe {
            std::slice::from_raw_parts(self.buffers.as_ptr().add(at), chunk.len())
        }
    }

    fn offer(&mut self, buffer: u16) {
        let slot = usize::from(self.tail % COUNT);
        #[expect(unsafe_code)]
        // SAFETY: the slot is one of `COUNT`, and not the kernel's, since no more than `COUNT` buffers are ever offered. The tail
        // is a part of the first entry which entries do not use.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(slot);
            entry.set_addr(self.buffers.as_ptr().add(usize::from(buffer) * BYTES) as u64);
            entry.set_len(BYTES as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
        self.offered += 1;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if self.is_leaked {
            return;
        }
        #[expect(unsafe_code)]
        // SAFETY: allocated with these layouts.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), entries_layout());
            dealloc(self.buffers.as_ptr(), buffers_layout());
        }
    }
}

fn entries_layout() -> Layout {
    Layout::from_size_align(usize::from(COUNT) * size_of::<BufRingEntry>(), PAGE).expect("a few pages")
}

fn buffers_layout() -> Layout {
    Layout::from_size_align(usize::from(COUNT) * BYTES, PAGE).expect("some megabytes")
}

fn zeroed(layout: Layout) -> NonNull<u8> {
    #[expect(unsafe_code)]
    // SAFETY: neither layout is empty.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
