//! Sockets on Linux's `io_uring`, for an event loop that owns the thread.
//!
//! A thread that called [`start`] has a ring. What is written to its sockets is gathered, and goes to the kernel with one
//! call of [`turn`], together with whatever came meanwhile; the usual way is two system calls for each write and each
//! read. [`turn`] wakes the tasks that wait for something that came, so it belongs where the event loop would sleep
//! otherwise. While the loop sleeps, what [`start`] gave back tells it when there is something for the next turn; a task of the
//! loop calls [`hand_over`] then. In a loop whose tasks never end, every so many reads and writes do the same.
//!
//! * **Reading**: a socket that has been read once is received from until somebody does not take what came. The kernel
//!   chooses among buffers that all sockets of the thread share (`inbox.rs`), so one that is silent costs no buffer.
//! * **Writing**: small writes are copied into one of a pool of buffers (`outbox.rs`) and sent at the next turn. Large ones,
//!   or those that find no buffer, are sent at once, as by the usual call, so that nothing is copied in vain.
//!
//! Needs Linux 6.1 (`IORING_SETUP_DEFER_TASKRUN`, `IORING_RECV_MULTISHOT`; see `io_uring_setup(2)` and
//! `io_uring_enter(2)`), and a sandbox that allows it; where that is missing [`start`] fails.

/// Where a thread waits while it has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Where the event loop sleeps.
    InLoop,
    /// On the ring, for as long as something comes there all the time. That saves most of the system calls that are left, but
    /// what else the loop has waits for up to a millisecond then. Without a task that calls [`hand_over`] it is never done.
    OnRing,
}

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod nowhere;

#[cfg(target_os = "linux")]
pub use linux::{Ring, Socket, adopt, hand_over, is_started, start, stop, turn};
#[cfg(not(target_os = "linux"))]
pub use nowhere::{Ring, Socket, adopt, hand_over, is_started, start, stop, turn};
