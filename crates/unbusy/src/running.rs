//! The scripts of this process that a server has not answered: which, on which connection, and since when.
//!
//! A busy server tells none of that. Arguments and keys are not kept.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use unbusy_core::{Cause, Company, Sent, Time};

use crate::gate::Gate;
use crate::sync::{AtomicU64, Mutex, MutexGuard, now};

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineId(u64);

#[derive(Debug)]
struct Call {
    line: LineId,
    script: Sent,
}

#[derive(Debug)]
pub(crate) struct Running {
    calls: Mutex<Calls>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct Calls {
    /// In the order in which they were sent.
    awaited: BTreeMap<u64, Call>,
    /// One whose caller is gone, or whose connection, and which may run on: the oldest, as long as nothing that was sent later
    /// was executed.
    left: Option<Call>,
    /// One that was executed, and when it was answered. BUSY may be read only after that: the oldest, as long as nothing that
    /// began later can have made the server busy.
    over: Option<(Call, Time)>,
}

/// What may have made the server busy.
#[derive(Debug)]
pub(crate) struct Suspect {
    pub(crate) script: Sent,
    /// Nobody waits for it any more, so it may be over.
    pub(crate) is_left: bool,
    /// There is no other.
    pub(crate) is_only: bool,
}

impl Running {
    pub(crate) const fn new() -> Self {
        let calls = Calls { awaited: BTreeMap::new(), left: None, over: None };
        Self { calls: Mutex::new(calls), numbers: AtomicU64::new(0) }
    }

    /// A connection that is to be told apart from now on.
    pub(crate) fn line(&self) -> LineId {
        LineId(self.number())
    }

    /// The oldest script that may have made the server busy at `since`; the latest proof's command was sent at `proved`. Another
    /// one on its connection makes it doubtful, since the server may have answered to none of what it read at once.
    pub(crate) fn suspect(
        &self,
        cause: Cause,
        threshold: Duration,
        since: Time,
        proved: Time,
    ) -> Option<Suspect> {
        let calls = self.calls();
        let left = calls.left.iter().filter(|call| call.script.at >= proved);
        let over = (calls.over.iter())
            .filter(|(call, answered)| call.script.was_suspect(cause, threshold, *answered, since));
        let unanswered = (calls.awaited.values().map(|call| (call, false)))
            .chain(left.map(|call| (call, true)))
            .filter(|(call, _)| call.script.is_suspect(cause, threshold, since));
        // What goes on being unanswered is likelier than what is over.
        let mut suspects = unanswered.chain(over.map(|(call, _)| (call, false)));
        let (first, is_left) = suspects.next()?;
        let mut suspect = Suspect { script: first.script.clone(), is_left, is_only: true };
        for (other, _) in suspects {
            if other.line == first.line {
                suspect.script.company = Company::Others;
            } else {
                suspect.is_only = false;
            }
        }
        Some(suspect)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    fn note_left(&mut self, call: Call, proved: Time) {
        if call.script.at >= proved && self.left.as_ref().is_none_or(|left| left.script.at < proved) {
            self.left = Some(call);
        }
    }

    fn note_over(&mut self, call: Call, threshold: Duration, now: Time) {
        let stands = self.over.as_ref().is_some_and(|(_, answered)| now - *answered < threshold);
        if call.script.age(now) >= threshold && !stands {
            self.over = Some((call, now));
        }
    }
}

/// How a script ended, as far as its sender can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nobody waits for it any more; it may run on.
    Left,
    /// It was not executed, or not wholly.
    Refused,
    Executed,
}

/// A script of this process is in flight: when it is answered, BUSY may be over. If this is dropped before that, the script may
/// run on.
pub(crate) struct ScriptInFlight<'g> {
    gate: &'g Arc<Gate>,
    number: u64,
    end: End,
}

impl<'g> ScriptInFlight<'g> {
    #[cold]
    pub(crate) fn new(gate: &'g Arc<Gate>, line: LineId, script: Sent) -> Self {
        let number = gate.running.number();
        gate.running.calls().awaited.insert(number, Call { line, script });
        gate.script_sent();
        Self { gate, number, end: End::Left }
    }

    pub(crate) fn ended(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for ScriptInFlight<'_> {
    fn drop(&mut self) {
        // Before the lock, since the gate looks for suspects under its own.
        let proved = if self.end == End::Left { self.gate.proved() } else { Time::NEVER };
        let mut calls = self.gate.running.calls();
        match (calls.awaited.remove(&self.number), self.end) {
            (Some(call), End::Left) => calls.note_left(call, proved),
            (Some(call), End::Executed) => calls.note_over(call, self.gate.threshold(), now()),
            _ => {}
        }
        drop(calls);
        self.gate.script_answered();
    }
}
