//! A client connection and its server connection, as in the engine's `session`.

use crate::oracle::{Fault, Oracle, Sight};
use crate::server::Reply;
use crate::setting::{Kind, Setting, Watched};

/// Where a command in flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spot {
    /// On the way to the server.
    Line,
    /// In the server's socket buffer.
    Socket,
    /// Answered; the reply is in the server's output buffer.
    Out(Reply),
    /// The reply is on its way.
    Back(Reply),
}

/// A command in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flight {
    /// Which of the client's commands it is.
    pub at: u8,
    /// How long ago it was sent.
    pub age: u8,
    /// Where it is.
    pub spot: Spot,
    /// It was sent after the newest proof had been heard.
    pub fresh: bool,
    /// It was sent since the server is known not to have been busy.
    pub sure: bool,
}

/// A transaction between MULTI and EXEC, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transaction {
    multi: u8,
    /// A part of it was rejected, so EXEC will be refused.
    busy: bool,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each set and cleared on its own")]
pub struct Lane {
    /// So many commands have their final answer.
    pub done: u8,
    /// The next command to be sent.
    pub next: u8,
    /// What is in flight, oldest first.
    pub flights: Vec<Flight>,
    /// It went by leave of the gate, which waits for the answer.
    pub asked: bool,
    /// It was sent under a lease.
    pub leased: bool,
    /// A command in flight was rejected; nothing is sent until all are answered.
    pub draining: bool,
    /// EXEC goes alone to learn whether the server is open.
    pub probing: bool,
    /// What the client has begun.
    pub transaction: Option<Transaction>,
    watch: Option<u8>,
    /// Without strict order: commands that were executed while one in front of them was not.
    early: u8,
    /// Something has come from the server.
    accepted: bool,
    /// The client has left.
    pub gone: bool,
}

/// What a reply tells the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Proof,
    /// Rejected, while this script ran, and whether the command is held.
    Rejected {
        script: u8,
        held: bool,
    },
}

impl Lane {
    pub(crate) fn new(accepted: bool) -> Self {
        Self { accepted, ..Self::default() }
    }

    /// What would be sent next.
    pub(crate) fn upcoming(&self, setting: &Setting, conn: usize) -> Option<Kind> {
        let behind_probe = self.probing && self.next > self.done;
        let next = setting.clients[conn].get(usize::from(self.next)).copied();
        next.filter(|_| !self.draining && !behind_probe && !self.gone)
    }

    pub(crate) fn has_sent_all(&self, setting: &Setting, conn: usize) -> bool {
        usize::from(self.next) >= setting.clients[conn].len()
    }

    /// Whether the next command may follow those in flight: `Session::next`, `Session::may_join`.
    pub(crate) fn may_join(&self, setting: &Setting, conn: usize, width: u8) -> bool {
        let (Some(oldest), Some(last)) = (self.flights.first(), self.flights.last()) else { return true };
        let Some(next) = self.upcoming(setting, conn) else { return false };
        let last = setting.kind(conn, last.at);
        let refused = last == Kind::Exec && self.transaction.is_some_and(|transaction| transaction.busy);
        let fenced = refused || last == Kind::Watch || matches!(next, Kind::Watch | Kind::Multi);
        let rules = &setting.rules;
        let young = !rules.age || (self.leased && oldest.age < width);
        let window = if self.accepted { rules.window } else { rules.first_window };
        !fenced && young && self.flights.len() < usize::from(window)
    }

    /// Whether the next command can speak for the server: `Session::ask`. `unit`: a transaction goes as one.
    pub(crate) fn scouts(&self, setting: &Setting, conn: usize, unit: bool) -> bool {
        match setting.clients[conn].get(usize::from(self.next)) {
            Some(Kind::Plain) => true,
            Some(Kind::Exec) => self.probing,
            Some(Kind::Multi) => unit,
            _ => false,
        }
    }

    /// Sends the next command, or all of a transaction. `sure`: the server is known to be open.
    pub(crate) fn send(&mut self, setting: &Setting, conn: usize, leased: bool, unit: bool, sure: bool) {
        let last = match setting.transaction(conn, self.next) {
            Some((_, exec)) if unit => exec,
            _ => self.next,
        };
        self.leased = leased;
        while self.next <= last {
            self.flights.push(Flight { at: self.next, age: 0, spot: Spot::Line, fresh: true, sure });
            self.next += 1;
            self.skip_early();
        }
    }

    fn skip_early(&mut self) {
        while self.early & (1 << self.next) != 0 {
            self.next += 1;
        }
    }

