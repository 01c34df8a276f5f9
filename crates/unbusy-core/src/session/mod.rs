//! A session: one client connection and the server connection it owns.
//!
//! # The contract with the shell
//!
//! 1. Bytes of the client go to [`Session::client_bytes`] while [`Session::wants_read`], bytes of the server to
//!    [`Session::server_bytes`]. Both fill an [`Out`]: what goes to the client, and what the gate must know.
//! 2. After that, and whenever the gate lets this connection go, [`Session::want`] tells what the session would send.
//!    The shell asks the gate if need be, answers with [`Session::send`], writes [`Session::outgoing`] as far as the
//!    socket takes it, and says so with [`Session::wrote`]. A lease counts only while [`Session::may_join`]; if
//!    [`Session::needs_lease`], the shell looks at both once more right before it writes.
//! 3. While it waits at the gate, [`Session::deadline`] tells when to call [`Session::expire`].
//!
//! Requests are kept as they were read until they are answered. Replies pass through, and only the head of an error
//! is ever looked at as a whole.

mod client;
mod elements;
mod lane;
mod out;
mod outcome;
mod ping;
mod plan;
mod replies;
mod who;

use std::time::Duration;

use crate::command::{Identity, Kind};
use crate::gate::Ask;
use crate::resp::{ReplyError, ReplyScanner, RequestError, args};
use crate::{Cause, Company, Event, Policy, Time};
use client::ClientSide;
use elements::Elements;
use lane::{Lane, SCOUT_BYTES_MAX};
pub use out::{GivenUp, Out, Piece};
use ping::{Ahead, PING, Ping};
use plan::{ERROR_HEAD_BYTES, Plan};

/// What ends a session; the text goes to the client as an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The server sent bytes that are no RESP.
    Reply(ReplyError),
    /// The server sent a reply that no command asked for, or answered a command that it has not got yet.
    UnexpectedReply,
    /// The client sent a command beyond 513 MiB.
    CommandTooLarge,
}

impl std::fmt::Display for SessionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reply(error) => write!(f, "the server's reply cannot be read: {error}"),
            Self::UnexpectedReply => f.write_str("the server sent a reply that no command asked for"),
            Self::CommandTooLarge => f.write_str("a command larger than 513 MiB"),
        }
    }
}

impl std::error::Error for SessionError {}

/// What a session would do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing, until bytes come.
    Nothing,
    /// Send, whatever the gate says.
    Pass,
    /// Send if a lease runs and [`Session::may_join`]; with nothing in flight ([`Session::is_idle`]) the gate may be
    /// asked.
    Gate(Ask),
}

/// [`Want`] before anybody asks what the gate is to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    Pass,
    Gate,
}

/// How much a session may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// All that the window allows.
    Free,
    /// One command, or one small transaction.
    One,
    /// The same, for a session that waited at the gate: if the command cannot speak for the server, a PING goes first, and
    /// the command once that was executed.
    Speak,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    lane: Lane,
    client: ClientSide,
    replies: ReplyScanner,
    plan: Plan,
    /// What is in flight was sent under a lease.
    leased: bool,
    /// The head of a reply that is kept back until it is known what it is.
    head: Vec<u8>,
    rejections: Rejections,
    flags: Flags,
    /// REPLCONF ACK commands sent, which are answered only when refused.
    unanswered: u32,
    /// EXEC's reply, while its elements come as frames of their own.
    elements: Option<Box<Elements>>,
    /// A command that is never answered is among those to be written.
    silent_in_flight: bool,
    ping: Ping,
    /// What a PING in one piece with the first command in flight has told.
    ahead: Ahead,
    /// What the first rejected command was told, if it is a script.
    doubt: Option<(Cause, Time)>,
    early_bytes: usize,
}

/// What the server said when it rejected what is held: its clients get these words when the budget is over.
#[derive(Debug, Default)]
struct Rejections {
    command: Option<Box<[u8]>>,
    /// EXEC gets words of its own.
    exec: Option<Box<[u8]>>,
}

impl Rejections {
    const fn of(&self, kind: Kind) -> Option<&[u8]> {
        let line = if matches!(kind, Kind::Exec) { &self.exec } else { &self.command };
        match line {
            Some(line) => Some(line),
            None => None,
        }
    }

    /// What a command is told that is given up; if it was not rejected itself, the same as one that was.
    fn words(&self, kind: Kind) -> Vec<u8> {
        let words = self.of(kind).or(self.command.as_deref()).or(self.exec.as_deref());
        words.unwrap_or_default().to_vec()
    }

