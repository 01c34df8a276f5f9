//! What became of each test, and how the ways of running a suite compare.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Facts, Way};

/// What all servers say in a BUSY, whatever else they say.
const BUSY: &str = "busy running a";

/// Whether each test passed.
pub(super) struct Results {
    passed: BTreeMap<String, bool>,
    /// Those that failed before they passed.
    at_a_later_try: BTreeSet<String>,
}

impl Results {
    /// Reads what nextest says, a line of JSON per event; `name` shortens a test's name. The last try of a test counts.
    pub(super) fn of(events: &str, name: impl Fn(&str) -> String) -> Result<Self> {
        let mut results = Self { passed: BTreeMap::new(), at_a_later_try: BTreeSet::new() };
        for (test, passed) in outcomes(events) {
            let test = name(&test);
            let before = results.passed.insert(test.clone(), passed);
            if passed && before == Some(false) {
                results.at_a_later_try.insert(test);
            }
        }
        ensure!(!results.passed.is_empty(), "no test was run");
        Ok(results)
    }

    fn count_passed(&self) -> usize {
        self.passed.values().filter(|passed| **passed).count()
    }
}

impl Display for Results {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (passed, later) = (self.count_passed(), self.at_a_later_try.len());
        write!(f, "{passed} of {} passed, {later} at a later try", self.passed.len())
    }
}

/// The tests that ended, and whether they passed.
fn outcomes(events: &str) -> impl Iterator<Item = (String, bool)> {
    read(events).map(|(test, passed, _)| (test, passed))
}

/// The tests that failed, but for those that were told that the server is busy: it is no chance if they pass another time.
pub(super) fn may_be_chance(events: &str) -> Vec<String> {
    let failed = read(events).filter(|(_, passed, told)| !passed && !told.contains(BUSY));
    failed.map(|(test, ..)| test).collect()
}

/// The tests that were to be run and have not ended: some of redis-py end the whole process when their time is over.
pub(super) fn unfinished(events: &str) -> BTreeSet<String> {
    let (started, ended): (Vec<_>, Vec<_>) = all(events).partition(|event| event["event"] == "started");
    let names = |events: &[Value]| -> BTreeSet<_> {
        events.iter().filter_map(|event| event["name"].as_str().map(str::to_owned)).collect()
    };
    &names(&started) - &names(&ended)
}

/// The tests that ended, whether they passed, and what they said.
fn read(events: &str) -> impl Iterator<Item = (String, bool, String)> {
    all(events).filter_map(|event| {
        let passed = match event["event"].as_str()? {
            "ok" => true,
            "failed" | "timeout" => false,
            _ => return None,
        };
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        Some((text("name"), passed, text("stdout")))
    })
}

/// What was said of tests.
fn all(events: &str) -> impl Iterator<Item = Value> {
    let events = events.lines().filter_map(|line| serde_json::from_str(line).ok());
    events.filter(|event: &Value| event["type"] == "test")
}

/// What a test does in one way but not in the first.
pub(super) struct Divergence {
    pub(super) test: String,
    pub(super) way: Way,
    /// In the way named.
    pub(super) here: &'static str,
    pub(super) reason: Option<&'static str>,
}

pub(super) struct Comparison {
    runs: Vec<(Way, Results)>,
    /// Tests that do not always do the same as they are; of them nothing else is said.
    pub(super) fickle: BTreeSet<String>,
    pub(super) divergences: Vec<Divergence>,
}

impl Comparison {
    /// Compares with the first of the runs.
    pub(super) fn new(runs: Vec<(Way, Results)>, facts: &Facts) -> Self {
        let original = &runs[0].1;
        let again = runs.iter().filter(|(way, _)| *way == Way::OriginalAgain);
        let fickle: BTreeSet<_> =
            again.flat_map(|(_, results)| differing(original, results)).map(|(test, _)| test).collect();
        let mut divergences = Vec::new();
        for (way, results) in runs.iter().filter(|(way, _)| way.has_unbusy()) {
            let differing = differing(original, results)
                .filter(|(test, here)| !fickle.contains(test) && !is_left_out(test, here, facts));
            divergences.extend(differing.map(|(test, here)| {
                let reason = reason(&test, *way, facts);
                Divergence { test, way: *way, here, reason }
            }));
        }
        Self { runs, fickle, divergences }
    }

    pub(super) fn unexplained(&self) -> Vec<&Divergence> {
        self.divergences.iter().filter(|divergence| divergence.reason.is_none()).collect()
    }

    /// For each way: its name, and how many tests passed, passed at a later try only, failed, and were left out.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, [usize; 4])> {
        let all = self.runs[0].1.passed.len();
        self.runs.iter().map(move |(way, results)| {
            let (run, passed) = (results.passed.len(), results.count_passed());
            (way.name(), [passed, results.at_a_later_try.len(), run - passed, all.saturating_sub(run)])
        })
    }

    /// The tests that passed at a later try only, and in which way.
    pub(super) fn at_a_later_try(&self) -> impl Iterator<Item = (&String, Way)> {
        self.runs.iter().flat_map(|(way, results)| results.at_a_later_try.iter().map(|test| (test, *way)))
    }

    /// The tests that fail even as they are on a quiet server.
    pub(super) fn failing(&self) -> impl Iterator<Item = &String> {
        self.runs[0].1.passed.iter().filter(|(_, passed)| !**passed).map(|(test, _)| test)
    }
}

