//! How often BUSY was answered.

use std::fmt::Write as _;

use super::super::finding::Finding;
use super::super::reading::Facts;
use super::super::report::counted;
use crate::asking::field;

const ABOUT: &str = "rejections";
const SHOWN: usize = 5;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    // Where statistics may not be read at all, their absence says nothing.
    if facts.info.is_empty() {
        return Vec::new();
    }
    let busy = facts.field("errorstat_BUSY", "count").unwrap_or(0);
    if busy == 0 {
        return vec![Finding::ok(ABOUT, "no command was answered with BUSY since the statistics began")];
    }
    let mut seen = format!("{} with BUSY since the statistics began", counted(busy, "answer"));
    let rejected = rejected_by_command(facts);
    if !rejected.is_empty() {
        let _ = write!(seen, "; rejected for any reason: {rejected}");
    }
    let aborted = facts.field("errorstat_EXECABORT", "count").unwrap_or(0);
    if aborted > 0 {
        let _ = write!(seen, "; {} discarded", counted(aborted, "transaction"));
    }
    vec![
        Finding::warning(ABOUT, seen)
            .because("hardly any client sends such a command again, so they failed; but a PING may be a probe's, or unbusy's own")
            .cured_by(format!("unbusy proxy --upstream {}, with the clients pointed at it", facts.server)),
    ]
}

fn rejected_by_command(facts: &Facts) -> String {
    let commands = facts.info.iter().filter_map(|(line, value)| {
        Some((line.strip_prefix("cmdstat_")?, field(value, "rejected_calls").filter(|count| *count > 0)?))
    });
    let mut commands: Vec<_> = commands.collect();
    commands.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = commands.iter().take(SHOWN).map(|(name, count)| format!("{name} {count} times"));
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;

    #[test]
    fn counted_by_the_server() {
        let info = "errorstat_BUSY:count=12\r\nerrorstat_EXECABORT:count=1\r\n\
            cmdstat_get:calls=5,usec=9,usec_per_call=1.80,rejected_calls=9,failed_calls=0\r\n\
            cmdstat_incr:calls=5,usec=9,usec_per_call=1.80,rejected_calls=3,failed_calls=0\r\n\
            cmdstat_set:calls=5,usec=9,usec_per_call=1.80,rejected_calls=0,failed_calls=0\r\n";
        let findings = check(&facts(&[], info));
        assert_eq!(severities(&findings), ["warning"]);
        assert_eq!(
            findings[0].seen,
            "12 answers with BUSY since the statistics began; rejected for any reason: get 9 times, incr 3 times; \
             1 transaction discarded"
        );
        assert_eq!(severities(&check(&facts(&[], "redis_version:7.0.15\r\n"))), ["ok"]);
        assert!(check(&facts(&[], "")).is_empty());
    }
}
