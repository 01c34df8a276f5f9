//! The gate against an oracle that knows what each waiter has been told, and against scenes with numbers: how often a
//! busy server is tried, how fast the queue opens, how many ghosts a stall leaves.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use unbusy_core::gate::{Answer, Ask, Outcome, Pace, Ticket};
use unbusy_core::{Cause, EpisodeReport, Event, Gate, Time};

const MS: Duration = Duration::from_millis(1);
const THRESHOLD: Duration = Duration::from_secs(5);
const WRITE: Ask = Ask { scout: true, pings: false, read: false, commands: 1 };
const READ: Ask = Ask { scout: true, pings: false, read: true, commands: 1 };
const BLOCKING: Ask = Ask { scout: false, pings: false, read: false, commands: 1 };
const PINGING: Ask = Ask { scout: false, pings: true, read: true, commands: 1 };

fn at(ms: u64) -> Time {
    Time::from_nanos((10_000 + ms) * 1_000_000)
}

/// A gate, and what everybody was told by it.
struct Model {
    gate: Gate,
    now: Time,
    waiting: BTreeMap<Ticket, Ask>,
    /// May send, or has sent and was not answered: when it was let go, and as the leader of an episode.
    out: BTreeMap<Ticket, (Time, bool)>,
    asks: BTreeMap<Ticket, Ask>,
    stalled: bool,
    next: Time,
    /// Who was let go, and when.
    woken: Vec<(Time, Ticket)>,
    events: Vec<(Time, Event)>,
}

impl Model {
    fn new(threshold: Option<Duration>) -> Self {
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
    fn proven(&mut self, ago: Duration) {
        let sent = Time::from_nanos(self.now.as_nanos() - ago.as_nanos() as u64);
        self.gate.answered(None, Outcome::Proof, sent, self.now);
        self.settle();
    }

    fn ask(&mut self, ask: Ask) -> Answer {
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

    fn wait(&mut self, ask: Ask) -> Ticket {
        match self.ask(ask) {
            Answer::Wait(ticket) => ticket,
            other => panic!("expected to wait, was told {other:?}"),
        }
    }

    fn rejected(&mut self, ticket: Ticket, sent: Time) {
        self.out.remove(&ticket);
        let ask = self.asks[&ticket];
        let kept = self.gate.rejected(Some(ticket), Some(ask), Cause::Script, sent, self.now);
        assert_eq!(kept, Some(ticket), "who is rejected again keeps its place");
        self.waiting.insert(ticket, ask);
        self.settle();
    }

    fn answered(&mut self, ticket: Ticket, outcome: Outcome, sent: Time) {
        self.out.remove(&ticket);
        self.gate.answered(Some(ticket), outcome, sent, self.now);
        self.settle();
    }

    fn leave(&mut self, ticket: Ticket) {
        self.out.remove(&ticket);
        self.waiting.remove(&ticket);
        self.gate.leave(ticket, self.now);
        self.settle();
    }

    /// Lets the gate move on, and checks all that it says.
    fn settle(&mut self) {
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
        let woken: Vec<_> = self.gate.woken().collect();
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

    fn pass(&mut self, until: Time) {
        assert_ne!(until, Time::NEVER, "nothing is to come");
        while self.next <= until {
            self.now = self.next.max(self.now);
            self.settle();
        }
        self.now = until;
    }

    /// Time passes in which the gate has nothing to do.
    fn pass_idle(&mut self, span: Duration) {
        self.now = self.now + span;
        self.settle();
    }

    /// The gate has become busy, with this first waiter in its queue.
    fn busy(&mut self) -> Ticket {
        let sent = self.now;
        let Answer::One(Some(ticket)) = self.ask(WRITE) else { panic!("a first scout may go at once") };
        self.now = self.now + MS;
        self.rejected(ticket, sent);
        assert_eq!(self.gate.busy(), Some(Cause::Script));
        ticket
    }

    /// The server is found busy by a command that blocks, which waits then.
    fn blocked(&mut self) {
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

const fn speaks(ask: Ask) -> bool {
    ask.scout || ask.pings
}

/// One step of the random walk: what happens, to whom, and how much later.
type Step = (u8, u8, u16);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..12, any::<u8>(), 0_u16..400), 1..300)
}

fn ask_of(pick: u8) -> Ask {
    [WRITE, WRITE, READ, BLOCKING, PINGING][usize::from(pick) % 5]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: first come, first served; nobody is lost; leads one at a time.
    #[test]
    fn any_order_of_events(steps in steps(), threshold in prop_oneof![Just(None), (1_u32..1_000).prop_map(|n| Some(MS * n))]) {
        let mut model = Model::new(threshold);
        for (what, pick, wait) in steps {
            let out: Vec<_> = model.out.iter().map(|(ticket, (since, _))| (*ticket, *since)).collect();
            let chosen = (!out.is_empty()).then(|| out[usize::from(pick) % out.len()]);
            match (what, chosen) {
                (0..=3, _) => { model.ask(ask_of(pick)); }
                (4 | 5, Some((ticket, since))) => model.answered(ticket, Outcome::Proof, since),
                (6, Some((ticket, since))) => model.answered(ticket, Outcome::Unclear, since),
                (7 | 8, Some((ticket, since))) => model.rejected(ticket, since),
                (9, Some((ticket, _))) => model.leave(ticket),
                (10, _) => {
                    let first = model.waiting.keys().nth(usize::from(pick) % 5).copied();
                    if let Some(ticket) = first { model.leave(ticket); }
                }
                _ => { let until = model.now + MS * u32::from(wait); model.pass(until); }
            }
            if pick % 3 == 0 {
                let until = model.now + Duration::from_micros(u64::from(wait) * 20);
                model.pass(until);
            }
        }
        // The server is open from now on and answers everyone: all are let go.
        let mut rounds = 0;
        while !model.waiting.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 5_000, "{} waiters are lost", model.waiting.len());
            let out: Vec<_> = model.out.keys().copied().collect();
            for ticket in out {
                let now = model.now;
                model.answered(ticket, Outcome::Proof, now);
            }
            let until = model.now + MS * 20;
            model.pass(until);
        }
    }

