//! The gate against an oracle that knows what each waiter has been told, and against scenes with numbers: how often a
//! busy server is tried, how fast the queue opens, how many ghosts a stall leaves.
mod leader;
mod model;
mod reports;
mod scouts;

use std::time::Duration;

use model::{BLOCKING, MS, Model, PINGING, READ, THRESHOLD, WRITE, at};
use proptest::prelude::*;
use unbusy_core::gate::{Ask, Outcome};
use unbusy_core::{Cause, Gate, Time};

/// One step of the random walk: what happens, to whom, and how much later.
type Step = (u8, u8, u16);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_u8..12, any::<u8>(), 0_u16..400), 1..300)
}

fn ask_of(pick: u8) -> Ask {
    [WRITE, WRITE, READ, BLOCKING, PINGING][usize::from(pick) % 5]
}

/// A lease that already runs was given for another.
#[test]
fn a_threshold_that_becomes_known_holds_at_once() {
    let mut gate = Gate::new(Some(THRESHOLD));
    gate.answered(None, Outcome::Proof, at(0), at(1));
    assert_eq!(gate.free_until(), at(50));
    gate.set_threshold(Some(MS * 20));
    assert_eq!(gate.free_until(), at(5));
    gate.set_threshold(None);
    assert_eq!(gate.free_until(), at(5), "nothing was proved since");
    gate.answered(None, Outcome::Proof, at(2), at(3));
    assert_eq!(gate.free_until(), at(52));
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
