//! Counts that are kept where things happen, for whoever looks at the proxy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one worker counts. It is the only one that writes here, and has the cache line for itself, so that counting costs
/// no more than in an ordinary variable. Those who drive direct connections write here as well, and may overwrite one
/// another's counts, which nobody reads in their processes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    /// Bytes that came from clients, and that went to them.
    pub(crate) from_clients: Count,
    pub(crate) to_clients: Count,
    /// Bytes that came from the server, and that went to it.
    pub(crate) from_server: Count,
    pub(crate) to_server: Count,
    /// Scripts and functions that were sent to the server.
    pub(crate) scripts: Count,
    /// Connections that have one to the server, since the start, and those of them that are over.
    pub(crate) begun: Count,
    pub(crate) ended: Count,
}

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What became of those who wanted to be served. All threads count here, but seldom.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) accepted: AtomicU64,
    /// All seats were taken.
    pub(crate) turned_away: AtomicU64,
    /// There was no connection to the server.
    pub(crate) unreached: AtomicU64,
}
