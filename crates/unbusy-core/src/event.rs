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
    /// The first command accepted after BUSY.
    EpisodeEnded {
        /// What the server was busy with.
        cause: Cause,
        /// From the first BUSY to the first accepted command.
        lasted: Duration,
        /// Connections that were waiting at the end.
        connections: usize,
        /// Commands that were held on them.
        commands: u64,
        /// Commands whose budget ended meanwhile.
        given_up: u64,
        /// Commands that the server rejected meanwhile, probes included.
        rejected: u64,
    },
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
