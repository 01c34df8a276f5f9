//! Threads, locks and time: the standard library's. In this crate's unit tests they are those of `shuttle`, which tries
//! many of the orders in which threads may run, and time passes only when all else has had its turn.

#[cfg(any(feature = "aio", not(test)))]
pub(crate) mod clock;
#[cfg(not(test))]
mod real;
#[cfg(test)]
pub(crate) mod tried;

#[cfg(not(test))]
pub(crate) use real::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, now, thread};
#[cfg(test)]
pub(crate) use tried::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, now, thread};
