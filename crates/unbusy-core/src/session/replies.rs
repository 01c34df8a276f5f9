//! The server's bytes: frames are found, planned, and go to the client or not.

use std::ops::Range;

use super::client::PubSub;
use super::plan::{Begin, Plan, is_monitor_line};
use super::{Out, Ping, Session, SessionError};
use crate::Time;
use crate::command::Kind;
use crate::resp::{Scanned, whole_reply};

impl Session {
    /// Takes bytes of the server.
    ///
    /// # Errors
    /// When they cannot be replies to what was sent; the session is over then.
    pub fn server_bytes(&mut self, bytes: &[u8], now: Time, out: &mut Out) -> Result<(), SessionError> {
        self.lane.accept(&self.policy);
        let mut at = 0;
        while at < bytes.len() || self.flags.head_planned {
            if self.flags.tunnel {
                self.pass_raw(at..bytes.len(), out);
                return Ok(());
            }
            if self.replies.between_frames() {
                let passed = self.pass_on(&bytes[at..], out);
                if passed > 0 {
                    out.forward(at..at + passed);
                    at += passed;
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

    fn pass_raw(&mut self, range: Range<usize>, out: &mut Out) {
        // An error may have begun before the tunnel did.
        let head = std::mem::take(&mut self.head);
        // Also the answer to malformed bytes is none that a client wants that wants no replies.
        if !(self.flags.broken && self.client.muted) {
            out.say(&head);
            out.forward(range);
        }
    }

    /// The straight way, which most replies take: those that are whole and no error, to plain commands that were not held,
    /// of a client in its default state that has got all replies so far. Returns the length of all of them together; zero if there is none.
    fn pass_on(&mut self, bytes: &[u8], out: &mut Out) -> usize {
        let straight = self.client.is_plain()
            && self.ping == Ping::None
            && self.head.is_empty()
            && !self.is_held()
            && self.early_bytes == 0
            && self.lane.answered == 0;
        if !straight {
            return 0;
        }
        let (mut passed, mut commands) = (0, 0);
        for entry in self.lane.written() {
            if entry.command.kind != Kind::Plain || entry.busy_since.is_some() {
                break;
            }
            let Some(length) = whole_reply(&bytes[passed..]) else { break };
            passed += length;
            commands += 1;
            if entry.command.proof {
                out.proof = out.proof.max(Some(entry.sent));
            }
        }
        if commands > 0 {
            self.flags.known = true;
            self.lane.pop_many(commands);
            self.answer_silent(out);
        }
        passed
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

    fn route(&mut self, bytes: &[u8], range: Range<usize>, out: &mut Out) {
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
}