    /// In an episode one leads at a time, unless it is unanswered for its patience; and tries keep their distance.
    #[test]
    fn a_busy_server_is_tried_by_one_at_a_time(
        waiters in 1_usize..60, silent in prop::collection::vec(any::<bool>(), 80), line in 50_u64..20_000,
    ) {
        let mut model = Model::new(Some(THRESHOLD));
        model.proven(Duration::from_micros(line));
        model.now = model.now + Duration::from_secs(1);
        let began = model.now;
        model.busy();
        for _ in 0..waiters {
            model.wait(WRITE);
        }
        let line = Duration::from_micros(line);
        let patience = (100 * MS).max(line * 4);
        for silent in silent {
            if model.waiting.is_empty() {
                break;
            }
            let until = model.next.max(model.now);
            model.pass(until);
            let Some((&leader, &(since, _))) = model.out.iter().max_by_key(|(_, (since, _))| *since) else { continue };
            let others = model.out.iter().filter(|(ticket, _)| **ticket != leader);
            for (_, (other, _)) in others {
                prop_assert!(since - *other >= patience, "two lead at once, {:?} apart", since - *other);
            }
            if !silent {
                model.now = since.max(model.now) + line;
                let answered = model.now;
                model.rejected(leader, since);
                let gap = model.next - answered;
                let oldest = ((model.now - began) / 200).clamp(25 * MS, 100 * MS);
                let (least, most) = (MS.max(line * 2), oldest.max(line * 2));
                prop_assert!((least..=most).contains(&gap), "{:?} at {:?} old", gap, model.now - began);
            }
        }
    }

