//! A single command on its way: when it is sent, and what its reply means.

use super::redis::{RedisResult, Value};
use unbusy_core::command::{Command, Kind};
use unbusy_core::{Cause, Event, Time};

use super::reply;
use crate::door::Door;
use crate::visit::{Admission, Visit};

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send the command.
    Send,
    /// Send PING in its place, to learn whether the server is busy: the command is a script, and must not run again, or it
    /// may be answered late, as BLPOP is.
    Ping,
    /// The budget is over: the caller gets the server's last reply.
    GiveUp,
}

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the caller's.
    Final,
    /// It was not executed, and waits.
    Held,
    /// A script answered in the server's own words, and nobody knows whether it ran: PING tells.
    Doubt(Cause),
}

pub(crate) struct Call<'d> {
    door: &'d Door,
    visit: Visit,
    command: Command,
    /// Nothing is held any more.
    last_try: bool,
    /// The server was open a moment ago, as PING showed.
    pinged: bool,
}

impl<'d> Call<'d> {
    pub(crate) fn new(door: &'d Door, command: Command) -> Self {
        let mut visit = Visit::new(&door.gate, door.policy.max_wait);
        visit.ask_for(command, 1);
        visit.offer_ping();
        Self { door, visit, command, last_try: false, pinged: false }
    }

    /// Waits for its turn.
    pub(crate) async fn next(&mut self) -> Step {
        let passes = self.command.kind.passes_gate() || !self.door.policy.holds_any();
        if self.pinged || (passes && !self.visit.is_rejected()) {
            return self.send();
        }
        match self.visit.admit().await {
            Admission::Over if self.visit.is_rejected() => Step::GiveUp,
            Admission::Over => {
                self.last_try = true;
                self.send()
            }
            _ if self.visit.is_to_ping() => Step::Ping,
            _ if self.visit.is_rejected() && self.command.kind.may_answer_busy() => Step::Ping,
            _ => self.send(),
        }
    }

    const fn send(&mut self) -> Step {
        self.pinged = false;
        Step::Send
    }

    /// What the reply to the command means, which was sent at `sent`.
    pub(crate) fn judge(&mut self, reply: &RedisResult<Value>, sent: Time) -> Verdict {
        let kind = self.command.kind;
        let cause = reply::rejection(reply, kind).filter(|cause| self.door.holds(*cause));
        // An EXEC that was refused has dropped its transaction; sent again, it would only say that there is none.
        let final_anyhow = self.last_try || (kind == Kind::Exec && reply.is_ok());
        let Some(cause) = cause.filter(|_| !final_anyhow) else {
            self.visit.accepted(sent, reply::is_good(reply), self.command.proof);
            self.note(reply::is_good(reply));
            return Verdict::Final;
        };
        // What was not sent, since the connection could not be set up, did not run for sure.
        if kind.may_answer_busy() && reply.is_ok() {
            match self.door.gate.was_rejected(sent) {
                Some(true) => {}
                Some(false) => {
                    self.visit.accepted(sent, false, false);
                    return Verdict::Final;
                }
                None => return Verdict::Doubt(cause),
            }
        }
        self.visit.rejected(cause, sent, 1);
        Verdict::Held
    }

    /// What the reply to a PING in place of the command means.
    pub(crate) fn judge_ping(&mut self, reply: &RedisResult<Value>, sent: Time) {
        if let Some(cause) = reply::rejection(reply, Kind::Plain) {
            self.visit.ping_rejected(cause, sent, 1);
        } else {
            self.visit.ping_answered(sent, reply::is_good(reply));
            self.pinged = true;
        }
    }

    /// What the reply to a PING behind the command means. Open: nobody can tell any more whether the script ran, so it is
    /// not sent again.
    pub(crate) fn settle(&mut self, cause: Cause, reply: &RedisResult<Value>, sent: Time) -> Verdict {
        if reply::rejection(reply, Kind::Plain).is_some() {
            self.visit.rejected(cause, sent, 1);
            return Verdict::Held;
        }
        self.visit.accepted(sent, reply::is_good(reply), true);
        self.door.gate.report(&Event::Ambiguous);
        Verdict::Final
    }

    /// What the command did to its connection.
    fn note(&self, is_good: bool) {
        match self.command.kind {
            Kind::Watch if is_good => self.door.set_watching(true),
            Kind::Exec | Kind::Discard | Kind::Unwatch | Kind::Reset => self.door.set_watching(false),
            _ => {}
        }
    }
}

/// Drives a [`Call`] to its reply. The expressions say how to wait, send, and send PING; they are what differs between
/// blocking and asynchronous connections.
macro_rules! drive_call {
    ($call:ident, first: $first:expr, next: $next:expr, send: $send:expr, ping: $ping:expr) => {{
        let mut came: Option<(RedisResult<Value>, Time)> = $first;
        let mut last = None;
        loop {
            if let Some((reply, sent)) = came.take() {
                let verdict = match $call.judge(&reply, sent) {
                    Verdict::Doubt(cause) => {
                        let sent = now();
                        $call.settle(cause, &$ping, sent)
                    }
                    verdict => verdict,
                };
                if verdict == Verdict::Final {
                    break reply;
                }
                last = Some(reply);
            }
            match $next {
                Step::Send => {
                    let sent = now();
                    came = Some(($send, sent));
                }
                Step::Ping => {
                    let sent = now();
                    $call.judge_ping(&$ping, sent);
                }
                Step::GiveUp => break last.unwrap_or(Ok(Value::Nil)),
            }
        }
    }};
}
pub(crate) use drive_call;
