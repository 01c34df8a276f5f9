//! The lease: for how long after a proof more than one command may be in flight.
//!
//! If a command sent at time `s` was executed, no script was running at some moment after `s`, so the server cannot
//! begin to answer BUSY before `s + threshold`. Counting from the *sending* matters: a reply can lie in the
//! server's output buffer for a whole stall and arrive when BUSY has already begun.

use std::time::Duration;

use crate::Time;

/// A lease is at least this long where the threshold allows it, so that a busy line never pauses.
const WIDTH_MIN: Duration = Duration::from_millis(50);
/// What is assumed of a server that does not tell its threshold (redis.conf, `busy-reply-threshold`).
pub const DEFAULT_THRESHOLD: Duration = Duration::from_secs(5);
/// Below this a learned threshold is noise of the clock.
const THRESHOLD_MIN: Duration = Duration::from_millis(1);

/// What is known of the server's openness.
#[derive(Debug, Clone)]
pub struct Lease {
    /// How long a script runs before the server answers BUSY; `None`: it never does.
    threshold: Option<Duration>,
    /// Smoothed time from sending to answer.
    round_trip: Duration,
    /// When the command of the latest proof was sent.
    proved: Time,
    until: Time,
}

impl Lease {
    /// No proof yet.
    pub const fn new(threshold: Option<Duration>) -> Self {
        Self { threshold, round_trip: Duration::ZERO, proved: Time::ZERO, until: Time::ZERO }
    }

    /// How long a lease runs from the sending of its proof: `min(threshold / 4, max(50 ms, 4 × round trip))`.
    pub fn width(&self) -> Duration {
        let wanted = WIDTH_MIN.max(self.round_trip * 4);
        self.threshold.map_or(wanted, |threshold| wanted.min(threshold / 4))
    }

    /// When the lease is over.
    pub const fn until(&self) -> Time {
        self.until
    }

    /// Smoothed time from sending to answer.
    pub const fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// The server's threshold became known.
    pub const fn set_threshold(&mut self, threshold: Option<Duration>) {
        self.threshold = threshold;
    }

    /// The assumed threshold; `None`: the server never answers BUSY.
    pub const fn threshold(&self) -> Option<Duration> {
        self.threshold
    }

    /// A command sent at `sent` was executed.
    pub fn prove(&mut self, sent: Time) {
        self.proved = self.proved.max(sent);
        self.until = self.until.max(sent + self.width());
    }

    /// An answer took so long. One that had to wait for a script says little about the line, so a single long one
    /// counts as no more than twice the usual; but that the line is short, a single answer proves.
    pub fn measure(&mut self, took: Duration) {
        let usual = self.round_trip;
        self.round_trip = if usual.is_zero() || Self::is_far_shorter(took, usual) {
            took
        } else {
            (usual * 7 + took.min(usual * 2)) / 8
        };
    }

    /// A busy server rejected a command after so long: the line is no longer than that.
    pub fn measure_rejection(&mut self, took: Duration) {
        if Self::is_far_shorter(took, self.round_trip) {
            self.round_trip = took;
        }
    }

    fn is_far_shorter(took: Duration, usual: Duration) -> bool {
        took < usual / 4
    }

    /// Whether the server cannot have been busy at any moment from `sent` to `now`.
    pub fn rules_out_busy(&self, sent: Time, now: Time) -> bool {
        let proved = self.proved != Time::ZERO && sent >= self.proved;
        proved && self.threshold.is_none_or(|threshold| now < self.proved + threshold)
    }

    /// Whether the rejection of a command sent at `sent` is older than the latest proof. BUSY cannot have begun
    /// since that proof's command was sent, so the reply was only late.
    pub fn outdates(&self, sent: Time, now: Time) -> bool {
        sent <= self.proved && self.threshold.is_none_or(|threshold| now < self.proved + threshold)
    }

    /// The server answered BUSY: no lease. One that comes sooner after a proof than the threshold allows shows that
    /// the threshold is smaller; `Some` tells the new one.
    pub fn revoke(&mut self, now: Time) -> Option<Duration> {
        self.until = Time::ZERO;
        if self.proved == Time::ZERO {
            return None;
        }
        let limit = (now - self.proved).max(THRESHOLD_MIN);
        if self.threshold.is_some_and(|threshold| threshold <= limit) {
            return None;
        }
        self.threshold = Some(limit);
        Some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_lease_counts_from_the_sending() {
        let mut lease = Lease::new(Some(200 * MS));
        lease.prove(at(1_000));
        assert_eq!(lease.until(), at(1_050));
        lease.prove(at(900));
        assert_eq!(lease.until(), at(1_050), "an older proof takes nothing away");
    }

    #[test]
    fn width_follows_threshold_and_line() {
        let mut lease = Lease::new(Some(DEFAULT_THRESHOLD));
        assert_eq!(lease.width(), 50 * MS);
        lease.measure(100 * MS);
        assert_eq!(lease.width(), 400 * MS);
        lease.set_threshold(Some(20 * MS));
        assert_eq!(lease.width(), 5 * MS);
        lease.set_threshold(None);
        assert_eq!(lease.width(), 400 * MS);
    }

    #[test]
    fn a_stall_hardly_counts_as_a_long_line() {
        let mut lease = Lease::new(None);
        lease.measure(MS);
        lease.measure(1_000 * MS);
        assert!(lease.round_trip() < 2 * MS);
        (0..100).for_each(|_| lease.measure(40 * MS));
        assert!(lease.round_trip() > 35 * MS, "but a line that has become long is believed");
    }

    #[test]
    fn a_stall_at_the_start_is_corrected_by_the_next_answer() {
        let stalled = || {
            let mut lease = Lease::new(None);
            lease.measure(900 * MS);
            lease
        };
        let (mut answered, mut rejected) = (stalled(), stalled());
        answered.measure(MS);
        rejected.measure_rejection(2 * MS);
        assert_eq!((answered.round_trip(), rejected.round_trip()), (MS, 2 * MS));
        rejected.measure_rejection(MS);
        assert_eq!(
            rejected.round_trip(),
            2 * MS,
            "a rejection may have waited, so it is no sample of its own"
        );
    }

    #[test]
    fn an_early_busy_teaches_a_smaller_threshold() {
        let mut lease = Lease::new(Some(DEFAULT_THRESHOLD));
        assert_eq!(lease.revoke(at(500)), None, "without a proof nothing is learned");
        lease.prove(at(1_000));
        assert_eq!(lease.revoke(at(1_120)), Some(120 * MS));
        assert_eq!(lease.until(), Time::ZERO);
        lease.prove(at(2_000));
        assert_eq!(lease.revoke(at(2_121)), None);
    }

    #[test]
    fn a_late_rejection_takes_no_lease_away() {
        let mut lease = Lease::new(Some(100 * MS));
        lease.prove(at(1_000));
        assert!(lease.outdates(at(990), at(1_050)));
        assert!(!lease.outdates(at(1_001), at(1_050)), "sent behind the proof: this one is news");
        assert!(!lease.outdates(at(990), at(1_100)), "BUSY may have begun again");
    }
}
