//! The findings as text and as JSON, the worst first.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use super::reading::Facts;
use crate::asking::{ago, millis};

pub(super) fn has_problem(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Problem)
}

pub(super) fn text(facts: &Facts, findings: &[Finding]) -> String {
    let mut text = format!("{}: {}\n", facts.server, title(facts));
    for finding in findings {
        let _ = writeln!(text, "{:<8} {}: {}", finding.severity.name(), finding.about, finding.seen);
        for (word, more) in [("why", &finding.why), ("do", &finding.cure)] {
            if let Some(more) = more {
                let _ = writeln!(text, "  {:<4} {more}", format!("{word}:"));
            }
        }
    }
    let counts = [Severity::Problem, Severity::Warning, Severity::Note].map(|severity| {
        let count = findings.iter().filter(|finding| finding.severity == severity).count();
        counted(count as u64, severity.name())
    });
    let _ = writeln!(text, "{}", counts.join(", "));
    if findings.iter().any(|finding| finding.cure.as_ref().is_some_and(|cure| cure.contains("CONFIG SET"))) {
        text += "CONFIG SET lasts until the server restarts; CONFIG REWRITE keeps it.\n";
    }
    text
}

fn title(facts: &Facts) -> String {
    let version = facts.version().map(|(name, version)| format!("{name} {version}"));
    let version = version.unwrap_or_else(|| "version not known".to_owned());
    if facts.watched.is_some() { format!("Sentinel of {version}") } else { version }
}

pub(super) fn json(facts: &Facts, findings: &[Finding]) -> String {
    let list: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "severity": finding.severity.name(),
                "about": finding.about,
                "seen": finding.seen,
                "why": finding.why,
                "do": finding.cure,
            })
        })
        .collect();
    let report = json!({
        "server": facts.server,
        "state": "open",
        "version": facts.version().map(|(name, version)| format!("{name} {version}")),
        "threshold_ms": facts.known_threshold().map(millis),
        "problem": has_problem(findings),
        "findings": list,
    });
    format!("{report}\n")
}

/// `1 script`, `2 scripts`.
pub(super) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// How the threshold is called in a sentence.
pub(super) fn threshold(facts: &Facts) -> String {
    match facts.known_threshold() {
        Some(threshold) => format!("the threshold of {}", ago(threshold)),
        None => format!("the threshold, taken to be {}", ago(facts.threshold())),
    }
}
