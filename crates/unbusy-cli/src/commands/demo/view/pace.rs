//! How fast each group works, from what it has done so far.

use std::time::{Duration, Instant};

use crate::commands::demo::board::{Board, Count, Group};

/// One group since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    pub(super) count: Count,
    /// Commands executed a second.
    pub(super) per_second: u64,
}

/// Looks at the board from time to time.
#[derive(Debug)]
pub(super) struct Watch {
    at: Instant,
    seen: [Pace; Group::ALL.len()],
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { at: Instant::now(), seen: Default::default() }
    }

    /// The pace of each group since the last look.
    pub(super) fn look(&mut self, board: &Board) -> [(Group, Pace); Group::ALL.len()] {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at).max(Duration::from_millis(1));
        self.at = now;
        Group::ALL.map(|group| {
            let pace = &mut self.seen[group as usize];
            let count = board.tally(group).count();
            let executed = (count.accepted - pace.count.accepted) as f64;
            *pace = Pace { count, per_second: (executed / passed.as_secs_f64()) as u64 };
            (group, *pace)
        })
    }
}
