//! Rules that are known to be wrong: the model finds what they break. Without that, its silence on the real ones would mean
//! little.
#![expect(clippy::print_stderr, reason = "how a property is broken is to be seen with --nocapture")]

use model::explore::refute;
use model::properties::{ANSWERED, NO_BUSY, NO_IDLER, ONE_LEADER, ORDER, OWN, QUEUE, THRESHOLD, WATCH};
use model::setting::Kind::{self, Exec, Multi, Plain, Watch};
use model::setting::{Anchor, Rules, Setting, Watched};

const ONE: &[Kind] = &[Plain];
const TWO: &[Kind] = &[Plain, Plain];
const THREE: &[Kind] = &[Plain, Plain, Plain];
const WATCHED: &[Kind] = &[Watch, Multi, Plain, Exec];

/// The real rules keep the property in these settings, as `holds.rs` tells.
fn breaks(rules: Rules, clients: &[&[Kind]], property: &'static str) {
    let run = refute(Setting::new(rules, clients), property);
    let run = run.unwrap_or_else(|| panic!("nothing breaks {property:?} under {rules:?}"));
    eprintln!("{property} is broken: {run:?}");
}

/// A mistake in the order of sending makes holes; if nobody looked for holes, commands would be reordered.
fn reorders(rules: Rules, clients: &[&[Kind]]) {
    breaks(rules, clients, NO_BUSY);
    breaks(Rules { strict: false, ..rules }, clients, ORDER);
}

#[test]
fn a_window_without_a_lease() {
    reorders(Rules { lease: Anchor::None, age: false, ..Rules::REAL }, &[TWO]);
}

#[test]
fn a_lease_that_is_anchored_at_the_reply() {
    reorders(Rules { lease: Anchor::Reply, ..Rules::REAL }, &[THREE]);
}

#[test]
fn a_lease_without_the_rule_of_age() {
    reorders(Rules { age: false, ..Rules::REAL }, &[TWO, TWO]);
}

#[test]
fn two_leaders() {
    breaks(Rules { leaders: 2, ..Rules::REAL }, &[ONE, ONE], ONE_LEADER);
}

#[test]
fn no_leader() {
    breaks(Rules { leaders: 0, ..Rules::REAL }, &[ONE], ANSWERED);
}

#[test]
fn a_watched_transaction_that_is_sent_again() {
    breaks(Rules { watched: Watched::Replayed, ..Rules::REAL }, &[WATCHED, ONE], WATCH);
}

#[test]
fn a_watched_transaction_that_is_watched_again() {
    breaks(Rules { watched: Watched::WatchedAgain, ..Rules::REAL }, &[WATCHED, ONE], WATCH);
}

#[test]
fn newcomers_that_go_first() {
    let rules = Rules { queue: false, ..Rules::REAL };
    let run = refute(Setting::new(rules, &[TWO, ONE, ONE]), QUEUE);
    assert!(run.is_some(), "nobody is overtaken");
}

/// A command that was sent after the proof's, but came before it, may have been rejected before.
#[test]
fn a_proof_that_counts_for_what_was_sent_before_it_was_heard() {
    let rules = Rules { heard: false, ..Rules::REAL };
    breaks(rules, &[ONE, ONE], OWN);
    breaks(rules, &[ONE, ONE], THRESHOLD);
}

#[test]
fn a_discarded_transaction_that_counts_as_busy() {
    breaks(Rules { told_busy: false, ..Rules::REAL }, &[&[Multi, Plain, Plain, Exec]], THRESHOLD);
}

/// It takes a hole, which the real rules do not let happen; so does a server that reads less than a window in a hook.
#[test]
fn a_connection_that_waits_without_a_command() {
    let setting =
        |makes_way| Setting { hook: 1, ..Setting::new(Rules { makes_way, ..Rules::REAL }, &[THREE]) };
    assert!(refute(setting(false), NO_IDLER).is_some(), "nobody waits for nothing");
    assert_eq!(refute(setting(true), NO_IDLER), None);
}
