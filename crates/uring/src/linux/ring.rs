//! One thread's ring: requests to the kernel, and what it says of them.

mod reading;
mod writing;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{IoUring, opcode, squeue};
use rustix::event::{EventfdFlags, PollFlags};
use rustix::io::Errno;
use slab::Slab;

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::slot::Slot;
use super::socket::Socket;

/// So many requests are gathered at most; they do not wait for more than a fraction of a millisecond then.
const REQUESTS: u32 = 256;
const COMPLETIONS: u32 = 4096;

/// What a request was for; the lowest bits of what the kernel is told to say with its completion.
#[derive(Clone, Copy)]
enum Kind {
    Receive = 0,
    Send = 1,
    /// There is room to write.
    Room = 2,
    Cancel = 3,
    /// There is something to read.
    Ready = 4,
    /// The peer is leaving.
    Watch = 5,
}

const KIND_BITS: u32 = 3;

impl Kind {
    const fn of(key: usize, kind: Self) -> u64 {
        (key as u64) << KIND_BITS | kind as u64
    }

    const fn read(data: u64) -> (usize, Self) {
        let kind = match data & 7 {
            0 => Self::Receive,
            1 => Self::Send,
            2 => Self::Room,
            3 => Self::Cancel,
            4 => Self::Ready,
            _ => Self::Watch,
        };
        ((data >> KIND_BITS) as usize, kind)
    }
}

/// A thread's ring and its sockets.
pub struct Ring {
    // Before the buffers that it uses.
    io: IoUring,
    /// The kernel rings it for every completion, and for what is to be done for one. Polling the ring itself tells nothing of
    /// the latter (`io_uring_poll`).
    bell: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    slots: Slab<Slot>,
    /// Got something that may still be unread.
    noted: Vec<usize>,
    starved: Vec<usize>,
    /// Woken when there is something to hand over.
    messenger: Option<Waker>,
    pub(crate) id: u32,
}

impl Ring {
    /// Makes a ring and its buffers, for the thread that makes it.
    ///
    /// # Errors
    /// When the kernel does not have all that is needed, or the process may not use it.
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let io = IoUring::builder()
            .dontfork()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .build(REQUESTS)?;
        let inbox = Inbox::new(&io)?;
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        io.submitter().register_eventfd(bell.as_raw_fd())?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (slots, noted, starved, messenger) = (Slab::new(), Vec::new(), Vec::new(), None);
        Ok(Self { io, bell, inbox, outbox: Outbox::new(), slots, noted, starved, messenger, id })
    }

    /// Becomes readable when there is something for the next [`turn`](crate::turn).
    ///
    /// # Errors
    /// When there are too many descriptors.
    pub fn completions(&self) -> io::Result<OwnedFd> {
        self.bell.try_clone()
    }

    pub(crate) fn adopt(&mut self, fd: OwnedFd) -> Socket {
        // Requests are to wait for what comes, and those for a descriptor that does not block do not.
        let blocks = rustix::io::ioctl_fionbio(&fd, false);
        debug_assert!(blocks.is_ok(), "a socket knows FIONBIO");
        Socket { key: self.slots.insert(Slot::new(fd)), ring: self.id }
    }

    /// Before the thread sleeps.
    pub(crate) fn turn(&mut self) {
        self.set_unread_aside();
        self.exchange();
    }

    /// Hands over what there is, and has the task woken when there is something again.
    pub(crate) fn hand_over(&mut self, cx: &Context<'_>) {
        self.exchange();
        if !self.io.submission().is_empty() {
            cx.waker().wake_by_ref();
        }
        if !self.messenger.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.messenger = Some(cx.waker().clone());
        }
    }

    /// Requests go, and completions come, until nothing is left to hand over, or the kernel takes nothing for now.
    fn exchange(&mut self) {
        loop {
            self.feed_starved();
            let taken = self.submit();
            self.reap();
            // The kernel's flag for work to be done can stay set when there is none, so the bell is relied on for that.
            if taken == 0 || self.io.submission().is_empty() {
                return;
            }
        }
    }

    /// How many requests the kernel took. What it did not take stays queued.
    fn submit(&mut self) -> usize {
        let idle = {
            let requests = self.io.submission();
            requests.is_empty() && !requests.taskrun() && !requests.cq_overflow()
        };
        // It fails when completions must be taken first, or memory is missing.
        if idle { 0 } else { self.io.submit().unwrap_or(0) }
    }

    fn reap(&mut self) {
        loop {
            let Some(entry) = self.io.completion().next() else { return };
            let (key, kind) = Kind::read(entry.user_data());
            match kind {
                Kind::Receive => self.received(key, &entry),
                Kind::Send => self.sent(key, entry.result()),
                Kind::Room => {
                    let slot = &mut self.slots[key];
                    slot.is_polled = false;
                    slot.wake_writer();
                }
                Kind::Ready => self.ready(key),
                Kind::Watch => self.watched(key),
                Kind::Cancel => continue,
            }
            self.bury(key);
        }
    }

    /// Closes a socket that nobody has any more.
    fn bury(&mut self, key: usize) {
        if self.slots.get(key).is_some_and(|slot| slot.is_orphan && !slot.is_in_use()) {
            self.slots.remove(key);
        }
    }

    pub(crate) fn release(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.is_orphan = true;
        (slot.reader, slot.writer) = (None, None);
        for chunk in std::mem::take(&mut slot.chunks) {
            self.inbox.discard(&chunk);
        }
        if slot.is_in_use() {
            let fd = Fd(slot.fd.as_raw_fd());
            let request = opcode::AsyncCancel2::new(CancelBuilder::fd(fd).all()).build();
            self.push(&request.user_data(Kind::of(key, Kind::Cancel)));
        } else {
            self.slots.remove(key);
        }
    }

    fn push(&mut self, request: &squeue::Entry) {
        if self.io.submission().is_empty()
            && let Some(messenger) = &self.messenger
        {
            messenger.wake_by_ref();
        }
        #[expect(unsafe_code)]
        // SAFETY: descriptors and buffers of a request live until its completion: a slot with requests keeps both
        // (`Slot::is_in_use`), and `drop` ends all requests before it frees anything.
        while unsafe { self.io.submission().push(request) }.is_err() {
            self.submit();
            if self.io.submission().is_full() {
                // The kernel wants completions to be taken first.
                self.reap();
            }
        }
    }

    pub(crate) fn fd(&self, key: usize) -> BorrowedFd<'_> {
        self.slots[key].fd.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for key in self.slots.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            if !self.slots[key].is_orphan {
                self.release(key);
            }
        }
        // Nothing may be freed that the kernel still uses.
        while self.slots.iter().any(|(_, slot)| slot.is_in_use()) {
            let waited = self.io.submit_and_wait(1);
            self.reap();
            if waited.is_err_and(|error| !is_passing(&error)) {
                self.inbox.leak();
                self.outbox.leak();
                return;
            }
        }
    }
}

/// Tells once that one of these came true.
fn poll(fd: BorrowedFd<'_>, events: PollFlags) -> opcode::PollAdd {
    opcode::PollAdd::new(Fd(fd.as_raw_fd()), u32::from(events.bits()))
}

/// Whether the next try may succeed: completions must be taken first, or a signal came.
fn is_passing(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::BUSY, Errno::AGAIN, Errno::INTR].iter().any(|errno| code == Some(errno.raw_os_error()))
}
