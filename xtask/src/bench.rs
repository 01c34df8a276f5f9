//! `cargo xtask bench`: what unbusy costs, beside haproxy and beside no proxy at all.
//!
//! Machines are noisy, so the three are measured in turn, round by round, and compared only within a round.

mod idle;
mod load;
mod process;
mod report;
mod rig;
mod tools;

use std::{io::Write, path::PathBuf, thread};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{interrupt::Interrupt, servers, shell};
use load::{CASES, Case, Run};
use report::{Measured, Report, Round};
use rig::{Path, Rig};
use tools::Tools;

/// How much is measured.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Rounds per case; each measures all three once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Commands of each kind (SET, GET) per run; ten times as many with -P 16, half as many with 16 KiB values.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    commands: u32,
    /// Idle clients for the measurement of memory; 0 leaves it out.
    #[arg(long, default_value_t = 5_000)]
    idle: u32,
    /// Threads of haproxy and of unbusy [default: one per processor, at most 4].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
    /// Only the cases whose name contains this, such as `P16` or `c500`.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Measure this `unbusy` instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

impl BenchArgs {
    fn threads(&self) -> u32 {
        let processors = || thread::available_parallelism().map_or(1, |count| count.get().min(4) as u32);
        self.threads.unwrap_or_else(processors)
    }

    fn binary(&self) -> Result<PathBuf> {
        if let Some(file) = &self.binary {
            return file.canonicalize().with_context(|| format!("--binary {}", file.display()));
        }
        eprintln!("bench: building unbusy");
        shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", "unbusy-cli"]))?;
        shell::built("release", "unbusy")
    }

    fn cases(&self) -> Result<Vec<Case>> {
        let wanted = |case: &&Case| self.only.as_ref().is_none_or(|only| case.name.contains(only));
        let cases: Vec<_> = CASES.iter().filter(wanted).copied().collect();
        let names = || CASES.map(|case| case.name).join(", ");
        ensure!(!cases.is_empty(), "--only must be part of one of these names: {}", names());
        Ok(cases)
    }
}

/// Measures, tells how it goes on stderr, and prints a table in Markdown.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let cases = args.cases()?;
    let interrupt = Interrupt::watch()?;
    let tools = Tools::find()?;
    servers::ensure_present(testkit::Flavor::Redis70)?;
    let unbusy = args.binary()?;

    process::raise_open_files(u64::from(args.idle) + 256);
    let rig = Rig::start(&tools, &unbusy, args.threads(), args.idle)?;
    let idle = if args.idle > 0 { Some(idle::measure(&rig, args.idle, &interrupt)?) } else { None };
    let measured = cases.into_iter().map(|case| measure(case, args, &rig, &tools, &interrupt));
    let report = Report { measured: measured.collect::<Result<_>>()?, idle };
    let about = report::about(&tools, &unbusy, args.threads())?;
    write!(std::io::stdout().lock(), "{about}\n{report}").context("cannot write the table")
}

fn measure(
    case: Case,
    args: &BenchArgs,
    rig: &Rig,
    tools: &Tools,
    interrupt: &Interrupt,
) -> Result<Measured> {
    let run = |path: Path, commands| -> Result<Run> {
        let before = rig.cpu_time(path)?;
        let rate = load::run(&tools.redis_benchmark, rig.port(path), case, commands, interrupt)?;
        Ok(Run { rate, cpu_per_million: (rig.cpu_time(path)? - before) / f64::from(2 * commands) * 1e6 })
    };
    let commands = case.commands(args.commands);
    for path in Path::ALL {
        run(path, (commands / 10).max(1_000))?;
    }
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        let mut order = Path::ALL;
        order.rotate_left(number as usize % Path::ALL.len());
        let mut runs = Vec::new();
        for path in order {
            runs.push((path, run(path, commands)?));
        }
        let of = |wanted| runs.iter().find(|(path, _)| *path == wanted).map(|(_, run)| *run);
        let round = Round {
            direct: of(Path::Direct).context("direct was not measured")?,
            haproxy: of(Path::Haproxy).context("haproxy was not measured")?,
            unbusy: of(Path::Unbusy).context("unbusy was not measured")?,
        };
        eprintln!("bench: {}, round {} of {}: {round}", case.name, number + 1, args.rounds);
        rounds.push(round);
    }
    Ok(Measured { case, rounds })
}
