//! A socket, as its task sees it.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use super::RING;
use super::ring::Ring;

/// A connected socket on the ring of the thread that [adopted](crate::adopt) it, and of use only there.
#[derive(Debug)]
pub struct Socket {
    pub(crate) key: usize,
    pub(crate) ring: u32,
}

impl Socket {
    /// Reads what has come; 0 bytes: the peer sends no more.
    ///
    /// # Errors
    /// What the kernel says of the connection.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.with(|ring| ring.poll_read(self.key, cx, buffer)).unwrap_or_else(|| Poll::Ready(Err(foreign())))
    }

    /// Whether there is nothing to read now; if so, the task is woken when there is.
    pub fn is_dry(&self, cx: &mut Context<'_>) -> bool {
        self.with(|ring| ring.is_dry(self.key, cx)).unwrap_or(false)
    }

    /// Writes; it is sent no later than at the next [turn](crate::turn). What goes wrong then is told at the next write.
    ///
    /// # Errors
    /// What the kernel says of the connection.
    pub fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.with(|ring| ring.poll_write(self.key, cx, slices)).unwrap_or_else(|| Poll::Ready(Err(foreign())))
    }

    /// Writes without waiting for the next turn; what was written before goes first.
    ///
    /// # Errors
    /// What the kernel says of the connection.
    pub fn poll_write_now(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.with(|ring| ring.poll_write_now(self.key, cx, slices))
            .unwrap_or_else(|| Poll::Ready(Err(foreign())))
    }

    /// Ready when all that was written has been sent.
    ///
    /// # Errors
    /// What the kernel says of the connection.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|ring| ring.poll_flush(self.key, cx)).unwrap_or_else(|| Poll::Ready(Err(foreign())))
    }

    /// Lets the caller do something with the descriptor itself, once all that was written before is with the kernel. `None` in
    /// another thread.
    pub fn with_fd<R>(&self, act: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        self.with(|ring| {
            ring.hurry(self.key);
            act(ring.fd(self.key))
        })
    }

    fn with<R>(&self, act: impl FnOnce(&mut Ring) -> R) -> Option<R> {
        let acted =
            RING.try_with(|ring| ring.borrow_mut().as_mut().filter(|ring| ring.id == self.ring).map(act));
        acted.ok().flatten()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.with(|ring| ring.release(self.key));
    }
}

fn foreign() -> io::Error {
    io::Error::other("this socket's thread is another one, or has ended")
}
