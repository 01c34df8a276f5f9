//! A pipeline on its way: which part of it is sent, and what the replies mean.
//!
//! A pipeline that is in flight when BUSY begins and ends can come back with an executed command behind a rejected one;
//! then nothing could be sent again without reordering. So it goes in pieces: one command without a lease, and under a
//! lease as much as the window takes. What is rejected then is all that is behind the last executed command, and is sent
//! again from there on.

use super::redis::{RedisError, RedisResult, Value};
use unbusy_core::command::{Command, Kind};
use unbusy_core::{Cause, Event, Script, Time};

use super::reply;
use crate::door::Door;
use crate::gate::now;
use crate::visit::{Admission, Visit};

/// What is sent and executed as one: a command, or a transaction from MULTI to EXEC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    /// The command, or EXEC.
    pub(crate) command: Command,
    /// The first of its commands in the pipeline.
    pub(crate) first: usize,
    /// How many commands, and so replies, it has.
    pub(crate) commands: usize,
    pub(crate) bytes: u64,
}

impl Unit {
    const fn is_transaction(&self) -> bool {
        matches!(self.command.kind, Kind::Exec) && self.commands > 1
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Send these commands of the pipeline.
    Send(Vec<usize>),
    /// Send PING: what waits is a script, and must not run again to learn whether the server is busy.
    Ping,
    /// All has its reply.
    Done,
}

/// How much goes together.
#[derive(Debug, Clone, Copy)]
enum Piece {
    All,
    /// What fits into the window.
    Fitting,
    One,
}

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Executed,
    Rejected(Cause),
    /// An error that the server may have checked before BUSY; sent again it comes again.
    Unclear,
    /// A script answered in the server's own words.
    Doubtful(Cause),
}

pub(crate) struct Batch<'d> {
    door: &'d Door,
    visit: Visit,
    units: Vec<Unit>,
    /// One place for each command; what is not final yet has what the server said last.
    replies: Vec<Option<Value>>,
    /// Units without a final reply, in order.
    pending: Vec<usize>,
    /// How many of them were sent last; at first all of them, if the pipeline went straight.
    sent: usize,
    /// What the window knows them by.
    mark: u64,
    last_try: bool,
    pinged: bool,
    doubt: Option<Cause>,
    /// The connection could not be set up since the server is busy, so nothing was sent.
    not_sent: Option<RedisError>,
}

impl<'d> Batch<'d> {
    /// A pipeline of these commands, each with its length.
    pub(crate) fn new(door: &'d Door, commands: impl Iterator<Item = (Command, u64)>) -> Self {
        let units = group(commands);
        let count = units.last().map_or(0, |unit| unit.first + unit.commands);
        let mut visit = Visit::new(&door.gate, door.policy.max_wait);
        if let Some(first) = units.first() {
            visit.ask_for(first.command, units.len());
        }
        Self {
            door,
            visit,
            pending: (0..units.len()).collect(),
            sent: units.len(),
            mark: 0,
            units,
            replies: (0..count).map(|_| None).collect(),
            last_try: false,
            pinged: false,
            doubt: None,
            not_sent: None,
        }
    }

    /// Waits for its turn.
    pub(crate) async fn next(&mut self) -> Turn {
        let Some(first) = self.pending.first().map(|at| self.units[*at]) else { return Turn::Done };
        self.visit.ask_for(first.command, self.pending.len());
        let free = !self.visit.is_rejected() && (self.door.is_free(now()) || !self.door.policy.holds_any());
        let relaxed = !self.door.policy.strict && !self.door.gate.is_busy();
        if free || self.pinged || (relaxed && !self.visit.is_rejected()) {
            let all = !self.door.policy.strict || !self.door.policy.holds_any();
            return self.send(if all { Piece::All } else { Piece::Fitting });
        }
        match self.visit.admit().await {
            Admission::Over if self.visit.is_rejected() => {
                self.give_up();
                Turn::Done
            }
            Admission::Over => {
                self.last_try = true;
                self.send(Piece::One)
            }
            _ if self.visit.is_rejected() && first.command.kind.may_answer_busy() => Turn::Ping,
            Admission::Free => self.send(Piece::Fitting),
            Admission::One => self.send(Piece::One),
        }
    }

