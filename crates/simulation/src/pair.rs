//! A client's connection and its server connection, driven as the proxy drives them.

use std::collections::VecDeque;
use std::time::Duration;

use unbusy_core::gate::{Answer, Ask, Outcome, Ticket};
use unbusy_core::session::{Out, Pass, SessionError, Want};
use unbusy_core::{Event, Policy, Session, Time};

use crate::network::Pipe;
use crate::text::{frame, is_message};
use crate::trace::Step;
use crate::world::{READ_BYTES, World};

/// How long the proxy waits for the answer to a command whose client has gone.
const ORPHAN_WAIT: Duration = Duration::from_secs(60);
/// What a client sent before it closed is executed if the gate opens within this time.
pub const GONE_WAIT: Duration = Duration::from_millis(50);
/// While commands are refused behind a failed SELECT, so much is read before the refusals are written.
const POISONED_BACKLOG_BYTES: usize = 256 * 1024;
/// What is written at once and no longer than this arrives at once.
const SEGMENT_BYTES: usize = 1200;
/// Unanswered commands of one connection, as the design has it.
const WINDOW_BYTES: usize = 48 * 1024;
/// Replies of the session's own beside one read.
const OWN_BYTES: usize = 16 * 1024;

/// Where the connection stands at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Away,
    Waiting(Ticket),
    Sent(Ticket),
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It sends no more, and reads on.
    HalfClose,
    /// It closes, and reads no more.
    Close,
    /// It resets the connection.
    Reset,
}

impl Leave {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::HalfClose => "sends no more",
            Self::Close => "closes",
            Self::Reset => "resets the connection",
        }
    }
}

/// A client that takes its replies slowly.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// What its socket holds.
    pub room: usize,
    /// What it takes at once.
    pub takes: usize,
    /// How often it does.
    pub every: Duration,
}

/// When commands are sent that wait for replies.
#[derive(Debug, Default)]
pub(crate) struct Loop {
    pub(crate) commands: VecDeque<Vec<u8>>,
    /// Commands without a reply, at most.
    pub(crate) depth: usize,
    pub(crate) think: Duration,
    pub(crate) sent: usize,
}

/// One client connection, the session, and the server connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Pair {
    pub(crate) shell: usize,
    pub(crate) session: Session,
    pub(crate) place: Place,
    pub(crate) starts: Time,
    pub(crate) conn: Option<usize>,
    pub(crate) from_client: VecDeque<(Time, Vec<u8>)>,
    pub(crate) asks: Loop,
    pub(crate) leaves: Time,
    pub(crate) how: Leave,
    pub(crate) client_inbox: Vec<u8>,
    pub(crate) reader: Option<Reader>,
    /// What the client's socket holds, and what waits for room in it.
    unread: usize,
    backlog: usize,
    pub(crate) reads_at: Time,
    pub(crate) server_inbox: Vec<u8>,
    pub(crate) server_closed: bool,
    pub(crate) to_server: Pipe,
    pub(crate) from_server: Pipe,
    pub(crate) timer: Option<Time>,
    pub(crate) blocked_until: Time,
    pub(crate) client_closed: bool,
    client_lost: bool,
    /// Since when it waits at the gate, for what a client may expect that has gone.
    waiting_since: Option<Time>,
    /// Since when it waits, for the watch on time.
    pub(crate) waits: Option<Time>,
    server_told: bool,
    pub(crate) ended: bool,
    accepted: usize,
    /// What its client was held back by when it had gone: no more than these bytes may still be written.
    held_and_gone: bool,
    allowance: Option<usize>,
    /// What the client got, or would if it took its replies.
    pub replies: Vec<u8>,
    /// When each piece of it came.
    pub reply_times: Vec<(Time, usize)>,
    /// How much of `replies` is whole frames, and how many answer commands.
    framed: usize,
    answered: usize,
    /// Where each command of the client ends, if every command has one reply.
    pub(crate) ends: Vec<usize>,
    /// The client's departure was seen.
    pub gone: Option<Time>,
    /// The server has ended it.
    pub cut: bool,
    /// What ended the session before its time.
    pub error: Option<SessionError>,
    /// How many of its commands were given up.
    pub given_up: u64,
}