    /// A lease never outlives the sending of its proof by more than its width, however late the reply is.
    #[test]
    fn a_lease_counts_from_the_sending(
        threshold in 1_u32..10_000, proofs in prop::collection::vec((0_u32..100, 0_u32..3_000), 1..40),
    ) {
        let threshold = MS * threshold;
        let mut gate = Gate::new(Some(threshold));
        let (mut now, mut latest) = (at(5_000), Time::ZERO);
        for (wait, late) in proofs {
            now = now + MS * wait;
            let sent = Time::from_nanos(now.as_nanos() - (MS * late).as_nanos() as u64);
            gate.answered(None, Outcome::Proof, sent, now);
            latest = latest.max(sent);
            prop_assert!(gate.free_until() <= latest + threshold / 4, "longer than a quarter of the threshold");
        }
    }

    /// A late proof from before the episode opens nothing: only the leader's does.
    #[test]
    fn a_late_proof_ends_no_episode(late in 0_u64..5_000) {
        let mut model = Model::new(Some(THRESHOLD));
        model.busy();
        let sent = Time::from_nanos(model.now.as_nanos() - late * 1_000_000);
        model.gate.answered(None, Outcome::Proof, sent, model.now);
        prop_assert_eq!(model.gate.busy(), Some(Cause::Script));
        prop_assert_eq!(model.gate.free_until(), Time::ZERO);
    }
}

/// One, two, four, eight …: every answer lets two more go.
#[test]
fn the_queue_opens_slowly() {
    let mut model = Model::new(Some(THRESHOLD));
    let first = model.busy();
    for _ in 0..62 {
        model.wait(WRITE);
    }
    let until = model.next;
    model.pass(until);
    assert_eq!(model.out.keys().copied().collect::<Vec<_>>(), [first]);
    let mut sizes = Vec::new();
    while !model.out.is_empty() {
        sizes.push(model.out.len());
        let all: Vec<_> = model.out.iter().map(|(ticket, (since, _))| (*ticket, *since)).collect();
        model.now = model.now + Duration::from_micros(200);
        for (ticket, since) in all {
            model.answered(ticket, Outcome::Proof, since);
        }
    }
    assert_eq!(sizes, [1, 2, 4, 8, 16, 32]);
    assert!(model.waiting.is_empty());
}

/// Turns busy again in the midst of the opening: those let go keep their places, the rest never moved.
#[test]
fn a_server_that_turns_busy_again_meets_no_herd() {
    let mut model = Model::new(Some(THRESHOLD));
    let first = model.busy();
    let others: Vec<_> = (0..50).map(|_| model.wait(WRITE)).collect();
    let until = model.next;
    model.pass(until);
    let since = model.now;
    model.now = model.now + MS;
    model.answered(first, Outcome::Proof, since);
    assert_eq!(model.out.keys().copied().collect::<Vec<_>>(), others[..2]);
    let since = model.now;
    model.now = model.now + MS;
    model.rejected(others[0], since);
    model.rejected(others[1], since);
    assert!(model.out.is_empty());
    assert_eq!(model.waiting.len(), 50);
    let until = model.next;
    model.pass(until);
    assert_eq!(model.out.keys().copied().collect::<Vec<_>>(), others[..1]);
}

/// A stall of two seconds with fifty waiters: what was sent into it is executed later, so it must be little. (On a
/// long line each may have one command on its way before anybody can know of the stall.)
#[test]
fn a_stall_leaves_a_handful_of_ghosts() {
    for (every, line) in [(1, 200), (10, 200), (30, 3_000), (1, 500)] {
        let mut model = Model::new(Some(THRESHOLD));
        model.proven(Duration::from_micros(line));
        model.now = model.now + Duration::from_secs(1);
        let start = model.now;
        let mut sent = 0;
        for client in 0..50 {
            let until = start + MS * every * client;
            model.pass(until);
            if !matches!(model.ask(WRITE), Answer::Wait(_)) {
                sent += 1;
            }
        }
        model.pass(start + Duration::from_secs(2));
        sent += model.woken.len();
        assert!(sent <= 6, "{sent} ghosts with one client every {every} ms on a line of {line} µs");
        assert!(sent >= 2, "one sick connection would stop them all");
    }
}

