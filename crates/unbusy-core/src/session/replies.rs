//! The server's bytes: whose reply is it, and what becomes of it?

use super::client::{PubSub, TRANSACTION_BYTES_MAX, Transaction};
use super::{Ahead, Out, Ping, Session, SessionError};
use crate::command::{Identity, Kind, ReplyMode, Topic};
use crate::resp::{Scanned, whole_reply};
use crate::{Cause, Event, Time, aborted, rejected};

/// An error is read no further than this to tell what it is; no rejection is longer.
const ERROR_HEAD_BYTES: usize = 512;
/// Relaxed order: replies kept behind a rejected command.
const EARLY_BYTES_MAX: usize = 64 << 20;

const QUEUED: &[u8] = b"+QUEUED\r\n";
const PREVIOUS_ERRORS: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";

/// What becomes of the frame that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// To the client. Whether it answers a command or was pushed is seen at its end.
    Deliver,
    /// To the client, answering nothing.
    Push,
    /// To the client, which is closed then: the server refused the connection.
    Refuse,
    /// Either what nobody asked for (a message, a line of MONITOR) or a reply that is not simply delivered.
    Undecided,
    /// Answers a command whose client wants no replies.
    Mute,
    /// The header of EXEC's reply, whose elements are looked at one by one.
    Header,
    /// The same, for a client that wants no replies.
    MuteHeader,
    /// An element of EXEC's reply.
    Element,
    /// The same, for a client that wants no replies.
    MuteElement,
    /// The client has this reply already.
    Swallow,
    /// Relaxed order: kept until the rejected commands in front of it are answered.
    Store,
    /// Not executed; the command is held.
    Reject(Cause),
    /// Not executed, and no rejection: an error that comes again when the command is sent again.
    Again,
    /// Rejected inside a transaction: queued as far as the client can tell, since all of it is sent again at EXEC.
    Queued(Cause),
    /// EXEC under WATCH: the answer for "a watched key changed".
    Null(Cause),
    /// EXEC: the transaction is held.
    Retry(Cause),
    /// EXEC of a transaction in which the client has seen an error.
    Expected(Cause),
    /// The probe was answered: the transaction starts again from MULTI.
    Restart,
    /// PING of the session's own was rejected: the server is busy.
    PingRejected(Cause),
    /// PING of the session's own was answered otherwise.
    PingAnswered,
    /// PING of the session's own was refused, since the client has not logged in.
    PingUnknown,
}

impl Plan {
    /// Whether the frame answers a command that is in flight for sure.
    const fn answers(self) -> bool {
        !matches!(
            self,
            Self::Deliver
                | Self::Undecided
                | Self::Mute
                | Self::Push
                | Self::Refuse
                | Self::PingRejected(_)
                | Self::PingAnswered
                | Self::PingUnknown
        )
    }
}

impl Session {
    /// Takes bytes of the server.
    ///
    /// # Errors
    /// When they cannot be replies to what was sent; the session is over then.
    pub fn server_bytes(&mut self, bytes: &[u8], now: Time, out: &mut Out) -> Result<(), SessionError> {
        let mut at = 0;
        while at < bytes.len() || self.flags.head_planned {
            if self.flags.tunnel {
                // Also the answer to malformed bytes is none that a client wants that wants no replies.
                if !(self.flags.broken && self.client.muted) {
                    out.forward(at..bytes.len());
                }
                return Ok(());
            }
            if self.replies.between_frames() {
                if let Some(length) = self.pass_on(&bytes[at..], out) {
                    out.forward(at..at + length);
                    at += length;
                    continue;
                }
                let begin = if self.flags.head_planned {
                    Begin::Frame(self.plan_head(out))
                } else {
                    self.begin(bytes, at, out)
                };
                match begin {
                    Begin::Frame(plan) => self.plan = plan,
                    Begin::Skip(count) => {
                        at += count;
                        continue;
                    }
                }
                if !self.head.is_empty() {
                    self.replay_head(now, out)?;
                    continue;
                }
            }
            let scanned = self.replies.scan(&bytes[at..]).map_err(SessionError::Reply)?;
            let end = if let Scanned::Complete(count) = scanned { at + count } else { bytes.len() };
            self.route(bytes, at..end, out);
            at = end;
            if let Scanned::Complete(_) = scanned {
                self.end(now, out)?;
            }
        }
        Ok(())
    }

