//! What was seen, as a table, and what is claimed, with a mark for true or not.

use std::fmt::Write as _;
use std::time::Duration;

use super::board::Group;
use super::play::{GroupResult, Probes, Results};
use super::waits::Waits;

const ADDED_WAIT_LIMIT: Duration = Duration::from_millis(50);

/// A line of the table: what it tells, and how that reads for one group. Groups stand side by side, so that the table
/// is narrower than 80 columns with any numbers.
type Row = (&'static str, fn(&GroupResult) -> String);

const ROWS: [Row; 10] = [
    ("", |result| result.group.name().to_owned()),
    ("commands", |result| grouped(result.count.accepted + result.count.errors)),
    ("errors", |result| grouped(result.count.errors)),
    ("lost", |result| grouped(result.audit.lost)),
    ("duplicated", |result| grouped(result.audit.duplicated)),
    ("out of order", |result| grouped(result.audit.disordered)),
    ("added wait, p50", |result| added_wait(result, 50)),
    ("added wait, p99", |result| added_wait(result, 99)),
    ("added wait, max", |result| added_wait(result, 100)),
    ("probes sent", |result| probes(result.probes)),
];

/// One line of claims.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    holds: bool,
    text: String,
}

/// The report, and whether all claims hold.
pub(super) fn report(results: &Results) -> (String, bool) {
    let Results { groups, paused } = results;
    let claims: Vec<_> = groups.iter().flat_map(claims).collect();
    let mut text = table(groups);
    text.push_str("probes sent: commands that met BUSY at the server, each try counted\n");
    for result in groups {
        if let Some(error) = &result.strange {
            let _ = writeln!(text, "{}: an error other than BUSY: {error}", result.group.name());
        }
    }
    text.push('\n');
    for claim in &claims {
        let mark = if claim.holds { '✓' } else { '✗' };
        let _ = writeln!(text, "{mark} {}", claim.text);
    }
    if *paused > ADDED_WAIT_LIMIT / 2 {
        let paused = human(*paused);
        let _ = writeln!(
            text,
            "This machine paused the demo itself for {paused},\n\
             and so the waits are longer than they should be."
        );
    }
    (text, claims.iter().all(|claim| claim.holds))
}

fn table(groups: &[GroupResult]) -> String {
    let mut text = String::new();
    for (name, cell) in ROWS {
        let _ = write!(text, "{name:<15}");
        for result in groups {
            let _ = write!(text, "  {:>15}", cell(result));
        }
        text.push('\n');
    }
    text
}

fn probes(probes: Probes) -> String {
    match probes {
        Probes::Counted(count) => grouped(count),
        Probes::AtMost(count) => format!("at most {}", grouped(count)),
        Probes::NotTold => "not told".to_owned(),
    }
}

/// The added wait that so many percent do not exceed.
fn added_wait(result: &GroupResult, percent: usize) -> String {
    // Direct clients do not wait, they fail.
    let wait = result.waits.percentile(percent).filter(|_| result.group != Group::Direct);
    wait.map_or_else(|| "-".to_owned(), human)
}

fn claims(result: &GroupResult) -> Vec<Claim> {
    let (count, audit) = (result.count, result.audit);
    match result.group {
        Group::Remedy => Vec::new(),
        Group::Direct if count.rejected == 0 => vec![Claim {
            holds: false,
            text: "direct: no command failed with BUSY, so this run shows nothing".to_owned(),
        }],
        Group::Direct => vec![Claim {
            holds: true,
            text: format!("direct: {} commands failed with BUSY", grouped(count.rejected)),
        }],
        Group::Unbusy => vec![
            none("errors", count.errors),
            none("commands lost", audit.lost),
            none("commands duplicated", audit.duplicated),
            none("commands out of order", audit.disordered),
            in_time(&result.waits),
        ],
    }
}

fn none(what: &str, count: u64) -> Claim {
    Claim { holds: count == 0, text: format!("unbusy: {} {what}", grouped(count)) }
}

fn in_time(waits: &Waits) -> Claim {
    let limit = human(ADDED_WAIT_LIMIT);
    match waits.percentile(99) {
        None => Claim { holds: false, text: "unbusy: no command was held".to_owned() },
        Some(wait) => Claim {
            holds: wait <= ADDED_WAIT_LIMIT,
            text: format!(
                "unbusy: {} added wait for 99% of {} held commands (limit {limit})",
                human(wait),
                grouped(waits.count() as u64)
            ),
        },
    }
}

/// With commas between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A duration in the unit that suits it.
pub(super) fn human(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::demo::audit::Audit;
    use crate::commands::demo::board::Count;

    #[test]
    fn the_table_fits_a_terminal() {
        let many = 123_456_789;
        let results = Group::ALL.map(|group| GroupResult {
            group,
            count: Count { accepted: many, errors: many, rejected: many, waiting: 0 },
            audit: Audit { lost: many, duplicated: many, disordered: many },
            waits: Waits::default(),
            probes: Probes::AtMost(999_999),
            strange: None,
        });
        let table = table(&results);
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
        assert_eq!(
            table.lines().last(),
            Some("probes sent      at most 999,999  at most 999,999  at most 999,999")
        );
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let durations = [0, 3200, 50_000, 1_410_000].map(Duration::from_micros);
        assert_eq!(durations.map(human), ["0.0 ms", "3.2 ms", "50 ms", "1.41 s"]);
    }
}
