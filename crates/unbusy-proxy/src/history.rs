//! What has happened: counts of events and waits, and the last episodes. The gate's events arrive here in their order.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use unbusy_core::session::GivenUp;
use unbusy_core::{Cause, EpisodeReport, Event, Time};

use crate::histogram::Histogram;
use crate::kill::{OUTCOMES, Outcome};
use crate::running::Client;

/// So many episodes are remembered; each takes some 400 bytes.
const EPISODES_KEPT: usize = 10_000;

/// So many times that commands were given up.
const LOSSES_KEPT: usize = 100;

/// All that was counted so far. Of what still goes on it knows nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Episodes that began, in the order of [`CAUSES`].
    pub(crate) episodes: [u64; CAUSES.len()],
    /// Of the episodes that are over.
    pub(crate) busy: Duration,
    pub(crate) stalls: u64,
    /// Of the stalls that are over.
    pub(crate) stalled: Duration,
    pub(crate) rejected: u64,
    /// Times that somebody was let go to see whether the server is still busy.
    pub(crate) tries: u64,
    pub(crate) given_up: u64,
    pub(crate) holes: u64,
    pub(crate) too_large: u64,
    pub(crate) ambiguous: u64,
    /// In the order of [`OUTCOMES`].
    pub(crate) kills: [u64; OUTCOMES.len()],
    /// In the order of [`WAIT_REASONS`].
    pub(crate) waits: [Histogram; WAIT_REASONS.len()],
}

pub(crate) const CAUSES: [Cause; 4] = [Cause::Script, Cause::Function, Cause::Module, Cause::Loading];

/// What a connection waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitReason {
    /// The server was busy meanwhile.
    Busy,
    /// It was silent meanwhile.
    Stall,
    /// Nobody knew whether it is open.
    Proof,
}

pub(crate) const WAIT_REASONS: [(WaitReason, &str); 3] =
    [(WaitReason::Busy, "busy"), (WaitReason::Stall, "stall"), (WaitReason::Proof, "proof")];

/// An episode that is over.
#[derive(Debug, Clone)]
pub(crate) struct Episode {
    /// Counts from 1.
    pub(crate) number: u64,
    pub(crate) began: SystemTime,
    pub(crate) culprit: Option<Culprit>,
    pub(crate) report: EpisodeReport,
}

/// Commands of a connection that were given up together.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) at: SystemTime,
    /// The name of the first.
    pub(crate) command: String,
    pub(crate) commands: u64,
    pub(crate) client: Client,
    /// How long the first waited, if it did itself.
    pub(crate) waited: Option<Duration>,
}

/// What made the server busy, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Culprit {
    pub(crate) script: String,
    /// How many it was given.
    pub(crate) keys: Option<u64>,
    /// Keys and arguments, if they are to be told.
    pub(crate) arguments: Option<String>,
    /// The client's address.
    pub(crate) client: String,
    /// What the client calls itself, and as whom it has logged in.
    pub(crate) name: Option<String>,
    pub(crate) user: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    counts: Counts,
    episodes: VecDeque<Episode>,
    losses: VecDeque<Loss>,
    ended: u64,
    /// Of the episode that goes on, if one does.
    began: Option<SystemTime>,
    culprit: Option<Culprit>,
    /// Since when the stall that goes on is known.
    silent: Option<Time>,
    /// When the last stall ended.
    spoke: Option<Time>,
    /// What was told of the time in which the server was busy, which must never become less.
    busy_told: Duration,
}

impl History {
    pub(crate) fn note(&mut self, event: &Event, now: Time) {
        match event {
            Event::EpisodeBegan { cause } => {
                self.counts.episodes[*cause as usize] += 1;
                self.began = Some(SystemTime::now());
                self.culprit = None;
            }
            Event::EpisodeEnded(report) | Event::EpisodeLeft(report) => self.end_episode(*report),
            Event::StallBegan => {
                self.counts.stalls += 1;
                self.silent = Some(now);
            }
            Event::StallEnded { lasted } => {
                self.counts.stalled += *lasted;
                self.silent = None;
                self.spoke = Some(now);
            }
            Event::Hole => self.counts.holes += 1,
            Event::TooLarge => self.counts.too_large += 1,
            Event::Ambiguous => self.counts.ambiguous += 1,
            _ => {}
        }
    }

    fn end_episode(&mut self, report: EpisodeReport) {
        self.counts.busy += report.lasted;
        self.ended += 1;
        if self.episodes.len() == EPISODES_KEPT {
            self.episodes.pop_front();
        }
        self.episodes.push_back(Episode {
            number: self.ended,
            began: self.began.take().unwrap_or_else(SystemTime::now),
            culprit: self.culprit.take(),
            report,
        });
    }

    /// It is known a little later than that the episode began, and may be known only when that is over.
    pub(crate) fn blame(&mut self, culprit: Culprit) {
        match (&self.began, self.episodes.back_mut()) {
            (None, Some(last)) => last.culprit = Some(culprit),
            _ => self.culprit = Some(culprit),
        }
    }

    pub(crate) const fn rejected(&mut self, commands: u64) {
        self.counts.rejected += commands;
    }