    /// The straight way, which most replies take: one that is whole and no error, to a plain command that was not held,
    /// of a client in its default state. Returns its length.
    fn pass_on(&mut self, bytes: &[u8], out: &mut Out) -> Option<usize> {
        let entry = self.lane.front_in_flight()?;
        let straight = entry.command.kind == Kind::Plain
            && entry.busy_since.is_none()
            && self.client.is_plain()
            && self.ping == Ping::None
            && self.head.is_empty()
            && !self.flags.draining;
        if !straight {
            return None;
        }
        let length = whole_reply(bytes)?;
        if entry.command.proof {
            out.proof = out.proof.max(Some(entry.sent));
        }
        self.flags.known = true;
        self.lane.pop();
        self.answer_silent(out);
        Some(length)
    }

    /// The head of an error was kept back; it is read now that it is known what it is.
    fn replay_head(&mut self, now: Time, out: &mut Out) -> Result<(), SessionError> {
        let head = std::mem::take(&mut self.head);
        let scanned = self.replies.scan(&head).map_err(SessionError::Reply)?;
        match self.plan {
            Plan::Deliver | Plan::Push | Plan::Refuse | Plan::Element => out.say(&head),
            Plan::Store => self.head = head,
            _ => {}
        }
        if let Scanned::Complete(_) = scanned { self.end(now, out) } else { Ok(()) }
    }

    fn route(&mut self, bytes: &[u8], range: std::ops::Range<usize>, out: &mut Out) {
        match self.plan {
            Plan::Deliver | Plan::Push | Plan::Refuse | Plan::Header | Plan::Element => out.forward(range),
            Plan::Store => self.head.extend_from_slice(&bytes[range]),
            Plan::Undecided => {
                self.head.extend_from_slice(&bytes[range]);
                self.decide(out);
            }
            _ => {}
        }
    }

    fn decide(&mut self, out: &mut Out) {
        let is_line = self.replies.frame().kind == b'+';
        if !self.replies.between_frames() && (is_line || !self.replies.head_is_complete()) {
            return;
        }
        let head = std::mem::take(&mut self.head);
        let frame = self.replies.frame();
        let unasked = if is_line {
            is_monitor_line(frame.head())
        } else {
            PubSub::read(frame.head()) == Some(PubSub::Message)
        };
        self.plan = match unasked {
            // Messages come whatever CLIENT REPLY says; the lines of MONITOR do not.
            true if is_line && self.client.muted => Plan::Mute,
            true => Plan::Deliver,
            false => self.plan_asked(out),
        };
        match self.plan {
            Plan::Deliver => out.say(&head),
            Plan::Store => self.head = head,
            _ => {}
        }
    }

    fn begin(&mut self, bytes: &[u8], at: usize, out: &mut Out) -> Begin {
        let first = bytes[at];
        let current = self.current();
        if let Some(plan) = self.plan_element() {
            return Begin::Frame(plan);
        }
        let streams = current == Some(Kind::Sync)
            && self.client.transaction.is_none()
            && self.lane.answered_is_written();
        if streams && first != b'-' && self.head.is_empty() {
            return self.begin_stream(first, at, out);
        }
        if first == b'-' || !self.head.is_empty() {
            return self.begin_error(&bytes[at..], out);
        }
        let subscribes = matches!(current, Some(Kind::Subscribe(_) | Kind::Unsubscribe(_)));
        let heads =
            self.client.resp3 || self.client.monitoring || self.client.subscriptions.any() || subscribes;
        self.replies.capture_heads(heads);
        if current == Some(Kind::Exec)
            && let Some(transaction) = &self.client.transaction
        {
            self.replies.expect_extra(transaction.extra);
            if first == b'*' && transaction.changes_replies && self.lane.kept > 0 {
                self.replies.split_array();
                return Begin::Frame(if self.client.muted || self.client.skip {
                    Plan::MuteHeader
                } else {
                    Plan::Header
                });
            }
        }
        Begin::Frame(self.plan_reply(first, out))
    }

