//! The lane: the commands that one server connection is given, what of them is in flight, and their bytes.

use std::collections::VecDeque;

use super::ping::PING;
use crate::command::{Command, Kind};
use crate::resp::{RequestError, RequestScanner, args, whole_request};
use crate::{Company, Policy, Time};

/// A scout must fit into one read of the server.
pub(super) const SCOUT_BYTES_MAX: usize = 16 * 1024;
/// The largest command that is taken: the servers' default `proto-max-bulk-len` and room for the other words.
pub(super) const COMMAND_BYTES_MAX: u64 = (512 << 20) + (1 << 20);
/// An idle connection keeps no more than this.
const IDLE_BYTES_MAX: usize = 1024;
const IDLE_ENTRIES_MAX: usize = 16;

/// One complete command of the client.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set and cleared on its own")]
pub(super) struct Entry {
    pub(super) command: Command,
    /// Length in the store.
    pub(super) bytes: usize,
    pub(super) came: Time,
    pub(super) sent: Time,
    /// When its budget began: its first BUSY, or when it first waited for a busy server.
    pub(super) busy_since: Option<Time>,
    /// The server itself rejected it, so it is known to be rejected while busy.
    pub(super) rejected: bool,
    /// It looks rejected since it was sent last, but may have said so itself after having been executed.
    pub(super) doubtful: bool,
    /// It is in flight and runs a script.
    pub(super) runs_script: bool,
    /// A transaction is open behind it, if all goes well; whether it has queued a script.
    pub(super) transaction: Option<bool>,
    /// A PING goes in front of it, in its bytes, and is answered first.
    pub(super) pinged: bool,
    /// Its reply came before that of a rejected command in front of it.
    pub(super) early_reply: Option<Box<[u8]>>,
}

/// Commands in order: `kept` of them are answered and only kept to be sent again, those up to `answered` are
/// answered in this pass, those up to `sent` are in flight, the rest waits.
///
/// All offsets count from `head`, the first byte still needed.
#[derive(Debug, Default)]
pub(super) struct Lane {
    window: usize,
    accepted: bool,
    pub(super) entries: VecDeque<Entry>,
    pub(super) kept: usize,
    pub(super) answered: usize,
    pub(super) sent: usize,
    bytes: Vec<u8>,
    head: usize,
    scanner: RequestScanner,
    /// End of the last complete command.
    parsed: usize,
    kept_bytes: usize,
    answered_bytes: usize,
    sent_bytes: usize,
    written: usize,
    scripts_in_flight: u32,
}

impl Lane {
    pub(super) fn new(policy: &Policy) -> Self {
        // Most connections have one command at a time, and the first growth would be for four.
        let mut lane = Self { entries: VecDeque::with_capacity(1), ..Self::default() };
        lane.follow(policy);
        lane
    }

    /// The policy may have changed. What is in flight stays there.
    pub(super) const fn follow(&mut self, policy: &Policy) {
        self.window = policy.window(self.accepted);
    }

    /// Something came from the server.
    pub(super) const fn accept(&mut self, policy: &Policy) {
        if !self.accepted {
            self.accepted = true;
            self.follow(policy);
        }
    }

    /// Takes bytes of the client and finds the commands in them.
    pub(super) fn push(&mut self, bytes: &[u8], now: Time) -> Result<(), RequestError> {
        self.make_room(bytes.len());
        self.bytes.extend_from_slice(bytes);
        while let Some((command, length)) = self.find()? {
            self.take(command, length, now);
        }
        Ok(())
    }

