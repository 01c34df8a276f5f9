//! While nobody knows whether the server is open: who sends, who waits, and what is silence.

use std::time::Duration;

use unbusy_core::gate::{Answer, Outcome};
use unbusy_core::{Cause, Gate, Time};

use super::model::{MS, Model, READ, THRESHOLD, WRITE, at};

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

/// Whether what looks like BUSY is a script's own answer.
#[test]
fn what_was_sent_since_a_proof_cannot_have_been_rejected_before_the_threshold() {
    let mut gate = Gate::new(Some(THRESHOLD));
    gate.answered(None, Outcome::Proof, at(0), at(10));
    assert!(gate.cannot_be_busy(at(10), at(4_999)));
    assert!(!gate.cannot_be_busy(at(9), at(4_999)), "it was sent before the proof was heard");
    assert!(!gate.cannot_be_busy(at(10), at(5_000)));
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