    /// Before its first word a master sends empty lines to keep the replica alive.
    fn begin_stream(&mut self, first: u8, at: usize, out: &mut Out) -> Begin {
        if matches!(first, b'\n' | b'\r') {
            out.forward(at..at + 1);
            return Begin::Skip(1);
        }
        self.flags.tunnel = true;
        self.lane.answer();
        self.lane.drop_kept();
        self.lane.pop();
        self.lane.make_raw();
        Begin::Skip(0)
    }

    fn begin_error(&mut self, bytes: &[u8], out: &mut Out) -> Begin {
        let end = memchr::memchr(b'\n', bytes).map(|end| end + 1);
        if self.head.is_empty() {
            if let Some(end) = end {
                return Begin::Frame(self.plan_error(&bytes[..end], out));
            }
            if bytes.len() >= ERROR_HEAD_BYTES {
                return Begin::Frame(self.plan_error(bytes, out));
            }
        }
        let line = &bytes[..end.unwrap_or(bytes.len())];
        self.head.extend_from_slice(line);
        self.flags.head_planned = end.is_some() || self.head.len() >= ERROR_HEAD_BYTES;
        Begin::Skip(line.len())
    }

    /// The head that came in pieces is long enough.
    fn plan_head(&mut self, out: &mut Out) -> Plan {
        self.flags.head_planned = false;
        let head = std::mem::take(&mut self.head);
        let plan = self.plan_error(&head, out);
        self.head = head;
        plan
    }

    /// Whether the next reply is that to a PING of the session's own.
    fn awaits_ping(&self) -> bool {
        let ahead = matches!(self.ahead, Ahead::Asked { .. })
            && self.lane.in_flight() > 0
            && self.lane.entries[self.lane.answered].pinged;
        ahead || matches!(self.ping, Ping::Sent { .. })
    }

    /// The kind of the command that is answered next.
    fn current(&self) -> Option<Kind> {
        (self.lane.in_flight() > 0).then(|| self.lane.entries[self.lane.answered].command.kind)
    }

    fn plan_reply(&mut self, first: u8, out: &mut Out) -> Plan {
        if first == b'>' {
            return Plan::Deliver;
        }
        let mixed = (first == b'+' && self.client.monitoring)
            || (first == b'*' && !self.client.resp3 && self.client.subscriptions.any());
        if mixed && (self.client.muted || !self.is_next_delivered()) {
            return Plan::Undecided;
        }
        self.plan_asked(out)
    }

    /// Whether the next reply goes to the client, or there is none to come.
    fn is_next_delivered(&self) -> bool {
        let in_order = self.lane.answered == self.lane.kept && !self.awaits_ping();
        self.current().is_none_or(|kind| in_order && !self.is_muted(kind))
    }

    /// What becomes of a reply.
    fn plan_asked(&mut self, out: &mut Out) -> Plan {
        if self.awaits_ping() {
            return Plan::PingAnswered;
        }
        let Some(kind) = self.current() else { return Plan::Deliver };
        if self.lane.answered < self.lane.kept {
            return Plan::Swallow;
        }
        if self.lane.answered > self.lane.kept {
            return self.plan_executed_behind(out);
        }
        self.note_proof(out);
        if self.is_muted(kind) { Plan::Mute } else { Plan::Deliver }
    }

    /// The first byte of a reply is the answer: the rest of a large one may take its time. In a stream with messages
    /// the first byte does not tell whether it is a reply.
    fn note_proof(&self, out: &mut Out) {
        let mixed = self.client.monitoring || self.client.subscriptions.any();
        let entry = &self.lane.entries[self.lane.answered];
        if !mixed && (entry.command.proof || entry.rejected) {
            out.proof = out.proof.max(Some(entry.sent));
        }
    }

