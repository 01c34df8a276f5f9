//! One call's way through the gate: it asks, waits, and reports what became of what it sent.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use unbusy_core::command::Command;
use unbusy_core::gate::{Answer, Ask, Outcome, Ticket};
use unbusy_core::{Cause, Time};

use crate::gate::{Gate, now};
use crate::notices;

/// What a call may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// A lease runs: send as much as the window allows.
    Free,
    /// Send one command.
    One,
    /// The budget is over: what was rejected stays so; what was never sent is sent once, whatever the gate says.
    Over,
}

/// Leaves the gate when it is dropped, so a call that is cancelled while it waits is never executed.
pub(crate) struct Visit {
    gate: Arc<Gate>,
    max_wait: Duration,
    ask: Ask,
    ticket: Option<Ticket>,
    /// Since when it waits.
    since: Option<Time>,
    rejected: bool,
    /// The server was busy while it waited.
    held: bool,
}

impl Visit {
    pub(crate) fn new(gate: &Arc<Gate>, max_wait: Duration) -> Self {
        Self {
            gate: Arc::clone(gate),
            max_wait,
            ask: Ask::default(),
            ticket: None,
            since: None,
            rejected: false,
            held: false,
        }
    }

    /// What is to be sent next, of so many commands that wait.
    pub(crate) fn ask_for(&mut self, command: Command, commands: usize) {
        let commands = u32::try_from(commands).unwrap_or(u32::MAX);
        self.ask = Ask { scout: command.scout, pings: false, read: command.read, commands };
    }

    /// The call can ask the server with a PING in place of a command that cannot speak for the server.
    pub(crate) const fn offer_ping(&mut self) {
        self.ask.pings = !self.ask.scout;
        self.ask.read |= self.ask.pings;
    }

    /// Whether a PING is to go in place of the command: it was let go to find out whether the server is open.
    pub(crate) const fn is_to_ping(&self) -> bool {
        self.ticket.is_some() && self.ask.pings
    }

    /// Whether the server rejected what this call sent last.
    pub(crate) const fn is_rejected(&self) -> bool {
        self.rejected
    }

    pub(crate) async fn admit(&mut self) -> Admission {
        poll_fn(|cx| self.poll_admit(cx)).await
    }

    fn poll_admit(&mut self, cx: &Context<'_>) -> Poll<Admission> {
        let (max_wait, rejected) = (self.max_wait, self.rejected);
        let since = *self.since.get_or_insert_with(now);
        let (mut over, mut busy) = (false, false);
        // What was never rejected waits for the server to be busy no longer; a stall costs no budget.
        let until = |episode: Option<Time>, now: Time| {
            busy = episode.is_some();
            let since = match episode {
                _ if rejected => since,
                Some(episode) => since.max(episode),
                None => now,
            };
            over = now >= since + max_wait;
            since + max_wait
        };
        match self.gate.ask(self.ticket, self.ask, until, cx.waker()) {
            Answer::Free => Poll::Ready(Admission::Free),
            Answer::One(ticket) => {
                self.ticket = ticket;
                Poll::Ready(Admission::One)
            }
            Answer::Wait(ticket) => {
                self.ticket = Some(ticket);
                self.held |= busy;
                if !over {
                    return Poll::Pending;
                }
                self.leave();
                self.gate.gave_up();
                notices::gave_up(self.gate.address(), now() - since);
                Poll::Ready(Admission::Over)
            }
        }
    }

    /// What was sent at `sent` was answered, and not rejected. An error proves nothing, since servers check for some before
    /// BUSY; anything else proves that no script ran if a busy server would have rejected the command (`proof`), as it is
    /// known to do with one that it has rejected already.
    pub(crate) fn accepted(&mut self, sent: Time, is_good: bool, proof: bool) {
        let proves = is_good && (proof || self.rejected);
        self.rejected = false;
        self.tell(proves, sent);
        if std::mem::take(&mut self.held)
            && let Some(since) = self.since
        {
            notices::held(self.gate.address(), now() - since);
        }
        self.since = None;
    }

    /// So was a PING in place of what is still to be sent: the call has waited as long as before.
    pub(crate) fn ping_answered(&mut self, sent: Time, is_good: bool) {
        self.tell(is_good, sent);
    }

    fn tell(&mut self, proves: bool, sent: Time) {
        let outcome = if proves { Outcome::Proof } else { Outcome::Unclear };
        if self.ticket.is_some() || (proves && self.gate.wants_proof(sent)) {
            self.gate.answered(self.ticket.take(), outcome, sent);
        }
    }

    /// What was sent at `sent` was rejected: `commands` of them. It keeps its place.
    pub(crate) fn rejected(&mut self, cause: Cause, sent: Time, commands: usize) {
        if !self.rejected {
            (self.rejected, self.held) = (true, true);
            self.since = Some(now());
        }
        self.ping_rejected(cause, sent, commands);
    }

    /// So was a PING in place of what was never sent.
    pub(crate) fn ping_rejected(&mut self, cause: Cause, sent: Time, commands: usize) {
        self.ticket = self.gate.rejected(self.ticket.take(), Some(self.ask), cause, sent, commands as u64);
    }

    pub(crate) fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.leave(ticket);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.leave();
    }
}
