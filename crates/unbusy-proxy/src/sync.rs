//! Locks, atomics and time: those of the standard library and of tokio. In this crate's unit tests they are those of
//! `interleave`, which tries many of the orders in which threads may run, and time passes as the test says.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use unbusy_core::Time;

#[cfg(not(test))]
mod real;

#[cfg(test)]
pub(crate) use interleave::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, Notify, now, sleep_until};
#[cfg(not(test))]
pub(crate) use real::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, Notify, now, sleep_until};

/// A start in the past keeps every moment above `Time::ZERO`.
static START: LazyLock<Instant> =
    LazyLock::new(|| Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now));

/// The tokio instant of an engine time.
pub(crate) fn instant(time: Time) -> tokio::time::Instant {
    (*START + Duration::from_nanos(time.as_nanos())).into()
}