    pub(crate) const fn tried(&mut self, tries: usize) {
        self.counts.tries += tries as u64;
    }

    pub(crate) const fn killed(&mut self, outcome: Outcome) {
        self.counts.kills[outcome as usize] += 1;
    }

    pub(crate) fn gave_up(&mut self, commands: u64, first: Option<GivenUp>, client: Client, now: Time) {
        self.counts.given_up += commands;
        let Some(GivenUp { command, since }) = first else { return };
        if self.losses.len() == LOSSES_KEPT {
            self.losses.pop_front();
        }
        let waited = since.map(|since| now - since);
        self.losses.push_back(Loss { at: SystemTime::now(), command, commands, client, waited });
    }

    /// The last times that commands were given up, the oldest first.
    pub(crate) fn losses(&self) -> impl DoubleEndedIterator<Item = &Loss> {
        self.losses.iter()
    }

    pub(crate) fn waited(&mut self, reason: WaitReason, wait: Duration) {
        self.counts.waits[reason as usize].add(wait);
    }

    /// When the last stall ended.
    pub(crate) const fn spoke(&self) -> Option<Time> {
        self.spoke
    }

    /// All counts; for so long an episode goes on already.
    pub(crate) fn counts(&mut self, busy: Duration, now: Time) -> Counts {
        let mut counts = self.counts.clone();
        self.busy_told = self.busy_told.max(counts.busy + busy);
        counts.busy = self.busy_told;
        counts.stalled += self.silent.map_or(Duration::ZERO, |since| now - since.min(now));
        counts
    }

    /// When the episode began that goes on, and whose fault it is.
    pub(crate) const fn current(&self) -> (Option<SystemTime>, Option<&Culprit>) {
        (self.began, self.culprit.as_ref())
    }

    /// How many episodes are over.
    pub(crate) const fn ended(&self) -> u64 {
        self.ended
    }

    /// The episodes behind this number, as far as they are remembered.
    pub(crate) fn episodes_after(&self, number: u64) -> impl Iterator<Item = &Episode> {
        let new = usize::try_from(self.ended.saturating_sub(number)).unwrap_or(usize::MAX);
        self.episodes.range(self.episodes.len().saturating_sub(new)..)
    }
}

#[cfg(test)]
mod tests {
    use unbusy_core::Gate;
    use unbusy_core::gate::Ask;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// The report on an episode of this length.
    fn report(millis: u64) -> EpisodeReport {
        let mut gate = Gate::new(None);
        gate.rejected(None, Some(Ask::default()), Cause::Function, at(1), at(1));
        gate.episode(at(1 + millis)).expect("an episode")
    }

    fn culprit(name: &str) -> Culprit {
        Culprit { script: name.to_owned(), ..Culprit::default() }
    }

    fn begin(history: &mut History) {
        history.note(&Event::EpisodeBegan { cause: Cause::Function }, at(1));
    }

    fn end(history: &mut History) {
        history.note(&Event::EpisodeEnded(report(10)), at(11));
    }

    #[test]
    fn the_last_episodes_are_remembered_by_their_numbers() {
        let mut history = History::default();
        let episodes = EPISODES_KEPT as u64 + 5;
        for _ in 0..episodes {
            begin(&mut history);
            end(&mut history);
        }
        let numbers = |after| history.episodes_after(after).map(|episode| episode.number).collect::<Vec<_>>();
        assert!(numbers(episodes).is_empty());
        assert_eq!(numbers(episodes - 2), [episodes - 1, episodes]);
        assert_eq!(numbers(0), (6..=episodes).collect::<Vec<_>>());
        assert_eq!(history.counts(Duration::ZERO, at(1)).episodes, [0, episodes, 0, 0]);
    }

    #[test]
    fn a_culprit_is_that_of_its_own_episode() {
        let mut history = History::default();
        begin(&mut history);
        history.blame(culprit("first"));
        end(&mut history);
        begin(&mut history);
        assert_eq!(history.current().1, None);
        end(&mut history);
        history.blame(culprit("known too late"));
        begin(&mut history);
        end(&mut history);
        let culprits: Vec<_> = history.episodes_after(0).map(|episode| episode.culprit.clone()).collect();
        assert_eq!(culprits, [Some(culprit("first")), Some(culprit("known too late")), None]);
    }

    /// An episode that nobody waited for to the end counts less in the end than while it went on.
    #[test]
    fn the_time_told_never_becomes_less() {
        let mut history = History::default();
        let mut busy = |millis| history.counts(Duration::from_millis(millis), at(0)).busy;
        assert_eq!([busy(30), busy(20), busy(40)], [30, 30, 40].map(Duration::from_millis));
        let mut history = History::default();
        history.note(&Event::StallBegan, at(5));
        assert_eq!(history.counts(Duration::ZERO, at(8)).stalled, Duration::from_millis(3));
        history.note(&Event::StallEnded { lasted: Duration::from_millis(7) }, at(10));
        assert_eq!(history.counts(Duration::ZERO, at(20)).stalled, Duration::from_millis(7));
    }
}
