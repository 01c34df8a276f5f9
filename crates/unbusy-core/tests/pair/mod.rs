//! A world of its own for the engine: virtual time, a model of the server, a network that cuts and delays, and
//! connections that drive sessions and the gate as the proxy does. Everything follows from a seed.
#![allow(dead_code, reason = "each test binary uses its share")]

pub(crate) mod oracle;
pub(crate) mod server;
#[path = "../text/mod.rs"]
pub(crate) mod text;
pub(crate) mod world;

use std::time::Duration;

pub(crate) use text::*;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// `SplitMix64`: small, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) const fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(crate) const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn span(&mut self, (least, most): (Duration, Duration)) -> Duration {
        let range = (most.saturating_sub(least)).as_nanos() as u64 + 1;
        least + Duration::from_nanos(self.below(range))
    }
}
