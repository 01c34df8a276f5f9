//! How long after a script's end the commands were answered that waited for it.

use std::time::Duration;

use super::client::Accepted;
use super::script::Block;

/// The added waits of a group, in order of length.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Vec<Duration>);

impl Waits {
    /// The waits of the commands that were sent before a script ended, and were executed only then.
    ///
    /// What was sent before a script began was answered long before the threshold.
    pub(super) fn new<'a>(
        accepted: impl IntoIterator<Item = &'a Accepted>,
        blocks: &[Block],
        threshold: Duration,
    ) -> Self {
        let wait = |command: &Accepted| {
            let waited =
                |block: &&Block| command.sent < block.ended && command.answered > block.began + threshold;
            // The last one that it waited for.
            let block = blocks.iter().rev().find(waited)?;
            Some(command.answered.saturating_duration_since(block.ended))
        };
        let mut waits: Vec<_> = accepted.into_iter().filter_map(wait).collect();
        waits.sort_unstable();
        Self(waits)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The wait that so many percent do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn only_commands_that_waited_count() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let blocks = [Block { began: at(1000), ended: at(3000) }, Block { began: at(5000), ended: at(7000) }];
        let command = |sent, answered| Accepted { number: 1, sent: at(sent), answered: at(answered) };
        let waits = |commands: &[Accepted]| Waits::new(commands, &blocks, Duration::from_millis(200)).0;
        assert!(waits(&[command(0, 1), command(999, 1001), command(3001, 3002)]).is_empty());
        assert_eq!(waits(&[command(1100, 3004)]), [Duration::from_millis(4)]);
        // The script's client heard of its end after this one did.
        assert_eq!(waits(&[command(1100, 2999)]), [Duration::ZERO]);
        assert_eq!(waits(&[command(2000, 7005)]), [Duration::from_millis(5)]);
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let waits = Waits((1..=200).map(Duration::from_millis).collect());
        assert_eq!(waits.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(waits.percentile(99), Some(Duration::from_millis(198)));
        assert_eq!(waits.percentile(100), Some(Duration::from_millis(200)));
        assert_eq!(Waits::default().percentile(50), None);
    }
}
