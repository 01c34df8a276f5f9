//! What the latency monitor has seen.

use super::super::finding::Finding;
use super::super::reading::{Facts, LatencyEvent};
use super::super::report::threshold;
use crate::asking::ago;

const ABOUT: &str = "latency";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if facts.number("latency-monitor-threshold") == Some(0) {
        let finding = Finding::note(ABOUT, "the monitor is off (latency-monitor-threshold is 0)")
            .because("the server keeps no record of when it was blocked, by scripts or otherwise")
            .cured_by(facts.set("latency-monitor-threshold", 100));
        return vec![finding];
    }
    match facts.latency.as_deref() {
        None => Vec::new(),
        Some([]) => vec![Finding::ok(ABOUT, "the monitor has seen nothing")],
        Some(events) => vec![of(facts, events)],
    }
}

fn of(facts: &Facts, events: &[LatencyEvent]) -> Finding {
    let told = events
        .iter()
        .map(|event| format!("{} took up to {}, last {}", event.name, ago(event.most), ago(event.latest)));
    let told = told.collect::<Vec<_>>().join("; ");
    let most = events.iter().map(|event| event.most).max().unwrap_or_default();
    if most >= facts.threshold() {
        return Finding::warning(ABOUT, format!("longer than {}: {told}", threshold(facts)))
            .because("for so long the server did nothing else; an event `command` that long may be a script")
            .cured_by(format!("{} LATENCY DOCTOR", facts.cli));
    }
    Finding::note(ABOUT, told)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{facts, severities};
    use super::*;
    use crate::asking::Reply;
    use crate::commands::doctor::reading::latency_event;

    #[test]
    fn events_against_the_threshold() {
        let event = Reply::parse(b"*4\r\n$7\r\ncommand\r\n:1700000000\r\n:40\r\n:700\r\n");
        let event = latency_event(&event).expect("an event");
        assert_eq!((event.latest, event.most), (Duration::from_millis(40), Duration::from_millis(700)));
        let of = |millis: &str| {
            let mut facts =
                facts(&[("busy-reply-threshold", millis), ("latency-monitor-threshold", "10")], "");
            facts.latency = Some(vec![event.clone()]);
            severities(&check(&facts))
        };
        assert_eq!([of("700"), of("701")], [["warning"], ["note"]]);
        assert_eq!(severities(&check(&facts(&[("latency-monitor-threshold", "0")], ""))), ["note"]);
        assert!(check(&facts(&[], "")).is_empty());
    }
}