impl Pair {
    pub(crate) fn new(shell: usize, policy: Policy, starts: Time) -> Self {
        Self {
            shell,
            session: Session::new(policy),
            place: Place::Away,
            starts,
            conn: None,
            from_client: VecDeque::new(),
            asks: Loop::default(),
            leaves: Time::NEVER,
            how: Leave::HalfClose,
            client_inbox: Vec::new(),
            reader: None,
            unread: 0,
            backlog: 0,
            reads_at: Time::NEVER,
            server_inbox: Vec::new(),
            server_closed: false,
            to_server: Pipe::default(),
            from_server: Pipe::default(),
            timer: None,
            blocked_until: Time::ZERO,
            client_closed: false,
            client_lost: false,
            waiting_since: None,
            waits: None,
            server_told: false,
            ended: false,
            accepted: 0,
            held_and_gone: false,
            allowance: None,
            replies: Vec::new(),
            reply_times: Vec::new(),
            framed: 0,
            answered: 0,
            ends: Vec::new(),
            gone: None,
            cut: false,
            error: None,
            given_up: 0,
        }
    }

    /// When something is due on it.
    pub(crate) fn next(&self, now: Time) -> Time {
        let pipes = self.to_server.next().min(self.from_server.next());
        if self.conn.is_none() {
            return self.starts;
        }
        if self.ended {
            return pipes;
        }
        let later = |time: Time| if time > now { time } else { Time::NEVER };
        let leaves = if self.client_closed { Time::NEVER } else { later(self.leaves) };
        let from_client = self.from_client.front().map_or(Time::NEVER, |(at, _)| *at);
        let timer = later(self.timer.unwrap_or(Time::NEVER));
        pipes.min(timer).min(later(self.blocked_until)).min(leaves).min(from_client).min(self.reads_at)
    }

    /// The client has read some of what is in its socket.
    pub(crate) fn take_replies(&mut self, now: Time) {
        let Some(Reader { takes, every, .. }) = self.reader else { return };
        self.unread = self.unread.saturating_sub(takes);
        self.reads_at = if self.unread > 0 { now + every } else { Time::NEVER };
    }

    /// The client's socket takes some of this; the rest waits.
    fn write_client(&mut self, bytes: usize, now: Time) {
        let Some(Reader { room, every, .. }) = self.reader else { return };
        self.backlog += bytes;
        let fits = self.backlog.min(room - self.unread);
        self.backlog -= fits;
        self.unread += fits;
        if self.unread > 0 && self.reads_at == Time::NEVER {
            self.reads_at = now + every;
        }
    }

    /// Counts the replies, and lets the client send what it waited to send.
    fn count_replies(&mut self, now: Time) {
        while let Some(length) = frame(&self.replies[self.framed..]) {
            self.answered += usize::from(!is_message(&self.replies[self.framed..]));
            self.framed += length;
        }
        self.send_more(now);
    }

    pub(crate) fn send_more(&mut self, now: Time) {
        while self.asks.sent < self.answered + self.asks.depth
            && let Some(command) = self.asks.commands.pop_front()
        {
            self.asks.sent += 1;
            self.from_client.push_back((now + self.asks.think, command));
        }
    }

    /// More of the client is kept than it should be: the window, or one command that is larger, and one read.
    fn keeps_too_much(&self) -> Option<String> {
        let end = |number: usize| if number == 0 { 0 } else { self.ends[number - 1] };
        if self.ends.len() <= self.answered {
            return None;
        }
        let held = self.accepted - end(self.answered);
        let first = end(self.answered + 1) - end(self.answered);
        (held > first.max(WINDOW_BYTES) + READ_BYTES).then(|| format!("{held} bytes are held"))
    }
}

impl World {
    pub(crate) fn is_free(&self, at: usize) -> bool {
        let pair = &self.pairs[at];
        let shell = &self.shells[pair.shell];
        let free = self.now < shell.gate.free_until() || (!self.policy.strict && shell.episode.is_none());
        free && pair.session.may_join(shell.gate.lease_width(), self.now)
    }

