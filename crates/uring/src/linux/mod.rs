//! The real ones.

mod inbox;
mod outbox;
mod pace;
mod ring;
mod slot;
mod socket;

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Context;

use crate::Waiting;

pub use ring::Ring;
pub use socket::Socket;

thread_local! {
    static RING: RefCell<Option<Ring>> = const { RefCell::new(None) };
}

/// Gives this thread a ring. What comes back becomes readable when the thread sleeps and there is something for the next
/// [`turn`].
///
/// # Errors
/// When the kernel has no `io_uring`, or not all that is needed of it, or the process may not use it.
pub fn start(waiting: Waiting) -> io::Result<OwnedFd> {
    let mut ring = Ring::new()?;
    ring.set_waiting(waiting);
    let completions = ring.completions()?;
    RING.set(Some(ring));
    Ok(completions)
}

/// Hands over to the kernel what was written, and wakes those who have something to read, or room to write. It may wait for
/// that ([`Waiting::OnRing`]). Nothing happens in a thread without a ring.
pub fn turn() {
    RING.with_borrow_mut(|ring| ring.as_mut().map(Ring::turn));
}

/// Does what [`turn`] does without waiting, for the task that hears of what [`start`] gave back. It is woken as well by a turn
/// behind which the loop must not sleep. Readers that were woken keep what they have not read yet.
pub fn hand_over(cx: &mut Context<'_>) {
    RING.with_borrow_mut(|ring| ring.as_mut().map(|ring| ring.hand_over(cx)));
}

/// Whether this thread has a ring.
pub fn is_started() -> bool {
    RING.with_borrow(Option::is_some)
}

/// Puts a connected socket on this thread's ring, and gives it back if there is none.
///
/// # Errors
/// Gives the descriptor back when the thread has no ring.
pub fn adopt(fd: OwnedFd) -> Result<Socket, OwnedFd> {
    RING.with_borrow_mut(|ring| match ring {
        Some(ring) => Ok(ring.adopt(fd)),
        None => Err(fd),
    })
}

/// Ends this thread's ring, and with it all its sockets.
pub fn stop() {
    RING.set(None);
}
