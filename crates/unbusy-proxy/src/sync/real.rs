//! The standard library's and tokio's.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

pub(crate) use tokio::sync::Notify;
use unbusy_core::Time;

pub(crate) fn now() -> Time {
    Time::from_nanos(u64::try_from(super::START.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

pub(crate) async fn sleep_until(time: Time) {
    tokio::time::sleep_until(super::instant(time)).await;
}
