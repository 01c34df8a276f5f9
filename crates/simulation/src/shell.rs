//! What the connections of one proxy share: the gate, and a watch on how it behaves.

use std::collections::BTreeMap;
use std::time::Duration;

use unbusy_core::gate::Ticket;
use unbusy_core::{Gate, Time};

/// While the server is busy and nobody waits for its end, the proxy asks the server itself.
const ASK_DESERTED: Duration = Duration::from_secs(1);
/// A leader that is not answered for so long may be joined by another.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) gate: Gate,
    pub(crate) deadline: Time,
    /// Whom the last call of the gate let go.
    pub(crate) woken: Vec<Ticket>,
    pub(crate) episode: Option<Time>,
    /// Who tries while the server is busy, and since when.
    leaders: BTreeMap<Ticket, Time>,
    /// When the proxy asks the server itself.
    pub(crate) question: Time,
}

impl Shell {
    pub(crate) fn new(threshold: Option<Duration>) -> Self {
        Self {
            gate: Gate::new(threshold),
            deadline: Time::NEVER,
            woken: Vec::new(),
            episode: None,
            leaders: BTreeMap::new(),
            question: Time::NEVER,
        }
    }

    /// The gate was changed: lets it move on. Tells what is wrong with it.
    pub(crate) fn settle(&mut self, script_in_flight: bool, now: Time) -> Option<String> {
        self.deadline = self.gate.tick(script_in_flight, now);
        self.woken = self.gate.woken().collect();
        if self.gate.busy().is_some() {
            self.episode.get_or_insert(now);
        } else {
            self.episode = None;
            self.leaders.clear();
        }
        if !self.gate.is_deserted() {
            self.question = Time::NEVER;
        } else if self.question == Time::NEVER {
            self.question = now + ASK_DESERTED;
        }
        if self.deadline <= now {
            return Some("the gate wants to be called again at once".into());
        }
        self.watch_leaders(now)
    }

    fn watch_leaders(&mut self, now: Time) -> Option<String> {
        self.episode?;
        let mut fault = None;
        for &ticket in &self.woken {
            if self.leaders.values().any(|since| now - *since < PATIENCE) {
                fault = Some(format!("two leaders: {ticket:?} beside {:?}", self.leaders));
            }
            self.leaders.insert(ticket, now);
        }
        fault
    }

    /// Whoever has this ticket does not try any more.
    pub(crate) fn forget(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.leaders.remove(&ticket);
        }
    }

    /// The proxy's own question was answered.
    pub(crate) fn observed(&mut self, open: bool, now: Time) {
        self.question = Time::NEVER;
        self.gate.observed(open, now, now);
    }
}
