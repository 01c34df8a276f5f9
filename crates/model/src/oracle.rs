//! What was promised, and whether it was kept. Nobody in the model acts on it.

use crate::setting::Setting;

/// Something that must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Fault {
    /// A command was executed behind a later one of its connection.
    Reordered = 1,
    /// A command was executed twice.
    Twice = 1 << 1,
    /// A transaction was executed in parts, or a command of it outside.
    Torn = 1 << 2,
    /// A transaction was executed although what its client watched had changed.
    WatchIgnored = 1 << 3,
    /// A client got BUSY, or an error that it had not got without unbusy.
    Failed = 1 << 4,
    /// A client was told that a command was executed, and it was not.
    Untrue = 1 << 5,
    /// More than one leader whose answer is not overdue.
    Leaders = 1 << 6,
    /// Somebody was let go, or went by itself, while somebody waited who had come before.
    Overtaken = 1 << 7,
    /// The threshold was learned to be smaller than it is.
    Mislearned = 1 << 8,
    /// A rejection was taken for older than the newest proof, and the script goes on.
    Misdated = 1 << 9,
    /// A rejection was taken for the command's own reply.
    Mistaken = 1 << 10,
}

/// Something that should be possible, lest a check be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Sight {
    /// A command was rejected that had others behind it.
    Pipeline = 1,
    /// A scout was overdue.
    Stall = 1 << 1,
    /// A transaction was sent again.
    Replay = 1 << 2,
    /// A client was told that what it watched had changed.
    Null = 1 << 3,
    /// An executed command was seen behind a rejected one.
    Hole = 1 << 4,
    /// A leader's answer was overdue.
    Joined = 1 << 5,
    /// A rejection was found to be older than the newest proof.
    Late = 1 << 6,
    /// A smaller threshold was learned.
    Learned = 1 << 7,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Oracle {
    faults: u16,
    sights: u8,
    /// What was executed, a bit per command.
    executed: Vec<u8>,
    /// A client watches since its own WATCH was executed; whether what it watches has changed.
    watches: Vec<Option<bool>>,
}

impl Oracle {
    pub(crate) fn new(clients: usize) -> Self {
        Self { faults: 0, sights: 0, executed: vec![0; clients], watches: vec![None; clients] }
    }

    /// Whether it happened.
    pub const fn has(&self, fault: Fault) -> bool {
        self.faults & fault as u16 != 0
    }

    /// Whether it was seen.
    pub const fn saw(&self, sight: Sight) -> bool {
        self.sights & sight as u8 != 0
    }

    pub(crate) fn expect(&mut self, holds: bool, fault: Fault) {
        if !holds {
            self.faults |= fault as u16;
        }
    }

    pub(crate) const fn see(&mut self, sight: Sight) {
        self.sights |= sight as u8;
    }

    /// WATCH was executed. Sent again it begins no new watch for its client.
    pub(crate) fn watched(&mut self, conn: usize) {
        self.watches[conn].get_or_insert(false);
    }

    /// A command was executed outside a transaction.
    pub(crate) fn executed(&mut self, setting: &Setting, conn: usize, at: u8) {
        self.expect(setting.transaction(conn, at).is_none(), Fault::Torn);
        self.note(conn, at);
        self.touch(conn);
    }

    /// EXEC executed what was queued.
    pub(crate) fn transacted(&mut self, setting: &Setting, conn: usize, exec: u8, queue: &[u8]) {
        let whole = setting
            .transaction(conn, exec)
            .is_some_and(|(multi, exec)| queue.iter().copied().eq(multi + 1..exec));
        self.expect(whole, Fault::Torn);
        self.expect(self.watches[conn] != Some(true), Fault::WatchIgnored);
        queue.iter().chain([&exec]).for_each(|&at| self.note(conn, at));
        self.touch(conn);
    }

    fn note(&mut self, conn: usize, at: u8) {
        let executed = self.executed[conn];
        self.expect(executed & (1 << at) == 0, Fault::Twice);
        self.expect(executed >> at <= 1, Fault::Reordered);
        self.executed[conn] |= 1 << at;
    }

    fn touch(&mut self, writer: usize) {
        for (conn, watch) in self.watches.iter_mut().enumerate() {
            if conn != writer
                && let Some(changed) = watch
            {
                *changed = true;
            }
        }
    }

    /// A client was told that a command was executed.
    pub(crate) fn told(&mut self, conn: usize, at: u8) {
        self.expect(self.executed[conn] & (1 << at) != 0, Fault::Untrue);
    }

    /// A client was told how its transaction ended.
    pub(crate) fn watch_ended(&mut self, conn: usize) {
        self.watches[conn] = None;
    }
}