/// Nobody else sends until the first scout is overdue, but for long lines: there nobody waits for longer than 2 ms.
#[test]
fn behind_a_scout_others_wait_and_not_for_long() {
    for (line, wait) in [(Duration::from_millis(4), Duration::from_millis(16)), (MS * 20, MS * 2)] {
        let mut model = Model::new(Some(THRESHOLD));
        model.proven(line);
        model.pass_idle(Duration::from_secs(1));
        let began = model.now;
        assert!(matches!(model.ask(WRITE), Answer::One(Some(_))));
        let second = model.wait(WRITE);
        assert_eq!(model.next, began + wait);
        model.pass(began + wait);
        // On a short line the scout is overdue now, and the server is taken for stalled.
        let released = line > MS * 5;
        assert_eq!(model.out.contains_key(&second), released);
        assert_eq!(model.stalled, !released);
    }
}

/// One client alone waits for nobody, and still it is to be seen that the server does not answer it.
#[test]
fn silence_is_told_also_when_nobody_waits() {
    let mut model = Model::new(Some(THRESHOLD));
    let Answer::One(Some(scout)) = model.ask(WRITE) else { panic!("a first scout may go at once") };
    let sent = model.now;
    assert_eq!(model.gate.stalled(sent + Duration::from_micros(1_999)), None);
    assert_eq!(model.gate.stalled(sent + MS * 2), Some(sent));
    assert!(!model.stalled, "nothing is done about it");
    model.now = model.now + MS * 5;
    model.answered(scout, Outcome::Proof, sent);
    assert_eq!(model.gate.stalled(model.now + MS * 5), None);
}

/// On a long line, between the time for which others wait and that at which a scout is overdue, everybody sends one.
#[test]
fn on_a_long_line_everybody_sends_a_scout_soon() {
    let mut model = Model::new(Some(THRESHOLD));
    model.proven(MS * 20);
    model.pass_idle(Duration::from_secs(1));
    assert!(matches!(model.ask(WRITE), Answer::One(Some(_))));
    model.now = model.now + MS * 3;
    assert!(matches!(model.ask(WRITE), Answer::One(Some(_))));
    assert!(!model.stalled);
}

/// Whoever was sent later was answered: what keeps the first one from that is not the server.
#[test]
fn a_scout_that_was_overtaken_is_no_sign_of_a_stall_and_one_that_was_not_is() {
    for (second_is_answered, sends) in [(true, true), (false, false)] {
        let mut model = Model::new(None);
        model.proven(MS * 20);
        model.pass_idle(Duration::from_secs(1));
        let Answer::One(Some(first)) = model.ask(WRITE) else { panic!("a first scout may go at once") };
        let began = model.now;
        model.now = model.now + MS * 3;
        let Answer::One(Some(second)) = model.ask(WRITE) else { panic!("the line is long") };
        let answered = if second_is_answered { second } else { first };
        let sent = if second_is_answered { model.now } else { began };
        // Unclear, so that no lease runs.
        model.answered(answered, Outcome::Unclear, sent);
        model.now = model.now + Duration::from_secs(1);
        assert_eq!(matches!(model.ask(WRITE), Answer::One(Some(_))), sends);
        assert_eq!(model.stalled, !sends);
    }
}

/// Other replies than the leader's may be from before.
#[test]
fn only_the_leaders_reply_ends_the_episode_or_plans_the_next_try() {
    let mut model = Model::new(Some(THRESHOLD));
    let leader = model.busy();
    model.wait(WRITE);
    let due = model.next;
    model.now = model.now + Duration::from_micros(100);
    model.gate.answered(None, Outcome::Unclear, at(0), model.now);
    model.gate.answered(None, Outcome::Proof, at(0), model.now);
    model.settle();
    assert_eq!(model.next, due);
    model.pass(due);
    let (since, _) = model.out[&leader];
    // Still the leader, whoever else is answered meanwhile.
    model.gate.answered(None, Outcome::Proof, model.now, model.now);
    model.settle();
    model.now = model.now + Duration::from_micros(100);
    model.answered(leader, Outcome::Unclear, since);
    assert!(model.gate.busy().is_some());
    assert!(model.out.is_empty() && model.next > model.now, "the next try has its time");
}