    fn is_muted(&self, kind: Kind) -> bool {
        let silenced = self.client.muted || self.client.skip;
        let queues = self.client.transaction.as_ref();
        match kind {
            Kind::Reset => self.client.skip,
            Kind::Reply(mode) if queues.is_none() => mode != ReplyMode::On,
            // Confirmations are pushed, whatever the mode (redis `src/pubsub.c`, `addReplyPubsubSubscribed`).
            Kind::Subscribe(_) | Kind::Unsubscribe(_) if queues.is_none() => false,
            _ => silenced,
        }
    }

    /// A reply to a command behind a rejected one.
    fn plan_executed_behind(&mut self, out: &mut Out) -> Plan {
        if !self.policy.strict && self.early_bytes < EARLY_BYTES_MAX {
            return Plan::Store;
        }
        self.fill_hole(Event::Hole, out);
        Plan::Deliver
    }

    fn plan_error(&mut self, line: &[u8], out: &mut Out) -> Plan {
        let text = String::from_utf8_lossy(&line[1..]);
        let (code, message) = text.trim_end().split_once(' ').unwrap_or_else(|| (text.trim_end(), ""));
        if self.awaits_ping() {
            let otherwise = if code == "NOAUTH" { Plan::PingUnknown } else { Plan::PingAnswered };
            return rejected(code, message, Kind::Plain).map_or(otherwise, Plan::PingRejected);
        }
        let Some(kind) = self.current() else { return self.plan_stray(code) };
        if kind == Kind::Identity(Identity::Auth) && code == "NOAUTH" && self.unanswered > 0 {
            return self.plan_stray(code);
        }
        if !self.lane.answered_is_written() {
            // The server does not read the command to its end, so it will close.
            return Plan::Refuse;
        }
        let plan = match kind {
            Kind::Exec if self.flags.probing && text.starts_with("ERR EXEC without MULTI") => Plan::Restart,
            Kind::Exec if code == "EXECABORT" => self.plan_abort(message, out),
            _ => match rejected(code, message, kind).filter(|cause| self.policy.holds(*cause)) {
                Some(cause) => self.plan_rejection(kind, cause, out),
                None => self.plan_final(kind, code, out),
            },
        };
        let muted = self.client.muted || self.client.skip;
        let plan = if kind == Kind::Exec && plan == Plan::Deliver && muted { Plan::Mute } else { plan };
        let rejects = self.flags.refused_finally || matches!(plan, Plan::Reject(_) | Plan::Retry(_));
        if rejects && self.rejection.as_deref() != Some(line) {
            self.rejection = Some(line.into());
        }
        plan
    }

    /// An error that answers nothing: REPLCONF ACK was refused, or the server refuses the connection as such
    /// ("max number of clients reached").
    fn plan_stray(&mut self, code: &str) -> Plan {
        if self.unanswered > 0 && matches!(code, "NOAUTH" | "NOPERM") {
            self.unanswered -= 1;
            return Plan::Push;
        }
        Plan::Refuse
    }

    fn plan_rejection(&mut self, kind: Kind, cause: Cause, out: &mut Out) -> Plan {
        let behind_kept = self.lane.answered >= self.lane.kept;
        if self.flags.final_try && behind_kept {
            out.given_up += 1;
            self.flags.refused_finally = true;
            return self.plan_final(kind, "BUSY", out);
        }
        if kind.may_answer_busy() && self.ahead == Ahead::Open && self.lane.entries[self.lane.answered].pinged
        {
            return self.plan_final(kind, "BUSY", out);
        }
        match &mut self.client.transaction {
            // Behind an EXEC that is held, commands are no part of its transaction.
            Some(transaction) if kind != Kind::Exec && !self.flags.draining => {
                if transaction.too_large {
                    out.events.push(Event::TooLarge);
                    return Plan::Deliver;
                }
                if behind_kept {
                    return Plan::Queued(cause);
                }
                // In a transaction that is being sent again; EXEC will be refused, and all starts once more.
                transaction.busy = true;
                if kind == Kind::Multi { Plan::Reject(cause) } else { Plan::Swallow }
            }
            _ => Plan::Reject(cause),
        }
    }

