//! What a ring knows of one socket.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Waker};

use super::inbox::Chunk;
use super::outbox::Parcel;

/// Whether the kernel receives from the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiving {
    No,
    Yes,
    /// It was told to stop, and has not said yet that it did.
    Ending,
    /// It stopped since it had no buffer left.
    Starved,
}

/// What the kernel tells of a peer whose bytes nobody takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    None,
    /// That it sends no more, or is gone.
    ForEnd,
    /// That it is gone: that it sends no more is known.
    ForLoss,
    /// Nothing more.
    Over,
}

/// How reading ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Closed,
    Failed(i32),
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Slot {
    pub(crate) fd: OwnedFd,
    pub(crate) receiving: Receiving,
    /// Came, and was not read; first what was taken out of its buffers.
    pub(crate) kept: Vec<u8>,
    pub(crate) kept_read: usize,
    pub(crate) chunks: VecDeque<Chunk>,
    pub(crate) end: Option<End>,
    pub(crate) is_end_told: bool,
    /// Much comes at once: it is read with one call each time the kernel says that something is there, not into small
    /// buffers.
    pub(crate) is_bulky: bool,
    /// The kernel tells when something is there.
    pub(crate) is_awaited: bool,
    /// Small reads since it became bulky.
    pub(crate) small_reads: u8,
    /// Nobody reads for now, but that the peer leaves is to be told.
    pub(crate) watch: Watch,
    /// Among those that are looked at before the thread sleeps.
    pub(crate) is_noted: bool,
    pub(crate) sending: Option<Parcel>,
    pub(crate) send_error: Option<i32>,
    /// The kernel tells when there is room to write.
    pub(crate) is_polled: bool,
    /// Its [`Socket`](crate::Socket) is gone; it is closed when the kernel is done with it.
    pub(crate) is_orphan: bool,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
}

impl Slot {
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            receiving: Receiving::No,
            kept: Vec::new(),
            kept_read: 0,
            chunks: VecDeque::new(),
            end: None,
            is_end_told: false,
            is_bulky: false,
            is_awaited: false,
            small_reads: 0,
            watch: Watch::None,
            is_noted: false,
            sending: None,
            send_error: None,
            is_polled: false,
            is_orphan: false,
            reader: None,
            writer: None,
        }
    }

    /// Whether the kernel still has a request for it.
    pub(crate) const fn is_in_use(&self) -> bool {
        let reads = matches!(self.receiving, Receiving::Yes | Receiving::Ending) || self.is_awaited;
        let is_watched = matches!(self.watch, Watch::ForEnd | Watch::ForLoss);
        reads || self.sending.is_some() || self.is_polled || is_watched
    }

    /// Whether a read would find something.
    pub(crate) fn is_readable(&self) -> bool {
        !self.kept.is_empty() || !self.chunks.is_empty() || self.end.is_some()
    }

    pub(crate) fn wake_reader(&self) {
        if let Some(waker) = &self.reader {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    pub(crate) fn await_reading(&mut self, cx: &Context<'_>) {
        if !self.reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
    }

    pub(crate) fn await_writing(&mut self, cx: &Context<'_>) {
        self.writer = Some(cx.waker().clone());
    }
}

impl End {
    /// As a read tells it.
    pub(crate) fn outcome(self) -> io::Result<usize> {
        match self {
            Self::Closed => Ok(0),
            Self::Failed(code) => Err(io::Error::from_raw_os_error(code)),
        }
    }
}
