//! PING of the session's own: asks whether the server is busy where the client's command must not or need not.

use super::{Out, Session};
use crate::{Cause, Event, Time};

/// PING, on the client's own connection, tells whether the server is busy where the command itself must not or cannot: a
/// script that answers with the server's own text would run again and again, and BLPOP is silent when it is accepted, as is
/// a busy server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ping {
    None,
    /// To be sent. The doubt: what the rejection said, and when the script was sent; `None`: it was the server's.
    Due {
        doubt: Option<(Cause, Time)>,
    },
    /// Sent, so many bytes of it written.
    Sent {
        doubt: Option<(Cause, Time)>,
        written: usize,
        at: Time,
    },
}

/// A PING in front of a command, small enough for the server to read both at once: nothing is executed between them, so
/// what the PING is told holds for the command. A script's answer is judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Not answered yet. Whether both went in one write.
    Asked {
        whole: bool,
    },
    Busy,
    Open,
    /// It was refused for another reason, or could be read apart from the command.
    Unclear,
}

/// PING and command together must fit into one segment of any common line, or the server could read them apart.
const SEGMENT_BYTES: usize = 1200;

pub(super) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

impl Session {
    /// Whether the command that is held may have been executed: it is a script, and scripts can answer with the
    /// server's own text. Tells what the rejection said and when the script was sent. The shell settles it with
    /// [`Session::confirm_rejection`] or [`Session::deny_rejection`] if the gate knows; else the session sends a PING.
    pub const fn doubt(&self) -> Option<(Cause, Time)> {
        match self.ping {
            Ping::Due { doubt } => doubt,
            _ => None,
        }
    }

    /// The server is known to be busy, so what is held was rejected by the server itself.
    pub fn confirm_rejection(&mut self) {
        if let Ping::Due { doubt } = &mut self.ping {
            *doubt = None;
            self.trust_rejections();
        }
    }

    /// The scripts that looked rejected were: what becomes of the first one's next try says nothing of the others.
    fn trust_rejections(&mut self) {
        self.lane.doubtful().for_each(|entry| entry.doubtful = false);
    }

    /// The server cannot have been busy, or was not when asked: what looked like a rejection was the script's own
    /// reply, and the client gets it. So do the scripts behind it that were sent along with it and told the same, each
    /// in its turn.
    pub fn deny_rejection(&mut self, now: Time, out: &mut Out) {
        self.ping = Ping::None;
        if self.lane.entries.is_empty() {
            return;
        }
        let text = self.rejections.command.as_deref().unwrap_or_default();
        for entry in self.lane.doubtful().skip(1) {
            entry.early_reply = Some(text.into());
            self.early_bytes += text.len();
        }
        self.hand_over_rejection(now, out);
    }

    /// A script that is sent without a lease gets a PING in front of it, if possible.
    pub(super) fn put_ping_ahead(&mut self) {
        let Some(next) = self.lane.entries.get(self.lane.sent) else { return };
        let fits = next.bytes + PING.len() <= SEGMENT_BYTES;
        if self.may_ping() && fits && !next.pinged && next.command.kind.may_answer_busy() {
            self.lane.put_ahead(PING);
        }
    }

    /// Whether a PING of the session's own may go now: it would not come between a command and what that belongs to, and its
    /// reply is easily told.
    pub(super) fn may_ping(&self) -> bool {
        let alone = self.lane.in_flight() == 0 && self.lane.kept == 0 && self.client.transaction.is_none();
        let mixed = self.client.monitoring || self.client.subscriptions.any();
        alone && !mixed && !self.flags.refuses_ping
    }

    /// Whether the next reply is that to a PING of the session's own.
    pub(super) fn awaits_ping(&self) -> bool {
        let ahead = matches!(self.ahead, Ahead::Asked { .. })
            && self.lane.in_flight() > 0
            && self.lane.entries[self.lane.answered].pinged;
        ahead || matches!(self.ping, Ping::Sent { .. })
    }

    pub(super) fn ping_rejected(&mut self, cause: Cause, out: &mut Out) {
        // Who has not logged in hears that first.
        self.flags.known = true;
        if let Ping::Sent { at, .. } = self.ping {
            let holds = self.lane.entries.len() > self.lane.kept;
            self.ping = if holds { Ping::Due { doubt: None } } else { Ping::None };
            self.trust_rejections();
            out.rejected(cause, at);
        } else {
            out.rejected(cause, self.lane.entries[self.lane.answered].sent);
            self.ahead = self.told_ahead(Ahead::Busy);
        }
    }

    /// What a PING ahead told holds for the command behind it only if the server got both at once.
    pub(super) fn told_ahead(&self, told: Ahead) -> Ahead {
        if self.ahead == (Ahead::Asked { whole: true }) { told } else { Ahead::Unclear }
    }

    /// The server is open. If a PING was rejected before this one, so was the script, and it is sent again; otherwise
    /// nobody can tell whether it ran, and its client gets the reply as it came.
    pub(super) fn ping_answered(&mut self, is_error: bool, now: Time, out: &mut Out) {
        let Ping::Sent { doubt, at, .. } = self.ping else {
            self.ahead = if is_error { Ahead::Unclear } else { self.told_ahead(Ahead::Open) };
            return;
        };
        self.ping = Ping::None;
        if is_error {
            self.flags.refuses_ping = true;
        } else {
            // A command that has only begun may take its time.
            self.flags.cleared = self.lane.entries.len() > self.lane.kept;
            out.proof = out.proof.max(Some(at));
        }
        if doubt.is_some() {
            out.events.extend(self.lane.doubtful().map(|_| Event::Ambiguous));
            self.deny_rejection(now, out);
        }
    }
}
