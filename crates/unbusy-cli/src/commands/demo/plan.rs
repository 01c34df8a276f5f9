//! How long what takes.

use std::time::Duration;

use super::board::Group;

pub(super) const CLIENTS_PER_GROUP: usize = 17;
pub(super) const CLIENTS: usize = CLIENTS_PER_GROUP * Group::ALL.len();

/// Work before the first script.
pub(super) const CALM: Duration = Duration::from_secs(1);
/// Work after each script; long enough for the home remedy's sleepers.
pub(super) const RECOVERY: Duration = Duration::from_millis(2500);

/// How long each script keeps the server BUSY. Not multiples of the 2 s that the home remedy sleeps: it adds 1.4 s to
/// the first and 0.6 s to the second, and 1 s on average to scripts of any length.
const BUSY_FOR: [Duration; 2] = [Duration::from_millis(2600), Duration::from_millis(3400)];

#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The server answers BUSY when a script has run for so long.
    pub(super) threshold: Duration,
    /// How long each script runs.
    pub(super) scripts: Vec<Duration>,
}

impl Plan {
    /// For a server of the demo's own.
    pub(super) fn own(threshold: Duration) -> Self {
        Self { threshold, scripts: BUSY_FOR.map(|busy| threshold + busy).to_vec() }
    }

    /// For a user's server, which is blocked only once.
    pub(super) fn users(threshold: Duration) -> Self {
        Self { threshold, scripts: vec![threshold + BUSY_FOR[0]] }
    }

    pub(super) fn total(&self) -> Duration {
        CALM + self.scripts.iter().map(|&script| script + RECOVERY).sum::<Duration>()
    }
}
