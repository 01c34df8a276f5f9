//! The buffers that small writes are copied to, until the kernel has sent them.

use std::io::IoSlice;

/// Of these, each as large as [`BYTES`].
const COUNT: u16 = 256;
/// More than this is sent without a copy.
const BYTES: usize = 4 * 1024;

pub(crate) struct Outbox {
    /// Never moved or freed while something is being sent from it.
    buffers: Box<[u8]>,
    /// The last one used comes first: it is in the processor's cache.
    free: Vec<u16>,
}

/// A write that is on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel {
    buffer: u16,
    start: u16,
    end: u16,
}

impl Parcel {
    pub(crate) const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// So much of it is sent.
    pub(crate) fn advance(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(u16::try_from(count).unwrap_or(u16::MAX)));
    }
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { buffers: vec![0; usize::from(COUNT) * BYTES].into_boxed_slice(), free: (0..COUNT).collect() }
    }

    /// Copies, if there is room.
    pub(crate) fn pack(&mut self, slices: &[IoSlice<'_>]) -> Option<Parcel> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if len > BYTES {
            return None;
        }
        let buffer = self.free.pop()?;
        let mut at = usize::from(buffer) * BYTES;
        for slice in slices {
            self.buffers[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
        Some(Parcel { buffer, start: 0, end: len as u16 })
    }

    /// Where its bytes are until it is [freed](Self::free).
    pub(crate) fn address(&self, parcel: Parcel) -> *const u8 {
        self.buffers[usize::from(parcel.buffer) * BYTES + usize::from(parcel.start)..].as_ptr()
    }

    /// The kernel may read the buffers for ever.
    pub(crate) fn leak(&mut self) {
        Box::leak(std::mem::take(&mut self.buffers));
    }

    pub(crate) fn free(&mut self, parcel: Parcel) {
        self.free.push(parcel.buffer);
    }
}
