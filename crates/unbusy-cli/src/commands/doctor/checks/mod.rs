//! The checks, one file per group: functions from what was read to findings.
mod clients;
mod cluster;
mod connections;
mod latency;
mod rejections;
mod replication;
mod scripts;
mod sentinel;
mod threshold;
mod unread;
mod version;

use super::finding::Finding;
use super::reading::Facts;

type Check = fn(&Facts) -> Vec<Finding>;

/// Of a server with data.
const OF_A_SERVER: [Check; 9] = [
    threshold::check,
    scripts::check,
    rejections::check,
    latency::check,
    version::check,
    replication::check,
    cluster::check,
    connections::check,
    clients::check,
];

/// All findings, the worst first.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let checks: &[Check] = if facts.watched.is_some() { &[sentinel::check] } else { &OF_A_SERVER };
    let mut findings: Vec<_> =
        checks.iter().chain(&[unread::check as Check]).flat_map(|check| check(facts)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Facts for tests: these settings and these lines of `INFO`.
#[cfg(test)]
fn facts(settings: &[(&str, &str)], info: &str) -> Facts {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Facts {
        server: "redis://h:1".to_owned(),
        cli: "redis-cli -u redis://h:1".to_owned(),
        settings: settings.collect(),
        info: crate::asking::info_lines(info).collect(),
        ..Facts::default()
    }
}

/// For tests: the severities, in their order.
#[cfg(test)]
fn severities(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.severity.name()).collect()
}