    /// Does all that can be done now.
    pub(crate) fn drive(&mut self, at: usize) {
        if self.pairs[at].conn.is_none() {
            return;
        }
        while !self.pairs[at].ended {
            let mut progress = self.flush_backlog(at);
            progress |= self.read_server(at);
            progress |= self.read_client(at);
            progress |= self.send(at);
            progress |= self.check_budget(at);
            self.count_step();
            if !progress {
                break;
            }
        }
        self.finish(at);
        let pair = &mut self.pairs[at];
        if pair.held_and_gone && pair.allowance.is_none() {
            pair.allowance = Some(pair.session.outgoing().len());
        }
    }

    pub(crate) fn end(&mut self, at: usize, why: &'static str) {
        self.note(&Step::Ends(at, why));
        let now = self.now;
        let pair = &mut self.pairs[at];
        pair.ended = true;
        pair.to_server.close(now, &mut self.network);
        self.leave(at);
    }

    fn leave(&mut self, at: usize) {
        if let Some(ticket) = self.take_ticket(at) {
            self.with(at, Some(ticket), |gate, now| gate.leave(ticket, now));
        }
    }

    fn finish(&mut self, at: usize) {
        let now = self.now;
        let pair = &mut self.pairs[at];
        if pair.ended {
            return;
        }
        let answered = pair.session.is_quiet() && pair.backlog == 0 && !pair.session.is_tunnel();
        if pair.session.is_refused() && pair.backlog == 0 {
            return self.end(at, "the server refused it");
        }
        if !pair.client_closed {
            return;
        }
        if answered || (pair.client_lost && pair.session.is_idle()) {
            return self.end(at, "its client has gone");
        }
        if !pair.server_told && pair.session.outgoing().is_empty() && !pair.session.has_unsent() {
            pair.server_told = true;
            pair.to_server.close(now, &mut self.network);
            pair.timer = Some(now + ORPHAN_WAIT);
        }
        if pair.server_told && pair.timer.is_some_and(|timer| timer <= now) {
            self.end(at, "its client went long ago");
        }
    }

    fn flush_backlog(&mut self, at: usize) -> bool {
        let now = self.now;
        let pair = &mut self.pairs[at];
        let before = pair.backlog;
        if before == 0 {
            return false;
        }
        pair.write_client(0, now);
        pair.backlog < before
    }

    fn lose_client(&mut self, at: usize) {
        let now = self.now;
        let pair = &mut self.pairs[at];
        pair.client_lost = true;
        pair.client_closed = true;
        pair.backlog = 0;
        pair.reads_at = Time::NEVER;
        pair.gone.get_or_insert(now);
        pair.held_and_gone = true;
        pair.session.client_lost();
        self.note(&Step::Leaves(at, "is lost"));
        if self.pairs[at].session.is_idle() {
            self.leave_gate(at);
        }
    }

    fn read_client(&mut self, at: usize) -> bool {
        let now = self.now;
        let pair = &mut self.pairs[at];
        let poisoned = pair.session.is_poisoned();
        let full = poisoned && pair.backlog > POISONED_BACKLOG_BYTES;
        if pair.client_closed || pair.ended || full || !pair.session.wants_read() {
            return false;
        }
        if pair.client_inbox.is_empty() {
            if poisoned {
                pair.session.unpoison();
            }
            if pair.leaves > now {
                return false;
            }
            if pair.how == Leave::Reset {
                self.lose_client(at);
                return true;
            }
            pair.client_closed = true;
            pair.gone = Some(now);
            pair.held_and_gone = pair.session.is_held();
            pair.session.client_gone();
            return true;
        }
        let all = pair.client_inbox.len().min(READ_BYTES);
        let count = self.network.cut(all);
        let bytes: Vec<u8> = pair.client_inbox.drain(..count).collect();
        pair.accepted += count;
        let mut out = Out::default();
        match pair.session.client_bytes(&bytes, now, &mut out) {
            Ok(_) => {}
            Err(error) => {
                pair.error = Some(error);
                self.end(at, "its client must be refused");
                return true;
            }
        }
        self.deliver(at, &[], &out);
        self.count_given_up(at, out.given_up);
        if let Some(fault) = self.pairs[at].keeps_too_much() {
            self.fault(&format!("client {at}: {fault}"));
        }
        true
    }