#[test]
fn busy_sooner_than_the_threshold_teaches_a_smaller_one_unless_it_is_old_news() {
    for (sent, learns) in [(at(2), true), (at(0), false)] {
        let mut gate = Gate::new(Some(THRESHOLD));
        gate.answered(None, Outcome::Proof, at(0), at(1));
        gate.rejected(None, Some(WRITE), Cause::Script, sent, at(60));
        assert_eq!(gate.busy().is_some(), learns);
        assert_eq!(gate.threshold(), Some(if learns { MS * 60 } else { THRESHOLD }));
    }
}

/// Whether what looks like BUSY is a script's own answer.
#[test]
fn what_was_sent_since_a_proof_cannot_have_been_rejected_before_the_threshold() {
    let mut gate = Gate::new(Some(THRESHOLD));
    gate.answered(None, Outcome::Proof, at(0), at(10));
    assert!(gate.cannot_be_busy(at(10), at(4_999)));
    assert!(!gate.cannot_be_busy(at(9), at(4_999)), "it was sent before the proof was heard");
    assert!(!gate.cannot_be_busy(at(10), at(5_000)));
}

/// When the leader tries next, when an episode is so old.
fn try_at(gate: &mut Gate, age: Duration) -> Time {
    let ticket = gate.rejected(None, Some(WRITE), Cause::Script, at(0), at(0)).expect("it waits");
    let now = at(0) + age;
    gate.tick(false, now);
    assert_eq!(gate.woken().collect::<Vec<_>>(), [ticket]);
    gate.rejected(Some(ticket), Some(WRITE), Cause::Script, now, now);
    gate.tick(false, now)
}

#[test]
fn the_time_between_tries_is_shared_among_the_gates_of_a_server() {
    let second = Duration::from_secs(1);
    for (clients, age, wait) in [
        // Unknown: as if there were some.
        (None, second, MS * 25),
        (Some((10, 10)), second, MS * 8),
        (Some((10, 10)), second * 4, MS * 25),
        (Some((10, 10)), second * 10, MS * 50),
        (Some((10, 10)), second * 40, MS * 100),
        (Some((1_000, 10)), second, MS * 20),
        (Some((40_000, 1)), second, second),
    ] {
        let mut gate = Gate::new(Some(THRESHOLD));
        if let Some((all, mine)) = clients {
            gate.set_clients(all, mine);
        }
        assert_eq!(try_at(&mut gate, age), at(0) + age + wait, "{clients:?} {age:?}");
    }
}

#[test]
fn a_pace_of_ones_own_is_kept() {
    let mut gate = Gate::new(Some(THRESHOLD));
    gate.set_pace(Pace { first: MS * 2_000, longest: MS * 3_000 });
    assert_eq!(try_at(&mut gate, MS * 16_000), at(16_000 + 2_000), "the first");
    let mut gate = Gate::new(Some(THRESHOLD));
    gate.set_pace(Pace { first: MS * 2_000, longest: MS * 3_000 });
    assert_eq!(try_at(&mut gate, MS * 1_000_000), at(1_000_000 + 3_000), "the longest");
}

/// A lease is over at its last moment, and then a scout goes.
#[test]
fn at_the_end_of_a_lease_a_scout_goes() {
    let mut model = Model::new(Some(THRESHOLD));
    model.proven(MS);
    let end = model.gate.free_until();
    model.now = Time::from_nanos(end.as_nanos() - 1);
    assert_eq!(model.ask(WRITE), Answer::Free);
    model.now = end;
    assert!(matches!(model.ask(WRITE), Answer::One(Some(_))));
}