    fn plan_abort(&mut self, message: &str, out: &mut Out) -> Plan {
        let cause = aborted(message).filter(|cause| self.policy.holds(*cause));
        let Some(transaction) = &self.client.transaction else {
            return match cause {
                // WATCH is gone; the server's own words say so.
                Some(_) if self.client.watching || self.flags.final_try => Plan::Deliver,
                Some(cause) => Plan::Reject(cause),
                None => self.plan_final(Kind::Exec, "EXECABORT", out),
            };
        };
        let Some(cause) = cause.or_else(|| transaction.busy.then_some(Cause::Script)) else {
            return Plan::Deliver;
        };
        if transaction.tainted {
            return Plan::Expected(cause);
        }
        if self.client.watching {
            return Plan::Null(cause);
        }
        if transaction.too_large {
            out.events.push(Event::TooLarge);
            return Plan::Deliver;
        }
        if self.flags.final_try { Plan::Deliver } else { Plan::Retry(cause) }
    }

    /// An error that is the command's own.
    fn plan_final(&mut self, kind: Kind, code: &str, out: &mut Out) -> Plan {
        if self.lane.answered < self.lane.kept {
            return Plan::Swallow;
        }
        if self.lane.answered == self.lane.kept {
            let muted = self.client.muted || self.client.skip;
            return if muted { Plan::Mute } else { Plan::Deliver };
        }
        // Behind a rejected command a busy server refuses for reasons it checks before BUSY; those come again. A
        // script's own error means that it ran, if one can run: not for a subscriber in RESP2.
        let subscriber = self.client.subscriptions.any() && !self.client.resp3;
        let ran = kind == Kind::Script && code == "ERR" && !subscriber;
        if ran || !self.policy.strict { self.plan_executed_behind(out) } else { Plan::Again }
    }

