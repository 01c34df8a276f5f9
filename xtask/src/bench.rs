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
mod plots;
mod process;
mod progress;
mod report;
mod results;
mod rig;
mod round_trip;
mod rounds;
mod spread;
mod strict;
mod syscalls;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::{interrupt::Interrupt, servers, shell};
use case::{CASES, Case, Sockets};
use machine::About;
use peers::{HAPROXY, PEERS, Peer, UNBUSY};
use progress::Progress;
use results::Results;
use rig::{Rig, Size};
use rounds::Bench;
use syscalls::Counter;

/// What is measured.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    costs: CostsArgs,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand)]
enum Other {
    /// Measure what strict order costs who loads data through one connection.
    ///
    /// Loads as `redis-cli --pipe` does, directly, through unbusy, and through unbusy with `--ordering relaxed`, with values
    /// of 64 bytes and of 4 KiB, over lines of several lengths. Takes some two minutes.
    #[command(after_help = "Example: cargo xtask bench strict --rounds 3 --megabytes 10")]
    Strict(strict::StrictArgs),
}

/// How much is measured.
#[derive(Args)]
struct CostsArgs {
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

impl CostsArgs {
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
        if peers::is_ours(peer.name) {
            return unbusy(self.binary.as_deref());
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
    match args.other {
        None => costs(&args.costs.scaled()),
        Some(Other::Strict(args)) => strict::run(&args),
    }
}

/// The `unbusy` to measure: the one that is given, or a release build.
fn unbusy(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(file) => file.canonicalize().with_context(|| format!("--binary {}", file.display())),
        None => peers::unbusy().get(false),
    }
}

fn costs(args: &CostsArgs) -> Result<()> {
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
    let about = About::new(args.settings(), versions(&peers, &load)?)?;
    let idle = if args.idle > 0 { Some(idle::measure(&rig, args.idle, &interrupt)?) } else { None };
    let (rounds, commands) = (args.rounds, args.commands);
    let mut bench = Bench { rounds, commands, rig: &rig, load, counter, interrupt, progress };
    let measured = cases.into_iter().map(|case| bench.measure(case)).collect::<Result<_>>()?;

    let results = Results { about, measured, idle };
    plots::save(&results, &page::folder()?)?;
    let file = page::save("costs", &results.about, &results.json())?;
    eprintln!("bench: all rounds are in {}, and the plots beside it", file.display());
    if args.write {
        page::COSTS.publish(format!("{results}{}", plots::images(&results)))?;
        plots::save(&results, &page::plots())?;
    }
    write!(std::io::stdout().lock(), "{results}").context("cannot write the tables")
}

fn versions(peers: &[(&'static Peer, PathBuf)], load: &Path) -> Result<Vec<String>> {
    let mut versions: Vec<_> = peers.iter().filter_map(|(peer, program)| peer.version(program)).collect();
    // Of one program there may be several proxies.
    versions.dedup();
    let load = shell::output(&mut shell::command(load, &["--version"]))?;
    versions.push(format!("load by {}", load.trim()));
    Ok(versions)
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