    /// A reply arrives: `Session::server_bytes`.
    pub(crate) fn receive(
        &mut self,
        setting: &Setting,
        oracle: &mut Oracle,
        conn: usize,
        at: u8,
        reply: Reply,
    ) -> Told {
        self.accepted = true;
        let told = match reply {
            Reply::Done if at < self.done => Told::Nothing,
            Reply::Done if at > self.done => self.executed_behind(setting, oracle, conn, at),
            Reply::Done => self.deliver(setting, oracle, conn, at),
            Reply::Null => {
                oracle.see(Sight::Null);
                self.end_transaction(oracle, conn);
                Told::Nothing
            }
            Reply::Busy(script) => self.rejected(at, script),
            Reply::Aborted(script) => self.aborted(setting, oracle, conn, Some(script)),
            Reply::Discarded => self.aborted(setting, oracle, conn, None),
            Reply::Error if self.probing => {
                oracle.see(Sight::Replay);
                self.probing = false;
                self.next = self.transaction.map_or(self.done, |transaction| transaction.multi);
                if setting.rules.watched == Watched::WatchedAgain {
                    self.next = self.watch.unwrap_or(self.next);
                }
                Told::Proof
            }
            Reply::Error => {
                oracle.expect(false, Fault::Failed);
                self.done += 1;
                Told::Nothing
            }
        };
        self.end_drain(setting, conn);
        told
    }

    /// The client gets the reply: `Session::complete`.
    fn deliver(&mut self, setting: &Setting, oracle: &mut Oracle, conn: usize, at: u8) -> Told {
        let kind = setting.kind(conn, at);
        self.done += 1;
        match kind {
            Kind::Watch => self.watch = Some(at),
            Kind::Multi => self.transaction = Some(Transaction { multi: at, busy: false }),
            Kind::Exec => {
                oracle.told(conn, at);
                self.done -= 1;
                self.end_transaction(oracle, conn);
            }
            Kind::Plain if self.transaction.is_none() => oracle.told(conn, at),
            Kind::Plain => {}
        }
        while self.early & (1 << self.done) != 0 {
            self.early &= !(1 << self.done);
            self.done += 1;
        }
        if matches!(kind, Kind::Plain | Kind::Exec) { Told::Proof } else { Told::Nothing }
    }

    fn end_transaction(&mut self, oracle: &mut Oracle, conn: usize) {
        self.done += 1;
        self.transaction = None;
        self.watch = None;
        oracle.watch_ended(conn);
    }

    /// An executed command behind a rejected one: `Session::plan_executed_behind`, `Session::fill_hole`.
    fn executed_behind(&mut self, setting: &Setting, oracle: &mut Oracle, conn: usize, at: u8) -> Told {
        oracle.see(Sight::Hole);
        if !setting.rules.strict {
            self.early |= 1 << at;
            return Told::Nothing;
        }
        oracle.expect(false, Fault::Failed);
        self.draining = false;
        self.done = at;
        self.deliver(setting, oracle, conn, at)
    }

    /// `Session::plan_rejection`.
    fn rejected(&mut self, at: u8, script: u8) -> Told {
        if let Some(transaction) = self.transaction.as_mut().filter(|_| !self.draining) {
            transaction.busy = true;
            let queued = at == self.done;
            self.done += u8::from(queued);
            return if queued { Told::Rejected { script, held: false } } else { Told::Nothing };
        }
        self.hold(script)
    }

    /// EXEC was refused: `Session::plan_abort`.
    fn aborted(&mut self, setting: &Setting, oracle: &mut Oracle, conn: usize, script: Option<u8>) -> Told {
        let held = self.watch.is_none() || setting.rules.watched != Watched::Null;
        if held {
            self.draining = true;
            self.transaction.iter_mut().for_each(|transaction| transaction.busy = false);
        } else {
            oracle.see(Sight::Null);
            self.end_transaction(oracle, conn);
        }
        // That a part of it was rejected says nothing of now.
        let script = script.or_else(|| (!setting.rules.told_busy).then_some(0));
        script.map_or(Told::Nothing, |script| Told::Rejected { script, held })
    }

    fn hold(&mut self, script: u8) -> Told {
        self.draining = true;
        Told::Rejected { script, held: true }
    }

    /// All in flight is answered, and some was rejected: `Session::end_drain`.
    fn end_drain(&mut self, setting: &Setting, conn: usize) {
        if !self.draining || !self.flights.is_empty() {
            return;
        }
        self.draining = false;
        self.next = self.done;
        self.skip_early();
        self.probing = self.transaction.is_some() && setting.kind(conn, self.done) == Kind::Exec;
    }

    pub(crate) fn tick(&mut self, setting: &Setting) {
        for flight in &mut self.flights {
            flight.age = (flight.age + 1).min(setting.old());
        }
    }
}