/// The tests that do not do here what they did there, and what they do here.
fn differing<'a>(
    there: &'a Results,
    here: &'a Results,
) -> impl Iterator<Item = (String, &'static str)> + use<'a> {
    let tests: BTreeSet<_> = there.passed.keys().chain(here.passed.keys()).collect();
    let differs = |test: &&String| there.passed.get(*test) != here.passed.get(*test);
    tests.into_iter().filter(differs).map(|test| {
        let word = match here.passed.get(test) {
            Some(true) => "passes",
            Some(false) => "fails",
            None => "is not run",
        };
        (test.clone(), word)
    })
}

fn is_left_out(test: &str, here: &str, facts: &Facts) -> bool {
    let is_missing = here == "is not run";
    is_missing && facts.left_out.iter().any(|left_out| left_out.with_unbusy && test.contains(left_out.name))
}

fn reason(test: &str, way: Way, facts: &Facts) -> Option<&'static str> {
    let mut differences = facts.differences.iter();
    let fits = differences
        .find(|difference| test.contains(difference.test) && (way.is_busy() || !difference.when_busy));
    fits.map(|difference| difference.reason)
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, [passed, later, failed, left_out]) in self.counts() {
            writeln!(
                f,
                "{name}: {passed} passed ({later} at a later try), {failed} failed, {left_out} left out"
            )?;
        }
        for test in &self.fickle {
            writeln!(f, "{test} does not always do the same without unbusy")?;
        }
        for Divergence { test, way, here, reason } in &self.divergences {
            writeln!(f, "{test} {here} {}: {}", way.name(), reason.unwrap_or("NO REASON IS KNOWN"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Comparison, Divergence, Results, may_be_chance, unfinished};
    use crate::conformance::{Difference, Facts, LeftOut, Way};

    const EVENTS: &str = r#"{"type":"suite","event":"started","test_count":3}
{"type":"test","event":"started","name":"a::b"}
{"type":"test","event":"ok","name":"a::b","exec_time":0.1}
{"type":"test","event":"failed","name":"a::c","exec_time":0.1,"stdout":"no"}
{"type":"test","event":"ignored","name":"a::d"}
{"type":"suite","event":"failed","passed":1,"failed":1}"#;

    #[test]
    fn events_say_what_became_of_each_test() {
        let results = Results::of(EVENTS, |name| name.replace("a::", "")).expect("results");
        let outcomes: Vec<_> = results.passed.iter().map(|(test, passed)| (test.as_str(), *passed)).collect();
        assert_eq!(outcomes, [("b", true), ("c", false)]);
        assert!(Results::of("", str::to_owned).is_err());
    }

    #[test]
    fn the_last_try_of_a_test_counts() {
        let again = EVENTS.replace("\"failed\",\"name\"", "\"ok\",\"name\"");
        let results = Results::of(&format!("{EVENTS}\n{again}"), str::to_owned).expect("results");
        assert_eq!(results.count_passed(), 2);
        assert_eq!(results.at_a_later_try.iter().collect::<Vec<_>>(), ["a::c"]);
    }

    #[test]
    fn it_is_no_chance_that_a_test_meets_busy() {
        assert_eq!(may_be_chance(EVENTS), ["a::c"]);
        let busy = EVENTS.replace("no\"", "BUSY Redis is busy running a script.\"");
        assert!(may_be_chance(&busy).is_empty());
    }

    #[test]
    fn tests_that_have_not_ended_are_known() {
        assert!(unfinished(EVENTS).is_empty());
        let killed = EVENTS.replace("\"ok\"", "\"started\"").replace("\"ignored\"", "\"started\"");
        assert_eq!(unfinished(&killed).into_iter().collect::<Vec<_>>(), ["a::b", "a::d"]);
    }

    fn results(outcomes: &[(&str, bool)]) -> Results {
        let passed = outcomes.iter().map(|(test, passed)| ((*test).to_owned(), *passed)).collect();
        Results { passed, at_a_later_try: BTreeSet::new() }
    }

    fn facts() -> Facts {
        let left_out = LeftOut { name: "left", place: "", with_unbusy: true, reason: "cannot" };
        Facts {
            name: "",
            title: "",
            introduction: String::new(),
            left_out: vec![left_out],
            differences: &[Difference { test: "slow", when_busy: true, reason: "time" }],
        }
    }

    #[test]
    fn whatever_is_not_as_in_the_first_way_is_told_with_its_reason() {
        let first = [("fickle", true), ("gone", true), ("left", true), ("same", false), ("slow", true)];
        let again = [("fickle", false), ("gone", true), ("left", true), ("same", false), ("slow", true)];
        let unbusy = [("fickle", false), ("new", true), ("same", false), ("slow", false)];
        let runs = vec![
            (Way::OriginalQuiet, results(&first)),
            (Way::OriginalAgain, results(&again)),
            (Way::UnbusyQuiet, results(&unbusy)),
            (Way::UnbusyBusy, results(&unbusy)),
            (Way::OriginalBusy, results(&[("same", true)])),
        ];
        let comparison = Comparison::new(runs, &facts());
        assert_eq!(comparison.fickle.iter().collect::<Vec<_>>(), ["fickle"]);
        let told: Vec<_> = comparison
            .divergences
            .iter()
            .map(|Divergence { test, way, here, reason }| (test.as_str(), *way, *here, *reason))
            .collect();
        let (quiet, busy) = (Way::UnbusyQuiet, Way::UnbusyBusy);
        let expected = [
            ("gone", quiet, "is not run", None),
            ("new", quiet, "passes", None),
            ("slow", quiet, "fails", None),
            ("gone", busy, "is not run", None),
            ("new", busy, "passes", None),
            ("slow", busy, "fails", Some("time")),
        ];
        assert_eq!(told, expected);
        assert_eq!(comparison.unexplained().len(), 5);
    }
}