    fn count_given_up(&mut self, at: usize, commands: u64) {
        if commands > 0 {
            self.pairs[at].given_up += commands;
            self.note(&Step::GivenUp(at, commands));
        }
    }

    fn read_server(&mut self, at: usize) -> bool {
        let now = self.now;
        let pair = &mut self.pairs[at];
        if pair.ended || (pair.backlog > 0 && !pair.client_lost) {
            return false;
        }
        if pair.server_inbox.is_empty() {
            if pair.server_closed {
                pair.cut = true;
                self.end(at, "the server has closed");
            }
            return false;
        }
        let all = pair.server_inbox.len().min(READ_BYTES);
        let count = self.network.cut(all);
        let bytes: Vec<u8> = pair.server_inbox.drain(..count).collect();
        let mut out = Out::default();
        let read = pair.session.server_bytes(&bytes, now, &mut out);
        self.deliver(at, &bytes, &out);
        self.report(at, &out);
        self.settle_doubt(at);
        if let Err(error) = read {
            self.pairs[at].error = Some(error);
            self.end(at, "the session cannot go on");
        }
        true
    }

    fn deliver(&mut self, at: usize, read: &[u8], out: &Out) {
        let now = self.now;
        let pair = &mut self.pairs[at];
        if out.pieces().is_empty() || pair.client_lost {
            return;
        }
        if pair.leaves <= now && pair.how != Leave::HalfClose {
            return self.lose_client(at);
        }
        let bytes = out.to_client(read);
        pair.write_client(bytes.len(), now);
        pair.reply_times.push((now, bytes.len()));
        pair.replies.extend(&bytes);
        pair.count_replies(now);
        let most = READ_BYTES + if pair.session.is_poisoned() { POISONED_BACKLOG_BYTES } else { OWN_BYTES };
        let backlog = pair.backlog;
        self.note(&Step::ToClient(at, &bytes));
        if backlog > most {
            self.fault(&format!("client {at}: {backlog} bytes of replies are kept"));
        }
    }

    fn report(&mut self, at: usize, out: &Out) {
        let now = self.now;
        for event in &out.events {
            self.tell(self.pairs[at].shell, event.clone());
        }
        let pair = &mut self.pairs[at];
        if out.events.contains(&Event::Hole) && !pair.session.is_held() && !pair.client_lost {
            // What looked rejected when the client closed was executed, so the server was open: the rest goes, as it would directly.
            (pair.held_and_gone, pair.allowance) = (false, None);
        }
        if let Some(sent) = out.proof {
            if let Place::Sent(ticket) = self.pairs[at].place {
                self.pairs[at].place = Place::Away;
                self.with(at, Some(ticket), |gate, now| {
                    gate.answered(Some(ticket), Outcome::Proof, sent, now);
                });
            } else if sent >= self.shells[self.pairs[at].shell].gate.proof_wanted_after() {
                self.with(at, None, |gate, now| gate.answered(None, Outcome::Proof, sent, now));
            }
        }
        if let Some((cause, sent)) = out.rejection {
            let ticket = self.take_ticket(at);
            let pair = &mut self.pairs[at];
            // Null for EXEC under WATCH is an answer: what stands behind it still goes.
            let held = pair.session.is_held() || out.pieces().is_empty();
            pair.held_and_gone |= pair.client_closed && held;
            let ask = pair.session.waits().then(|| pair.session.ask());
            let ticket = self.with(at, ticket, |gate, now| {
                let ticket = gate.rejected(ticket, ask, cause, sent, now);
                gate.also_rejected(out.rejected.saturating_sub(1));
                ticket
            });
            self.wait(at, ticket);
        } else if let Place::Sent(ticket) = self.pairs[at].place
            && self.pairs[at].session.is_idle()
        {
            self.pairs[at].place = Place::Away;
            self.with(at, Some(ticket), |gate, now| {
                gate.answered(Some(ticket), Outcome::Unclear, now, now);
            });
        }
        if out.script_answered && self.shells[self.pairs[at].shell].episode.is_some() {
            self.with(at, None, unbusy_core::Gate::script_answered);
        }
        if out.given_up > 0 {
            self.count_given_up(at, out.given_up);
            self.with(at, None, |gate, _| gate.gave_up(out.given_up));
        }
        let _ = now;
    }

