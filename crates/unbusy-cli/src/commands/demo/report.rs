//! What was seen, as a table, and what is claimed, with a mark for true or not.

use std::fmt::Write as _;
use std::time::Duration;

use super::board::Group;
use super::play::{GroupResult, Results};
use super::waits::Waits;

const ADDED_WAIT_LIMIT: Duration = Duration::from_millis(50);

const HEAD: [&str; 8] =
    ["", "commands", "errors", "lost", "duplicated", "out of order", "added wait p50/p99/max", "rejected"];

/// One line of claims.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    holds: bool,
    text: String,
}

/// The report, and whether all claims hold.
pub(super) fn report(results: &Results, own_server: bool) -> (String, bool) {
    let Results { groups, paused } = results;
    let claims: Vec<_> = groups.iter().flat_map(claims).collect();
    let mut text = table(groups, own_server);
    text.push_str("rejected: by the server with BUSY, each try counted\n");
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
            "This machine paused the demo itself for {paused}, and so the waits are longer than they should be."
        );
    }
    (text, claims.iter().all(|claim| claim.holds))
}

fn table(groups: &[GroupResult], own_server: bool) -> String {
    let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned))
        .chain(groups.iter().map(|result| row(result, own_server)))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let _ = write!(text, "{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

fn row(result: &GroupResult, own_server: bool) -> [String; HEAD.len()] {
    let GroupResult { group, count, audit, .. } = result;
    let rejected = match (result.rejected, group) {
        (None, _) => "not told".to_owned(),
        // Its other clients' BUSY errors are counted together with those behind the proxy.
        (Some(rejected), Group::Unbusy) if !own_server => format!("at most {}", grouped(rejected)),
        (Some(rejected), _) => grouped(rejected),
    };
    [
        group.name().to_owned(),
        grouped(count.accepted + count.errors),
        grouped(count.errors),
        grouped(audit.lost),
        grouped(audit.duplicated),
        grouped(audit.disordered),
        added_wait(result),
        rejected,
    ]
}

fn added_wait(result: &GroupResult) -> String {
    let percentiles: Option<Vec<_>> = [50, 99, 100].map(|p| result.waits.percentile(p)).into_iter().collect();
    // Direct clients do not wait, they fail.
    match percentiles.filter(|_| result.group != Group::Direct) {
        None => "-".to_owned(),
        Some(waits) => waits.into_iter().map(human).collect::<Vec<_>>().join("/"),
    }
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
                "unbusy: 99% of {} held commands answered within {} of the script's end (at most {limit})",
                grouped(waits.count() as u64),
                human(wait)
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

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let durations = [0, 3200, 50_000, 1_410_000].map(Duration::from_micros);
        assert_eq!(durations.map(human), ["0.0 ms", "3.2 ms", "50 ms", "1.41 s"]);
    }
}