    /// Takes bytes that are no commands any more.
    pub(super) fn push_raw(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete command, and its length.
    fn find(&mut self) -> Result<Option<(Command, usize)>, RequestError> {
        let rest = &self.bytes[self.head + self.parsed..];
        if self.scanner.between_commands()
            && let Some((length, name)) = whole_request(rest)
        {
            return Ok(Some((Command::named(name, args(&rest[..length]).skip(1)), length)));
        }
        let length = self.scanner.scan(rest)?;
        Ok(length.map(|length| (Command::read(&rest[..length]), length)))
    }

    fn take(&mut self, command: Command, length: usize, now: Time) {
        let from = self.head + self.parsed;
        let length =
            if let Kind::Reply(_) = command.kind { self.ask_for_replies(from, length) } else { length };
        self.parsed += length;
        self.entries.push_back(Entry {
            command,
            bytes: length,
            came: now,
            sent: now,
            busy_since: None,
            rejected: false,
            doubtful: false,
            runs_script: false,
            transaction: None,
            pinged: false,
            early_reply: None,
        });
    }

    /// Whatever the client asks of CLIENT REPLY, the server must keep answering: rejected commands would vanish
    /// unseen. The same command with ON meets the same checks (authentication, permissions, transaction).
    fn ask_for_replies(&mut self, from: usize, length: usize) -> usize {
        const ON: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n";
        self.bytes.splice(from..from + length, ON.iter().copied());
        ON.len()
    }

    fn make_room(&mut self, wanted: usize) {
        if self.head > 0 && self.bytes.len() + wanted > self.bytes.capacity() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    /// Whether a command is too large to be taken.
    pub(super) fn too_large(&self) -> bool {
        self.scanner.announced() > COMMAND_BYTES_MAX || self.unparsed() as u64 > COMMAND_BYTES_MAX
    }

    /// Whether a command has begun that servers refuse at its header if the client has not logged in.
    pub(super) fn begins_large(&self) -> bool {
        self.scanner.is_large()
    }

    /// Bytes that belong to no complete command.
    pub(super) fn unparsed(&self) -> usize {
        self.bytes.len() - self.head - self.parsed
    }

    /// Whether more bytes of the client may be taken: the window is not full, or all there is is the beginning of
    /// one large command.
    pub(super) fn has_room(&self) -> bool {
        let held = self.bytes.len() - self.head - self.kept_bytes;
        held < self.window || self.parsed == self.kept_bytes
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.sent - self.answered
    }

    pub(super) fn oldest_in_flight(&self) -> Option<&Entry> {
        self.entries.range(self.answered..self.sent).next()
    }

    pub(super) fn last_in_flight(&self) -> Option<&Entry> {
        self.entries.range(self.answered..self.sent).next_back()
    }

    pub(super) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Whether a command of this length fits into the window; a larger one goes alone.
    pub(super) const fn fits_window(&self, bytes: usize) -> bool {
        self.in_flight() == 0 || self.sent_bytes - self.answered_bytes + bytes <= self.window
    }

    pub(super) const fn scripts_in_flight(&self) -> u32 {
        self.scripts_in_flight
    }

    /// The first command in flight that makes a script run, and when it was sent. For a transaction it is its first script.
    pub(super) fn script(&self) -> Option<(&[u8], Time)> {
        let mut in_flight = self.answered..self.sent;
        self.script_at(in_flight.find(|at| self.entries[*at].runs_script)?)
    }

    /// What else is in flight with it.
    pub(super) fn script_company(&self) -> Company {
        let mut scripts = (self.answered..self.sent).filter(|at| self.entries[*at].runs_script);
        match (scripts.next(), scripts.next()) {
            (Some(at), None) if self.entries[at].command.kind != Kind::Exec => Company::Alone,
            (Some(at), None) if self.queued_scripts(at).count() == 1 => Company::Transaction,
            _ => Company::Others,
        }
    }

    /// The scripts of the transaction that the command there executes, as far as it is known here.
    fn queued_scripts(&self, exec: usize) -> impl Iterator<Item = usize> {
        let begin = self.entries.range(..exec).rposition(|entry| entry.command.kind == Kind::Multi);
        let queued = begin.map_or(exec..exec, |begin| begin..exec);
        queued.filter(|at| self.entries[*at].command.kind == Kind::Script)
    }

    /// The script that the command there makes run, likewise.
    pub(super) fn script_at(&self, at: usize) -> Option<(&[u8], Time)> {
        let sent = self.entries[at].sent;
        let first = match self.entries[at].command.kind {
            Kind::Exec => self.queued_scripts(at).next()?,
            _ => at,
        };
        Some((self.command_at(first), sent))
    }

    /// The command there.
    pub(super) fn command_at(&self, at: usize) -> &[u8] {
        let start = self.head + self.entries.range(..at).map(|entry| entry.bytes).sum::<usize>();
        let entry = &self.entries[at];
        let ping = if entry.pinged { PING.len() } else { 0 };
        &self.bytes[start + ping..start + entry.bytes]
    }

    /// The next command goes to the server. `transaction`: one is open, and has queued a script or not; commands in
    /// flight may change that.
    pub(super) fn send_next(&mut self, transaction: Option<bool>, now: Time) {
        let before = self.last_in_flight().map_or(transaction, |last| last.transaction);
        let entry = &mut self.entries[self.sent];
        let kind = entry.command.kind;
        entry.sent = now;
        entry.doubtful = false;
        entry.runs_script = match kind {
            Kind::Script => before.is_none(),
            Kind::Exec => before == Some(true),
            _ => false,
        };
        entry.transaction = match kind {
            Kind::Multi => before.or(Some(false)),
            Kind::Exec | Kind::Discard | Kind::Reset => None,
            Kind::Script => before.map(|_| true),
            _ => before,
        };
        self.scripts_in_flight += u32::from(entry.runs_script);
        self.sent += 1;
        self.sent_bytes += entry.bytes;
    }

    /// The plain commands that come next go to the server, as far as they fit into the window. Only behind another one.
    pub(super) fn send_plain(&mut self, now: Time) {
        let transaction = self.last_in_flight().and_then(|last| last.transaction);
        for entry in self.entries.range_mut(self.sent..) {
            let bytes = self.sent_bytes + entry.bytes;
            let goes_on = entry.command.is_plain() && entry.early_reply.is_none();
            if !goes_on || bytes - self.answered_bytes > self.window {
                return;
            }
            entry.sent = now;
            entry.transaction = transaction;
            self.sent += 1;
            self.sent_bytes = bytes;
        }
    }

    /// The next command is sent in one piece with these bytes in front of it, now and whenever it is sent again.
    pub(super) fn put_ahead(&mut self, ping: &[u8]) {
        let at = self.head + self.sent_bytes;
        self.bytes.splice(at..at, ping.iter().copied());
        self.parsed += ping.len();
        let entry = &mut self.entries[self.sent];
        entry.bytes += ping.len();
        entry.pinged = true;
    }

    /// Whether nothing of the last command in flight has been written.
    pub(super) fn last_is_unwritten(&self) -> bool {
        self.in_flight() > 0 && self.sent_bytes - self.entries[self.sent - 1].bytes >= self.written
    }

    /// The last command in flight is not sent after all. Only while nothing of it is written.
    pub(super) fn take_back(&mut self) {
        self.sent -= 1;
        self.sent_bytes -= self.entries[self.sent].bytes;
        self.end_script(self.sent);
    }

    /// The command there is in flight no more.
    pub(super) fn end_script(&mut self, at: usize) {
        self.scripts_in_flight -= u32::from(std::mem::take(&mut self.entries[at].runs_script));
    }

    /// The scripts that may have said themselves that they were rejected.
    pub(super) fn doubtful(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.range_mut(self.kept..).filter(|entry| entry.doubtful)
    }

    /// Relaxed order: the next command has been executed already. Only when all before it is written.
    pub(super) fn skip_next(&mut self) {
        self.sent_bytes += self.entries[self.sent].bytes;
        self.written = self.sent_bytes;
        self.sent += 1;
        self.skip_answered();
    }

    /// All bytes there are go to the server as they are.
    pub(super) fn send_raw(&mut self) {
        self.sent_bytes = self.bytes.len() - self.head;
    }

    /// What is to be written to the server.
    pub(super) fn outgoing(&self) -> &[u8] {
        &self.bytes[self.head + self.written..self.head + self.sent_bytes]
    }

    /// So many bytes of [`Self::outgoing`] were written.
    pub(super) const fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
    }

    /// Forgets the first command behind the kept ones, which is answered.
    pub(super) fn remove_first(&mut self) -> Entry {
        let from = self.head + self.kept_bytes;
        let entry = self
            .entries
            .remove(self.kept)
            .expect("only called while a command is answered behind the kept ones");
        self.bytes.drain(from..from + entry.bytes);
        self.parsed -= entry.bytes;
        self.answered -= 1;
        self.answered_bytes -= entry.bytes;
        self.sent -= 1;
        self.sent_bytes -= entry.bytes;
        self.written -= entry.bytes;
        entry
    }

    /// Forgets the first command that was not sent.
    pub(super) fn remove_unsent(&mut self) {
        let Some(entry) = self.entries.remove(self.sent) else { return };
        let from = self.head + self.sent_bytes;
        self.bytes.drain(from..from + entry.bytes);
        self.parsed -= entry.bytes;
    }

    /// From now on there are no commands, just bytes.
    pub(super) fn make_raw(&mut self) {
        self.entries.clear();
        (self.kept, self.answered, self.sent) = (0, 0, 0);
        (self.kept_bytes, self.answered_bytes) = (0, 0);
        self.scripts_in_flight = 0;
        self.parsed = 0;
        self.scanner = RequestScanner::default();
    }

    /// Whether there are raw bytes that were not handed out for writing.
    pub(super) fn has_unsent_raw(&self) -> bool {
        self.bytes.len() - self.head > self.sent_bytes
    }

    /// Forgets raw bytes that were written.
    pub(super) fn drop_raw(&mut self) {
        self.head += self.written;
        self.written = 0;
        self.sent_bytes = 0;
        self.parsed = 0;
        self.shrink_if_empty();
    }

    /// Whether the command that is to be answered next has left completely.
    pub(super) fn answered_is_written(&self) -> bool {
        self.entries.get(self.answered).is_some_and(|entry| self.answered_bytes + entry.bytes <= self.written)
    }

    /// The command at `answered` was answered.
    pub(super) fn answer(&mut self) {
        self.end_script(self.answered);
        self.answered_bytes += self.entries[self.answered].bytes;
        self.answered += 1;
        self.skip_answered();
    }

    fn skip_answered(&mut self) {
        while self.answered < self.sent && self.entries[self.answered].early_reply.is_some() {
            self.answered_bytes += self.entries[self.answered].bytes;
            self.answered += 1;
        }
    }

    /// Keeps the first command that is not kept yet, so that it can be sent again.
    pub(super) fn keep(&mut self) {
        self.kept_bytes += self.entries[self.kept].bytes;
        self.kept += 1;
    }

    /// Forgets all kept commands.
    pub(super) fn drop_kept(&mut self) {
        while self.kept > 0 {
            self.kept -= 1;
            self.pop();
        }
        self.kept_bytes = 0;
    }

    /// The commands in flight that have left completely. Only while none in front of them is kept.
    pub(super) fn written(&self) -> impl Iterator<Item = &Entry> {
        let mut left = self.written;
        self.entries.range(..self.sent).take_while(move |entry| {
            let whole = entry.bytes <= left;
            left = left.saturating_sub(entry.bytes);
            whole
        })
    }

    /// Forgets the first commands, which are in flight and now answered.
    pub(super) fn pop_many(&mut self, commands: usize) {
        let bytes = self.entries.drain(..commands).map(|entry| entry.bytes).sum::<usize>();
        self.head += bytes;
        self.parsed -= bytes;
        self.sent -= commands;
        self.sent_bytes -= bytes;
        self.written -= bytes;
        self.shrink_if_empty();
    }

    /// Forgets the first command.
    pub(super) fn pop(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        let bytes = entry.bytes;
        drop(entry);
        self.head += bytes;
        self.parsed -= bytes;
        if self.answered > 0 {
            self.answered -= 1;
            self.answered_bytes -= bytes;
        }
        if self.sent > 0 {
            self.sent -= 1;
            self.sent_bytes -= bytes;
            self.written = self.written.saturating_sub(bytes);
        }
        self.shrink_if_empty();
    }

    /// Everything from the first command on is to be sent again. Only when nothing is in flight.
    pub(super) const fn rewind(&mut self) {
        self.sent = 0;
        self.answered = 0;
        self.sent_bytes = 0;
        self.answered_bytes = 0;
        self.written = 0;
    }

    /// Only the command behind the kept ones is to be sent again, as a probe.
    pub(super) const fn rewind_to_kept(&mut self) {
        self.sent = self.kept;
        self.answered = self.kept;
        self.sent_bytes = self.kept_bytes;
        self.answered_bytes = self.kept_bytes;
        self.written = self.kept_bytes;
    }

    /// Forgets what has not been sent, also the beginning of a command.
    pub(super) fn drop_unsent(&mut self) {
        self.entries.truncate(self.sent);
        if self.kept > self.sent {
            self.kept = self.sent;
            self.kept_bytes = self.sent_bytes;
        }
        self.bytes.truncate(self.head + self.sent_bytes);
        self.parsed = self.sent_bytes;
        self.scanner = RequestScanner::default();
    }

    fn shrink_if_empty(&mut self) {
        if self.head < self.bytes.len() {
            return;
        }
        self.bytes.clear();
        self.head = 0;
        if self.bytes.capacity() > IDLE_BYTES_MAX {
            self.bytes.shrink_to(IDLE_BYTES_MAX);
        }
        if self.entries.is_empty() && self.entries.capacity() > IDLE_ENTRIES_MAX {
            self.entries.shrink_to(IDLE_ENTRIES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane that was given so many commands, all of them sent and written.
    fn sent(commands: usize) -> Lane {
        let mut lane = Lane::new(&Policy::default());
        push_and_send(&mut lane, commands);
        lane
    }

    fn push_and_send(lane: &mut Lane, commands: usize) {
        lane.push(&b"GET k\r\n".repeat(commands), Time::ZERO).unwrap();
        for _ in 0..commands {
            lane.send_next(None, Time::ZERO);
        }
        lane.wrote(lane.outgoing().len());
    }

    #[test]
    fn an_idle_connection_keeps_little() {
        let one_by_one = |lane: &mut Lane| {
            for _ in 0..1000 {
                lane.answer();
                lane.pop();
            }
        };
        let together = |lane: &mut Lane| lane.pop_many(1000);
        for answer in [&one_by_one as &dyn Fn(&mut Lane), &together] {
            let mut lane = sent(1000);
            assert!(lane.bytes.capacity() > IDLE_BYTES_MAX && lane.entries.capacity() > IDLE_ENTRIES_MAX);
            answer(&mut lane);
            assert!(lane.bytes.capacity() <= IDLE_BYTES_MAX);
            assert!(lane.entries.capacity() <= IDLE_ENTRIES_MAX);
        }
    }

    #[test]
    fn a_connection_that_is_never_idle_does_not_grow() {
        let mut lane = sent(100);
        for more in 0..100 {
            push_and_send(&mut lane, 50 + more);
            lane.pop_many(50 + more);
        }
        assert!(lane.bytes.capacity() < 10 * 1024, "{} bytes", lane.bytes.capacity());
        assert!(lane.entries.capacity() < 1000, "{} entries", lane.entries.capacity());
    }

    #[test]
    fn more_than_the_largest_command_is_too_large() {
        for (over, too_large) in [(0, false), (1, true)] {
            // Zeros that are not looked at take no memory.
            let bytes = vec![0; COMMAND_BYTES_MAX as usize + over];
            assert_eq!(Lane { bytes, ..Lane::default() }.too_large(), too_large);
        }
    }

    #[test]
    fn what_is_answered_takes_no_room() {
        let mut lane = sent(4000);
        lane.pop_many(3999);
        assert!(lane.has_room());
    }

    /// Its memory has a limit of its own.
    #[test]
    fn what_is_kept_of_a_transaction_takes_no_room() {
        let mut lane = sent(4000);
        for _ in 0..4000 {
            lane.answer();
            lane.keep();
        }
        push_and_send(&mut lane, 4000);
        assert!(lane.has_room() && lane.fits_window(1000));
        push_and_send(&mut lane, 1000);
        assert!(!lane.has_room() && !lane.fits_window(1000));
    }
}