    /// The frame is complete.
    fn end(&mut self, now: Time, out: &mut Out) -> Result<(), SessionError> {
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
            Plan::Store => self.store_early(),
            Plan::Reject(cause) => self.hold(cause, now, out),
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
                self.answer_instead(QUEUED, false, cause, out);
            }
            Plan::Null(cause) => self.answer_instead(self.client.null(), true, cause, out),
            Plan::Expected(cause) => self.answer_instead(PREVIOUS_ERRORS, true, cause, out),
        }
        self.answer_silent(out);
        Ok(())
    }

    fn end_delivered(&mut self, is_error: bool, out: &mut Out) -> Result<(), SessionError> {
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
    fn was_pushed(&mut self, out: &mut Out) -> bool {
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
    fn confirmed(&mut self, topic: Topic, subscribed: bool, total: i64, push: bool, out: &mut Out) -> bool {
        let asked = match self.current() {
            Some(Kind::Subscribe(asked)) => subscribed && asked == topic,
            Some(Kind::Unsubscribe(asked)) => !subscribed && asked == topic,
            _ => false,
        };
        if !asked {
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

    /// EXEC's header said how many elements follow.
    fn begin_elements(&mut self, out: &mut Out) {
        let extra = self.client.transaction.as_ref().map_or(0, |transaction| transaction.extra);
        let left = self.replies.frame().count + extra;
        self.elements = Some(Elements { at: 0, left, skip: false });
        if left <= 0 {
            self.end_elements(out);
        }
    }

    /// CLIENT REPLY takes effect in the middle of the reply that it is part of.
    fn plan_element(&mut self) -> Option<Plan> {
        let elements = self.elements.as_mut()?;
        // Behind MULTI come the queued commands in order.
        match self.lane.entries.get(elements.at + 1).map(|entry| entry.command.kind) {
            Some(Kind::Reply(ReplyMode::On)) => self.client.muted = false,
            Some(Kind::Reply(ReplyMode::Off)) => self.client.muted = true,
            Some(Kind::Reply(ReplyMode::Skip)) => {
                elements.skip = true;
                return Some(Plan::MuteElement);
            }
            _ => {}
        }
        Some(if self.client.muted || self.client.skip { Plan::MuteElement } else { Plan::Element })
    }

    fn end_element(&mut self, out: &mut Out) {
        let Some(elements) = &mut self.elements else { return };
        elements.at += 1;
        elements.left -= 1;
        if elements.left <= 0 {
            self.end_elements(out);
        }
    }

    fn end_elements(&mut self, out: &mut Out) {
        let skip = self.elements.take().is_some_and(|elements| elements.skip);
        self.complete(false, true, out);
        self.client.skip = skip && !self.client.muted;
    }

    fn store_early(&mut self) {
        let reply = std::mem::take(&mut self.head);
        self.early_bytes += reply.len();
        let at = self.lane.answered;
        self.forget_script(at);
        self.lane.entries[at].early_reply = Some(reply.into_boxed_slice());
        self.lane.answer();
    }

    fn hold(&mut self, cause: Cause, now: Time, out: &mut Out) {
        let at = self.lane.answered;
        self.forget_script(at);
        let entry = &mut self.lane.entries[at];
        // Its budget begins with its first BUSY, unless it has waited for too long behind others already.
        let late = entry.busy_since.is_some_and(|since| now >= since + self.policy.max_wait);
        if !entry.rejected && !late {
            entry.busy_since = Some(now);
        }
        entry.rejected = true;
        let (kind, sent) = (entry.command.kind, entry.sent);
        let known = entry.pinged && self.ahead == Ahead::Busy;
        if known || !kind.may_answer_busy() {
            out.rejected(cause, sent);
        } else if at == self.lane.kept {
            self.doubt = Some((cause, sent));
        }
        self.flags.draining = true;
        self.lane.answer();
    }

    fn forget_script(&mut self, at: usize) {
        if self.runs_script(self.lane.entries[at].command.kind) {
            self.scripts_in_flight = self.scripts_in_flight.saturating_sub(1);
        }
    }

    fn answer_instead(&mut self, text: &'static [u8], is_error: bool, cause: Cause, out: &mut Out) {
        out.rejected(cause, self.lane.entries[self.lane.answered].sent);
        let skip = self.client.skip;
        self.say_reply(text, out);
        self.client.skip = skip;
        self.complete(is_error, false, out);
    }

    fn ping_rejected(&mut self, cause: Cause, out: &mut Out) {
        // Who has not logged in hears that first.
        self.flags.known = true;
        if let Ping::Sent { at, .. } = self.ping {
            let holds = self.lane.entries.len() > self.lane.kept;
            self.ping = if holds { Ping::Due { doubt: None } } else { Ping::None };
            out.rejected(cause, at);
        } else {
            out.rejected(cause, self.lane.entries[self.lane.answered].sent);
            self.ahead = self.told_ahead(Ahead::Busy);
        }
    }

    /// What a PING ahead told holds for the command behind it only if the server got both at once.
    fn told_ahead(&self, told: Ahead) -> Ahead {
        if self.ahead == (Ahead::Asked { whole: true }) { told } else { Ahead::Unclear }
    }

    /// The server is open. If a PING was rejected before this one, so was the script, and it is sent again; otherwise
    /// nobody can tell whether it ran, and its client gets the reply as it came.
    fn ping_answered(&mut self, is_error: bool, now: Time, out: &mut Out) {
        let Ping::Sent { doubt, at, .. } = self.ping else {
            self.ahead = if is_error { Ahead::Unclear } else { self.told_ahead(Ahead::Open) };
            return;
        };
        self.ping = Ping::None;
        if !is_error {
            out.proof = out.proof.max(Some(at));
        }
        if doubt.is_some() {
            out.events.push(Event::Ambiguous);
            self.deny_rejection(now, out);
        }
    }

    /// The probe was answered "EXEC without MULTI": the server is open.
    fn restart(&mut self, out: &mut Out) {
        let sent = self.lane.entries[self.lane.answered].sent;
        out.proof = out.proof.max(Some(sent));
        self.forget_script(self.lane.answered);
        self.flags.probing = false;
        self.flags.held = false;
        self.lane.answer();
        self.lane.rewind();
    }

    /// Looks whether all in flight is answered of which some was rejected.
    pub(super) fn end_drain(&mut self) {
        if !self.flags.draining || self.lane.in_flight() > 0 {
            return;
        }
        self.flags.draining = false;
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
        if self.runs_script(kind) {
            self.scripts_in_flight = self.scripts_in_flight.saturating_sub(1);
            out.script_answered = true;
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

    fn keep_or_drop(&mut self, kind: Kind, is_error: bool) {
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
    fn deliver_early(&mut self, out: &mut Out) {
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
    const fn is_silent(&self, kind: Kind) -> bool {
        match kind {
            Kind::Empty => true,
            Kind::Unanswered => self.client.transaction.is_none(),
            // A second MONITOR is ignored (redis `src/replication.c`, `monitorCommand`).
            Kind::Monitor => self.client.monitoring,
            _ => false,
        }
    }

    /// What an answered command means for the replies to come.
    fn note(&mut self, kind: Kind, words: u16, is_error: bool) {
        self.client.skip = false;
        // What needs no login tells nothing: QUIT, RESET, and what the server never saw.
        self.flags.known |=
            !is_error && !matches!(kind, Kind::Quit | Kind::Reset | Kind::Empty | Kind::Unanswered);
        if is_error {
            match kind {
                Kind::Exec => self.end_transaction(),
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
        let count = u32::from(words).saturating_sub(1);
        let subscriptions = &self.client.subscriptions;
        match (kind, &mut self.client.transaction) {
            (Kind::Exec, _) => self.end_transaction(),
            (Kind::Discard, _) => {
                self.client.transaction = None;
                self.client.watching = false;
            }
            (Kind::Unanswered, Some(transaction)) => transaction.extra -= 1,
            (Kind::Reset, _) => {
                self.client.reset();
                self.flags.known = false;
            }
            (Kind::Reply(_), Some(transaction)) => transaction.changes_replies = true,
            (Kind::Script, Some(transaction)) => transaction.has_script = true,
            (Kind::Subscribe(_), Some(transaction)) => {
                transaction.extra += i64::from(count) - 1;
                transaction.subscribed += count;
            }
            (Kind::Unsubscribe(topic), Some(transaction)) => {
                transaction.extra += i64::from(if count > 0 { count } else { subscriptions.of(topic) }) - 1;
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

    fn end_transaction(&mut self) {
        self.client.watching = false;
        let Some(transaction) = self.client.transaction.take() else { return };
        if self.replies.frame().is_error() {
            return;
        }
        self.client.subscriptions.add(transaction.subscribed);
    }
}

/// The elements of EXEC's reply, when they are looked at one by one.
#[derive(Debug)]
pub(super) struct Elements {
    at: usize,
    left: i64,
    /// CLIENT REPLY SKIP was among them; it holds for the command behind EXEC.
    skip: bool,
}

enum Begin {
    Frame(Plan),
    Skip(usize),
}

/// `1699999999.123456 [0 127.0.0.1:6379] "GET" "k"` (redis `src/replication.c`, `replicationFeedMonitors`).
fn is_monitor_line(head: &[u8]) -> bool {
    let number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let mut words = head.splitn(2, |&byte| byte == b' ');
    let (stamp, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut parts = stamp.splitn(2, |&byte| byte == b'.');
    let is_stamp = number(parts.next().unwrap_or_default()) && number(parts.next().unwrap_or_default());
    is_stamp && rest.first() == Some(&b'[')
}
