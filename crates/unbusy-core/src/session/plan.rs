//! Whose reply is it, and what is to become of it? Decided when a frame begins.

use super::{Ahead, Out, Session};
use crate::command::{Identity, Kind, ReplyMode};
use crate::{Cause, Event, aborted, rejected};

/// An error is read no further than this to tell what it is; no rejection is longer.
pub(super) const ERROR_HEAD_BYTES: usize = 512;
/// Relaxed order: replies kept behind a rejected command.
const EARLY_BYTES_MAX: usize = 64 << 20;

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
    /// EXEC under WATCH: the answer for "a watched key changed". No cause: it was queued commands that were rejected.
    Null(Option<Cause>),
    /// EXEC: the transaction is held.
    Retry(Option<Cause>),
    /// EXEC of a transaction in which the client has seen an error.
    Expected(Option<Cause>),
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
    pub(super) const fn answers(self) -> bool {
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

/// How a frame begins.
pub(super) enum Begin {
    /// With this plan.
    Frame(Plan),
    /// Not yet: so many bytes are dealt with.
    Skip(usize),
}

impl Session {
    pub(super) fn begin(&mut self, bytes: &[u8], at: usize, out: &mut Out) -> Begin {
        let first = bytes[at];
        let current = self.current();
        if let Some(plan) = self.plan_element(first) {
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
        if current == Some(Kind::Exec) && first == b'*' && self.splits_elements() {
            self.replies.capture_heads(true);
            self.replies.split_array();
            return Begin::Frame(if self.client.muted { Plan::MuteHeader } else { Plan::Header });
        }
        Begin::Frame(self.plan_reply(first, out))
    }

    /// Before its first word a master sends empty lines to keep the replica alive.
    pub(super) fn begin_stream(&mut self, first: u8, at: usize, out: &mut Out) -> Begin {
        if matches!(first, b'\n' | b'\r') {
            out.forward(at..at + 1);
            return Begin::Skip(1);
        }
        self.note_proof(out);
        self.flags.tunnel = true;
        self.flags.held = false;
        self.lane.answer();
        self.lane.drop_kept();
        self.lane.pop();
        self.lane.make_raw();
        Begin::Skip(0)
    }

    pub(super) fn begin_error(&mut self, bytes: &[u8], out: &mut Out) -> Begin {
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
    pub(super) fn plan_head(&mut self, out: &mut Out) -> Plan {
        self.flags.head_planned = false;
        let head = std::mem::take(&mut self.head);
        let plan = self.plan_error(&head, out);
        self.head = head;
        plan
    }

    /// The kind of the command that is answered next.
    pub(super) fn current(&self) -> Option<Kind> {
        (self.lane.in_flight() > 0).then(|| self.lane.entries[self.lane.answered].command.kind)
    }

    pub(super) fn plan_reply(&mut self, first: u8, out: &mut Out) -> Plan {
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
    pub(super) fn is_next_delivered(&self) -> bool {
        let in_order = self.lane.answered == self.lane.kept;
        self.current().is_none_or(|kind| in_order && !self.is_muted(kind))
    }

    /// What becomes of a reply.
    pub(super) fn plan_asked(&mut self, out: &mut Out) -> Plan {
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
    pub(super) fn note_proof(&self, out: &mut Out) {
        let mixed = self.client.monitoring || self.client.subscriptions.any();
        let entry = &self.lane.entries[self.lane.answered];
        if !mixed && (entry.command.proof || entry.rejected) {
            out.proof = out.proof.max(Some(entry.sent));
        }
    }

    pub(super) fn is_muted(&self, kind: Kind) -> bool {
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
    pub(super) fn plan_executed_behind(&mut self, out: &mut Out) -> Plan {
        if !self.policy.strict && self.early_bytes < EARLY_BYTES_MAX {
            return Plan::Store;
        }
        self.fill_hole(Event::Hole, out);
        Plan::Deliver
    }

    pub(super) fn plan_error(&mut self, line: &[u8], out: &mut Out) -> Plan {
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
                None => self.plan_final(kind, code, message, out),
            },
        };
        let muted = self.client.muted || self.client.skip;
        let plan = if kind == Kind::Exec && plan == Plan::Deliver && muted { Plan::Mute } else { plan };
        let rejects = self.flags.refused_finally || matches!(plan, Plan::Reject(_) | Plan::Retry(_));
        if rejects {
            self.rejections.note(kind, line);
        }
        plan
    }

    /// An error that answers nothing: REPLCONF ACK was refused, or the server refuses the connection as such
    /// ("max number of clients reached").
    pub(super) fn plan_stray(&mut self, code: &str) -> Plan {
        if self.unanswered > 0 && matches!(code, "NOAUTH" | "NOPERM") {
            self.unanswered -= 1;
            return Plan::Push;
        }
        Plan::Refuse
    }

    pub(super) fn plan_rejection(&mut self, kind: Kind, cause: Cause, out: &mut Out) -> Plan {
        let behind_kept = self.lane.answered >= self.lane.kept;
        if self.flags.final_try && behind_kept {
            self.count_given_up(self.lane.answered, out);
            self.flags.refused_finally = true;
            return self.plan_final(kind, "BUSY", "", out);
        }
        if kind.may_answer_busy() && self.ahead == Ahead::Open && self.lane.entries[self.lane.answered].pinged
        {
            return self.plan_final(kind, "BUSY", "", out);
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

    pub(super) fn plan_abort(&mut self, message: &str, out: &mut Out) -> Plan {
        let cause = aborted(message).filter(|cause| self.policy.holds(*cause));
        let Some(transaction) = &self.client.transaction else {
            return match cause {
                Some(_) if self.flags.final_try => self.plan_last(out),
                // WATCH is gone; the server's own words say so.
                Some(_) if self.client.watching => Plan::Deliver,
                Some(cause) => Plan::Reject(cause),
                None => self.plan_final(Kind::Exec, "EXECABORT", message, out),
            };
        };
        if cause.is_none() && !transaction.busy {
            return Plan::Deliver;
        }
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
        if self.flags.final_try { self.plan_last(out) } else { Plan::Retry(cause) }
    }

    /// The budget is over, and so is the last try of EXEC.
    fn plan_last(&self, out: &mut Out) -> Plan {
        self.count_given_up(self.lane.answered, out);
        Plan::Deliver
    }

    /// An error that is the command's own.
    fn plan_final(&mut self, kind: Kind, code: &str, message: &str, out: &mut Out) -> Plan {
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
        let ran = kind == Kind::Script && is_of_script(code, message) && !subscriber;
        if ran || !self.policy.strict { self.plan_executed_behind(out) } else { Plan::Again }
    }
}

/// Whether a script said this itself, perhaps after having written, as far as can be told.
fn is_of_script(code: &str, message: &str) -> bool {
    /// What servers check before they look whether they are busy (redis `src/server.c`, `processCommand`), and whether they
    /// know the script.
    const REFUSALS: [&str; 14] = [
        "ASK",
        "CLUSTERDOWN",
        "CROSSSLOT",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "MOVED",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "NOSCRIPT",
        "OOM",
        "READONLY",
        "TRYAGAIN",
    ];
    // Of an error of a command in a script it is told where (redis `src/script_lua.c`, `luaCallFunction`).
    !REFUSALS.contains(&code) || message.contains(" script: ")
}

/// `1699999999.123456 [0 127.0.0.1:6379] "GET" "k"` (redis `src/replication.c`, `replicationFeedMonitors`).
pub(super) fn is_monitor_line(head: &[u8]) -> bool {
    let number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let mut words = head.splitn(2, |&byte| byte == b' ');
    let (stamp, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut parts = stamp.splitn(2, |&byte| byte == b'.');
    let is_stamp = number(parts.next().unwrap_or_default()) && number(parts.next().unwrap_or_default());
    is_stamp && rest.first() == Some(&b'[')
}

#[cfg(test)]
mod tests {
    use super::is_monitor_line;

    #[test]
    fn a_line_of_monitor_begins_with_a_time_and_a_place() {
        assert!(is_monitor_line(b"1699999999.123456 [0 127"));
        for other in ["OK", "1 [0", "1.x [0", "x.5 [0", ".5 [0", "5. [0", "1.5 0", "1.5[0", "1.5.5 [0", ""] {
            assert!(!is_monitor_line(other.as_bytes()), "{other}");
        }
    }
}
