//! A frame is complete: what that means for the command that it answers, and for the replies to come.

use super::client::{PubSub, TRANSACTION_BYTES_MAX, Transaction};
use super::plan::{Plan, is_monitor_line};
use super::{Ahead, Out, Ping, Session, SessionError};
use crate::command::{Identity, Kind, Topic};
use crate::{Cause, Time};

const QUEUED: &[u8] = b"+QUEUED\r\n";
const PREVIOUS_ERRORS: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";

/// What a rejection means for the gate. Without a cause it was EXEC that discarded a transaction of which commands had
/// been rejected: EXEC itself was executed, so no script was running.
fn tell(cause: Option<Cause>, sent: Time, out: &mut Out) {
    match cause {
        Some(cause) => out.rejected(cause, sent),
        None => out.proof = out.proof.max(Some(sent)),
    }
}

impl Session {
    /// The frame is complete.
    pub(super) fn end(&mut self, now: Time, out: &mut Out) -> Result<(), SessionError> {
        let is_error = self.replies.frame().is_error();
        if self.lane.in_flight() == 0 && self.plan.answers() {
            return Err(SessionError::UnexpectedReply);
        }
        match self.plan {
            Plan::Deliver | Plan::Undecided | Plan::Mute => self.end_delivered(is_error, out)?,
            Plan::Push => {}
            Plan::Header | Plan::MuteHeader => self.begin_elements(out),
            Plan::Element | Plan::MuteElement => self.end_element(out),
            Plan::Refuse => self.flags.refused = true,
            Plan::Swallow | Plan::Again => self.lane.answer(),
            Plan::Store => self.store_early(out),
            Plan::Reject(cause) => self.hold(Some(cause), now, out),
            Plan::Retry(cause) => {
                if let Some(transaction) = &mut self.client.transaction {
                    transaction.busy = false;
                }
                self.hold(cause, now, out);
            }
            Plan::Restart => self.restart(out),
            Plan::PingRejected(cause) => self.ping_rejected(cause, out),
            Plan::PingAnswered => {
                self.flags.known = true;
                self.ping_answered(is_error, now, out);
            }
            Plan::PingUnknown => {
                // The server refuses the command itself, in its own words.
                self.flags.broken |= self.is_suspect();
                self.ping_answered(true, now, out);
            }
            Plan::Queued(cause) => {
                if let Some(transaction) = &mut self.client.transaction {
                    transaction.busy = true;
                }
                self.answer_instead(QUEUED, false, Some(cause), out);
            }
            Plan::Null(cause) => self.answer_instead(self.client.null(), true, cause, out),
            Plan::Expected(cause) => self.answer_instead(PREVIOUS_ERRORS, true, cause, out),
        }
        self.answer_silent(out);
        Ok(())
    }

    pub(super) fn end_delivered(&mut self, is_error: bool, out: &mut Out) -> Result<(), SessionError> {
        if self.was_pushed(out) {
            return Ok(());
        }
        if self.lane.in_flight() == 0 || !self.lane.answered_is_written() {
            return Err(SessionError::UnexpectedReply);
        }
        self.complete(is_error, !is_error, out);
        Ok(())
    }

    /// Whether the frame answers no command; confirmations of subscriptions are counted here.
    pub(super) fn was_pushed(&mut self, out: &mut Out) -> bool {
        let frame = *self.replies.frame();
        if self.client.monitoring && frame.kind == b'+' && is_monitor_line(frame.head()) {
            return true;
        }
        let word = match frame.kind {
            b'>' => PubSub::read(frame.head()),
            // In RESP3 an array is always a reply, though EXEC's may begin with a confirmation.
            b'*' if !self.client.resp3 => PubSub::read(frame.head()),
            _ => return false,
        };
        match word {
            Some(PubSub::Message) => frame.kind == b'>' || self.client.subscriptions.any(),
            Some(PubSub::Confirmation { topic, subscribed }) => {
                self.confirmed(topic, subscribed, frame.last_integer, frame.kind == b'>', out)
            }
            None => frame.kind == b'>',
        }
    }

    /// Returns whether the frame was one of the confirmations of a command, or of none.
    pub(super) fn confirmed(
        &mut self,
        topic: Topic,
        subscribed: bool,
        total: i64,
        push: bool,
        out: &mut Out,
    ) -> bool {
        let asked = match self.current() {
            Some(Kind::Subscribe(asked)) => subscribed && asked == topic,
            Some(Kind::Unsubscribe(asked)) => !subscribed && asked == topic,
            _ => false,
        };
        // What the server has not got yet it cannot confirm.
        if !asked || !self.lane.answered_is_written() {
            // Servers also end subscriptions of their own accord, when a slot moves away.
            if push || self.client.subscriptions.any() {
                self.client.subscriptions.confirmed(topic, total);
                return true;
            }
            return false;
        }
        let subscriptions = &mut self.client.subscriptions;
        if subscriptions.confirmations_left == 0 {
            let words = self.lane.entries[self.lane.answered].command.words;
            let of_topic = subscriptions.of(topic);
            subscriptions.confirmations_left = if words > 1 { u32::from(words) - 1 } else { of_topic };
        }
        subscriptions.confirmed(topic, total);
        subscriptions.confirmations_left -= 1;
        if subscriptions.confirmations_left == 0 {
            if self.lane.answered == self.lane.kept {
                self.complete(false, false, out);
            } else {
                self.lane.answer();
            }
        }
        true
    }

