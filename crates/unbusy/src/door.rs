//! What a connection knows of the gate it stands at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use unbusy_core::command::Command;
use unbusy_core::gate::Outcome;
use unbusy_core::{Cause, Company, Script, Sent, Time};

use crate::Policy;
#[cfg(feature = "aio")]
use crate::alarm::Alarm;
use crate::gate::{Gate, now};
use crate::running::{LineId, ScriptInFlight};

/// The gate, the policy, and what all clones of a connection share.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gate: Arc<Gate>,
    pub(crate) policy: unbusy_core::Policy,
    line: Arc<Line>,
    /// Ends calls whose answer is overdue, unless the wrapped connection sees to that itself.
    #[cfg(feature = "aio")]
    pub(crate) alarm: Option<Alarm>,
}

/// The state of one server connection.
struct Line {
    gate: Arc<Gate>,
    id: LineId,
    /// WATCH is in force.
    watching: AtomicBool,
    /// Bytes sent so far, and how many of them were sent no later than the last command that is answered, by all callers
    /// that share the connection. Replies come in order, so a call that was cancelled counts as answered as soon as a later
    /// one is. A blocking connection has one caller, and nothing in flight when that sends.
    sent: AtomicU64,
    answered: AtomicU64,
}

impl Line {
    fn new(gate: Arc<Gate>) -> Self {
        gate.line_is_made();
        Self {
            id: gate.running.line(),
            gate,
            watching: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.gate.line_is_gone();
    }
}

impl Door {
    /// `tls`: what is in flight to the server must be a single record ([`unbusy_core::Policy::one_read`]).
    pub(crate) fn new(address: &str, tls: bool, policy: &Policy) -> Self {
        let gate = Gate::of(address, policy);
        Self {
            line: Arc::new(Line::new(Arc::clone(&gate))),
            gate,
            policy: unbusy_core::Policy { one_read: tls, ..policy.engine },
            #[cfg(feature = "aio")]
            alarm: None,
        }
    }

    /// The same gate for a connection of its own.
    pub(crate) fn next(&self) -> Self {
        Self {
            line: Arc::new(Line::new(Arc::clone(&self.gate))),
            #[cfg(feature = "aio")]
            alarm: None,
            ..self.clone()
        }
    }

    pub(crate) const fn holds(&self, cause: Cause) -> bool {
        self.policy.holds(cause)
    }

    /// Whether nothing stands in the way of sending.
    pub(crate) fn is_free(&self, now: Time) -> bool {
        self.gate.is_free(now)
    }

    /// A command that was sent under a lease at `sent` was executed. Now and then the gate wants to know, to renew the lease.
    pub(crate) fn prove(&self, sent: Time, command: impl FnOnce() -> Command) {
        if self.gate.wants_proof(sent) && command().proof {
            self.gate.answered(None, Outcome::Proof, sent);
        }
    }

    /// To be said of the scripts in what is about to be sent. What comes back is to be kept until the answer.
    pub(crate) fn runs<'a>(
        &self,
        scripts: impl IntoIterator<Item = Script<'a>>,
    ) -> Option<ScriptInFlight<'_>> {
        let mut scripts = scripts.into_iter();
        let first = scripts.next()?;
        let company = if scripts.next().is_some() { Company::Others } else { Company::Alone };
        Sent::new(first, now(), company).map(|script| ScriptInFlight::new(&self.gate, self.line.id, script))
    }

    pub(crate) fn is_watching(&self) -> bool {
        self.line.watching.load(Relaxed)
    }

    pub(crate) fn set_watching(&self, watching: bool) {
        if watching != self.is_watching() {
            self.line.watching.store(watching, Relaxed);
        }
    }

    /// How many bytes the window has room for.
    pub(crate) fn room(&self) -> u64 {
        self.room_behind(self.line.sent.load(Relaxed))
    }

    fn room_behind(&self, sent: u64) -> u64 {
        let one_read = self.policy.one_read || self.gate.one_read();
        let window = unbusy_core::Policy { one_read, ..self.policy }.window(false) as u64;
        let in_flight = sent.saturating_sub(self.line.answered.load(Relaxed));
        if one_read && self.policy.strict && in_flight > 0 { 0 } else { window.saturating_sub(in_flight) }
    }

    /// Notes that so many bytes are about to be sent, if the window has room for them: another caller may have been quicker
    /// since [`Door::room`]. What comes back is for [`Door::note_answer`].
    pub(crate) fn claim(&self, bytes: u64) -> Option<u64> {
        let claimed = |sent| (bytes <= self.room_behind(sent)).then_some(sent + bytes);
        self.line.sent.fetch_update(Relaxed, Relaxed, claimed).ok().map(|sent| sent + bytes)
    }

    /// Notes that so many bytes are about to be sent, whether there is room for them or not.
    ///
    /// Two calls and not one that takes a future: moving futures of a kilobyte costs more than all else that is done here.
    pub(crate) fn note_sent(&self, bytes: u64) -> u64 {
        self.line.sent.fetch_add(bytes, Relaxed) + bytes
    }

    /// Notes what became of something sent. If it failed it may still be in flight, such as after a time-out, and is taken
    /// to be until a later answer comes.
    pub(crate) fn note_answer<T, E>(&self, sent: u64, answer: &Result<T, E>) {
        if answer.is_ok() {
            self.line.answered.fetch_max(sent, Relaxed);
        }
    }
}
