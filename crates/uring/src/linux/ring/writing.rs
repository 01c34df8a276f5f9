//! How what is written reaches the kernel.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::task::{Context, Poll};

use io_uring::opcode;
use io_uring::types::Fd;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::{Kind, Ring, poll};

/// `sendmsg` sends all, or says why not (`bits/socket.h`).
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
        if let Some(stopped) = self.cannot_write(key, cx) {
            return stopped;
        }
        let slices = &slices[..slices.len().min(SLICES)];
        let Some(parcel) = self.outbox.pack(slices) else { return self.send(key, cx, slices) };
        let slot = &mut self.slots[key];
        slot.sending = Some(parcel);
        // All of it is sent, or none: who waits for room does so in the kernel.
        let flags = (SendFlags::NOSIGNAL | SendFlags::from_bits_retain(MSG_WAITALL)).bits().cast_signed();
        let (fd, address) = (Fd(slot.fd.as_raw_fd()), self.outbox.address(parcel));
        let request = opcode::Send::new(fd, address, parcel.len).flags(flags).build();
        self.push(&request.user_data(Kind::of(key, Kind::Send)));
        Poll::Ready(Ok(parcel.len as usize))
    }

    /// Writes what must not wait for a turn.
    pub(crate) fn poll_write_now(
        &mut self,
        key: usize,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.slots[key].sending.is_some() {
            self.submit();
            self.reap();
        }
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
        slot.is_polled = true;
        let request = poll(slot.fd.as_fd(), PollFlags::OUT).build();
        self.push(&request.user_data(Kind::of(key, Kind::Room)));
        Poll::Pending
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
        }
    }

    pub(super) fn sent(&mut self, key: usize, result: i32) {
        let slot = &mut self.slots[key];
        let Some(parcel) = slot.sending.take() else { return };
        self.outbox.free(parcel);
        if result < 0 {
            slot.send_error = Some(-result);
        } else if result as u32 != parcel.len {
            // It was to send all of it, or to say why not.
            slot.send_error = Some(Errno::PIPE.raw_os_error());
        }
        slot.wake_writer();
    }
}
