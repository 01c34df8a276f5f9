//! How much is left.

use std::time::{Duration, Instant};

/// Counts runs, which take about equally long.
pub(super) struct Progress {
    start: Instant,
    done: usize,
    all: usize,
}

impl Progress {
    pub(super) fn of(all: usize) -> Self {
        Self { start: Instant::now(), done: 0, all }
    }

    pub(super) fn step(&mut self) {
        self.done += 1;
    }

    /// "about 3 min left", if that can be told.
    pub(super) fn left(&self) -> String {
        let left = self.all.saturating_sub(self.done);
        match left_of(self.start.elapsed(), self.done, left).as_secs() {
            0 => "nearly done".to_owned(),
            seconds @ 1..100 => format!("about {seconds} s left"),
            seconds => format!("about {} min left", seconds.div_ceil(60)),
        }
    }
}

fn left_of(elapsed: Duration, done: usize, left: usize) -> Duration {
    elapsed.mul_f64(left as f64 / done.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done() {
        assert_eq!(left_of(Duration::from_secs(20), 10, 5), Duration::from_secs(10));
        assert_eq!(left_of(Duration::from_secs(20), 0, 0), Duration::ZERO);
    }
}