    pub(super) fn store_early(&mut self, out: &mut Out) {
        self.tell_script(self.replies.frame().is_error(), out);
        let reply = std::mem::take(&mut self.head);
        self.early_bytes += reply.len();
        let at = self.lane.answered;
        self.lane.entries[at].early_reply = Some(reply.into_boxed_slice());
        self.lane.answer();
    }

    pub(super) fn hold(&mut self, cause: Option<Cause>, now: Time, out: &mut Out) {
        let at = self.lane.answered;
        let entry = &mut self.lane.entries[at];
        // Its budget begins with its first BUSY, unless it has waited for too long behind others already.
        let late = entry.busy_since.is_some_and(|since| now >= since + self.policy.max_wait);
        if !entry.rejected && !late {
            entry.busy_since = Some(now);
        }
        entry.rejected = true;
        let (kind, sent) = (entry.command.kind, entry.sent);
        let known = entry.pinged && self.ahead == Ahead::Busy;
        entry.doubtful = cause.is_some() && !known && !self.flags.sure && kind.may_answer_busy();
        self.flags.sure |= cause.is_some() && !entry.doubtful;
        match cause {
            Some(cause) if entry.doubtful => {
                if at == self.lane.kept {
                    self.doubt = Some((cause, sent));
                }
            }
            cause => tell(cause, sent, out),
        }
        self.flags.draining = true;
        self.lane.answer();
    }

    pub(super) fn answer_instead(
        &mut self,
        text: &'static [u8],
        is_error: bool,
        cause: Option<Cause>,
        out: &mut Out,
    ) {
        tell(cause, self.lane.entries[self.lane.answered].sent, out);
        let skip = self.client.skip;
        self.say_reply(text, out);
        self.client.skip = skip;
        self.complete(is_error, false, out);
    }

    /// The probe was answered "EXEC without MULTI": the server is open.
    pub(super) fn restart(&mut self, out: &mut Out) {
        let sent = self.lane.entries[self.lane.answered].sent;
        out.proof = out.proof.max(Some(sent));
        self.flags.probing = false;
        self.flags.held = false;
        self.lane.answer();
        self.lane.rewind();
        if self.flags.gone {
            self.abandon();
        }
    }

    /// Looks whether all in flight is answered of which some was rejected.
    pub(super) fn end_drain(&mut self) {
        if !self.flags.draining || self.lane.in_flight() > 0 {
            return;
        }
        self.flags.draining = false;
        self.flags.sure = false;
        self.flags.held = true;
        if self.flags.gone {
            self.lane.rewind();
            self.abandon();
            return;
        }
        let retries =
            self.lane.entries.get(self.lane.kept).is_some_and(|entry| entry.command.kind == Kind::Exec);
        if retries && self.client.transaction.is_some() {
            self.flags.probing = true;
            self.lane.rewind_to_kept();
        } else {
            self.lane.rewind();
        }
        let first = self.lane.entries.get(self.lane.kept).map(|entry| entry.command.kind);
        if first.is_some_and(Kind::may_answer_busy) {
            self.ping = Ping::Due { doubt: self.doubt.take() };
        }
    }

    /// The first command that is not kept has its final answer.
    pub(super) fn complete(&mut self, is_error: bool, proves: bool, out: &mut Out) {
        let entry = &self.lane.entries[self.lane.answered];
        let (kind, words, sent) = (entry.command.kind, entry.command.words, entry.sent);
        let waited_since = entry.busy_since;
        if proves && (entry.command.proof || entry.rejected) {
            out.proof = out.proof.max(Some(sent));
        }
        let gave_up = std::mem::take(&mut self.flags.refused_finally);
        self.tell_script(is_error, out);
        if !is_error && matches!(kind, Kind::Identity(Identity::Auth | Identity::Hello) | Kind::Barrier) {
            self.client.learn(self.lane.command_at(self.lane.answered));
        }
        self.flags.held = false;
        self.flags.probing = false;
        self.flags.final_try = false;
        self.note(kind, words, is_error);
        self.lane.answer();
        self.keep_or_drop(kind, is_error);
        self.deliver_early(out);
        // What waited behind it has waited as long, unless it came later.
        if let (Some(since), Some(next)) = (waited_since, self.lane.entries.get_mut(self.lane.kept)) {
            let came = next.came;
            next.busy_since.get_or_insert_with(|| came.max(since));
        }
        if gave_up {
            self.poison_behind(kind, out);
        }
    }

