//! What the order of execution rests on: each assumption is needed, and where one fails, commands are not reordered all the
//! same, but a hole is seen and the client gets BUSY.
#![expect(clippy::print_stderr, reason = "how much was looked at is to be seen with --nocapture")]

use model::explore::explore;
use model::properties::{HOLE, LATE, LEARNED, NO_BUSY, OWN};
use model::setting::Kind::{self, Plain};
use model::setting::{Rules, Setting};

const ONE: &[Kind] = &[Plain];
const TWO: &[Kind] = &[Plain, Plain];
const THREE: &[Kind] = &[Plain, Plain, Plain];

fn real(clients: &[&[Kind]]) -> Setting {
    Setting::new(Rules::REAL, clients)
}

/// BUSY reaches a client, and nothing else is broken but perhaps what is named.
fn has_holes(name: &str, setting: Setting, perhaps: &[&str]) -> Vec<&'static str> {
    let outcome = explore(setting);
    eprintln!("{name}: {} states", outcome.states);
    assert!(outcome.broken.contains_key(NO_BUSY) && outcome.seen.contains(&HOLE), "{name}: there is no hole");
    for (property, run) in outcome.broken {
        assert!(property == NO_BUSY || perhaps.contains(&property), "{name}: {property} is broken: {run:?}");
    }
    outcome.seen
}

/// A1: what is sent under a lease is in the server's buffer within the threshold less the lease. One tick more is too much.
#[test]
fn the_line_is_not_too_slow() {
    let late = |setting: Setting| Setting { line: setting.line + 1, ..setting };
    has_holes("a slow line", late(real(&[THREE])), &[]);
    has_holes("a slow line, a longer threshold", late(real(&[THREE]).with_threshold(4, 2)), &[]);
    has_holes("a slow line, two connections", late(real(&[TWO, ONE])), &[]);
}

/// F3: a busy server reads all of a window in one hook.
#[test]
fn a_hook_reads_a_window() {
    has_holes("a window beyond the hook", Setting { hook: 2, ..real(&[THREE, ONE]) }, &[]);
    let rules = Rules { first_window: Rules::REAL.window, ..Rules::REAL };
    let whole = Setting { accepted: false, ..Setting::new(rules, &[THREE, ONE]) };
    has_holes("a whole window on a new connection", whole, &[]);
}

/// The lease is no longer than half the threshold: then whatever follows a command was sent before that can have been
/// rejected. Here the lease is as long as the threshold, on a line without delay.
#[test]
fn a_lease_is_half_the_threshold_at_most() {
    has_holes("a long lease", real(&[TWO, TWO]).with_threshold(2, 2), &[OWN]);
}

/// A threshold of half of what unbusy takes for it leaves the lease half of the threshold: then there are no holes, on a
/// faster line.
#[test]
fn the_threshold_is_known_well_enough() {
    let outcome = explore(Setting { assumed: 8, fraction: 4, ..real(&[THREE]).with_threshold(4, 2) });
    let holes = outcome.broken.keys().find(|property| ![OWN, LATE].contains(property));
    assert_eq!(holes, None, "{:#?}", outcome.broken);
}

/// A threshold that is smaller than unbusy takes it for. What rests on the threshold is wrong then, too; but the smaller
/// one is learned.
#[test]
fn the_threshold_is_known() {
    let smaller = |clients| Setting { assumed: 4, ..real(clients) };
    let seen = has_holes("a smaller threshold", smaller(&[THREE]).with_scripts(2), &[OWN, LATE]);
    assert!(seen.contains(&LEARNED));
    has_holes("a smaller threshold, two connections", smaller(&[TWO, ONE]), &[OWN, LATE]);
}
