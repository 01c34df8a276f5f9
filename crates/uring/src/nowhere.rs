//! For systems without `io_uring`.

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use crate::Waiting;

/// There is none.
#[derive(Debug)]
pub enum Ring {}

/// There is none.
#[derive(Debug)]
pub enum Socket {}

impl Ring {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Fails.
///
/// # Errors
/// Always.
pub fn start(_: Waiting) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// No.
pub const fn is_started() -> bool {
    false
}

/// Does nothing.
pub const fn turn() {}

/// Does nothing.
pub const fn hand_over(_: &mut Context<'_>) {}

/// Does nothing.
pub const fn stop() {}

/// Gives the descriptor back.
///
/// # Errors
/// Always.
pub const fn adopt(fd: OwnedFd) -> Result<Socket, OwnedFd> {
    Err(fd)
}

/// What a socket could do, if there were any.
#[allow(missing_docs, clippy::missing_errors_doc)]
impl Socket {
    pub fn poll_read(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub fn is_dry(&self, _: &mut Context<'_>) -> bool {
        match *self {}
    }

    pub fn poll_write(&self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub fn poll_write_now(&self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub fn poll_flush(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    pub fn with_fd<R>(&self, _: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        match *self {}
    }
}