/// An eighth of a lease after the last proof, the next one is worth telling.
#[test]
fn a_proof_is_wanted_eight_times_in_a_lease() {
    let mut model = Model::new(None);
    assert_eq!(model.gate.proof_wanted_after(), Time::ZERO);
    model.proven(MS);
    let sent = Time::from_nanos(model.now.as_nanos() - 1_000_000);
    assert_eq!(model.gate.proof_wanted_after(), sent + model.gate.lease_width() / 8);
}

/// Any answer ends a stall; a lease is given by a proof only.
#[test]
fn what_ends_a_stall_gives_a_lease_if_it_is_a_proof() {
    for outcome in [Outcome::Proof, Outcome::Unclear] {
        let mut model = Model::new(Some(THRESHOLD));
        let Answer::One(Some(scout)) = model.ask(WRITE) else { panic!("a first scout may go at once") };
        let other = model.wait(WRITE);
        let until = model.next;
        model.pass(until);
        assert!(model.stalled);
        model.leave(other);
        model.answered(scout, outcome, model.now);
        assert!(!model.stalled);
        assert_eq!(model.gate.free_until() > model.now, outcome == Outcome::Proof);
    }
}

/// The first scout's connection is dead; the server is not. Others must not wait for it.
#[test]
fn one_silent_scout_does_not_stop_the_others() {
    for ask in [READ, WRITE] {
        let mut model = Model::new(Some(THRESHOLD));
        let Answer::One(Some(dead)) = model.ask(WRITE) else { panic!("the first scout goes at once") };
        model.now = model.now + MS;
        let began = model.now;
        for _ in 0..20 {
            model.wait(ask);
        }
        while !model.waiting.is_empty() || model.out.len() > 1 {
            let alive: Vec<_> = model.out.keys().copied().filter(|ticket| *ticket != dead).collect();
            if alive.is_empty() {
                let until = model.next;
                model.pass(until);
                continue;
            }
            let since = model.now;
            model.now = model.now + Duration::from_micros(300);
            for ticket in alive {
                model.answered(ticket, Outcome::Proof, since);
            }
        }
        assert!(model.now - began <= 500 * MS, "{:?}", model.now - began);
    }
}

/// All that wait would block: there is no leader who could tell, so silence tells that the server took one.
#[test]
fn waiters_that_only_block_are_released() {
    let mut model = Model::new(Some(THRESHOLD));
    model.blocked();
    for _ in 0..20 {
        model.wait(BLOCKING);
    }
    // Busy for 300 ms: every try is rejected.
    let end = model.now + 300 * MS;
    while model.now < end {
        let until = model.next.min(end);
        model.pass(until);
        let out: Vec<_> = model.out.iter().map(|(ticket, (since, _))| (*ticket, *since)).collect();
        for (ticket, since) in out {
            model.now = model.now + Duration::from_micros(100);
            model.rejected(ticket, since);
        }
    }
    // Then they are taken, and none is answered.
    let over = model.now;
    model.pass(over + Duration::from_secs(1));
    assert!(model.waiting.is_empty(), "{} wait for ever", model.waiting.len());
    let last = model.woken.last().map_or(Duration::ZERO, |(at, _)| *at - over);
    assert!(last <= 500 * MS, "{last:?}");
}

/// The gate has never had an answer, and the leader's try waits for a second script.
#[test]
fn a_try_that_met_a_stall_does_not_delay_the_next() {
    let mut model = Model::new(Some(THRESHOLD));
    let leader = model.busy();
    let until = model.next;
    model.pass(until);
    let sent = model.now;
    model.now = model.now + THRESHOLD;
    model.rejected(leader, sent);
    assert!(model.next - model.now <= Duration::from_secs(1), "{:?}", model.next - model.now);
}

/// The first answer ever came after a stall; then one that blocks leads.
#[test]
fn a_stall_at_the_start_does_not_make_the_gate_slow() {
    let mut model = Model::new(Some(THRESHOLD));
    model.proven(Duration::from_secs(8));
    model.blocked();
    model.wait(BLOCKING);
    let until = model.next;
    model.pass(until);
    let until = model.now + Duration::from_secs(5);
    model.pass(until);
    assert!(model.gate.busy().is_none(), "a busy server would have rejected it long ago");
}

