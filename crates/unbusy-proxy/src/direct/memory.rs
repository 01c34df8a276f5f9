//! The client's end of a connection that its user drives: what was sent and what was received, in memory.

use std::io::IoSlice;
use std::task::Poll;

use tokio::io::ReadBuf;

use crate::buffer::Buffer;

/// What is kept of an emptied buffer.
pub(super) const KEPT_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Memory {
    sent: Buffer<KEPT_BYTES>,
    received: Buffer<KEPT_BYTES>,
    limit: Option<usize>,
}

impl Memory {
    pub(super) fn sent_by_user(&mut self, bytes: &[u8]) {
        self.sent.put(bytes);
    }

    /// From so many bytes on that were received and not taken, no more are. With no limit, who sends a pipeline need read no
    /// reply before all of it is sent.
    pub(super) const fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
    }

    pub(super) fn unread(&self) -> usize {
        self.sent.len()
    }

    /// All that was sent has been read.
    pub(crate) fn is_read(&self) -> bool {
        self.sent.is_empty()
    }

    /// Had been received before.
    pub(super) fn put_received(&mut self, bytes: &[u8]) {
        self.received.put(bytes);
    }

    pub(super) fn received(&self) -> &[u8] {
        self.received.rest()
    }

    pub(super) fn taken_by_user(&mut self, count: usize) {
        self.received.take(count);
    }

    /// What was sent and not read, and what was received and not taken.
    pub(super) fn take_all(&mut self) -> (Vec<u8>, Vec<u8>) {
        (self.sent.take_all(), self.received.take_all())
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

    /// Its user makes room by taking, and drives it then.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<usize> {
        if self.limit.is_some_and(|limit| self.received.len() >= limit) {
            return Poll::Pending;
        }
        for slice in slices {
            self.received.put(slice);
        }
        Poll::Ready(slices.iter().map(|slice| slice.len()).sum())
    }
}
