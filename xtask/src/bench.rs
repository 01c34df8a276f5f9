//! `cargo xtask bench`: what unbusy costs, beside other proxies and beside no proxy at all.
//!
//! Machines are noisy, so all are measured in turn, round by round, and compared only within a round.

mod address;
mod case;
mod idle;
mod load;
mod machine;
mod page;
mod peers;
mod plot;
mod process;
mod progress;
mod report;
mod results;
mod rig;
mod round_trip;
mod spread;
mod syscalls;

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{interrupt::Interrupt, servers};
use case::{CASES, Case, Sockets};
use machine::About;
use peers::{HAPROXY, PEERS, Peer, UNBUSY};
use progress::Progress;
use results::{Measured, Results, Round, Run};
use rig::{DIRECT, Line, Rig, Size};
use syscalls::Counter;

/// How much is measured.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Rounds per case; each measures all proxies once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Commands of each kind (SET, GET) per run; ten times as many with -P 16, half as many with 16 KiB values, a quarter with
    /// one client.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    commands: u32,
    /// Idle clients for the measurement of memory; 0 leaves it out.
    #[arg(long, default_value_t = 5_000)]
    idle: u32,
    /// Worker threads (or processes) of each proxy.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Only the cases whose name contains this, such as `P16` or `c500`; may be given several times.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only this proxy beside haproxy and unbusy; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = peers::names())]
    peer: Vec<String>,
    /// Measure this `unbusy` instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Some seconds, to see that it works: one short round of what is here already.
    #[arg(long, conflicts_with_all = ["rounds", "commands", "idle", "write"])]
    quick: bool,
    /// Put the tables and plots into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
}

impl BenchArgs {
    /// What is asked for in short.
    fn scaled(self) -> Self {
        if self.quick { Self { rounds: 1, commands: 1_000, idle: 0, ..self } } else { self }
    }

    fn cases(&self) -> Result<Vec<Case>> {
        let wanted =
            |case: &&Case| self.only.is_empty() || self.only.iter().any(|text| case.name.contains(text));
        let cases: Vec<_> = CASES.iter().filter(wanted).copied().collect();
        let names = || CASES.map(|case| case.name).join(", ");
        ensure!(!cases.is_empty(), "--only must be part of one of these names: {}", names());
        Ok(cases)
    }

    /// The proxies that can be had; of another one it is told why not.
    fn peers(&self) -> Result<Vec<(&'static Peer, PathBuf)>> {
        let named = |name: &str| self.peer.is_empty() || self.peer.iter().any(|peer| peer == name);
        let mut found = Vec::new();
        for peer in PEERS.iter().filter(|peer| [HAPROXY, UNBUSY].contains(&peer.name) || named(peer.name)) {
            match self.program(peer) {
                Ok(program) => found.push((peer, program)),
                Err(error) if peer.name == UNBUSY => return Err(error),
                Err(error) => eprintln!("bench: without {}: {error:#}", peer.name),
            }
        }
        Ok(found)
    }

    fn program(&self, peer: &'static Peer) -> Result<PathBuf> {
        if let (UNBUSY, Some(file)) = (peer.name, &self.binary) {
            return file.canonicalize().with_context(|| format!("--binary {}", file.display()));
        }
        ensure!(self.workers == 1 || !peer.one_worker, "it has one worker, whatever is asked");
        peer.get(!self.quick)
    }

    fn settings(&self) -> String {
        let Self { rounds, commands, idle, workers, .. } = self;
        let only = self.only.iter().map(|only| format!(" --only '{only}'"));
        let peers = self.peer.iter().map(|peer| format!(" --peer '{peer}'"));
        let more: String = only.chain(peers).collect();
        let how_much = format!("--rounds {rounds} --commands {commands} --idle {idle} --workers {workers}");
        format!("`cargo xtask bench {how_much}{more}`")
    }
}

/// Measures, tells how it goes on stderr, and prints tables in Markdown.
pub(crate) fn run(args: BenchArgs) -> Result<()> {
    let args = args.scaled();
    let cases = args.cases()?;
    let interrupt = Interrupt::watch()?;
    let load = load::PROGRAM.get()?;
    servers::ensure_present(testkit::Flavor::Redis70)?;
    let peers = args.peers()?;
    let counter = if args.quick { None } else { counter() };
    interrupt.check()?;

    process::raise_open_files(2 * u64::from(args.idle) + 2048);
    let unix = cases.iter().any(|case| case.sockets == Sockets::Unix);
    let rig = Rig::start(&peers, Size { workers: args.workers, idle: args.idle }, unix)?;
    let runs = |case: &Case| rig.lines(case.sockets).len() * (args.rounds as usize + 1);
    let progress = Progress::of(cases.iter().map(runs).sum());
    let about = About::new(args.settings(), &load, &peers)?;
    let idle = if args.idle > 0 { Some(idle::measure(&rig, args.idle, &interrupt)?) } else { None };
    let mut bench = Bench { args: &args, rig: &rig, load, counter, interrupt, progress };
    let measured = cases.into_iter().map(|case| bench.measure(case)).collect::<Result<_>>()?;

    let results = Results { about, measured, idle };
    eprintln!("bench: all rounds are in {}", page::save(&results)?.display());
    if args.write {
        page::publish(&results)?;
    }
    write!(std::io::stdout().lock(), "{results}").context("cannot write the tables")
}

fn counter() -> Option<Counter> {
    let counter = Counter::find();
    if counter.is_none() {
        eprintln!(
            "bench: system calls are not counted: that takes `perf` or `strace`, and the right to watch"
        );
    }
    counter
}

struct Bench<'a> {
    args: &'a BenchArgs,
    rig: &'a Rig,
    load: PathBuf,
    counter: Option<Counter>,
    interrupt: Interrupt,
    progress: Progress,
}

impl Bench<'_> {
    fn measure(&mut self, case: Case) -> Result<Measured> {
        let lines = self.rig.lines(case.sockets);
        let commands = case.commands(self.args.commands);
        eprintln!("bench: {}: warming up", case.name);
        for line in lines {
            self.run(line, case, (commands / 10).max(1_000))?;
        }
        let syscalls = self.syscalls(lines, case, (commands / 2).max(1_000))?;
        let rounds = (0..self.args.rounds).map(|number| self.round(lines, case, commands, number));
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
        let (number, rounds, left) = (number + 1, self.args.rounds, self.progress.left());
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
