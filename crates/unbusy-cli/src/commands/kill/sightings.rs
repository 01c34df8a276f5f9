//! What is certain of a running script by having looked at the server.
//!
//! A script makes the server answer BUSY when it has run for the threshold, and only one runs at a time. So whatever is
//! busy has run for the threshold; and of two looks that are less than the threshold apart, both answered BUSY, the second
//! has seen the same script as the first, since another one would have begun too late to be BUSY by then.

use std::time::{Duration, Instant};

use unbusy_core::Cause;

/// A threshold that is not known is at least this: it is 5 s unless somebody changed it, and hardly anybody wants BUSY for
/// scripts this short.
const LEAST_THRESHOLD: Duration = Duration::from_millis(100);

/// The looks at one and the same script.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    threshold: Option<Duration>,
    run: Option<Run>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    cause: Cause,
    first_answered: Instant,
    last_asked: Instant,
}

impl Sightings {
    pub(super) fn know_threshold(&mut self, threshold: Option<Duration>) {
        self.threshold = threshold.or(self.threshold);
    }

    pub(super) const fn threshold(&self) -> Option<Duration> {
        self.threshold
    }

    /// The server answered BUSY.
    pub(super) fn busy(&mut self, cause: Cause, asked: Instant, answered: Instant) {
        let same =
            self.run.filter(|run| run.cause == cause && answered - run.last_asked < self.least_threshold());
        let first_answered = same.map_or(answered, |run| run.first_answered);
        self.run = Some(Run { cause, first_answered, last_asked: asked });
    }

    /// The server answered something else, or nothing.
    pub(super) const fn not_busy(&mut self) {
        self.run = None;
    }

    /// How long the script had run at least when it was seen last.
    pub(super) fn age(&self) -> Duration {
        let seen = self.run.map(|run| run.last_asked.saturating_duration_since(run.first_answered));
        self.threshold.unwrap_or_default() + seen.unwrap_or_default()
    }

    fn least_threshold(&self) -> Duration {
        self.threshold.unwrap_or(LEAST_THRESHOLD)
    }

    /// When to look again, to see whether it is the same one.
    pub(super) fn pace(&self) -> Duration {
        const USUAL: Duration = Duration::from_millis(50);
        const LEAST: Duration = Duration::from_millis(5);
        (self.least_threshold() / 4).clamp(LEAST, USUAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_millis(100);

    fn sightings(threshold: Option<Duration>, looks: &[(u64, u64)]) -> Sightings {
        let start = Instant::now();
        let mut sightings = Sightings { threshold, run: None };
        for (asked, answered) in looks {
            let at = |millis| start + Duration::from_millis(millis);
            sightings.busy(Cause::Script, at(*asked), at(*answered));
        }
        sightings
    }

    #[test]
    fn looks_that_are_close_see_the_same_script() {
        assert_eq!(sightings(Some(THRESHOLD), &[(0, 1)]).age(), THRESHOLD);
        // Counted from the first answer to the last question: certain for any moments in between.
        let age = sightings(Some(THRESHOLD), &[(0, 1), (50, 51), (100, 101)]).age();
        assert_eq!(age, THRESHOLD + Duration::from_millis(99));
    }

    #[test]
    fn a_gap_of_the_threshold_may_hide_the_change_to_another() {
        assert_eq!(sightings(Some(THRESHOLD), &[(0, 1), (50, 100)]).age(), THRESHOLD);
        assert_eq!(
            sightings(Some(THRESHOLD), &[(0, 1), (50, 99)]).age(),
            THRESHOLD + Duration::from_millis(49)
        );
    }

    #[test]
    fn a_threshold_that_is_not_known_does_not_count() {
        assert_eq!(sightings(None, &[(0, 1)]).age(), Duration::ZERO);
        assert_eq!(sightings(None, &[(0, 1), (50, 51)]).age(), Duration::from_millis(49));
        assert_eq!(sightings(None, &[(0, 1), (50, 100)]).age(), Duration::ZERO);
    }

    #[test]
    fn another_kind_or_an_open_server_is_another_script() {
        let mut changed = sightings(Some(THRESHOLD), &[(0, 1), (50, 51)]);
        let now = Instant::now() + Duration::from_millis(60);
        changed.busy(Cause::Function, now, now);
        assert_eq!(changed.age(), THRESHOLD);
        changed.not_busy();
        changed.busy(Cause::Function, now, now);
        assert_eq!(changed.age(), THRESHOLD);
    }
}
