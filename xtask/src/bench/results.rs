//! All that was measured, and what follows from it.

use serde_json::{Map, Value, json};

use super::{case::Case, idle::Idle, machine::About, peers::HAPROXY, rig::DIRECT, spread::Spread};

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Commands per second.
    pub(super) rate: f64,
    /// Microseconds of processor time per command: the proxy's; without one, the server's.
    pub(super) cpu: f64,
    /// Microseconds of a single client's round trip, where that is told.
    pub(super) round_trip: Option<f64>,
}

/// The same load on every line, one after another.
pub(super) type Round = Vec<(&'static str, Run)>;

/// A case and all its rounds.
pub(super) struct Measured {
    pub(super) case: Case,
    pub(super) rounds: Vec<Round>,
    /// Per command.
    pub(super) syscalls: Vec<(&'static str, f64)>,
}

pub(super) struct Results {
    pub(super) about: About,
    pub(super) measured: Vec<Measured>,
    pub(super) idle: Option<Idle>,
}

fn run_of(round: &Round, name: &str) -> Option<Run> {
    round.iter().find(|(line, _)| *line == name).map(|(_, run)| *run)
}

impl Measured {
    /// The lines in the order in which they are told.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let first = self.rounds.first().map_or(&[][..], |round| round);
        first.iter().map(|(name, _)| *name)
    }

    /// What the rounds showed of a line.
    pub(super) fn spread(&self, name: &str, of: impl Fn(Run) -> Option<f64>) -> Option<Spread> {
        let values: Option<Vec<_>> = self.rounds.iter().map(|round| of(run_of(round, name)?)).collect();
        values.filter(|values| !values.is_empty()).map(Spread::of)
    }

    /// The same relative to another line, taken within each round.
    fn ratio(&self, name: &str, to: &str, of: impl Fn(Run) -> Option<f64>) -> Option<Spread> {
        let ratio = |round: &Round| Some(of(run_of(round, name)?)? / of(run_of(round, to)?)?);
        let values: Option<Vec<_>> = self.rounds.iter().map(ratio).collect();
        values.filter(|values| !values.is_empty()).map(Spread::of)
    }

    pub(super) fn cpu_to_haproxy(&self, name: &str) -> Option<Spread> {
        self.ratio(name, HAPROXY, |run| Some(run.cpu))
    }

    pub(super) fn rate_to(&self, name: &str, to: &str) -> Option<Spread> {
        self.ratio(name, to, |run| Some(run.rate))
    }

    pub(super) fn round_trip_to_direct(&self, name: &str) -> Option<Spread> {
        self.ratio(name, DIRECT, |run| run.round_trip)
    }

    fn json(&self) -> Value {
        let run = |run: Run| {
            json!({
                "commands_per_second": run.rate,
                "cpu_us_per_command": run.cpu,
                "round_trip_us": run.round_trip,
            })
        };
        let round = |round: &Round| object(round.iter().map(|(name, value)| (*name, run(*value))));
        json!({
            "case": self.case.name,
            "options": self.case.options().join(" "),
            "rounds": self.rounds.iter().map(round).collect::<Vec<_>>(),
            "syscalls_per_command": object(self.syscalls.iter().map(|(name, count)| (*name, json!(count)))),
        })
    }
}

impl Results {
    pub(super) fn json(&self) -> Value {
        let idle = self.idle.as_ref().map(|idle| {
            let bytes = object(idle.bytes.iter().map(|(name, bytes)| (*name, json!(bytes))));
            json!({ "clients": idle.clients, "bytes_per_client": bytes })
        });
        json!({
            "about": self.about.json(),
            "cases": self.measured.iter().map(Measured::json).collect::<Vec<_>>(),
            "idle": idle,
        })
    }
}

fn object<'a>(members: impl Iterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::{case::CASES, peers::UNBUSY};

    /// Two rounds of a case, in which unbusy takes 0.5 and 1 times as much as haproxy.
    pub(in crate::bench) fn example() -> Measured {
        let run = |rate, cpu| Run { rate, cpu, round_trip: None };
        let round = |ours| {
            vec![(DIRECT, run(100.0, 5.0)), (HAPROXY, run(50.0, 20.0)), (UNBUSY, run(60.0, 20.0 * ours))]
        };
        Measured { case: CASES[0], rounds: vec![round(0.5), round(1.0)], syscalls: vec![(UNBUSY, 4.25)] }
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_told_only_where_both_were_measured() {
        let measured = example();
        let ratio = measured.cpu_to_haproxy(UNBUSY);
        assert_eq!(ratio, Some(Spread { median: 0.75, min: 0.5, max: 1.0 }));
        assert_eq!(measured.rate_to(UNBUSY, DIRECT).map(|spread| spread.median), Some(0.6));
        assert_eq!((measured.rate_to("nginx", DIRECT), measured.round_trip_to_direct(UNBUSY)), (None, None));
    }
}