#[test]
fn a_deaf_leader_is_listened_to_for_four_times_as_long_as_makes_a_stall() {
    let mut model = Model::new(Some(THRESHOLD));
    model.blocked();
    model.wait(BLOCKING);
    let until = model.next;
    model.pass(until);
    let [(since, _)] = model.out.values().copied().collect::<Vec<_>>()[..] else { panic!("one leads") };
    model.pass(since + Duration::from_micros(7_999));
    assert!(model.gate.busy().is_some());
    model.pass(since + MS * 8);
    assert!(model.gate.busy().is_none());
}

/// A busy server may be silent for long, too, while a script waits for a slow command of its own.
#[test]
fn silence_does_not_tell_that_the_server_is_open_where_a_ping_can_ask() {
    let mut model = Model::new(Some(THRESHOLD));
    model.proven(Duration::from_secs(8));
    model.busy();
    for ticket in model.waiting.keys().copied().collect::<Vec<_>>() {
        model.leave(ticket);
    }
    model.wait(PINGING);
    model.wait(BLOCKING);
    let until = model.next;
    model.pass(until);
    let until = model.now + Duration::from_secs(5);
    model.pass(until);
    assert!(model.gate.busy().is_some());
}

/// A leader that leaves, or is never answered, hands over.
#[test]
fn leadership_is_handed_over() {
    let mut model = Model::new(Some(THRESHOLD));
    let first = model.busy();
    let others: Vec<_> = (0..5).map(|_| model.wait(WRITE)).collect();
    let until = model.next;
    model.pass(until);
    model.leave(first);
    assert_eq!(model.out.keys().copied().collect::<Vec<_>>(), others[..1], "at once");
    let since = model.now;
    model.pass(since + 101 * MS);
    assert_eq!(model.out.keys().copied().collect::<Vec<_>>(), others[..2], "after its patience");
    model.pass(since + 250 * MS);
    assert_eq!(model.out.len(), 2, "the next one has twice the patience");
}

/// A rejection that was only late, behind a proof sent after it, is no news: the lease goes on.
#[test]
fn a_late_rejection_begins_no_episode() {
    let mut model = Model::new(Some(THRESHOLD));
    let sent = model.now;
    model.now = model.now + 10 * MS;
    model.proven(MS);
    let until = model.gate.free_until();
    let ticket = model.gate.rejected(None, Some(WRITE), Cause::Script, sent, model.now);
    assert_eq!(model.gate.busy(), None);
    let ticket = ticket.expect("it waits for its turn");
    model.waiting.insert(ticket, WRITE);
    model.asks.insert(ticket, WRITE);
    model.settle();
    assert!(model.waiting.is_empty(), "and it may go again at once");
    assert_eq!(model.gate.free_until(), until);
}

/// The end of a script that came through this process is the moment to try.
#[test]
fn the_reply_of_a_script_wakes_the_leader() {
    let mut gate = Gate::new(Some(THRESHOLD));
    let ticket = gate.rejected(None, Some(WRITE), Cause::Script, at(0), at(1)).expect("it waits");
    assert!(gate.tick(true, at(1)) >= at(900), "its reply will tell: no need to try often");
    assert_eq!(gate.woken().count(), 0);
    // Another one is still in flight.
    gate.script_answered(at(400));
    gate.tick(true, at(400));
    assert_eq!(gate.woken().collect::<BTreeSet<_>>(), BTreeSet::from([ticket]));
}

const TEN: Ask = Ask { scout: true, pings: false, read: false, commands: 10 };

fn reports(model: &Model) -> Vec<EpisodeReport> {
    let report = |(_, event): &(Time, Event)| match event {
        Event::EpisodeEnded(report) | Event::EpisodeLeft(report) => Some(*report),
        _ => None,
    };
    model.events.iter().filter_map(report).collect()
}

