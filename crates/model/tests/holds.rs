//! The rules that are built keep all promises, in every state that can be reached.
#![expect(clippy::print_stderr, reason = "how much was looked at is to be seen with --nocapture")]

use model::explore::explore;
use model::properties::{JOINED, LATE_REJECTION, NULL, PIPELINE, REPLAY, STALL};
use model::setting::Kind::{self, Exec, Multi, Plain, Watch};
use model::setting::{Rules, Setting};

const ONE: &[Kind] = &[Plain];
const TWO: &[Kind] = &[Plain, Plain];
const THREE: &[Kind] = &[Plain, Plain, Plain];
const TRANSACTION: &[Kind] = &[Multi, Plain, Exec, Plain];
const AMONG_OTHERS: &[Kind] = &[Plain, Multi, Plain, Plain, Exec, Plain];
const WATCHED: &[Kind] = &[Watch, Multi, Plain, Exec];

/// Nothing is broken, and what should be possible is: else little would have been checked.
fn holds(name: &str, setting: Setting, possible: &[&str]) {
    let outcome = explore(setting);
    eprintln!("{name}: {} states", outcome.states);
    assert!(outcome.broken.is_empty(), "{name}: {:#?}", outcome.broken);
    for sight in possible {
        assert!(outcome.seen.contains(sight), "{name}: never saw {sight}");
    }
}

fn real(clients: &[&[Kind]]) -> Setting {
    Setting::new(Rules::REAL, clients)
}

#[test]
fn for_a_pipeline() {
    holds("a pipeline, two scripts", real(&[THREE]).with_scripts(2), &[PIPELINE]);
    holds("a pipeline, a longer threshold", real(&[THREE]).with_threshold(4, 1), &[PIPELINE]);
}

#[test]
fn for_two_connections() {
    let all = [PIPELINE, STALL, JOINED, LATE_REJECTION];
    holds("two connections", real(&[TWO, TWO]), &all);
    holds("two connections, two scripts", real(&[TWO, ONE]).with_scripts(2), &all);
    holds("two connections, a longer lease", real(&[TWO, ONE]).with_threshold(4, 2), &all);
}

#[test]
fn for_a_new_connection() {
    holds("a new connection", Setting { accepted: false, ..real(&[THREE, ONE]) }, &[PIPELINE, STALL]);
}

#[test]
fn when_a_client_leaves_or_the_line_is_long() {
    let all = [PIPELINE, STALL, JOINED, LATE_REJECTION];
    holds("a client leaves", Setting { leaving: 1, ..real(&[TWO, ONE]) }, &all);
    holds("a long line", Setting { long_line: true, ..real(&[TWO, ONE]) }, &all);
}

#[test]
fn for_transactions() {
    holds("a transaction, two scripts", real(&[AMONG_OTHERS]).with_scripts(2), &[REPLAY, PIPELINE]);
    holds("a watched transaction, two scripts", real(&[WATCHED]).with_scripts(2), &[NULL]);
    holds("a watched transaction and another client", real(&[WATCHED, ONE]), &[NULL, STALL]);
}

#[test]
#[ignore = "for --release: minutes, and some GB of memory"]
fn at_large() {
    let all = [PIPELINE, STALL, JOINED, LATE_REJECTION];
    holds("three connections", real(&[ONE, ONE, ONE]), &all[1..]);
    holds("three pipelines", real(&[TWO, ONE, ONE]), &all);
    holds("two pipelines, two scripts", real(&[THREE, TWO]).with_scripts(2), &all);
    holds("two pipelines, a threshold of four leases", real(&[THREE, TWO]).with_threshold(4, 1), &all);
    holds("a transaction and another client", real(&[TRANSACTION, ONE]).with_scripts(2), &[REPLAY, STALL]);
    holds("a watched transaction, two scripts", real(&[WATCHED, ONE]).with_scripts(2), &[NULL, STALL]);
}
