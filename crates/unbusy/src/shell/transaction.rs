//! An atomic pipeline on its way: it is sent as a whole, and again as a whole.
//!
//! A server that is busy at any moment between MULTI and EXEC discards the transaction, so sending it again is safe. Under
//! WATCH it is not: the watch is gone, and what the caller read may be out of date. Then EXEC is answered with null, "a
//! watched key changed", upon which every user of WATCH starts over.

use super::redis::{RedisResult, Value};
use unbusy_core::Time;
use unbusy_core::command::Command;

use super::reply;
use crate::door::Door;
use crate::gate::now;
use crate::visit::{Admission, Visit};

/// A scout must fit into one read of the server.
const SCOUT_BYTES_MAX: u64 = 16 * 1024;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The reply is the caller's.
    Final,
    /// It was discarded under WATCH: the caller is to start over.
    WatchLost,
    /// It was discarded, and waits.
    Held,
}

pub(crate) struct Transaction<'d> {
    door: &'d Door,
    visit: Visit,
    /// Sent once more, and whatever comes back is the caller's.
    last_try: bool,
}

impl<'d> Transaction<'d> {
    pub(crate) fn new(door: &'d Door, bytes: u64) -> Self {
        let mut visit = Visit::new(&door.gate, door.policy.max_wait);
        let exec = Command::read(b"EXEC\r\n");
        visit.ask_for(Command { scout: bytes <= SCOUT_BYTES_MAX, ..exec }, 1);
        Self { door, visit, last_try: false }
    }

    /// Waits for its turn. `false`: the budget is over, and the caller gets the server's last reply.
    pub(crate) async fn next(&mut self) -> bool {
        let free = self.door.is_free(now()) || !self.door.policy.holds_any();
        let relaxed = !self.door.policy.strict && !self.door.gate.is_busy();
        if !self.visit.is_rejected() && (free || relaxed) {
            return true;
        }
        if self.visit.admit().await == Admission::Over {
            self.last_try = true;
            return !self.visit.is_rejected();
        }
        true
    }

    /// What came back for what was sent at `sent`.
    pub(crate) fn judge(&mut self, replies: &RedisResult<Vec<Value>>, sent: Time) -> Fate {
        let watching = self.door.is_watching();
        self.door.set_watching(false);
        let cause = reply::transaction_rejection(replies).filter(|cause| self.door.holds(*cause));
        let Some(cause) = cause else {
            self.visit.accepted(sent, replies.is_ok(), true);
            return Fate::Final;
        };
        if watching {
            self.visit.rejected(cause, sent, 1);
            self.visit.leave();
            return Fate::WatchLost;
        }
        if self.last_try {
            return Fate::Final;
        }
        self.visit.rejected(cause, sent, 1);
        Fate::Held
    }
}

/// Drives a [`Transaction`] to its end; see `drive_call`.
macro_rules! drive_transaction {
    ($transaction:ident, next: $next:expr, send: $send:expr) => {{
        let mut last = None;
        loop {
            if !$next {
                break last.unwrap_or(Ok(Vec::new()));
            }
            let sent = now();
            let replies = $send;
            match $transaction.judge(&replies, sent) {
                Fate::Final => break replies,
                Fate::WatchLost => break Ok(vec![Value::Nil]),
                Fate::Held => last = Some(replies),
            }
        }
    }};
}
pub(crate) use drive_transaction;