    /// Keeps a line, or the beginning of one that is longer than is read at once.
    fn note(&mut self, kind: Kind, line: &[u8]) {
        let kept = &line[..line.len().min(ERROR_HEAD_BYTES)];
        let end: &[u8] = if kept.ends_with(b"\n") { b"" } else { b"\r\n" };
        if self.of(kind).and_then(|text| text.strip_suffix(end)) != Some(kept) {
            let last = if kind == Kind::Exec { &mut self.exec } else { &mut self.command };
            *last = Some([kept, end].concat().into());
        }
    }
}

/// Where a session stands apart from its commands.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set and cleared on its own")]
struct Flags {
    /// A command in flight was rejected; nothing is sent until all in flight are answered.
    draining: bool,
    /// Meanwhile the server itself rejected a command for sure, and so all that it rejected behind that.
    sure: bool,
    /// The first command was rejected and waits to be sent again.
    held: bool,
    /// EXEC was refused; it is sent alone to learn when the server is open, then the transaction as a whole.
    probing: bool,
    /// The budget is over: what comes back goes to the client.
    final_try: bool,
    /// The last try was rejected, too.
    refused_finally: bool,
    /// Commands that came before the client can know that SELECT, AUTH or HELLO failed are not executed.
    poisoned: bool,
    /// Bytes pass both ways unread.
    tunnel: bool,
    /// The client's bytes are no commands any more; they go raw once all before them is answered.
    broken: bool,
    /// The client has logged in, or need not.
    known: bool,
    /// A PING has just shown that the server is open: the next command need not ask the gate.
    cleared: bool,
    /// The server refuses PING to this client.
    refuses_ping: bool,
    /// The client sends no more.
    gone: bool,
    /// The server refused the connection as such; it closes.
    refused: bool,
    /// `head` is long enough to tell what it is.
    head_planned: bool,
}

