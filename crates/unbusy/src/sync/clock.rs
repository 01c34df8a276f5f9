//! The process's clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use unbusy_core::Time;

/// A start in the past keeps every moment above `Time::ZERO`.
static START: LazyLock<Instant> =
    LazyLock::new(|| Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now));

pub(crate) fn now() -> Time {
    Time::from_nanos(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
