//! The server: one script at a time, hooks, transactions. It knows nothing of unbusy.

use crate::oracle::Oracle;
use crate::setting::{Kind, Setting};

/// What the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Executed, or queued.
    Done,
    /// Rejected, while the script with this number ran.
    Busy(u8),
    /// EXEC: the transaction is discarded, since the server was busy.
    Aborted(u8),
    /// EXEC: the transaction is discarded, since a part of it was rejected.
    Discarded,
    /// EXEC: a watched key changed.
    Null,
    /// EXEC without MULTI, or MULTI within one.
    Error,
}

/// What the server knows of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Side {
    /// Commands queued since MULTI.
    queue: Option<Vec<u8>>,
    /// One of them was rejected.
    dirty: bool,
    /// WATCH is in force; whether what it watches has changed.
    watch: Option<bool>,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// How long the script has run that runs.
    pub script: Option<u8>,
    /// How many scripts have begun.
    pub begun: u8,
    /// Which connections it has accepted.
    accepted: Vec<bool>,
    sides: Vec<Side>,
}

impl Server {
    pub(crate) fn new(clients: usize, accepted: bool) -> Self {
        Self {
            script: None,
            begun: 0,
            accepted: vec![accepted; clients],
            sides: vec![Side::default(); clients],
        }
    }

    /// How many commands of a client it reads in a hook.
    pub(crate) fn reads(&self, setting: &Setting, conn: usize) -> u8 {
        setting.hook - if self.accepted[conn] { 0 } else { setting.accepting }
    }

    /// It reads and writes no sockets (F2).
    pub(crate) fn is_stalled(&self, setting: &Setting) -> bool {
        self.script.is_some_and(|age| age < setting.threshold)
    }

    /// It is within reach of its hooks (F1).
    pub(crate) fn is_busy(&self, setting: &Setting) -> bool {
        self.script.is_some_and(|age| age >= setting.threshold)
    }

    /// Handles the command at `at` of a client.
    pub(crate) fn handle(&mut self, setting: &Setting, oracle: &mut Oracle, conn: usize, at: u8) -> Reply {
        self.accepted[conn] = true;
        let kind = setting.kind(conn, at);
        if self.script.is_some() && matches!(kind, Kind::Plain | Kind::Exec) {
            return self.reject(conn, kind);
        }
        let side = &mut self.sides[conn];
        match kind {
            Kind::Watch => {
                side.watch.get_or_insert(false);
                oracle.watched(conn);
                Reply::Done
            }
            Kind::Multi if side.queue.is_some() => Reply::Error,
            Kind::Multi => {
                side.queue = Some(Vec::new());
                side.dirty = false;
                Reply::Done
            }
            Kind::Plain => {
                if let Some(queue) = &mut side.queue {
                    queue.push(at);
                } else {
                    oracle.executed(setting, conn, at);
                    self.touch(conn);
                }
                Reply::Done
            }
            Kind::Exec => self.exec(setting, oracle, conn, at),
        }
    }

    fn reject(&mut self, conn: usize, kind: Kind) -> Reply {
        let side = &mut self.sides[conn];
        if kind == Kind::Exec {
            *side = Side::default();
            return Reply::Aborted(self.begun);
        }
        side.dirty = side.queue.is_some();
        Reply::Busy(self.begun)
    }

    fn exec(&mut self, setting: &Setting, oracle: &mut Oracle, conn: usize, at: u8) -> Reply {
        let side = &mut self.sides[conn];
        let Some(queue) = side.queue.take() else { return Reply::Error };
        let Side { dirty, watch, .. } = std::mem::take(side);
        if dirty {
            return Reply::Discarded;
        }
        if watch == Some(true) {
            return Reply::Null;
        }
        oracle.transacted(setting, conn, at, &queue);
        self.touch(conn);
        Reply::Done
    }

    /// A write, as those see it who watch.
    fn touch(&mut self, writer: usize) {
        for (conn, side) in self.sides.iter_mut().enumerate() {
            if conn != writer
                && let Some(changed) = &mut side.watch
            {
                *changed = true;
            }
        }
    }
}
