//! Histories made by hand: a good one, and one for each thing that can be wrong.

use super::*;
use crate::history::{Act, Hearing, Line, Op, Outcome, Transfer};

const DONE: Outcome = Outcome::Done(None);

fn op(act: Act, outcome: Outcome) -> Op {
    Op { act, outcome, sent: 10, answered: 20 }
}

fn push(outcome: Outcome) -> Op {
    op(Act::Push { list: "list".into() }, outcome)
}

fn transfer(outcome: Outcome) -> Op {
    op(Act::Transfer(Transfer { from: "account:0".into(), to: "account:1".into(), amount: 7 }), outcome)
}

fn count(outcome: Outcome) -> Op {
    op(Act::Count { counter: "counter".into() }, outcome)
}

fn publish(outcome: Outcome) -> Op {
    op(Act::Publish { channel: "news".into() }, outcome)
}

fn refused(text: &str) -> Outcome {
    Outcome::Refused(text.into())
}

fn busy() -> Outcome {
    refused("BUSY Redis is busy running a script.")
}

/// Line 1 of a patient client, and line 2 of one that is not.
fn history(ops: Vec<Op>, hasty: Vec<Op>) -> History {
    let line = |id, patient, ops| Line { id, client: "client".into(), patient, ops, complaints: Vec::new() };
    History { lines: vec![line(1, true, ops), line(2, false, hasty)], ..History::default() }
}

fn data(lists: &[(&str, &[&str])], numbers: &[(&str, i64)]) -> Data {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Data {
        lists: lists.iter().map(|(name, list)| ((*name).to_owned(), words(list))).collect(),
        numbers: numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect(),
    }
}

fn kinds(history: &History, data: &Data) -> Vec<Kind> {
    let mut kinds: Vec<_> = check(history, data).into_iter().map(|fault| fault.kind).collect();
    kinds.sort();
    kinds
}

/// Pushes with these outcomes by the patient client, and what is then in the list.
fn pushed(outcomes: &[Outcome], list: &[&str]) -> Vec<Kind> {
    let ops = outcomes.iter().cloned().map(push).collect();
    kinds(&history(ops, vec![]), &data(&[("list", list)], &[]))
}

#[test]
fn what_is_as_it_should_be_is_not_blamed() {
    assert_eq!(pushed(&[DONE, DONE, Outcome::Unknown], &["1:0", "1:1"]), []);
    assert_eq!(pushed(&[DONE, Outcome::Unknown, Outcome::Unknown], &["1:0", "1:1"]), []);
    assert_eq!(pushed(&[Outcome::Done(Some(1)), Outcome::GivenUp], &["1:0"]), []);
    let ops = vec![transfer(DONE), count(Outcome::Done(Some(1))), count(Outcome::Unknown)];
    let hasty = vec![push(busy()), push(DONE), transfer(refused("EXECABORT Transaction discarded"))];
    let lists: [(&str, &[&str]); 3] = [("ledger:a", &["1:0"]), ("ledger:b", &["1:0"]), ("list", &["2:1"])];
    let numbers = [("account:0", INITIAL - 7), ("account:1", INITIAL + 7), ("counter", 2)];
    assert_eq!(kinds(&history(ops, hasty), &data(&lists, &numbers)), []);
}

#[test]
fn a_loss_is_found() {
    assert_eq!(pushed(&[DONE, DONE], &["1:1"]), [Kind::Lost]);
    assert_eq!(pushed(&[DONE], &[]), [Kind::Lost]);
}

#[test]
fn a_duplicate_is_found() {
    assert_eq!(pushed(&[DONE, DONE], &["1:0", "1:0", "1:1"]), [Kind::Duplicated]);
    assert_eq!(pushed(&[Outcome::Unknown], &["1:0", "1:0"]), [Kind::Duplicated]);
}

#[test]
fn a_reorder_is_found() {
    assert_eq!(pushed(&[DONE, DONE], &["1:1", "1:0"]), [Kind::Reordered]);
}

#[test]
fn a_gap_in_what_is_unknown_is_found() {
    assert_eq!(pushed(&[DONE, Outcome::Unknown, Outcome::Unknown], &["1:0", "1:2"]), [Kind::Reordered]);
}

#[test]
fn an_execution_after_a_refusal_is_found() {
    let hasty = history(vec![], vec![push(busy())]);
    assert_eq!(kinds(&hasty, &data(&[("list", &["2:0"])], &[])), [Kind::Undead]);
    let changed = op(
        Act::Watched(Transfer { from: "account:0".into(), to: "account:1".into(), amount: 0 }),
        refused(CHANGED),
    );
    let data = data(
        &[("ledger:a", &["1:0"]), ("ledger:b", &["1:0"])],
        &[("account:0", INITIAL), ("account:1", INITIAL)],
    );
    assert_eq!(kinds(&history(vec![changed], vec![]), &data), [Kind::Undead]);
}