    fn wait(&mut self, at: usize, ticket: Option<Ticket>) {
        let now = self.now;
        let pair = &mut self.pairs[at];
        pair.place = ticket.map_or(Place::Away, Place::Waiting);
        pair.waits = ticket.map(|_| now);
        self.look_if_woken(at);
    }

    /// A script that answers BUSY may have run. If the gate cannot tell, the session asks the server.
    fn settle_doubt(&mut self, at: usize) {
        let now = self.now;
        let pair = &mut self.pairs[at];
        let Some((cause, sent)) = pair.session.doubt() else { return };
        let gate = &self.shells[pair.shell].gate;
        if gate.busy().is_some() {
            pair.session.confirm_rejection();
            if pair.place == Place::Away {
                let ask = Some(pair.session.ask());
                let ticket = self.with(at, None, |gate, now| gate.rejected(None, ask, cause, sent, now));
                self.wait(at, ticket);
            }
        } else if gate.cannot_be_busy(sent, now) {
            let mut out = Out::default();
            pair.session.deny_rejection(now, &mut out);
            self.deliver(at, &[], &out);
            self.report(at, &out);
        }
    }

    /// The gate may let go in the same moment whom it was just told of.
    fn look_if_woken(&mut self, at: usize) {
        let pair = &self.pairs[at];
        if let Place::Waiting(ticket) = pair.place
            && self.shells[pair.shell].woken.contains(&ticket)
        {
            self.ready.insert(at);
        }
    }

    fn take_ticket(&mut self, at: usize) -> Option<Ticket> {
        self.pairs[at].waits = None;
        match std::mem::replace(&mut self.pairs[at].place, Place::Away) {
            Place::Away => None,
            Place::Waiting(ticket) | Place::Sent(ticket) => Some(ticket),
        }
    }

    fn make_way(&mut self, at: usize) {
        let pair = &self.pairs[at];
        if matches!(pair.place, Place::Waiting(_)) && pair.session.is_idle() {
            self.leave(at);
        }
    }

    fn send(&mut self, at: usize) -> bool {
        let now = self.now;
        let mut progress = false;
        loop {
            if self.pairs[at].ended || !self.write_server(at, &mut progress) {
                return progress;
            }
            match self.pairs[at].session.want() {
                Want::Nothing => {
                    self.make_way(at);
                    return progress;
                }
                Want::Pass => {
                    self.leave(at);
                    self.pairs[at].session.send(Pass::One, now);
                }
                Want::Gate(_) if self.pairs[at].place == Place::Away && self.is_free(at) => {
                    self.pairs[at].session.send(Pass::Free, now);
                }
                Want::Gate(_) if !self.pairs[at].session.is_idle() => return progress,
                Want::Gate(ask) => {
                    if !self.ask_gate(at, ask) {
                        return progress;
                    }
                }
            }
            progress = true;
        }
    }