impl Session {
    /// A session of a client that has just connected.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            lane: Lane::new(&policy),
            client: ClientSide::default(),
            replies: ReplyScanner::default(),
            plan: Plan::Deliver,
            leased: false,
            head: Vec::new(),
            rejections: Rejections::default(),
            flags: Flags::default(),
            unanswered: 0,
            elements: None,
            silent_in_flight: false,
            ping: Ping::None,
            ahead: Ahead::Unclear,
            doubt: None,
            early_bytes: 0,
        }
    }

    /// Whether more bytes of the client may be read: memory is bounded by the window and one read, except that a
    /// single large command is taken whole.
    pub fn wants_read(&self) -> bool {
        const RAW_BYTES: usize = 32 * 1024;
        if self.flags.gone || self.is_suspect() {
            false
        } else if self.flags.tunnel || self.flags.broken {
            self.lane.unparsed() < RAW_BYTES
        } else {
            self.lane.has_room()
        }
    }

    /// Whether a large command has begun of which it must be known first whether its client may send it: servers refuse
    /// it at its header otherwise, and a client that has not logged in must not fill anybody's memory.
    fn is_suspect(&self) -> bool {
        !self.flags.known && !self.flags.broken && self.lane.begins_large()
    }

    /// Takes bytes of the client.
    ///
    /// # Errors
    /// When the client must be refused. Bytes that are no RESP are no such error: the server itself answers those.
    pub fn client_bytes(
        &mut self,
        bytes: &[u8],
        now: Time,
        out: &mut Out,
    ) -> Result<Option<RequestError>, SessionError> {
        if self.flags.tunnel || self.flags.broken {
            self.lane.push_raw(bytes);
            return Ok(None);
        }
        let pushed = self.lane.push(bytes, now);
        if self.flags.poisoned {
            self.reject_unsent(out);
        }
        if self.lane.too_large() {
            return Err(SessionError::CommandTooLarge);
        }
        self.flags.broken = pushed.is_err();
        Ok(pushed.err())
    }

    /// The client closed its side: what waits at the gate is dropped, what is in flight may still be answered. Behind a
    /// command that is held everything waits, also while its next try is in flight; so does a command behind a PING.
    pub fn client_gone(&mut self) {
        self.flags.gone = true;
        let asked = self.flags.cleared || matches!(self.ping, Ping::Sent { .. });
        let waits_behind = asked && self.lane.entries.len() > self.lane.sent;
        if waits_behind || (self.flags.held && !self.is_idle()) {
            self.lane.drop_unsent();
        }
    }

    /// Nobody reads the replies any more: nothing more is sent.
    pub fn client_lost(&mut self) {
        self.flags.gone = true;
        self.lane.drop_unsent();
    }

    /// Drops all that has not been sent.
    pub fn abandon(&mut self) {
        if matches!(self.ping, Ping::Due { .. }) {
            self.ping = Ping::None;
        }
        if self.flags.draining || self.flags.held {
            self.flags = Flags { gone: self.flags.gone, ..Flags::default() };
        }
        self.lane.drop_unsent();
    }

    /// Whether it has something to send again: a command that was rejected, or a PING in its place.
    pub const fn waits(&self) -> bool {
        self.is_held() || matches!(self.ping, Ping::Due { .. })
    }

    /// Whether nothing is in flight.
    pub const fn is_idle(&self) -> bool {
        self.lane.in_flight() == 0 && !matches!(self.ping, Ping::Sent { .. })
    }

    /// Whether a command was rejected and waits to be sent again.
    pub const fn is_held(&self) -> bool {
        self.flags.draining || self.flags.held
    }

    /// Whether the client is owed nothing: all its complete commands are answered.
    pub fn is_quiet(&self) -> bool {
        self.lane.entries.len() == self.lane.kept && !(self.flags.broken && self.lane.unparsed() > 0)
    }

    /// Whether the client has sent what the server has not been given yet.
    pub fn has_unsent(&self) -> bool {
        let raw = (self.flags.tunnel || self.flags.broken) && self.lane.has_unsent_raw();
        raw || self.lane.entries.len() > self.lane.sent
    }

    /// Whether the client is subscribed to anything, or has asked to be, so that it may be sent messages at any time.
    pub fn is_subscribed(&self) -> bool {
        let asks = |entry: &lane::Entry| matches!(entry.command.kind, Kind::Subscribe(_));
        self.client.subscriptions.any() || self.lane.entries.iter().any(asks)
    }

    /// Whether bytes pass unread in both directions.
    pub const fn is_tunnel(&self) -> bool {
        self.flags.tunnel
    }

    /// Whether the server refused the connection as such; it is to be closed once the reply is delivered.
    pub const fn is_refused(&self) -> bool {
        self.flags.refused
    }

    /// The server's way of reading became known ([`Policy::one_read`]).
    pub const fn set_one_read(&mut self, one_read: bool) {
        if self.policy.one_read != one_read {
            self.policy.one_read = one_read;
            self.lane.follow(&self.policy);
        }
    }

    /// Scripts that were sent and are not answered.
    pub const fn scripts_in_flight(&self) -> u32 {
        self.lane.scripts_in_flight()
    }

    /// The command of the first of them, and when it was sent; for a transaction its first script.
    pub fn script(&self) -> Option<(&[u8], Time)> {
        self.lane.script()
    }

    /// As whom the client has logged in, if it has. A server without logins knows everybody as `default`.
    pub fn user(&self) -> Option<&str> {
        self.client.who.as_ref()?.user.as_deref()
    }

    /// What the client calls itself: CLIENT SETNAME.
    pub fn client_name(&self) -> Option<&str> {
        self.client.who.as_ref()?.name.as_deref()
    }

    /// Whether it is that one if a script of this connection runs.
    pub fn script_company(&self) -> Company {
        self.lane.script_company()
    }

    /// What the session would send next.
    pub fn want(&self) -> Want {
        match self.next() {
            Next::Nothing => Want::Nothing,
            Next::Pass => Want::Pass,
            Next::Gate => Want::Gate(self.ask()),
        }
    }

    fn next(&self) -> Next {
        if self.flags.tunnel {
            return if self.lane.has_unsent_raw() { Next::Pass } else { Next::Nothing };
        }
        if self.flags.draining {
            return Next::Nothing;
        }
        match self.ping {
            Ping::None => {}
            Ping::Due { doubt: Some(_) } => return Next::Pass,
            Ping::Due { doubt: None } => return Next::Gate,
            Ping::Sent { .. } => return Next::Nothing,
        }
        let Some(next) = self.lane.entries.get(self.lane.sent) else {
            return match self.lane.in_flight() == 0 {
                true if self.flags.broken => Next::Pass,
                true if self.is_suspect() => Next::Gate,
                _ => Next::Nothing,
            };
        };
        if next.early_reply.is_some() {
            return if self.lane.outgoing().is_empty() { Next::Pass } else { Next::Nothing };
        }
        let alone = self.lane.in_flight() == 0;
        if !alone && self.policy.one_read && self.policy.strict && self.lane.outgoing().is_empty() {
            return Next::Nothing;
        }
        if !alone && (self.fenced(next.command.kind) || !self.lane.fits_window(next.bytes)) {
            return Next::Nothing;
        }
        if self.flags.probing && self.lane.sent > self.lane.kept {
            return Next::Nothing;
        }
        let passes = alone && (self.flags.cleared || (next.command.kind.passes_gate() && !self.flags.held));
        if self.flags.final_try && !alone {
            return Next::Nothing;
        }
        if passes || self.flags.final_try || !self.policy.holds_any() {
            return Next::Pass;
        }
        Next::Gate
    }

    /// What the gate is to know of the next command.
    pub fn ask(&self) -> Ask {
        let commands = u32::try_from(self.lane.entries.len() - self.lane.kept).unwrap_or(u32::MAX);
        let Some(next) = self.lane.entries.get(self.lane.sent) else {
            let pings = self.is_suspect();
            return Ask { scout: pings, pings: false, read: pings, commands };
        };
        let written = self.lane.outgoing().is_empty();
        let small = next.bytes <= SCOUT_BYTES_MAX;
        let due = self.ping != Ping::None;
        let speaks = next.command.scout || self.flags.probing || self.transaction_ahead().is_some();
        let scout = due || (written && small && speaks);
        let pings = !scout && written && self.may_ping();
        Ask { scout, pings, read: due || pings || next.command.read, commands }
    }

    /// Whether a command of this kind must wait until what is in flight is answered.
    fn fenced(&self, next: Kind) -> bool {
        let last = self.lane.entries[self.lane.sent - 1].command;
        // Behind an EXEC that will be refused, a command could be executed while the transaction is not.
        let refused = last.kind == Kind::Exec && self.client.transaction.as_ref().is_some_and(|t| t.busy);
        // Relaxed order: behind a rejected command, confirmations could not be told to wait for their turn.
        let confirms = matches!(next, Kind::Subscribe(_) | Kind::Unsubscribe(_)) && !self.policy.strict;
        let alone = next.is_barrier() || next == Kind::Multi || confirms;
        refused || alone || last.kind.is_barrier() || last.blocking
    }

    /// The number of commands of a small transaction that is next and complete: it is executed as a whole or not at
    /// all, so it may go as one.
    fn transaction_ahead(&self) -> Option<usize> {
        let ahead = self.lane.entries.range(self.lane.sent..);
        let mut bytes = 0;
        for (at, entry) in ahead.enumerate() {
            bytes += entry.bytes;
            let fits = bytes <= SCOUT_BYTES_MAX && !entry.command.kind.is_barrier();
            if !fits || (at == 0) != (entry.command.kind == Kind::Multi) {
                return None;
            }
            if entry.command.kind == Kind::Exec {
                return Some(at + 1);
            }
        }
        None
    }

    /// Sends what [`Session::want`] told, as far as the pass allows.
    pub fn send(&mut self, pass: Pass, now: Time) {
        if self.ping == Ping::None && self.lane.entries.len() == self.lane.sent && self.is_suspect() {
            self.ping = Ping::Due { doubt: None };
        }
        if pass == Pass::Speak && self.ping == Ping::None && self.ask().pings {
            self.ping = Ping::Due { doubt: None };
        }
        if let Ping::Due { doubt } = self.ping {
            self.ping = Ping::Sent { doubt, written: 0, at: now };
            return;
        }
        let free = pass == Pass::Free || !self.policy.holds_any();
        self.leased = pass == Pass::Free && self.policy.strict;
        if pass != Pass::Free {
            self.put_ping_ahead();
        }
        let unit = if free { usize::MAX } else { self.transaction_ahead().unwrap_or(1) };
        let mut sent = 0;
        while sent < unit {
            if free && self.sends_straight() {
                self.lane.send_plain(now);
            }
            match self.next() {
                Next::Nothing => break,
                Next::Pass | Next::Gate => self.send_one(now),
            }
            sent += 1;
        }
    }

    /// Whether a lease, `width` long, allows to send behind what is in flight: that must have been sent under a lease,
    /// too, and not longer ago than `width`. Otherwise it may have been rejected meanwhile and the server be open
    /// again, as other connections prove, while the rejections are still on their way.
    pub fn may_join(&self, width: Duration, now: Time) -> bool {
        match self.lane.oldest_in_flight() {
            // What is in flight behind a rejected command is never joined.
            Some(_) if self.policy.strict && self.flags.draining => false,
            Some(oldest) if self.policy.strict => self.leased && now < oldest.sent + width,
            _ => true,
        }
    }

    /// Whether what is to be written may go only while a lease runs, since more than one command is in flight then, or it
    /// stands behind a rejected one.
    /// The shell looks at its clock again just before it writes such bytes, and takes them back with
    /// [`Session::take_back`] if the lease is over: between a decision and the write a thread can lose its processor.
    pub fn needs_lease(&self) -> bool {
        self.leased && (self.lane.in_flight() > 1 || self.flags.draining) && !self.flags.tunnel
    }

    /// Commands of which nothing has been written count as not sent; [`Session::send`] may send them again.
    pub fn take_back(&mut self) {
        while self.lane.last_is_unwritten() {
            self.lane.take_back();
        }
        self.end_drain();
    }

    /// Whether plain commands may follow what is in flight without a closer look at each: [`Session::next`] would let
    /// all of them go.
    fn sends_straight(&self) -> bool {
        let Flags { tunnel, draining, probing, final_try, .. } = self.flags;
        let behind_plain = self.lane.last_in_flight().is_some_and(|entry| entry.command.is_plain());
        let held_up = tunnel || draining || probing || final_try || self.policy.one_read;
        behind_plain && !held_up && self.ping == Ping::None
    }

    fn is_raw(&self) -> bool {
        self.flags.tunnel || self.lane.entries.len() == self.lane.sent
    }

    fn send_one(&mut self, now: Time) {
        if self.is_raw() {
            self.flags.tunnel = true;
            self.lane.send_raw();
            return;
        }
        self.flags.cleared = false;
        let entry = &self.lane.entries[self.lane.sent];
        if entry.early_reply.is_some() {
            self.lane.skip_next();
            return;
        }
        let kind = entry.command.kind;
        self.silent_in_flight |= matches!(kind, Kind::Empty | Kind::Unanswered | Kind::Monitor);
        if entry.pinged {
            self.ahead = Ahead::Asked { whole: true };
        }
        let transaction = self.client.transaction.as_ref().map(|transaction| transaction.has_script);
        self.lane.send_next(transaction, now);
    }

    /// What is to be written to the server.
    pub fn outgoing(&self) -> &[u8] {
        match self.ping {
            Ping::Sent { written, .. } => &PING[written..],
            _ => self.lane.outgoing(),
        }
    }

    /// So many bytes of [`Session::outgoing`] were written.
    pub fn wrote(&mut self, bytes: usize, out: &mut Out) {
        if let Ping::Sent { written, .. } = &mut self.ping {
            *written += bytes;
            return;
        }
        self.lane.wrote(bytes);
        if let Ahead::Asked { whole } = &mut self.ahead {
            *whole &= self.lane.answered_is_written();
        }
        if self.silent_in_flight {
            self.silent_in_flight = !self.lane.outgoing().is_empty();
            self.answer_silent(out);
        }
        if self.flags.tunnel && self.lane.outgoing().is_empty() {
            self.lane.drop_raw();
        }
    }

    /// The session waits at the gate from now on, unless it did already.
    pub fn wait_began(&mut self, now: Time) {
        if let Some(first) = self.lane.entries.get_mut(self.lane.kept) {
            first.busy_since.get_or_insert(now);
        }
    }

    /// When the budget of the first waiting command is over.
    pub fn deadline(&self) -> Option<Time> {
        if !self.is_idle() {
            return None;
        }
        let first = self.lane.entries.get(self.lane.kept)?;
        first.busy_since.map(|since| since + self.policy.max_wait)
    }

    /// Gives up the commands whose budget is over. `episode`: since when the server is busy, if it is.
    pub fn expire(&mut self, episode: Option<Time>, now: Time, out: &mut Out) {
        while self.is_idle() {
            let Some(first) = self.lane.entries.get_mut(self.lane.kept) else { return };
            if first.early_reply.is_some() {
                // It has been executed, and only its turn has not come.
                return;
            }
            let Some(since) = first.busy_since else { return };
            // A command that was never rejected counts from the episode's beginning, and a stall costs no budget.
            let since = match episode {
                _ if first.rejected => since,
                Some(episode) => since.max(episode),
                None => now,
            };
            first.busy_since = Some(since);
            if now < since + self.policy.max_wait {
                return;
            }
            let under_way = self.lane.kept > 0 && self.lane.sent > 0 && !self.flags.probing;
            if !first.rejected || self.rejections.of(first.command.kind).is_none() || under_way {
                // It has no BUSY of its own yet, or the server has again got a part of the transaction that it ends: it
                // is sent once more, and the answer is the client's.
                self.flags.final_try = true;
                if self.ping == (Ping::Due { doubt: None }) {
                    self.ping = Ping::None;
                }
                return;
            }
            self.give_up(now, out);
        }
    }

    /// The command there is given up.
    fn count_given_up(&self, at: usize, out: &mut Out) {
        /// Longer than any name of the servers' own.
        const NAME_BYTES_MAX: usize = 32;
        out.given_up += 1;
        out.first_given_up.get_or_insert_with(|| {
            let name = args(self.lane.command_at(at)).next().unwrap_or_default();
            let name = &name[..name.len().min(NAME_BYTES_MAX)];
            let command = name.to_ascii_uppercase().escape_ascii().to_string();
            GivenUp { command, since: self.lane.entries[at].busy_since }
        });
    }

    fn give_up(&mut self, now: Time, out: &mut Out) {
        self.count_given_up(self.lane.kept, out);
        self.ping = Ping::None;
        self.hand_over_rejection(now, out);
    }

    /// The rejection of the first command goes to the client.
    fn hand_over_rejection(&mut self, now: Time, out: &mut Out) {
        let kind = self.lane.entries[self.lane.kept].command.kind;
        let text = self.rejections.words(kind);
        let skip = self.client.skip;
        self.say_reply(&text, out);
        self.client.skip = skip;
        // Answered without having been sent: move all marks behind it.
        self.lane.rewind_to_kept();
        self.send_one(now);
        // If it is a script, no end of it was seen.
        self.lane.end_script(self.lane.answered);
        self.lane.wrote(self.lane.outgoing().len());
        self.complete(true, false, out);
        self.poison_behind(kind, out);
    }

    /// Behind a SELECT, AUTH or HELLO that failed, commands would run in the wrong place. Not in a transaction: the server
    /// discards it.
    fn poison_behind(&mut self, kind: Kind, out: &mut Out) {
        if self.client.transaction.is_none()
            && matches!(kind, Kind::Identity(Identity::Select | Identity::Auth | Identity::Hello))
        {
            self.flags.poisoned = true;
            self.reject_unsent(out);
        }
    }

    /// Whether commands are answered with BUSY because SELECT, AUTH or HELLO was given up in front of them.
    pub const fn is_poisoned(&self) -> bool {
        self.flags.poisoned
    }

    /// Nothing more was to be read: what comes from now on was sent in the knowledge of the failure, unless it is the
    /// end of a command that had begun before.
    pub fn unpoison(&mut self) {
        self.flags.poisoned = self.lane.unparsed() > 0;
    }

    fn reject_unsent(&mut self, out: &mut Out) {
        let text = self.rejections.words(Kind::Plain);
        while self.lane.entries.len() > self.lane.sent {
            let silent = self.lane.entries[self.lane.sent].command.kind == Kind::Empty;
            if !silent {
                self.say_reply(&text, out);
                self.count_given_up(self.lane.sent, out);
            }
            self.lane.remove_unsent();
        }
    }

    /// A reply of our own making, unless the client wants none.
    fn say_reply(&mut self, text: &[u8], out: &mut Out) {
        if !self.client.muted && !self.client.skip {
            out.say(text);
        }
        self.client.skip = false;
    }

    /// A command was executed behind a rejected one. Nothing can be sent again without reordering, so the rejected
    /// ones are given up. Between them may be some that were executed, whose replies came early.
    fn fill_hole(&mut self, event: Event, out: &mut Out) {
        out.events.push(event);
        while self.lane.answered > self.lane.kept {
            let first = &mut self.lane.entries[self.lane.kept];
            if let Some(reply) = first.early_reply.take() {
                self.early_bytes -= reply.len();
                self.say_reply(&reply, out);
            } else {
                let text = self.rejections.words(first.command.kind);
                self.say_reply(&text, out);
                self.count_given_up(self.lane.kept, out);
            }
            let removed = self.lane.remove_first();
            if removed.command.kind == Kind::Exec && self.client.transaction.take().is_some() {
                self.client.watching = false;
                self.lane.drop_kept();
            }
        }
        self.flags.draining = false;
        self.flags.sure = false;
        self.flags.held = false;
    }
}
