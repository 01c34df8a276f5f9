//! What the engine reports: one type for logs, metrics and tests.

use std::time::Duration;

use crate::Cause;

/// Something worth telling an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server is silent: a scout is overdue.
    StallBegan,
    /// The server answers again, be it with BUSY.
    StallEnded {
        /// How long it was known to be silent.
        lasted: Duration,
    },
    /// The first BUSY of an episode.
    EpisodeBegan {
        /// What the server is busy with.
        cause: Cause,
    },
    /// The first command was accepted after BUSY.
    EpisodeEnded(EpisodeReport),
    /// The shell ends while the server is busy.
    EpisodeLeft(EpisodeReport),
    /// BUSY came sooner than the assumed threshold allows.
    ThresholdLearned {
        /// The threshold assumed from now on.
        threshold: Duration,
    },
    /// A command was executed behind a rejected one: the rejected ones were given up.
    Hole,
    /// A transaction was too large to be kept, so its rejection went to the client.
    TooLarge,
    /// A script answered BUSY and the server was open right after: it may have run, so it was not sent again.
    Ambiguous,
}

/// What an episode was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpisodeReport {
    /// What the server was busy with.
    pub cause: Cause,
    /// From the first BUSY to the first accepted command. If nobody was waiting any more when the server became open, it
    /// counts to the last moment at which it was known to be busy.
    pub lasted: Duration,
    /// Connections that waited at any time of the episode; one that came back counts again.
    pub connections: usize,
    /// Commands that waited on them.
    pub commands: u64,
    /// Commands whose budget ended meanwhile.
    pub given_up: u64,
    /// Commands that the server rejected meanwhile, probes included.
    pub rejected: u64,
}
