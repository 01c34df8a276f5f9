//! What became of each test, and how the ways of running a suite compare.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Way;
use super::redis_rs::{DIFFERENCES, LeftOut};

/// Whether each test passed.
pub(super) struct Results(BTreeMap<String, bool>);

impl Results {
    /// Reads what nextest says, a line of JSON per event.
    pub(super) fn of(events: &str) -> Result<Self> {
        let outcome = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            let passed = match event["event"].as_str()? {
                "ok" => true,
                "failed" | "timeout" => false,
                _ => return None,
            };
            let name = event["name"].as_str().filter(|_| event["type"] == "test")?;
            Some((short(name), passed))
        };
        let results: BTreeMap<_, _> = events.lines().filter_map(outcome).collect();
        ensure!(!results.is_empty(), "no test was run");
        Ok(Self(results))
    }

    fn passed(&self) -> usize {
        self.0.values().filter(|passed| **passed).count()
    }
}

impl Display for Results {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} passed", self.passed(), self.0.len())
    }
}

/// nextest names a test `package::binary$path`; `binary: path` says enough.
fn short(name: &str) -> String {
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    name.replacen('$', ": ", 1)
}

/// A test that passes in one way only.
pub(super) struct Divergence {
    pub(super) test: String,
    pub(super) way: Way,
    pub(super) passed: bool,
    pub(super) reason: Option<&'static str>,
}

pub(super) struct Comparison {
    pub(super) runs: Vec<(Way, Results)>,
    pub(super) divergences: Vec<Divergence>,
    pub(super) left_out: &'static [LeftOut],
}

impl Comparison {
    /// Compares with the first of the runs.
    pub(super) fn new(runs: Vec<(Way, Results)>, left_out: &'static [LeftOut]) -> Self {
        let original = &runs[0].1.0;
        let mut divergences = Vec::new();
        for (way, results) in runs.iter().filter(|(way, _)| way.has_unbusy()) {
            let differing = results.0.iter().filter(|(test, passed)| original.get(*test) != Some(*passed));
            divergences.extend(differing.map(|(test, passed)| Divergence {
                test: test.clone(),
                way: *way,
                passed: *passed,
                reason: reason(test),
            }));
        }
        Self { runs, divergences, left_out }
    }

    pub(super) fn unexplained(&self) -> Vec<&Divergence> {
        self.divergences.iter().filter(|divergence| divergence.reason.is_none()).collect()
    }

    /// For each way: its name, and how many tests passed, failed, and were left out.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, [usize; 3])> {
        let all = self.runs[0].1.0.len();
        self.runs.iter().map(move |(way, results)| {
            let (run, passed) = (results.0.len(), results.passed());
            (way.name(), [passed, run - passed, all - run])
        })
    }

    /// The tests that fail even as they are on a quiet server.
    pub(super) fn failing(&self) -> impl Iterator<Item = &String> {
        self.runs[0].1.0.iter().filter(|(_, passed)| !**passed).map(|(test, _)| test)
    }
}

fn reason(test: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|difference| test.contains(difference.test)).map(|difference| difference.reason)
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, [passed, failed, left_out]) in self.counts() {
            writeln!(f, "{name}: {passed} passed, {failed} failed, {left_out} left out")?;
        }
        for Divergence { test, way, passed, reason } in &self.divergences {
            let word = if *passed { "passes" } else { "fails" };
            writeln!(f, "{test} {word} {}: {}", way.name(), reason.unwrap_or("NO REASON IS KNOWN"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Results;

    #[test]
    fn events_say_what_became_of_each_test() {
        let events = r#"{"type":"suite","event":"started","test_count":3}
{"type":"test","event":"started","name":"suite::basic$a::b"}
{"type":"test","event":"ok","name":"suite::basic$a::b","exec_time":0.1}
{"type":"test","event":"failed","name":"suite::basic$a::c","exec_time":0.1,"stdout":"no"}
{"type":"test","event":"ignored","name":"suite::basic$a::d"}
{"type":"suite","event":"failed","passed":1,"failed":1}"#;
        let results = Results::of(events).expect("results").0;
        let outcomes: Vec<_> = results.iter().map(|(test, passed)| (test.as_str(), *passed)).collect();
        assert_eq!(outcomes, [("basic: a::b", true), ("basic: a::c", false)]);
        assert!(Results::of("").is_err());
    }
}
