//! The client's end of a connection that its user drives: what was sent and what was received, in memory.

use std::io::IoSlice;
use std::task::Poll;

use tokio::io::ReadBuf;

/// What is kept of an emptied buffer.
const KEPT_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Memory {
    sent: Buffer,
    received: Buffer,
}

impl Memory {
    pub(super) fn sent_by_user(&mut self, bytes: &[u8]) {
        self.sent.bytes.extend_from_slice(bytes);
    }

    /// All that was sent has been read.
    pub(crate) fn is_read(&self) -> bool {
        self.sent.rest().is_empty()
    }

    pub(super) fn received(&self) -> &[u8] {
        self.received.rest()
    }

    pub(super) fn taken_by_user(&mut self, count: usize) {
        self.received.take(count);
    }

    /// What was sent and not read, and what was received and not taken.
    pub(super) fn take_all(&mut self) -> (Vec<u8>, Vec<u8>) {
        let take = |buffer: &mut Buffer| {
            let bytes = buffer.rest().to_vec();
            buffer.take(bytes.len());
            bytes
        };
        (take(&mut self.sent), take(&mut self.received))
    }

    /// Its user wakes whoever reads, by reading himself.
    pub(crate) fn read(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<()> {
        let rest = self.sent.rest();
        if rest.is_empty() {
            return Poll::Pending;
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.sent.take(count);
        Poll::Ready(())
    }

    /// There is no limit: who sends a pipeline reads no reply before all of it is sent.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> usize {
        for slice in slices {
            self.received.bytes.extend_from_slice(slice);
        }
        slices.iter().map(|slice| slice.len()).sum()
    }
}

/// Bytes that are taken from the front.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    taken: usize,
}

impl Buffer {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn take(&mut self, count: usize) {
        self.taken += count.min(self.rest().len());
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.taken = 0;
        }
    }
}
