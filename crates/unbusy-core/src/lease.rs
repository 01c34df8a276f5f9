//! The lease: for how long after a proof more than one command may be in flight.
//!
//! If a command sent at time `s` was executed, no script was running at some moment after `s`, so the server cannot
//! begin to answer BUSY before `s + threshold`. Counting from the *sending* matters: a reply can lie in the
//! server's output buffer for a whole stall and arrive when BUSY has already begun.
//!
//! What a proof tells of *another* command is a different question. That one may have overtaken the proof's command on its
//! way to the server, and have been rejected before that was executed. Only if it was sent after the proof was *heard* has
//! the server been open in between.

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
    /// When that proof was heard.
    heard: Time,
    /// Since when the server cannot have been busy: each proof since then was heard before BUSY can have begun after the
    /// one before. `None`: it was busy after the latest proof.
    open_since: Option<Time>,
    until: Time,
}

impl Lease {
    /// No proof yet.
    pub const fn new(threshold: Option<Duration>) -> Self {
        Self {
            threshold,
            round_trip: Duration::ZERO,
            proved: Time::ZERO,
            heard: Time::ZERO,
            open_since: None,
            until: Time::ZERO,
        }
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
    pub fn set_threshold(&mut self, threshold: Option<Duration>) {
        if threshold != self.threshold {
            self.threshold = threshold;
            self.open_since = None;
            self.until = self.until.min(self.proved + self.width());
        }
    }

    /// The assumed threshold; `None`: the server never answers BUSY.
    pub const fn threshold(&self) -> Option<Duration> {
        self.threshold
    }

    /// When the command of the latest proof was sent.
    pub const fn proved(&self) -> Time {
        self.proved
    }

    /// A command sent at `sent` was executed, as is heard now.
    pub fn prove(&mut self, sent: Time, now: Time) {
        let open_since = self.open_since.filter(|_| self.cannot_have_begun(now));
        self.open_since = Some(open_since.unwrap_or(now));
        if sent > self.proved {
            self.proved = sent;
            self.heard = now;
        }
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

    /// Whether BUSY cannot have begun since the latest proof.
    fn cannot_have_begun(&self, now: Time) -> bool {
        self.threshold.is_none_or(|threshold| now < self.proved + threshold)
    }

    /// Whether the server cannot have been busy at any moment from `sent` to `now`.
    pub fn rules_out_busy(&self, sent: Time, now: Time) -> bool {
        self.open_since.is_some_and(|since| sent >= since) && self.cannot_have_begun(now)
    }

    /// Whether the rejection of a command sent at `sent` is older than the latest proof. BUSY cannot have begun
    /// since that proof's command was sent, so the reply was only late.
    pub fn outdates(&self, sent: Time, now: Time) -> bool {
        sent <= self.proved && self.cannot_have_begun(now)
    }

    /// The server answered BUSY: no lease.
    pub const fn revoke(&mut self) {
        self.until = Time::ZERO;
        self.open_since = None;
    }

    /// A command sent at `sent` was rejected. If that is sooner after the latest proof than the threshold allows, the
    /// threshold is smaller; `Some` tells the new one. What was sent before the proof was heard tells nothing: it may have
    /// been rejected before.
    pub fn learn(&mut self, sent: Time, now: Time) -> Option<Duration> {
        if self.proved == Time::ZERO || sent < self.heard {
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
        lease.prove(at(1_000), at(1_010));
        assert_eq!(lease.until(), at(1_050));
        lease.prove(at(900), at(1_020));
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
        assert_eq!(lease.learn(at(400), at(500)), None, "without a proof nothing is learned");
        lease.prove(at(1_000), at(1_010));
        assert_eq!(lease.learn(at(1_020), at(1_120)), Some(120 * MS));
        lease.prove(at(2_000), at(2_010));
        assert_eq!(lease.learn(at(2_020), at(2_121)), None);
    }

    #[test]
    fn a_command_that_overtook_the_proofs_teaches_nothing() {
        let mut lease = Lease::new(Some(100 * MS));
        lease.prove(at(1_000), at(1_010));
        assert_eq!(
            lease.learn(at(1_009), at(1_020)),
            None,
            "rejected before the proof's command came, perhaps"
        );
        assert!(!lease.rules_out_busy(at(1_009), at(1_020)));
        assert!(lease.rules_out_busy(at(1_010), at(1_020)));
    }

    #[test]
    fn proofs_in_a_row_rule_out_busy_since_the_first() {
        let mut lease = Lease::new(Some(100 * MS));
        lease.prove(at(1_000), at(1_010));
        lease.prove(at(1_080), at(1_099));
        assert!(lease.rules_out_busy(at(1_010), at(1_179)), "there was no gap");
        assert!(!lease.rules_out_busy(at(1_010), at(1_180)), "BUSY may have begun");
        lease.prove(at(1_170), at(1_180));
        assert!(!lease.rules_out_busy(at(1_179), at(1_190)), "BUSY may have been in between");
        assert!(lease.rules_out_busy(at(1_180), at(1_190)));
        lease.revoke();
        assert!(!lease.rules_out_busy(at(1_180), at(1_190)));
    }

    #[test]
    fn a_late_rejection_takes_no_lease_away() {
        let mut lease = Lease::new(Some(100 * MS));
        lease.prove(at(1_000), at(1_010));
        assert!(lease.outdates(at(990), at(1_050)));
        assert!(!lease.outdates(at(1_001), at(1_050)), "sent behind the proof: this one is news");
        assert!(!lease.outdates(at(990), at(1_100)), "BUSY may have begun again");
    }
}
