//! What is known while the demo runs: written by the clients and the script, read by the view.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a client is connected, and what it does about BUSY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// To the server; BUSY is an error.
    Direct,
    /// To the server; after BUSY it sleeps and tries again.
    Remedy,
    /// Through unbusy.
    Unbusy,
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::Remedy, Self::Unbusy];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Remedy => "home remedy",
            Self::Unbusy => "unbusy",
        }
    }
}

/// The counts of one group.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: AtomicU64,
    errors: AtomicU64,
    rejected: AtomicU64,
    waiting: AtomicU64,
    strange: Mutex<Option<String>>,
}

/// A client that waits for a reply; it does so no more when this goes.
pub(super) struct Waiting<'a>(&'a Tally);

impl Tally {
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// The server answered BUSY, seen by the client itself.
    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// A command failed for good because of BUSY.
    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// A command failed for another reason than BUSY.
    pub(super) fn failed_strangely(&self, reason: String) {
        self.failed();
        lock(&self.strange).get_or_insert(reason);
    }

    /// The first error that was not BUSY.
    pub(super) fn strange(&self) -> Option<String> {
        lock(&self.strange).clone()
    }

    pub(super) fn count(&self) -> Count {
        Count {
            accepted: self.accepted.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The counts of one group at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) accepted: u64,
    pub(super) errors: u64,
    pub(super) rejected: u64,
    /// Clients that wait for a reply, or for the next try.
    pub(super) waiting: u64,
}

/// What the script does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ScriptState {
    #[default]
    NotYet,
    Running {
        since: Instant,
        length: Duration,
    },
    Over,
}

#[derive(Debug)]
pub(super) struct Board {
    began: Instant,
    tallies: [Tally; Group::ALL.len()],
    script: Mutex<ScriptState>,
    stop: AtomicBool,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            tallies: Default::default(),
            script: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) const fn tally(&self, group: Group) -> &Tally {
        &self.tallies[group as usize]
    }

    pub(super) fn script(&self) -> ScriptState {
        *lock(&self.script)
    }

    pub(super) fn set_script(&self, state: ScriptState) {
        *lock(&self.script) = state;
    }

    /// Tells the clients to finish what they do and to begin nothing more.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

// What is guarded is whole at any moment, so a panic elsewhere does no harm to it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
