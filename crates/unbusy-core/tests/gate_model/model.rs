//! A gate, and an oracle that knows what each waiter has been told.

use std::collections::BTreeMap;
use std::time::Duration;

use unbusy_core::gate::{Answer, Ask, Outcome, Ticket};
use unbusy_core::{Cause, Event, Gate, Time};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const THRESHOLD: Duration = Duration::from_secs(5);
pub(crate) const WRITE: Ask = Ask { scout: true, pings: false, read: false, commands: 1 };
pub(crate) const READ: Ask = Ask { scout: true, pings: false, read: true, commands: 1 };
pub(crate) const BLOCKING: Ask = Ask { scout: false, pings: false, read: false, commands: 1 };
pub(crate) const PINGING: Ask = Ask { scout: false, pings: true, read: true, commands: 1 };

pub(crate) fn at(ms: u64) -> Time {
    Time::from_nanos((10_000 + ms) * 1_000_000)
}

/// A gate, and what everybody was told by it.
pub(crate) struct Model {
    pub(crate) gate: Gate,
    pub(crate) now: Time,
    pub(crate) waiting: BTreeMap<Ticket, Ask>,
    /// May send, or has sent and was not answered: when it was let go, and as the leader of an episode.
    pub(crate) out: BTreeMap<Ticket, (Time, bool)>,
    pub(crate) asks: BTreeMap<Ticket, Ask>,
    pub(crate) stalled: bool,
    pub(crate) next: Time,
    /// Who was let go, and when.
    pub(crate) woken: Vec<(Time, Ticket)>,
    pub(crate) events: Vec<(Time, Event)>,
}

impl Model {
    pub(crate) fn new(threshold: Option<Duration>) -> Self {
        Self {
            gate: Gate::new(threshold),
            now: at(0),
            waiting: BTreeMap::new(),
            out: BTreeMap::new(),
            asks: BTreeMap::new(),
            stalled: false,
            next: Time::NEVER,
            woken: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A scout proves at once that the server is open; `ago` it was sent.
    pub(crate) fn proven(&mut self, ago: Duration) {
        let sent = Time::from_nanos(self.now.as_nanos() - ago.as_nanos() as u64);
        self.gate.answered(None, Outcome::Proof, sent, self.now);
        self.settle();
    }

    pub(crate) fn ask(&mut self, ask: Ask) -> Answer {
        let answer = self.gate.ask(None, ask, self.now);
        match answer {
            Answer::Wait(ticket) => {
                self.waiting.insert(ticket, ask);
                self.asks.insert(ticket, ask);
            }
            Answer::One(Some(ticket)) => {
                self.out.insert(ticket, (self.now, false));
                self.asks.insert(ticket, ask);
            }
            Answer::One(None) | Answer::Free => {}
        }
        self.settle();
        answer
    }

    pub(crate) fn wait(&mut self, ask: Ask) -> Ticket {
        match self.ask(ask) {
            Answer::Wait(ticket) => ticket,
            other => panic!("expected to wait, was told {other:?}"),
        }
    }

    pub(crate) fn rejected(&mut self, ticket: Ticket, sent: Time) {
        self.out.remove(&ticket);
        let ask = self.asks[&ticket];
        let kept = self.gate.rejected(Some(ticket), Some(ask), Cause::Script, sent, self.now);
        assert_eq!(kept, Some(ticket), "who is rejected again keeps its place");
        self.waiting.insert(ticket, ask);
        self.settle();
    }

    pub(crate) fn answered(&mut self, ticket: Ticket, outcome: Outcome, sent: Time) {
        self.out.remove(&ticket);
        self.gate.answered(Some(ticket), outcome, sent, self.now);
        self.settle();
    }

    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.out.remove(&ticket);
        self.waiting.remove(&ticket);
        self.gate.leave(ticket, self.now);
        self.settle();
    }

    /// Lets the gate move on, and checks all that it says.
    pub(crate) fn settle(&mut self) {
        let told = self.events.len();
        self.next = self.gate.tick(false, self.now);
        assert!(self.next > self.now, "the gate wants to be called again at once");
        let busy = self.gate.busy().is_some();
        for event in self.gate.events() {
            match event {
                Event::StallBegan => self.stalled = true,
                Event::StallEnded { .. } => self.stalled = false,
                _ => {}
            }
            self.events.push((self.now, event));
        }
        // Whom a phase lets go first is only to be told when the phase did not change in this very call.
        let steady = self.events.len() == told;
        let count = self.gate.woken_count();
        let woken: Vec<_> = self.gate.woken().collect();
        assert_eq!(woken.len(), count);
        for ticket in woken {
            let ask = self.waiting.get(&ticket).copied().expect("only who waits is let go");
            if !steady {
                // Anyone may have been meant.
            } else if busy {
                let best =
                    self.waiting.iter().find(|(_, ask)| speaks(**ask)).or_else(|| self.waiting.iter().next());
                assert_eq!(best, Some((&ticket, &ask)), "first come, first served");
            } else if self.stalled {
                let suits = |read: bool| {
                    self.waiting.iter().find(move |(_, ask)| speaks(**ask) && (ask.read || !read))
                };
                let best = suits(true).or_else(|| suits(false)).or_else(|| self.waiting.iter().next());
                assert_eq!(best, Some((&ticket, &ask)), "reads before writes before the rest, oldest first");
            } else {
                assert_eq!(self.waiting.first_key_value(), Some((&ticket, &ask)), "first come, first served");
            }
            self.waiting.remove(&ticket);
            self.out.insert(ticket, (self.now, busy));
            self.woken.push((self.now, ticket));
            assert_eq!(self.gate.ask(Some(ticket), ask, self.now), Answer::One(Some(ticket)));
        }
        assert!(self.waiting.is_empty() || self.next != Time::NEVER, "a waiter is lost");
        assert!(
            self.waiting.is_empty() || self.gate.free_until() == Time::ZERO,
            "others would overtake the queue"
        );
    }

    pub(crate) fn pass(&mut self, until: Time) {
        assert_ne!(until, Time::NEVER, "nothing is to come");
        while self.next <= until {
            self.now = self.next.max(self.now);
            self.settle();
        }
        self.now = until;
    }

    /// Time passes in which the gate has nothing to do.
    pub(crate) fn pass_idle(&mut self, span: Duration) {
        self.now = self.now + span;
        self.settle();
    }

    /// The gate has become busy, with this first waiter in its queue.
    pub(crate) fn busy(&mut self) -> Ticket {
        let sent = self.now;
        let Answer::One(Some(ticket)) = self.ask(WRITE) else { panic!("a first scout may go at once") };
        self.now = self.now + MS;
        self.rejected(ticket, sent);
        assert_eq!(self.gate.busy(), Some(Cause::Script));
        ticket
    }

    /// The server is found busy by a command that blocks, which waits then.
    pub(crate) fn blocked(&mut self) {
        let sent = self.now;
        assert_eq!(self.ask(BLOCKING), Answer::One(None));
        self.now = self.now + MS;
        let ticket =
            self.gate.rejected(None, Some(BLOCKING), Cause::Script, sent, self.now).expect("it waits");
        self.waiting.insert(ticket, BLOCKING);
        self.asks.insert(ticket, BLOCKING);
        self.settle();
    }
}

pub(crate) const fn speaks(ask: Ask) -> bool {
    ask.scout || ask.pings
}