#[test]
fn everybody_who_waited_is_in_the_report_whether_to_the_end_or_not() {
    let mut model = Model::new(Some(THRESHOLD));
    let leader = model.busy();
    let gone = model.wait(TEN);
    model.wait(TEN);
    model.leave(gone);
    model.pass(model.now + MS * 500);
    let (since, _) = model.out[&leader];
    model.answered(leader, Outcome::Proof, since);
    let [report] = reports(&model)[..] else { panic!("one episode: {:?}", model.events) };
    assert_eq!((report.connections, report.commands), (3, 1 + 10 + 10));
}

#[test]
fn what_was_rejected_and_given_up_is_counted() {
    let mut model = Model::new(Some(THRESHOLD));
    let leader = model.busy();
    model.gate.also_rejected(4);
    model.pass(model.now + MS * 50);
    let (since, _) = model.out[&leader];
    model.rejected(leader, since);
    model.gate.gave_up(2);
    model.gate.gave_up(3);
    model.gate.close(model.now);
    model.settle();
    let [report] = reports(&model)[..] else { panic!("one episode: {:?}", model.events) };
    assert_eq!((report.rejected, report.given_up), (1 + 4 + 1, 2 + 3));
}

#[test]
fn who_leaves_while_being_tried_has_waited_as_well() {
    let mut model = Model::new(Some(THRESHOLD));
    let leader = model.busy();
    model.pass(model.now + MS * 50);
    let (since, _) = model.out.remove(&leader).expect("it is tried");
    let kept = model.gate.rejected(Some(leader), None, Cause::Script, since, model.now);
    assert_eq!(kept, None);
    assert!(model.gate.is_deserted());
    model.gate.close(model.now);
    model.settle();
    let [report] = reports(&model)[..] else { panic!("one episode: {:?}", model.events) };
    assert_eq!((report.connections, report.commands), (1, 1));
}

#[test]
fn an_episode_that_all_have_left_ends_when_the_server_was_last_seen_busy() {
    let mut model = Model::new(Some(THRESHOLD));
    let began = model.now;
    let leader = model.busy();
    model.pass(model.now + MS * 300);
    model.gate.gave_up(1);
    model.leave(leader);
    assert!(model.gate.is_deserted());
    model.pass_idle(MS * 1_000);
    model.gate.observed(false, model.now, model.now + MS);
    let last_busy = model.now + MS;
    model.pass_idle(MS * 9_000);
    let newcomer = model.wait(WRITE);
    let (since, _) = model.out[&newcomer];
    model.answered(newcomer, Outcome::Proof, since);
    let [report] = reports(&model)[..] else { panic!("one episode: {:?}", model.events) };
    assert_eq!(report.lasted, last_busy - (began + MS));
    assert_eq!(
        (report.connections, report.commands, report.given_up),
        (1, 1, 1),
        "the newcomer never waited"
    );
}

#[test]
fn a_question_of_the_shell_ends_an_episode_that_all_have_left_and_no_other() {
    let mut model = Model::new(Some(THRESHOLD));
    let leader = model.busy();
    model.gate.observed(true, model.now + MS, model.now + MS * 2);
    assert!(model.gate.busy().is_some(), "those who wait find out in their order");
    assert!(!model.gate.is_deserted());
    model.leave(leader);
    assert!(model.gate.is_deserted());
    let early = model.now;
    model.pass_idle(MS * 10);
    model.gate.observed(true, early, model.now);
    assert!(model.gate.busy().is_some(), "it was sent before the last rejection came");
    model.gate.observed(true, model.now, model.now + MS);
    model.settle();
    assert!(model.gate.busy().is_none());
    assert_eq!(reports(&model).len(), 1);
}

#[test]
fn an_episode_in_which_the_shell_ends_is_reported() {
    let mut model = Model::new(Some(THRESHOLD));
    model.busy();
    model.gate.close(model.now + MS * 50);
    model.settle();
    assert!(matches!(model.events.last(), Some((_, Event::EpisodeLeft(report))) if report.commands == 1));
}
