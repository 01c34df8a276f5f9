//! While the server is busy: who tries, how often, what ends it, and how the queue opens then.

use std::collections::BTreeSet;
use std::time::Duration;

use unbusy_core::gate::{Answer, Outcome, Pace};
use unbusy_core::{Cause, Gate, Time};

use super::model::{BLOCKING, MS, Model, PINGING, THRESHOLD, WRITE, at};

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
        (Some((10, 10)), second, MS * 6),
        (Some((10, 10)), MS * 2_999, MS * 6),
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

/// While a kill is on its way to the script that makes the server busy, nobody may begin another one.
#[test]
fn a_frozen_gate_lets_nobody_go() {
    let mut model = Model::new(Some(THRESHOLD));
    let first = model.busy();
    let victim = model.now;
    assert!(model.gate.freeze(victim));
    model.now = model.now + Duration::from_secs(10);
    assert_eq!(
        model.gate.tick(false, model.now),
        Time::NEVER,
        "the leader's time has come, but it may not try"
    );
    // Even if the shell finds the server open.
    model.gate.leave(first, model.now);
    model.gate.observed(true, model.now, model.now);
    assert_eq!(model.gate.busy(), None);
    model.gate.answered(None, Outcome::Proof, model.now, model.now);
    assert_eq!(model.gate.free_until(), Time::ZERO);
    let Answer::Wait(late) = model.gate.ask(None, WRITE, model.now) else { panic!("it is frozen") };
    model.gate.answered(None, Outcome::Proof, model.now, model.now);
    assert_eq!(model.gate.woken().count(), 0);
    model.gate.thaw();
    model.gate.tick(false, model.now);
    assert_eq!(model.gate.woken().collect::<Vec<_>>(), [late]);
    assert!(!model.gate.freeze(victim) && !model.gate.is_frozen(), "only while the server is busy");
}

/// What was let go after the victim may be a script that runs next; what was let go before may be the victim.
#[test]
fn a_gate_freezes_only_if_nobody_is_out() {
    let mut model = Model::new(Some(THRESHOLD));
    let first = model.busy();
    let before = model.now;
    let due = model.next;
    model.pass(due);
    assert!(model.out.contains_key(&first));
    assert!(!model.gate.freeze(before));
    assert!(!model.gate.is_frozen());
    let waits = model.wait(WRITE);
    assert!(model.gate.freeze(model.now) && model.gate.is_frozen());
    model.gate.answered(Some(first), Outcome::Proof, model.now, model.now);
    assert_eq!((model.gate.busy(), model.gate.woken().count()), (None, 0), "even its answer lets nobody go");
    model.gate.thaw();
    model.gate.tick(false, model.now);
    assert_eq!(model.gate.woken().collect::<Vec<_>>(), [waits]);
}
