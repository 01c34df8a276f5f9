//! What an onlooker sees of a proxy at one moment.

use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use unbusy_core::{EpisodeReport, Time};

use super::Shared;
use crate::history::{Counts, Culprit, Episode, Loss};
use crate::tally::{Count, Tally};

/// What the gate knows and counted.
#[derive(Debug)]
pub(crate) struct Look {
    /// The episode that goes on, and when it began.
    pub(crate) busy: Option<(EpisodeReport, SystemTime)>,
    pub(crate) culprit: Option<Culprit>,
    /// For how long the server has been silent, if it is.
    pub(crate) stalled: Option<Duration>,
    /// Connections that wait, and their commands.
    pub(crate) held: (usize, u64),
    pub(crate) longest_wait: Duration,
    pub(crate) threshold: Option<Duration>,
    pub(crate) counts: Counts,
    /// Episodes that are over.
    pub(crate) ended: u64,
}

/// What the workers counted.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) from_clients: u64,
    pub(crate) to_clients: u64,
    pub(crate) from_server: u64,
    pub(crate) to_server: u64,
    pub(crate) scripts: u64,
    pub(crate) served: u64,
}

impl Shared {
    /// Takes the time that it takes to go through all that wait; the lock is held meanwhile.
    pub(crate) fn look(&self, now: Time) -> Look {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        let report = inner.gate.episode(now);
        let stalled = inner.gate.stalled(now).map(|since| now - since);
        let lasted = report.map(|report| report.lasted).unwrap_or_default();
        let counts = inner.history.counts(lasted, now);
        let (began, culprit) = inner.history.current();
        let waits = inner.waiters.values().filter(|waiter| waiter.let_go.is_none() || report.is_some());
        Look {
            busy: report.zip(began),
            culprit: culprit.cloned(),
            stalled,
            held: inner.gate.held(),
            longest_wait: waits.map(|waiter| now - waiter.since).max().unwrap_or_default(),
            threshold: inner.gate.threshold(),
            counts,
            ended: inner.history.ended(),
        }
    }

    /// The episodes that are over and behind this number.
    pub(crate) fn episodes_after(&self, number: u64) -> Vec<Episode> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.history.episodes_after(number).cloned().collect()
    }

    /// The last times that commands were given up, the newest first.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.history.losses().rev().cloned().collect()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let sum =
            |count: fn(&Tally) -> &Count| self.tallies.iter().map(|tally| count(tally).get()).sum::<u64>();
        // Those that are over first, so that there are never more of them than were begun.
        let ended = sum(|tally| &tally.ended);
        Traffic {
            from_clients: sum(|tally| &tally.from_clients),
            to_clients: sum(|tally| &tally.to_clients),
            from_server: sum(|tally| &tally.from_server),
            to_server: sum(|tally| &tally.to_server),
            scripts: sum(|tally| &tally.scripts),
            served: sum(|tally| &tally.begun).saturating_sub(ended),
        }
    }
}
