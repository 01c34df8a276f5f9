//! The rounds: every line under the same load, one after another.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{
    case::Case,
    load, process,
    progress::Progress,
    results::{Measured, Round, Run},
    rig::{DIRECT, Line, Rig},
    round_trip,
    syscalls::Counter,
};
use crate::interrupt::Interrupt;

/// What is needed for it.
pub(super) struct Bench<'a> {
    /// How many per case.
    pub(super) rounds: u32,
    /// How many in a run, as asked for.
    pub(super) commands: u32,
    pub(super) rig: &'a Rig,
    pub(super) load: PathBuf,
    pub(super) counter: Option<Counter>,
    pub(super) interrupt: Interrupt,
    pub(super) progress: Progress,
}

impl Bench<'_> {
    /// All rounds of a case, after a warm-up.
    pub(super) fn measure(&mut self, case: Case) -> Result<Measured> {
        let lines = self.rig.lines(case.sockets);
        let commands = case.commands(self.commands);
        eprintln!("bench: {}: warming up", case.name);
        for line in lines {
            self.run(line, case, (commands / 10).max(1_000))?;
        }
        let syscalls = self.syscalls(lines, case, (commands / 2).max(1_000))?;
        let rounds = (0..self.rounds).map(|number| self.round(lines, case, commands, number));
        Ok(Measured { case, rounds: rounds.collect::<Result<_>>()?, syscalls })
    }

    fn round(&mut self, lines: &[Line], case: Case, commands: u32, number: u32) -> Result<Round> {
        let mut round = Vec::new();
        for place in 0..lines.len() {
            let at = (place + number as usize) % lines.len();
            round.push((at, (lines[at].name, self.run(&lines[at], case, commands)?)));
        }
        round.sort_by_key(|(at, _)| *at);
        let round: Round = round.into_iter().map(|(_, run)| run).collect();
        let (number, rounds, left) = (number + 1, self.rounds, self.progress.left());
        eprintln!("bench: {}, round {number} of {rounds}, {left}: {}", case.name, tell(&round));
        Ok(round)
    }

    fn run(&mut self, line: &Line, case: Case, commands: u32) -> Result<Run> {
        let pids = line.pids();
        let before = process::cpu_time(&pids)?;
        let rate = load::run(&self.load, &line.address, case, commands, &self.interrupt)
            .with_context(|| format!("{} through {}", case.name, line.name))?;
        let cpu = (process::cpu_time(&pids)? - before) / f64::from(2 * commands) * 1e6;
        let round_trip = if case.tells_round_trip() {
            Some(round_trip::measure(&line.address, commands / 4, &self.interrupt)?)
        } else {
            None
        };
        self.progress.step();
        Ok(Run { rate, cpu, round_trip })
    }

    /// Per command, those for connecting among them.
    fn syscalls(&self, lines: &[Line], case: Case, commands: u32) -> Result<Vec<(&'static str, f64)>> {
        let Some(counter) = self.counter else { return Ok(Vec::new()) };
        let mut counts = Vec::new();
        for line in lines.iter().filter(|line| line.name != DIRECT) {
            let work = || load::run(&self.load, &line.address, case, commands, &self.interrupt).map(drop);
            if let Some(count) = counter.count(&line.pids(), work)? {
                counts.push((line.name, count as f64 / f64::from(2 * commands)));
            }
        }
        Ok(counts)
    }
}

/// A round in a line: commands per second, and microseconds of processor time for each.
fn tell(round: &Round) -> String {
    let tell = |(name, run): &(&str, Run)| {
        let trip = run.round_trip.map_or(String::new(), |trip| format!(" {trip:.1} µs"));
        let cpu = if *name == DIRECT { String::new() } else { format!(" {:.2}", run.cpu) };
        format!("{name} {:.1}k/s{cpu}{trip}", run.rate / 1000.0)
    };
    round.iter().map(tell).collect::<Vec<_>>().join(", ")
}
