//! What is told of an episode, and when.

use unbusy_core::gate::{Ask, Outcome};
use unbusy_core::{Cause, EpisodeReport, Event, Time};

use super::model::{MS, Model, THRESHOLD, WRITE};

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
fn who_waits_is_told_and_while_the_server_is_busy_who_is_tried_too() {
    let mut model = Model::new(Some(THRESHOLD));
    assert_eq!(model.gate.held(), (0, 0));
    let leader = model.busy();
    model.wait(TEN);
    model.wait(TEN);
    assert_eq!(model.gate.held(), (3, 1 + 10 + 10));
    let due = model.next;
    model.pass(due);
    let (since, _) = model.out[&leader];
    assert_eq!(model.gate.held(), (3, 1 + 10 + 10), "the leader is being tried");
    model.answered(leader, Outcome::Proof, since);
    assert_eq!(model.gate.held(), (0, 0), "it is open, and both are let go");
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
