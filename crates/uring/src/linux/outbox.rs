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
    pub(crate) len: u32,
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
        Some(Parcel { buffer, len: len as u32 })
    }

    /// Where its bytes are until it is [freed](Self::free).
    pub(crate) fn address(&self, parcel: Parcel) -> *const u8 {
        self.buffers[usize::from(parcel.buffer) * BYTES..].as_ptr()
    }

    /// The kernel may read the buffers for ever.
    pub(crate) fn leak(&mut self) {
        Box::leak(std::mem::take(&mut self.buffers));
    }

    pub(crate) fn free(&mut self, parcel: Parcel) {
        self.free.push(parcel.buffer);
    }
}
