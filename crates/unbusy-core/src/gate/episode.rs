//! An episode, from the first BUSY to the first accepted command: when to try again, and what is told of it at its end.

use std::time::Duration;

use crate::{Cause, EpisodeReport, Time};

#[derive(Debug)]
pub(super) struct Episode {
    pub(super) cause: Cause,
    pub(super) since: Time,
    pub(super) next_try: Time,
    pub(super) last_try: Time,
    /// The reply of a script said that now is the moment.
    pub(super) hinted: bool,
    /// Doubles with every leader that stays unanswered.
    pub(super) patience: Duration,
    /// The last moment at which the server is known to have been busy.
    pub(super) last_busy: Time,
    /// Nobody waits any more who could find out that the server is open.
    pub(super) deserted: bool,
    pub(super) rejected: u64,
    pub(super) given_up: u64,
    /// Those that waited and do not any more, and their commands.
    gone: usize,
    gone_commands: u64,
}

impl Episode {
    pub(super) const fn new(cause: Cause, patience: Duration, now: Time) -> Self {
        Self {
            cause,
            since: now,
            next_try: now,
            last_try: now,
            hinted: false,
            patience,
            last_busy: now,
            deserted: false,
            rejected: 0,
            given_up: 0,
            gone: 0,
            gone_commands: 0,
        }
    }

    /// Somebody with so many commands does not wait any more. Who came when all others had gone may never have had to
    /// wait.
    pub(super) fn count(&mut self, commands: u32) {
        if !self.deserted {
            self.gone += 1;
            self.gone_commands += u64::from(commands);
        }
    }

    /// What it was like, if it ends now; `present` are the commands of each of those that still wait.
    pub(super) fn report(&self, present: impl Iterator<Item = u32>, now: Time) -> EpisodeReport {
        let (until, present) =
            if self.deserted { (self.last_busy, Vec::new()) } else { (now, present.collect()) };
        EpisodeReport {
            cause: self.cause,
            lasted: until - self.since,
            connections: self.gone + present.len(),
            commands: self.gone_commands + present.into_iter().map(u64::from).sum::<u64>(),
            given_up: self.given_up,
            rejected: self.rejected,
        }
    }
}