    fn send(&mut self, piece: Piece) -> Turn {
        let piece = if std::mem::take(&mut self.pinged) { Piece::One } else { piece };
        (self.sent, self.mark) = match piece {
            Piece::All => self.count_in(self.pending.len()),
            Piece::Fitting => self.claim(),
            Piece::One => self.count_in(1),
        };
        let sent = self.pending[..self.sent].iter().map(|at| self.units[*at]);
        Turn::Send(sent.flat_map(|unit| unit.first..unit.first + unit.commands).collect())
    }

    /// So many units go, whatever is in flight.
    fn count_in(&self, units: usize) -> (usize, u64) {
        let bytes = self.pending[..units].iter().map(|at| self.units[*at].bytes).sum();
        (units, self.door.note_sent(bytes))
    }

    /// As many units as the window has room for go, and one in any case.
    fn claim(&self) -> (usize, u64) {
        loop {
            let units = self.fitting();
            if units == 1 {
                return self.count_in(1);
            }
            let bytes = self.pending[..units].iter().map(|at| self.units[*at].bytes).sum();
            if let Some(mark) = self.door.claim(bytes) {
                return (units, mark);
            }
        }
    }

    /// How many units may be in flight together: what fits into the window, and nothing beside what changes the
    /// connection.
    fn fitting(&self) -> usize {
        let room = self.door.room();
        let mut bytes = 0;
        let mut before: Option<Command> = None;
        let mut runs_scripts = false;
        let fits = |at: &&usize| {
            let unit = self.units[**at];
            bytes += unit.bytes;
            // A transaction under WATCH must not be refused together with what is in front of it: it is not sent again.
            let apart = unit.command.kind.is_barrier() || (unit.is_transaction() && self.door.is_watching());
            let fenced = before.is_some_and(|last| last.kind.is_barrier() || last.blocking || apart);
            // What the server keeps waiting does not make the script in front of it look slow.
            let waits_behind_script = runs_scripts && unit.command.blocking;
            runs_scripts |= matches!(unit.command.kind, Kind::Script | Kind::Exec);
            before = Some(unit.command);
            !waits_behind_script && !fenced && bytes <= room
        };
        self.pending.iter().take_while(fits).count().max(1)
    }

    /// What the replies to the commands mean that were sent at `sent`. `Some`: a script answered in the server's own words,
    /// and PING must tell whether the server is busy.
    ///
    /// # Errors
    /// When the connection failed.
    pub(crate) fn judge(
        &mut self,
        replies: RedisResult<Vec<Value>>,
        sent: Time,
    ) -> RedisResult<Option<Cause>> {
        self.door.note_answer(self.mark, &replies);
        let mut values = match replies {
            Ok(values) => values.into_iter(),
            Err(error) => return self.failed(error, sent).map(|()| None),
        };
        self.not_sent = None;
        let units: Vec<_> = self.pending[..self.sent].iter().map(|at| self.units[*at]).collect();
        let mut outcomes = Vec::with_capacity(units.len());
        for &unit in &units {
            let places = unit.first..unit.first + unit.commands;
            places.for_each(|at| self.replies[at] = values.next());
            let outcome = self.outcome(unit, sent);
            let lost =
                unit.is_transaction() && self.door.is_watching() && matches!(outcome, Outcome::Rejected(_));
            outcomes.push(if lost { self.lose_watch(unit) } else { outcome });
        }
        let proves = units.iter().zip(&outcomes).any(|(unit, outcome)| self.proves(*unit, *outcome));
        Self::clear_doubts(&mut outcomes);
        if let Some(Outcome::Doubtful(cause)) = outcomes.last()
            && outcomes.iter().all(|outcome| !matches!(outcome, Outcome::Rejected(_)))
        {
            let final_ones = outcomes.len() - 1;
            self.pending.drain(..final_ones);
            self.doubt = Some(*cause);
            return Ok(Some(*cause));
        }
        self.settle(&outcomes, proves, sent);
        Ok(None)
    }

    fn failed(&mut self, error: RedisError, sent: Time) -> RedisResult<()> {
        let cause = reply::setup_rejection(&error).filter(|cause| self.door.holds(*cause) && !self.last_try);
        let Some(cause) = cause else { return Err(error) };
        self.visit.rejected(cause, sent, 1);
        self.not_sent = Some(error);
        Ok(())
    }

