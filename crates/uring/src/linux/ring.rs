//! One thread's ring: requests to the kernel, and what it says of them.

mod reading;
mod writing;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs};
use io_uring::{EnterFlags, IoUring, opcode, squeue};
use rustix::event::{EventfdFlags, PollFlags};
use rustix::io::Errno;
use slab::Slab;

use super::inbox::Inbox;
use super::outbox::Outbox;
use super::pace::{Pace, TICK};
use super::slot::Slot;
use super::socket::Socket;
use crate::Waiting;

/// So many requests are gathered at most; they do not wait for more than a fraction of a millisecond then.
const REQUESTS: u32 = 256;
const COMPLETIONS: u32 = 4096;
/// After so many reads and writes requests do not wait for the other tasks any more.
const CALLS: u32 = 256;

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
    /// Of the clock.
    Tick = 6,
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
            5 => Self::Watch,
            _ => Self::Tick,
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
    /// Have written since it was last known that all had been sent.
    posted: Vec<usize>,
    pace: Pace,
    is_ticking: bool,
    waiting: Waiting,
    /// Reads and writes since the last exchange.
    calls: u32,
    /// Its task runs before the thread sleeps.
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
        Ok(Self {
            io,
            bell,
            inbox,
            outbox: Outbox::new(),
            slots: Slab::new(),
            noted: Vec::new(),
            starved: Vec::new(),
            posted: Vec::new(),
            pace: Pace::calm(),
            is_ticking: false,
            waiting: Waiting::InLoop,
            calls: 0,
            messenger: None,
            id,
        })
    }

    /// Becomes readable when there is something for the next [`turn`](crate::turn).
    ///
    /// # Errors
    /// When there are too many descriptors.
    pub fn completions(&self) -> io::Result<OwnedFd> {
        self.bell.try_clone()
    }

    pub(crate) fn set_waiting(&mut self, waiting: Waiting) {
        self.waiting = waiting;
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
        if self.pace.is_brisk() {
            self.wait();
        }
        self.exchange();
        // Nobody rings then, so the loop must come here again before it sleeps.
        if self.pace.is_brisk()
            && let Some(messenger) = &self.messenger
        {
            messenger.wake_by_ref();
        }
    }

    /// Hands over what there is, for a task that is woken after each turn behind which the loop must not sleep.
    pub(crate) fn hand_over(&mut self, cx: &Context<'_>) {
        if !self.messenger.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.messenger = Some(cx.waker().clone());
        }
        if !self.pace.is_brisk() {
            self.exchange();
        }
    }

    /// Requests go, and completions come, until nothing is left to hand over, or the kernel takes nothing for now.
    fn exchange(&mut self) {
        self.calls = 0;
        loop {
            self.feed_starved();
            let taken = self.submit();
            let came = self.reap();
            if self.waiting == Waiting::OnRing && self.messenger.is_some() {
                self.change_pace(|pace| pace.looked(came));
            }
            // The kernel's flag for work to be done can stay set when there is none, so the bell is relied on for that.
            if taken == 0 || self.io.submission().is_empty() {
                return;
            }
        }
    }

    /// Requests go, and the thread waits for the first completion.
    fn wait(&mut self) {
        self.feed_starved();
        if !std::mem::replace(&mut self.is_ticking, true) {
            let request = opcode::Timeout::new(&raw const TICK).build();
            self.push(&request.user_data(Kind::of(0, Kind::Tick)));
        }
        // A machine whose proxy waits for its clients does not wait for a disk, which is what it would look like.
        let no_disk = self.io.params().is_feature_no_iowait();
        let flags = if no_disk { EnterFlags::NO_IOWAIT } else { EnterFlags::empty() };
        // It fails when completions must be taken first, or memory is missing, or a signal came.
        let _ = self.io.submitter().submit_with_args_and_flags(1, &SubmitArgs::new(), flags);
        if !self.reap() {
            self.change_pace(Pace::waited_in_vain);
        }
    }

    /// The bell is there for a thread that may sleep elsewhere.
    fn change_pace(&mut self, change: impl FnOnce(&mut Pace)) {
        let was_brisk = self.pace.is_brisk();
        change(&mut self.pace);
        match (was_brisk, self.pace.is_brisk()) {
            (false, true) => self.io.completion().disable_eventfd(),
            (true, false) => self.io.completion().enable_eventfd(),
            _ => {}
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

    /// Takes what came; whether there was something but a tick.
    fn reap(&mut self) -> bool {
        let mut came = false;
        loop {
            let Some(entry) = self.io.completion().next() else { break };
            let (key, kind) = Kind::read(entry.user_data());
            came |= !matches!(kind, Kind::Tick);
            match kind {
                Kind::Receive => self.received(key, &entry),
                Kind::Send => self.sent(key, entry.result()),
                Kind::Room => self.room(key),
                Kind::Ready => self.ready(key),
                Kind::Watch => self.watched(key),
                Kind::Tick => {
                    self.is_ticking = false;
                    continue;
                }
                Kind::Cancel => continue,
            }
            self.bury(key);
        }
        self.settle();
        came
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

    /// Counts the calls of tasks: where they never end, there is no turn.
    pub(super) fn count_call(&mut self) {
        self.calls += 1;
        if self.calls == CALLS {
            self.exchange();
        }
    }

    fn push(&mut self, request: &squeue::Entry) {
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
        self.exchange();
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
