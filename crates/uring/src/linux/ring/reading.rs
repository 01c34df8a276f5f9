//! How what comes reaches its readers.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::task::{Context, Poll};

use io_uring::types::Fd;
use io_uring::{cqueue, opcode};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::super::inbox;
use super::super::slot::{End, Receiving, Watch};
use super::{Kind, Ring, poll};

/// After so many in a row not much comes at once any more.
const SMALL_READS: u8 = 32;

impl Ring {
    /// What those who were woken did not read leaves its buffers, so that they are there for others; and no more is
    /// received for them, but they hear of a peer that leaves.
    pub(super) fn set_unread_aside(&mut self) {
        while let Some(key) = self.noted.pop() {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            slot.is_noted = false;
            if slot.is_orphan || slot.is_end_told || !slot.is_readable() {
                continue;
            }
            while let Some(chunk) = slot.chunks.pop_front() {
                self.inbox.take(&chunk, &mut slot.kept);
            }
            if slot.watch == Watch::None {
                let watch = if slot.end.is_some() { Watch::ForLoss } else { Watch::ForEnd };
                self.watch(key, watch);
            }
            self.stop_receiving(key);
        }
    }

    fn watch(&mut self, key: usize, watch: Watch) {
        let slot = &mut self.slots[key];
        slot.watch = watch;
        // That it is gone is told in any case (`poll(2)`).
        let events = if watch == Watch::ForEnd { PollFlags::RDHUP } else { PollFlags::empty() };
        let request = poll(slot.fd.as_fd(), events).build();
        self.push(&request.user_data(Kind::of(key, Kind::Watch)));
    }

    fn stop_receiving(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if slot.receiving == Receiving::Yes {
            slot.receiving = Receiving::Ending;
            let request = opcode::AsyncCancel::new(Kind::of(key, Kind::Receive)).build();
            self.push(&request.user_data(Kind::of(key, Kind::Cancel)));
        }
    }

    pub(super) fn feed_starved(&mut self) {
        while self.inbox.has_offers()
            && let Some(key) = self.starved.pop()
        {
            if self.slots.get(key).is_some_and(|slot| slot.receiving == Receiving::Starved) {
                self.receive(key);
            }
        }
    }

    fn receive(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.receiving = Receiving::Yes;
        let request = opcode::RecvMulti::new(Fd(slot.fd.as_raw_fd()), inbox::GROUP).build();
        self.push(&request.user_data(Kind::of(key, Kind::Receive)));
    }

    pub(super) fn received(&mut self, key: usize, entry: &cqueue::Entry) {
        let slot = &mut self.slots[key];
        if let Some(chunk) = self.inbox.chunk(entry) {
            if slot.is_orphan || chunk.len() == 0 {
                self.inbox.discard(&chunk);
            } else {
                slot.is_bulky |= chunk.len() == inbox::BYTES;
                slot.chunks.push_back(chunk);
            }
        }
        if !cqueue::more(entry.flags()) {
            slot.receiving = Receiving::No;
        }
        match entry.result() {
            0 => slot.end = Some(End::Closed),
            result if result > 0 => {}
            result if -result == Errno::NOBUFS.raw_os_error() => {
                slot.receiving = Receiving::Starved;
                self.starved.push(key);
            }
            result if -result == Errno::CANCELED.raw_os_error() || -result == Errno::INTR.raw_os_error() => {}
            result => slot.end = Some(End::Failed(-result)),
        }
        slot.wake_reader();
        let is_bulky = slot.is_bulky;
        self.note(key);
        if is_bulky {
            self.stop_receiving(key);
        }
    }

    /// Looks at it before the thread sleeps.
    fn note(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        if !slot.is_noted {
            slot.is_noted = true;
            self.noted.push(key);
        }
    }

    /// There is something to read by a call.
    pub(super) fn ready(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.is_awaited = false;
        slot.wake_reader();
        // Whoever does not read it now would not hear otherwise that the peer leaves.
        if slot.watch == Watch::None && !slot.is_orphan {
            self.watch(key, Watch::ForEnd);
        }
    }

    pub(super) fn watched(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        let ended = slot.watch == Watch::ForEnd;
        slot.watch = Watch::Over;
        slot.wake_reader();
        if ended && !slot.is_orphan {
            self.watch(key, Watch::ForLoss);
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        key: usize,
        cx: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.count_call();
        let slot = &mut self.slots[key];
        let mut count = 0;
        if !slot.kept.is_empty() {
            let kept = &slot.kept[slot.kept_read..];
            count = kept.len().min(buffer.len());
            buffer[..count].copy_from_slice(&kept[..count]);
            slot.kept_read += count;
            if slot.kept_read == slot.kept.len() {
                (slot.kept, slot.kept_read) = (Vec::new(), 0);
            }
        }
        while count < buffer.len()
            && let Some(chunk) = slot.chunks.front_mut()
        {
            count += self.inbox.read(chunk, &mut buffer[count..]);
            if chunk.len() == 0 {
                slot.chunks.pop_front();
            }
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        if let Some(end) = slot.end {
            slot.is_end_told = true;
            return Poll::Ready(end.outcome());
        }
        if slot.is_bulky && slot.receiving == Receiving::No && !slot.is_awaited {
            return self.read_bulk(key, cx, buffer);
        }
        self.await_reading(key, cx);
        Poll::Pending
    }

    /// All that was received has been read, and the kernel receives nothing: what comes next may be read with a call.
    fn read_bulk(&mut self, key: usize, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let slot = &mut self.slots[key];
        let count = loop {
            match rustix::net::recv(&slot.fd, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((count, _)) => break count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.await_reading(key, cx);
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        };
        if count == 0 {
            (slot.end, slot.is_end_told) = (Some(End::Closed), true);
        }
        slot.small_reads = if count < inbox::BYTES { slot.small_reads + 1 } else { 0 };
        if slot.small_reads == SMALL_READS {
            (slot.is_bulky, slot.small_reads) = (false, 0);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether there is nothing to read now; if so, the task is woken when there is.
    pub(crate) fn is_dry(&mut self, key: usize, cx: &Context<'_>) -> bool {
        let dry = !self.slots[key].is_readable();
        if dry {
            self.await_reading(key, cx);
        }
        dry
    }

    fn await_reading(&mut self, key: usize, cx: &Context<'_>) {
        let slot = &mut self.slots[key];
        slot.await_reading(cx);
        if slot.receiving != Receiving::No || slot.is_awaited {
            return;
        }
        if slot.is_bulky {
            slot.is_awaited = true;
            let request = poll(slot.fd.as_fd(), PollFlags::IN | PollFlags::RDHUP).build();
            self.push(&request.user_data(Kind::of(key, Kind::Ready)));
        } else {
            self.receive(key);
        }
    }
}
