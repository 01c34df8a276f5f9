//! How what is written reaches the kernel.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::task::{Context, Poll};

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::super::outbox::Parcel;
use super::{Kind, Ring, poll};

/// Less than all counts as a failure, which is told though success is not (`bits/socket.h`, `io_uring_prep_send(3)`).
const MSG_WAITALL: u32 = 0x100;
/// Vectors of one write.
const SLICES: usize = 16;

impl Ring {
    pub(crate) fn poll_write(
        &mut self,
        key: usize,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.count_call();
        if let Some(stopped) = self.cannot_write(key, cx) {
            return stopped;
        }
        let slices = &slices[..slices.len().min(SLICES)];
        let Some(parcel) = self.outbox.pack(slices) else { return self.send(key, cx, slices) };
        self.slots[key].sending = Some(parcel);
        self.post(key, parcel);
        Poll::Ready(Ok(parcel.len()))
    }

    /// The kernel sends as much as there is room for, at once, and says something only if that is not all.
    fn post(&mut self, key: usize, parcel: Parcel) {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT | SendFlags::from_bits_retain(MSG_WAITALL);
        let (fd, address) = (Fd(self.slots[key].fd.as_raw_fd()), self.outbox.address(parcel));
        let request = opcode::Send::new(fd, address, parcel.len() as u32).flags(flags.bits().cast_signed());
        let request = request.build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(&request.user_data(Kind::of(key, Kind::Send)));
        self.posted.push(key);
    }

    /// Once the kernel has taken all requests, and all it said was heard, what it said nothing of has been sent.
    pub(super) fn settle(&mut self) {
        if self.posted.is_empty() {
            return;
        }
        let requests = self.io.submission();
        if !requests.is_empty() || requests.cq_overflow() {
            return;
        }
        drop(requests);
        while let Some(key) = self.posted.pop() {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.is_polled {
                continue;
            }
            if let Some(parcel) = slot.sending.take() {
                self.outbox.free(parcel);
                slot.wake_writer();
            }
            self.bury(key);
        }
    }

    /// Writes what must not wait for a turn.
    pub(crate) fn poll_write_now(
        &mut self,
        key: usize,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.hurry(key);
        match self.cannot_write(key, cx) {
            Some(stopped) => stopped,
            None => self.send(key, cx, &slices[..slices.len().min(SLICES)]),
        }
    }

    fn cannot_write(&mut self, key: usize, cx: &Context<'_>) -> Option<Poll<io::Result<usize>>> {
        let slot = &mut self.slots[key];
        if let Some(code) = slot.send_error {
            return Some(Poll::Ready(Err(io::Error::from_raw_os_error(code))));
        }
        if slot.sending.is_none() && !slot.is_polled {
            return None;
        }
        slot.await_writing(cx);
        Some(Poll::Pending)
    }

    /// By a call of its own, without a copy.
    fn send(&mut self, key: usize, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let slot = &mut self.slots[key];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            let sent = rustix::net::sendmsg(&slot.fd, slices, &mut SendAncillaryBuffer::default(), flags);
            match sent {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                sent => return Poll::Ready(sent.map_err(Into::into)),
            }
        }
        slot.await_writing(cx);
        self.await_room(key);
        Poll::Pending
    }

    fn await_room(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.is_polled = true;
        let request = poll(slot.fd.as_fd(), PollFlags::OUT).build();
        self.push(&request.user_data(Kind::of(key, Kind::Room)));
    }

    /// There is room to write, or the socket is to be closed.
    pub(super) fn room(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.is_polled = false;
        match slot.sending {
            Some(parcel) if !slot.is_orphan => self.post(key, parcel),
            Some(parcel) => {
                slot.sending = None;
                self.outbox.free(parcel);
            }
            None => slot.wake_writer(),
        }
    }

    /// Ready when all that was written has been sent.
    pub(crate) fn poll_flush(&mut self, key: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let slot = &mut self.slots[key];
        if slot.sending.is_some() {
            slot.await_writing(cx);
            return Poll::Pending;
        }
        let failed = slot.send_error.map(io::Error::from_raw_os_error);
        Poll::Ready(failed.map_or(Ok(()), Err))
    }

    /// Hands over at once what was written.
    pub(crate) fn hurry(&mut self, key: usize) {
        if self.slots[key].sending.is_some() {
            self.submit();
            self.reap();
        }
    }

    /// Not all of it was sent.
    pub(super) fn sent(&mut self, key: usize, result: i32) {
        let slot = &mut self.slots[key];
        let Some(parcel) = &mut slot.sending else { return };
        let is_full = result >= 0 || -result == Errno::AGAIN.raw_os_error();
        parcel.advance(result.max(0) as usize);
        if is_full && !slot.is_orphan && parcel.len() > 0 {
            self.await_room(key);
            return;
        }
        if !is_full {
            slot.send_error = Some(-result);
        }
        self.outbox.free(*parcel);
        slot.sending = None;
        slot.wake_writer();
    }
}
