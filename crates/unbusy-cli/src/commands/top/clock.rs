//! The time of day, which goes on evenly even if somebody sets the clock.

use std::time::{Instant, SystemTime};

use super::picture::Now;

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
    began_at: SystemTime,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), began_at: SystemTime::now() }
    }

    pub(super) fn now(&self) -> Now {
        let began = self.began_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (began + self.began.elapsed()).as_millis() as u64
    }
}
