//! Threads, locks and time: the standard library's. In this crate's unit tests they are those of `interleave`, which tries
//! many of the orders in which threads may run, and time passes only when all else has had its turn.

#[cfg(any(feature = "aio", not(test)))]
pub(crate) mod clock;
#[cfg(not(test))]
mod real;

#[cfg(test)]
pub(crate) use interleave::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, now, thread};
#[cfg(not(test))]
pub(crate) use real::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, now, thread};