    /// The command that is answered ran a script, or loaded one, perhaps.
    fn tell_script(&self, is_error: bool, out: &mut Out) {
        let entry = &self.lane.entries[self.lane.answered];
        let loads = entry.command.kind == Kind::Load && !is_error;
        out.script_answered |= entry.runs_script;
        if (entry.runs_script || loads)
            && let Some((command, sent)) = self.lane.script_at(self.lane.answered)
        {
            out.note_script(command, sent);
        }
    }

    pub(super) fn keep_or_drop(&mut self, kind: Kind, is_error: bool) {
        let kept = match &self.client.transaction {
            Some(transaction) => !transaction.too_large && !self.client.watching,
            None => kind == Kind::Prefix && !is_error,
        };
        if kept {
            self.lane.keep();
        } else {
            self.lane.drop_kept();
            self.lane.pop();
        }
        if self.lane.kept_bytes() > TRANSACTION_BYTES_MAX
            && let Some(transaction) = &mut self.client.transaction
        {
            transaction.too_large = true;
            self.lane.drop_kept();
        }
    }

    /// Relaxed order: replies that came early are due once all before them are delivered.
    pub(super) fn deliver_early(&mut self, out: &mut Out) {
        while self.lane.kept == 0
            && let Some(reply) = self.lane.entries.front_mut().and_then(|entry| entry.early_reply.take())
        {
            self.early_bytes -= reply.len();
            self.say_reply(&reply, out);
            self.lane.pop();
        }
    }

    /// Commands that are never answered count as answered once they are written and their turn has come; that may have
    /// been all.
    pub(super) fn answer_silent(&mut self, out: &mut Out) {
        while self.current().is_some_and(|kind| self.is_silent(kind)) && self.lane.answered_is_written() {
            if self.lane.answered == self.lane.kept && !self.flags.draining {
                self.unanswered += u32::from(self.current() == Some(Kind::Unanswered));
                self.complete(false, false, out);
            } else {
                self.lane.answer();
            }
        }
        self.end_drain();
    }

    /// Whether the server does not answer a command of this kind now.
    pub(super) const fn is_silent(&self, kind: Kind) -> bool {
        match kind {
            Kind::Empty => true,
            Kind::Unanswered => self.client.transaction.is_none(),
            // A second MONITOR is ignored (redis `src/replication.c`, `monitorCommand`).
            Kind::Monitor => self.client.monitoring && self.client.transaction.is_none(),
            _ => false,
        }
    }

    /// What an answered command means for the replies to come.
    pub(super) fn note(&mut self, kind: Kind, words: u16, is_error: bool) {
        self.client.skip = false;
        // What needs no login tells nothing: QUIT, RESET, and what the server never saw.
        self.flags.known |=
            !is_error && !matches!(kind, Kind::Quit | Kind::Reset | Kind::Empty | Kind::Unanswered);
        if is_error {
            match kind {
                Kind::Exec => self.client.end_transaction(),
                // Whether these make EXEC fail differs between versions; sent again they do the same again.
                Kind::Multi | Kind::Watch => {}
                _ => {
                    if let Some(transaction) = &mut self.client.transaction {
                        transaction.tainted = true;
                    }
                }
            }
            return;
        }
        // Another user may be allowed to.
        self.flags.refuses_ping &= !matches!(kind, Kind::Identity(_) | Kind::Reset);
        match (kind, &mut self.client.transaction) {
            (Kind::Exec | Kind::Discard, _) => self.client.end_transaction(),
            (Kind::Reset, _) => {
                self.client.reset();
                self.flags.known = false;
            }
            (Kind::Empty, _) => {}
            (_, Some(transaction)) => {
                transaction.has_script |= kind == Kind::Script;
                transaction.queue.push(kind, words);
            }
            (Kind::Multi, None) => self.client.transaction = Some(Transaction::default()),
            (Kind::Watch, None) => self.client.watching = true,
            (Kind::Unwatch, None) => self.client.watching = false,
            (Kind::Reply(mode), None) => self.client.set_reply_mode(mode),
            (Kind::Monitor, None) => self.client.monitoring = true,
            (Kind::Identity(Identity::Hello), None) => self.client.resp3 = self.replies.frame().kind == b'%',
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pass;
    use super::*;
    use crate::Policy;

    /// Under WATCH it is never sent again.
    #[test]
    fn of_a_transaction_no_more_is_kept_than_is_needed() {
        for (watches, kept) in [(false, b"MULTI\r\nGET k\r\n".len()), (true, 0)] {
            let mut session = Session::new(Policy::default());
            session.client.watching = watches;
            session.client_bytes(b"MULTI\r\nGET k\r\n", Time::ZERO, &mut Out::default()).unwrap();
            for reply in [&b"+OK\r\n"[..], QUEUED] {
                session.send(Pass::One, Time::ZERO);
                session.wrote(session.outgoing().len(), &mut Out::default());
                session.server_bytes(reply, Time::ZERO, &mut Out::default()).unwrap();
            }
            assert_eq!(session.lane.kept_bytes(), kept);
        }
    }
}