#[test]
fn an_execution_after_giving_up_is_found() {
    assert_eq!(pushed(&[Outcome::GivenUp], &["1:0"]), [Kind::Ghost]);
}

#[test]
fn a_reply_of_another_command_is_found() {
    assert_eq!(
        pushed(&[Outcome::Done(Some(2)), Outcome::Done(Some(1))], &["1:0", "1:1"]),
        [Kind::Misanswered; 2]
    );
}

#[test]
fn half_a_transaction_is_found() {
    let history = history(vec![transfer(DONE)], vec![]);
    let numbers = [("account:0", INITIAL - 7), ("account:1", INITIAL + 7)];
    let half = data(&[("ledger:a", &["1:0"])], &numbers);
    assert_eq!(kinds(&history, &half), [Kind::Torn]);
    let poor = data(
        &[("ledger:a", &["1:0"]), ("ledger:b", &["1:0"])],
        &[("account:0", INITIAL - 7), ("account:1", INITIAL)],
    );
    assert_eq!(kinds(&history, &poor), [Kind::Torn]);
}

#[test]
fn a_wrong_count_is_found() {
    let is = |ops, counter| kinds(&history(ops, vec![]), &data(&[], &[("counter", counter)]));
    let done = |number| count(Outcome::Done(Some(number)));
    assert_eq!(is(vec![done(1), done(2)], 1), [Kind::Lost]);
    assert_eq!(is(vec![done(1), count(Outcome::Unknown)], 3), [Kind::Duplicated]);
    assert_eq!(is(vec![done(1), done(1)], 2), [Kind::Duplicated]);
    assert_eq!(is(vec![done(2), done(1)], 2), [Kind::Reordered]);
}

#[test]
fn busy_to_a_patient_client_is_found() {
    let faults =
        |patient, hasty| kinds(&history(patient, hasty), &data(&[("list", &["2:1"])], &[("counter", 0)]));
    assert_eq!(faults(vec![push(busy())], vec![push(busy()), push(DONE)]), [Kind::Busy]);
    assert_eq!(faults(vec![count(refused("ERR unknown"))], vec![push(busy()), push(DONE)]), [Kind::Strange]);
    let script = op(Act::Script { list: "list".into(), millis: 1, function: false }, busy());
    let history = history(vec![script], vec![]);
    assert_eq!(kinds(&history, &Data::default()), [], "the known fault");
    assert_eq!(ambiguous_scripts(&history), 1);
}

#[test]
fn what_disappears_from_the_queue_is_found() {
    let queue = |take| vec![op(Act::Enqueue, DONE), op(Act::Enqueue, DONE), op(Act::Take, take)];
    let took = |token: &str| Outcome::Took(Some(token.into()));
    let is = |take, left: &[&str]| kinds(&history(queue(take), vec![]), &data(&[("queue", left)], &[]));
    assert_eq!(is(took("1:0"), &["1:1"]), []);
    assert_eq!(is(Outcome::Unknown, &["1:1"]), []);
    assert_eq!(is(Outcome::Unknown, &[]), [Kind::Lost]);
    assert_eq!(is(Outcome::Took(None), &["1:1"]), [Kind::Lost]);
    assert_eq!(is(took("1:0"), &["1:0", "1:1"]), [Kind::Duplicated]);
    let ops = [queue(took("1:1")), vec![op(Act::Take, took("1:0"))]].concat();
    assert_eq!(kinds(&history(ops, vec![]), &Data::default()), [Kind::Reordered]);
}

#[test]
fn wrong_messages_are_found() {
    let heard = |words: &[&str]| {
        let mut history = history(
            vec![publish(DONE), publish(DONE), publish(DONE)],
            vec![publish(busy()), publish(Outcome::GivenUp)],
        );
        history.hearings = vec![Hearing {
            client: "client".into(),
            channel: "news".into(),
            from: 0,
            heard: words.iter().map(ToString::to_string).collect(),
        }];
        kinds(&history, &Data::default())
    };
    assert_eq!(heard(&["1:0", "1:1", "1:2"]), []);
    assert_eq!(heard(&["1:0", "1:1"]), [], "then its connection broke");
    assert_eq!(heard(&["1:0", "1:2"]), [Kind::Lost]);
    assert_eq!(heard(&["1:0", "1:0"]), [Kind::Duplicated]);
    assert_eq!(heard(&["1:0", "1:1", "1:0"]), [Kind::Reordered]);
    assert_eq!(heard(&["2:0"]), [Kind::Undead]);
    assert_eq!(heard(&["2:1"]), [Kind::Ghost]);
    assert_eq!(heard(&["9:9"]), [Kind::Strange]);
}

#[test]
fn a_token_of_nobody_is_found() {
    assert_eq!(pushed(&[DONE], &["1:0", "7:0"]), [Kind::Strange]);
}

const INITIAL: i64 = money::INITIAL;