    /// `false`: the socket is full.
    fn write_server(&mut self, at: usize, progress: &mut bool) -> bool {
        let now = self.now;
        while !self.pairs[at].session.outgoing().is_empty() {
            if self.pairs[at].blocked_until > now {
                return false;
            }
            if self.pairs[at].session.needs_lease() && !self.is_free(at) {
                self.pairs[at].session.take_back();
                if self.pairs[at].session.outgoing().is_empty() {
                    return true;
                }
            }
            let pair = &mut self.pairs[at];
            let all = pair.session.outgoing().len();
            let (few, full) = (self.network.rng.one_in(8), self.network.rng.one_in(32));
            let mut count = if few { 1 + self.network.rng.index(all) } else { all };
            if few && full {
                let end = pair.session.outgoing()[..count].windows(3).rposition(|bytes| bytes == b"\r\n*");
                count = end.map_or(count, |end| end + 2);
            }
            let bytes = pair.session.outgoing()[..count].to_vec();
            pair.to_server.push(&bytes, SEGMENT_BYTES, now, &mut self.network);
            if full {
                // What is written in part must arrive in time, as is assumed of the world.
                let between = bytes.ends_with(b"\r\n") && pair.session.outgoing()[count..].starts_with(b"*");
                pair.blocked_until = now + self.network.clog(between);
            }
            let exceeds = pair.allowance.is_some_and(|allowance| allowance < count);
            pair.allowance = pair.allowance.map(|allowance| allowance.saturating_sub(count));
            let mut out = Out::default();
            pair.session.wrote(count, &mut out);
            self.note(&Step::ToServer(at, &bytes));
            if exceeds {
                self.fault(&format!("client {at} has gone, yet its commands are sent"));
            }
            if out.rejection.is_some() || !out.pieces().is_empty() {
                self.deliver(at, &[], &out);
                self.report(at, &out);
            }
            *progress = true;
        }
        true
    }

    fn ask_gate(&mut self, at: usize, mut ask: Ask) -> bool {
        let now = self.now;
        let speaks = !self.pairs[at].client_lost && self.pairs[at].backlog == 0;
        ask.scout &= speaks;
        ask.pings &= speaks;
        let waits = self.pairs[at].waits;
        let ticket = self.take_ticket(at);
        let answer = self.with(at, None, |gate, now| gate.ask(ticket, ask, now));
        let pair = &mut self.pairs[at];
        match answer {
            Answer::Free => {
                pair.waiting_since = None;
                pair.session.send(Pass::Free, now);
            }
            Answer::One(ticket) => {
                let waited = pair.waiting_since.take().filter(|_| pair.client_closed);
                if waited.is_some_and(|since| now - since > GONE_WAIT) {
                    pair.place = ticket.map_or(Place::Away, Place::Waiting);
                    self.leave_gate(at);
                    return false;
                }
                if !pair.client_closed && !pair.session.wants_read() && pair.leaves <= now {
                    pair.place = ticket.map_or(Place::Away, Place::Waiting);
                    pair.client_closed = true;
                    pair.gone.get_or_insert(now);
                    pair.held_and_gone = true;
                    pair.session.client_gone();
                    self.leave_gate(at);
                    return false;
                }
                let pass = if ticket.is_some() { Pass::Speak } else { Pass::One };
                pair.place = ticket.map_or(Place::Away, Place::Sent);
                pair.session.send(pass, now);
            }
            Answer::Wait(ticket) => {
                pair.place = Place::Waiting(ticket);
                pair.waits = waits.or(Some(now));
                pair.waiting_since.get_or_insert(now);
                if pair.client_closed && (pair.session.is_held() || self.shells[pair.shell].episode.is_some())
                {
                    self.leave_gate(at);
                } else if !pair.client_closed {
                    pair.session.wait_began(now);
                    pair.timer = pair.session.deadline();
                    self.look_if_woken(at);
                }
                return false;
            }
        }
        true
    }

    fn leave_gate(&mut self, at: usize) {
        self.leave(at);
        self.pairs[at].session.abandon();
    }

    fn check_budget(&mut self, at: usize) -> bool {
        let now = self.now;
        let pair = &mut self.pairs[at];
        if pair.ended || !matches!(pair.place, Place::Waiting(_)) || pair.client_closed {
            if !pair.client_closed {
                pair.timer = None;
            }
            return false;
        }
        pair.timer = pair.session.deadline();
        if pair.timer.is_none_or(|timer| timer > now) {
            return false;
        }
        let mut out = Out::default();
        let episode = self.shells[pair.shell].episode;
        pair.session.expire(episode, now, &mut out);
        self.deliver(at, &[], &out);
        if out.given_up > 0 {
            self.count_given_up(at, out.given_up);
            self.with(at, None, |gate, _| gate.gave_up(out.given_up));
        }
        if self.pairs[at].session.is_quiet() {
            self.leave(at);
        }
        self.pairs[at].timer = None;
        true
    }
}
