//! Compares what clients were told with what the server holds.

mod answers;
mod counters;
mod money;
mod queue;
mod subscriptions;
mod tokens;

use std::{collections::BTreeMap, fmt};

use crate::history::History;
pub(crate) use answers::{CHANGED, ambiguous_scripts};
pub(crate) use money::INITIAL;
pub(crate) use tokens::LEDGERS;

/// What the server holds when all is over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) lists: BTreeMap<String, Vec<String>>,
    pub(crate) numbers: BTreeMap<String, i64>,
}

impl Data {
    fn list(&self, name: &str) -> &[String] {
        self.lists.get(name).map_or(&[], Vec::as_slice)
    }

    fn number(&self, name: &str) -> i64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Acknowledged, but not executed.
    Lost,
    /// Executed more than once.
    Duplicated,
    /// Executed in another order than sent.
    Reordered,
    /// Of a transaction only a part was executed, or another transaction between its parts.
    Torn,
    /// Executed although the client was told that it was not.
    Undead,
    /// Executed although its client had left while it was held.
    Ghost,
    /// The reply of another command.
    Misanswered,
    /// BUSY reached a client that would have waited.
    Busy,
    /// Something else that a client must not see.
    Strange,
    /// No answer at all.
    Silent,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// All that is wrong; nothing, as a rule.
pub(crate) fn check(history: &History, data: &Data) -> Vec<Fault> {
    let mut faults = Vec::new();
    answers::check(history, &mut faults);
    tokens::check(history, data, &mut faults);
    queue::check(history, data, &mut faults);
    money::check(history, data, &mut faults);
    counters::check(history, data, &mut faults);
    subscriptions::check(history, &mut faults);
    faults
}

#[cfg(test)]
mod tests;
