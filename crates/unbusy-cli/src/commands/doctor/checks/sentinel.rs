//! What a Sentinel takes for a dead master.

use super::super::finding::Finding;
use super::super::reading::{Facts, Master};
use super::super::report::threshold;
use crate::asking::ago;

const ABOUT: &str = "Sentinel";
/// Sentinel's own default.
const USUAL_MILLIS: u128 = 30_000;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    match facts.watched.as_deref() {
        None => Vec::new(),
        Some([]) => vec![Finding::note(ABOUT, "it watches no master")],
        Some(masters) => masters.iter().map(|master| of(facts, master)).collect(),
    }
}

fn of(facts: &Facts, master: &Master) -> Finding {
    let Master { name, address, down_after, quorum } = master;
    let seen = format!("{name} ({address}) is down after {}, quorum {quorum}", ago(*down_after));
    let cure = |millis| format!("{} SENTINEL SET {name} down-after-milliseconds {millis}", facts.cli);
    let limit = facts.threshold();
    if *down_after <= limit {
        return Finding::problem(ABOUT, format!("{seen}, not longer than {}", threshold(facts)))
            .because(
                "a script that makes the master BUSY makes it fail over: silence and BUSY both count as no answer, so it is \
                 down before it can say BUSY",
            )
            .cured_by(cure(USUAL_MILLIS.max(limit.as_millis() * 4)));
    }
    Finding::note(ABOUT, format!("{seen}; {} is shorter", threshold(facts))).because(format!(
        "a script that runs longer than {} makes it fail over, since BUSY counts as no answer; it also sends SCRIPT KILL then",
        ago(*down_after)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;
    use crate::asking::Reply;
    use crate::commands::doctor::reading::master;

    fn finding(down_after: &str) -> Finding {
        let words = [
            "name",
            "m",
            "ip",
            "10.0.0.1",
            "port",
            "6379",
            "down-after-milliseconds",
            down_after,
            "quorum",
            "2",
        ];
        let words = words.map(|word| Reply::Text(word.into())).to_vec();
        let mut facts = facts(&[], "redis_mode:sentinel\r\n");
        facts.watched = Some(vec![master(&Reply::List(words)).expect("a master")]);
        check(&facts).remove(0)
    }

    #[test]
    fn down_after_against_the_threshold() {
        let short = finding("5000");
        assert_eq!(severities(std::slice::from_ref(&short)), ["problem"]);
        assert!(
            short.seen.starts_with("m (10.0.0.1:6379) is down after 5s, quorum 2, not longer than"),
            "{}",
            short.seen
        );
        let cure = "redis-cli -u redis://h:1 SENTINEL SET m down-after-milliseconds 30000";
        assert_eq!(short.cure.as_deref(), Some(cure));
        assert_eq!(severities(&[finding("30000")]), ["note"]);
    }
}