    fn outcome(&self, unit: Unit, sent: Time) -> Outcome {
        let replies = &self.replies[unit.first..unit.first + unit.commands];
        let kind = unit.command.kind;
        let last = replies.last().and_then(Option::as_ref);
        let rejected = match (kind, unit.commands) {
            (Kind::Exec, 2..) => replies.iter().flatten().find_map(|value| {
                reply::rejection_of(value, Kind::Plain).or_else(|| reply::rejection_of(value, Kind::Exec))
            }),
            _ => last.and_then(|value| reply::rejection_of(value, kind)),
        };
        match (rejected.filter(|cause| self.door.holds(*cause) && !self.last_try), last) {
            (Some(cause), _) if kind.may_answer_busy() => match self.door.gate.was_rejected(sent) {
                Some(true) => Outcome::Rejected(cause),
                Some(false) => Outcome::Executed,
                None => Outcome::Doubtful(cause),
            },
            (Some(cause), _) => Outcome::Rejected(cause),
            (None, Some(Value::ServerError(error))) => {
                let ran = kind == Kind::Script && error.code() == "ERR";
                if ran { Outcome::Executed } else { Outcome::Unclear }
            }
            (None, _) => Outcome::Executed,
        }
    }

    /// A transaction under WATCH is not sent again: the watch is gone, and what was read under it may be out of date. Null
    /// says "a watched key changed", upon which every user of WATCH starts over.
    fn lose_watch(&mut self, unit: Unit) -> Outcome {
        let (exec, queued) = (unit.first + unit.commands - 1, unit.first + 1);
        for reply in &mut self.replies[queued..exec] {
            *reply = Some(Value::SimpleString("QUEUED".into()));
        }
        self.replies[exec] = Some(Value::Nil);
        Outcome::Unclear
    }

    /// Whether a busy server would have rejected what was executed here, or has done so before.
    fn proves(&self, unit: Unit, outcome: Outcome) -> bool {
        let last = self.replies[unit.first + unit.commands - 1].as_ref();
        let is_good = !matches!(last, Some(Value::ServerError(_)));
        outcome == Outcome::Executed && is_good && (unit.command.proof || self.visit.is_rejected())
    }

    /// What is behind a script tells whether its answer was its own.
    fn clear_doubts(outcomes: &mut [Outcome]) {
        for at in (0..outcomes.len().saturating_sub(1)).rev() {
            let Outcome::Doubtful(cause) = outcomes[at] else { continue };
            let rejected_behind = matches!(outcomes[at + 1], Outcome::Rejected(_) | Outcome::Doubtful(_));
            outcomes[at] = if rejected_behind { Outcome::Rejected(cause) } else { Outcome::Executed };
        }
    }

    fn settle(&mut self, outcomes: &[Outcome], proves: bool, sent: Time) {
        let cause_of = |outcome: &Outcome| match outcome {
            Outcome::Rejected(cause) | Outcome::Doubtful(cause) => Some(*cause),
            _ => None,
        };
        let rejected = outcomes.iter().filter(|outcome| cause_of(outcome).is_some()).count();
        let Some(first) = outcomes.iter().position(|outcome| cause_of(outcome).is_some()) else {
            self.visit.accepted(sent, proves, true);
            self.note_watches(outcomes.len());
            self.pending.drain(..outcomes.len());
            if self.last_try && self.was_refused() {
                self.give_up();
            }
            return;
        };
        let cause = cause_of(&outcomes[first]).unwrap_or(Cause::Script);
        self.note_watches(first);
        if !self.door.policy.strict {
            let mut outcomes = outcomes.iter();
            self.pending.retain(|_| outcomes.next().is_none_or(|outcome| cause_of(outcome).is_some()));
        } else if outcomes[first..].contains(&Outcome::Executed) {
            // Nothing can be sent again without reordering: each command keeps the reply it got.
            self.door.gate.report(&Event::Hole);
            self.pending.drain(..outcomes.len());
        } else {
            self.pending.drain(..first);
        }
        self.visit.rejected(cause, sent, rejected);
        if self.pending.is_empty() {
            self.visit.leave();
        }
    }

    /// What the reply to a PING means that was sent in place of a script, or behind it.
    pub(crate) fn judge_ping(&mut self, reply: &RedisResult<Value>, sent: Time) {
        let doubt = self.doubt.take();
        if let Some(cause) = reply::rejection(reply, Kind::Plain) {
            self.visit.rejected(cause, sent, 1);
            return;
        }
        self.visit.accepted(sent, reply::is_good(reply), true);
        if doubt.is_some() {
            self.door.gate.report(&Event::Ambiguous);
            self.pending.remove(0);
        } else {
            self.pinged = true;
        }
    }

