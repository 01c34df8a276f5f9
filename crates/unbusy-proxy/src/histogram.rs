//! How many of something took how long.

use std::time::Duration;

/// The upper bounds of its buckets.
pub(crate) const BOUNDS: [Duration; 16] = [
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
];

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Histogram {
    /// How many lasted no longer than each bound, but longer than the one before; the last has no bound.
    pub(crate) counts: [u64; BOUNDS.len() + 1],
    pub(crate) sum: Duration,
}

impl Histogram {
    pub(crate) fn add(&mut self, took: Duration) {
        self.counts[BOUNDS.partition_point(|bound| *bound < took)] += 1;
        self.sum += took;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exceed_a_bound_is_counted_below_it() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 120_000, 120_001] {
            histogram.add(Duration::from_millis(millis));
        }
        let mut counts = [0; BOUNDS.len() + 1];
        (counts[0], counts[1], counts[15], counts[16]) = (2, 1, 1, 1);
        assert_eq!((histogram.counts, histogram.sum), (counts, Duration::from_millis(240_004)));
    }
}
