//! The scripts in the slow log, against the threshold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::finding::Finding;
use super::super::reading::{Facts, SlowCall};
use super::super::report::{counted, threshold};
use crate::asking::ago;

const ABOUT: &str = "slow log";
const USUAL_MICROS: &str = "10000";
const SHOWN: usize = 5;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(log_itself(facts));
    findings.extend(facts.slow_log.as_ref().map(|calls| scripts(facts, calls)));
    findings
}

fn log_itself(facts: &Facts) -> Option<Finding> {
    let micros: i64 = facts.number("slowlog-log-slower-than")?;
    let why = "scripts that block the server leave no trace of which they were";
    let cure = facts.set("slowlog-log-slower-than", USUAL_MICROS);
    let Ok(micros) = u64::try_from(micros) else {
        let seen = format!("off (slowlog-log-slower-than is {micros})");
        return Some(Finding::warning(ABOUT, seen).because(why).cured_by(cure));
    };
    if facts.number("slowlog-max-len") == Some(0) {
        let finding = Finding::warning(ABOUT, "keeps nothing (slowlog-max-len is 0)").because(why);
        return Some(finding.cured_by(facts.set("slowlog-max-len", 128)));
    }
    let least = Duration::from_micros(micros);
    (least > facts.threshold()).then(|| {
        let seen = format!("has only what takes longer than {}, more than {}", ago(least), threshold(facts));
        Finding::note(ABOUT, seen).because("scripts that made the server BUSY may be missing").cured_by(cure)
    })
}

fn scripts(facts: &Facts, calls: &[SlowCall]) -> Finding {
    let limit = facts.threshold();
    let over = calls.iter().filter(|call| call.took >= limit).count() as u64;
    let slowest = calls.iter().map(|call| call.took).max().unwrap_or_default();
    let total = counted(calls.len() as u64, "script");
    if over > 0 {
        let seen =
            format!("{over} of {total} took longer than {}: {}", threshold(facts), slowest_first(calls));
        return Finding::warning(ABOUT, seen)
            .because("everybody else was answered with BUSY meanwhile, and with nothing at all before that")
            .cured_by(format!(
                "let each do less at a time, in several calls; unbusy proxy --upstream {} holds commands meanwhile",
                facts.server
            ));
    }
    if slowest * 2 >= limit && !calls.is_empty() {
        let seen = format!(
            "{total}, the slowest {} of {}: {}",
            ago(slowest),
            threshold(facts),
            slowest_first(calls)
        );
        return Finding::note(ABOUT, seen)
            .because("with more data, or on a loaded machine, it makes the server BUSY");
    }
    match calls {
        [] => Finding::ok(ABOUT, "no scripts"),
        _ => Finding::ok(
            ABOUT,
            format!("{total}, the slowest {}, far from {}", ago(slowest), threshold(facts)),
        ),
    }
}

/// Each script once, with how often and how long at most.
fn slowest_first(calls: &[SlowCall]) -> String {
    let mut scripts: BTreeMap<&str, (u64, Duration)> = BTreeMap::new();
    for call in calls {
        let (count, most) = scripts.entry(&call.what).or_default();
        *count += 1;
        *most = call.took.max(*most);
    }
    let mut scripts: Vec<_> = scripts.into_iter().collect();
    scripts.sort_by_key(|(_, (_, most))| std::cmp::Reverse(*most));
    let shown = scripts.iter().take(SHOWN).map(|(what, (count, most))| match count {
        1 => format!("{what} took {}", ago(*most)),
        _ => format!("{what} took up to {}, {count} times", ago(*most)),
    });
    let mut shown: Vec<_> = shown.collect();
    if scripts.len() > SHOWN {
        shown.push(format!("and {} more", scripts.len() - SHOWN));
    }
    shown.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::{facts, severities};
    use super::*;
    use crate::asking::Reply;
    use crate::commands::doctor::reading::slow_call;

    const ENTRY: &[u8] = b"*6\r\n:7\r\n:1700000000\r\n:2500000\r\n*4\r\n$7\r\nevalsha\r\n$3\r\nabc\r\n$1\r\n0\r\n$6\r\nsecret\r\n\
        $12\r\n127.0.0.1:99\r\n$0\r\n\r\n";

    fn call(what: &str, millis: u64) -> SlowCall {
        SlowCall { what: what.to_owned(), took: Duration::from_millis(millis) }
    }

    fn with_log(calls: &[SlowCall]) -> Vec<Finding> {
        let mut facts = facts(&[("busy-reply-threshold", "1000"), ("slowlog-log-slower-than", "10000")], "");
        facts.slow_log = Some(calls.to_vec());
        check(&facts)
    }

    #[test]
    fn entries_are_told_without_arguments() {
        let entry = Reply::parse(ENTRY);
        assert_eq!(slow_call(&entry, false), Some(call("EVALSHA abc", 2500)));
        assert_eq!(slow_call(&entry, true), Some(call("evalsha abc 0 secret", 2500)));
        assert_eq!(slow_call(&Reply::parse(b"*4\r\n:1\r\n:1\r\n:1\r\n*1\r\n$4\r\nKEYS\r\n"), false), None);
    }

    #[test]
    fn against_the_threshold() {
        let findings = with_log(&[call("EVALSHA a", 10), call("FCALL f", 1000), call("FCALL f", 3000)]);
        assert_eq!(severities(&findings), ["warning"]);
        assert_eq!(
            findings[0].seen,
            "2 of 3 scripts took longer than the threshold of 1s: FCALL f took up to 3s, 2 times; EVALSHA a took 10ms"
        );
        assert_eq!(severities(&with_log(&[call("FCALL f", 500)])), ["note"]);
        assert_eq!(severities(&with_log(&[call("FCALL f", 499)])), ["ok"]);
        assert_eq!(severities(&with_log(&[])), ["ok"]);
    }

    #[test]
    fn a_log_that_would_miss_them() {
        let of = |micros, length| {
            let settings = [
                ("busy-reply-threshold", "1000"),
                ("slowlog-log-slower-than", micros),
                ("slowlog-max-len", length),
            ];
            severities(&check(&facts(&settings, "")))
        };
        assert_eq!(of("-1", "128"), ["warning"]);
        assert_eq!(of("10000", "0"), ["warning"]);
        assert_eq!(of("1000001", "128"), ["note"]);
        assert!(of("1000000", "128").is_empty());
    }
}