    /// Whether the last command that was sent got BUSY for good.
    fn was_refused(&self) -> bool {
        let next = self.pending.first().map_or(self.units.len(), |at| *at);
        let last = next.checked_sub(1).map(|at| self.units[at]);
        last.and_then(|unit| self.replies[unit.first + unit.commands - 1].as_ref())
            .is_some_and(|value| reply::rejection_of(value, Kind::Plain).is_some())
    }

    /// The budget is over. What was not sent again, or never, was not executed, and says so in the server's words.
    fn give_up(&mut self) {
        let said =
            self.replies.iter().flatten().rfind(|value| reply::rejection_of(value, Kind::Plain).is_some());
        let said = said.cloned();
        for at in std::mem::take(&mut self.pending) {
            let unit = self.units[at];
            for reply in &mut self.replies[unit.first..unit.first + unit.commands] {
                if reply.is_none() {
                    reply.clone_from(&said);
                }
            }
        }
    }

    fn note_watches(&self, units: usize) {
        for unit in self.pending[..units].iter().map(|at| self.units[*at]) {
            match unit.command.kind {
                Kind::Watch => self.door.set_watching(true),
                Kind::Exec | Kind::Discard | Kind::Unwatch | Kind::Reset => self.door.set_watching(false),
                _ => {}
            }
        }
    }

    /// The replies in the order of the commands.
    ///
    /// # Errors
    /// When the budget was over before the connection could be set up.
    pub(crate) fn into_replies(self) -> RedisResult<Vec<Value>> {
        match self.not_sent {
            Some(error) => Err(error),
            None => Ok(self.replies.into_iter().map(|reply| reply.unwrap_or(Value::Nil)).collect()),
        }
    }
}

/// Whether a pipeline of so many bytes may go as it is, without a look at each command's way: a lease runs, the window has
/// room for all of it, and no command changes the connection or can answer BUSY by itself. It is the last command then,
/// whose execution may prove something. `None` in the place of a command: it cannot be read.
pub(crate) fn goes_straight(
    door: &Door,
    now: Time,
    bytes: u64,
    mut commands: impl Iterator<Item = Option<Command>>,
) -> Option<Command> {
    let may = door.is_free(now) && !door.is_watching() && bytes <= door.room();
    let first = commands.next().filter(|_| may)?;
    let plain = |command: Option<Command>| command.filter(|command| command.is_plain());
    commands.try_fold(plain(first)?, |_, command| plain(command))
}

/// Those scripts of a pipeline, each with its place in it, that are among the chosen commands.
pub(crate) fn scripts_among<'a>(
    scripts: &[(usize, Script<'a>)],
    chosen: &[usize],
) -> impl Iterator<Item = Script<'a>> {
    let is_chosen = |(at, _): &&(usize, Script<'a>)| chosen.binary_search(at).is_ok();
    scripts.iter().filter(is_chosen).map(|(_, script)| *script)
}

/// Commands from MULTI to EXEC belong together.
fn group(commands: impl Iterator<Item = (Command, u64)>) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut in_transaction = false;
    for (at, (command, bytes)) in commands.enumerate() {
        match units.last_mut().filter(|_| in_transaction) {
            Some(unit) => {
                unit.commands += 1;
                unit.bytes += bytes;
                unit.command = Command { scout: false, ..command };
            }
            None => units.push(Unit { command, first: at, commands: 1, bytes }),
        }
        in_transaction = match command.kind {
            Kind::Multi => true,
            Kind::Exec | Kind::Discard => false,
            _ => in_transaction,
        };
    }
    units
}

/// Drives a [`Batch`] to its end, from the replies to all of it if it went straight. The expressions say how to wait, send,
/// and send PING; they are what differs between blocking and asynchronous connections.
macro_rules! drive_batch {
    ($batch:ident, first: $first:expr, next: $next:expr, send: |$commands:ident| $send:expr, ping: $ping:expr) => {{
        let mut came: Option<(RedisResult<Vec<Value>>, Time)> = $first;
        loop {
            if let Some((replies, sent)) = came.take() {
                match $batch.judge(replies, sent) {
                    Err(error) => break Err(error),
                    Ok(None) => {}
                    Ok(Some(_)) => {
                        let sent = now();
                        $batch.judge_ping(&$ping, sent);
                    }
                }
            }
            match $next {
                Turn::Done => break $batch.into_replies(),
                Turn::Ping => {
                    let sent = now();
                    $batch.judge_ping(&$ping, sent);
                }
                Turn::Send($commands) => {
                    let sent = now();
                    came = Some(($send, sent));
                }
            }
        }
    }};
}
pub(crate) use drive_batch;
