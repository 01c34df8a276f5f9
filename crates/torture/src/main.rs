//! `cargo xtask torture`: clients of several kinds work through unbusy on a real server while everything goes wrong that can,
//! and afterwards what they were told is compared with what the server holds.
//!
//! It works in rounds of some seconds, each on an empty server. Random numbers come from a seed, but servers, clocks and
//! threads do not, so a seed replays the same plan and not the same moments.
#![allow(clippy::print_stderr, reason = "telling how it goes is what this program is for")]

mod chance;
mod chaos;
mod check;
mod clients;
mod history;
mod report;
mod round;
mod script;
mod stage;
mod wire;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use testkit::{Flavor, Server};

use chaos::Proxies;
use history::Tally;
use report::{Summary, Totals};
use round::Plan;

/// Between two lines that tell how it goes.
const PROGRESS: Duration = Duration::from_secs(5);

/// Torments unbusy on a real server and checks what its clients were told.
///
/// Clients of several kinds (raw pipelines, the redis crate and redis-py through proxies; the crate unbusy past them) push,
/// count, transfer money, publish, and take from a queue, while scripts and functions run, are killed, clients and connections
/// are cut off, writes are paused, and proxies end and start again. After each round it is checked that each acknowledged
/// command was executed once and in order, that what was refused or given up was not, that transactions are whole, and
/// that no BUSY reached a client who would have waited.
///
/// A failure is written to a folder under target/torture, which is named, and ends the run with exit code 1. The same seed
/// gives the same plan; the moments differ, since servers and clocks are real.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask torture",
    after_help = "\
Examples:
  cargo xtask torture --minutes 2
  cargo xtask torture --minutes 30 --server redis-7.0 --io-threads 4 --seed 7
  cargo xtask torture --minutes 1 --proxy-arg=--ordering=relaxed
      Must fail: relaxed proxies reorder."
)]
struct Args {
    /// How long.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// What random numbers are made of [default: from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// The server: one of those of `cargo xtask servers`.
    #[arg(long, default_value = "valkey-9.1")]
    server: Flavor,
    /// Threads with which the server reads and writes its sockets.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    io_threads: u32,
    /// After how many milliseconds of a script the server answers BUSY.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..))]
    threshold: u64,
    /// Seconds per round.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    round: u64,
    /// One more word for all proxies; may be given several times.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    proxy_arg: Vec<String>,
    /// The `unbusy` to torment.
    #[arg(long, value_name = "FILE")]
    unbusy: PathBuf,
    /// A Python that has redis-py; without it there are no clients in Python.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Where failures are kept.
    #[arg(long, value_name = "FOLDER", default_value = "target/torture")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("torture: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second one ends at once; no server or proxy outlives this process.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&interrupt))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupt)).context("cannot watch for signals")?;
    }
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = args.seed.unwrap_or_else(clock);
    eprintln!(
        "torture: {} with {} threads, threshold {} ms, seed {seed}",
        args.server, args.io_threads, args.threshold
    );
    let server = start_server(args);
    let proxies = Arc::new(Proxies::start(&args.unbusy, &server.url(), &proxy_args(args))?);
    let (tally, episodes) = (Arc::new(Tally::default()), Arc::new(AtomicU64::new(0)));
    let (start, mut totals, mut first_line) = (Instant::now(), Totals::default(), 1);
    let length = Duration::from_secs_f64(args.minutes * 60.0);
    while start.elapsed() < length && totals.faults == 0 && !interrupt.load(Relaxed) {
        let plan = Plan {
            server: &server,
            proxies: &proxies,
            python: args.python.as_deref(),
            seed: seed.wrapping_mul(1_000_003).wrapping_add(totals.rounds),
            threshold: args.threshold,
            length: Duration::from_secs(args.round).min(length.saturating_sub(start.elapsed())),
            first_line,
            tally: &tally,
            episodes: &episodes,
            interrupt: &interrupt,
        };
        let mut last = Instant::now();
        let outcome = round::play(&plan, |acknowledged, chaos| {
            if last.elapsed() >= PROGRESS {
                last = Instant::now();
                let seconds = start.elapsed().as_secs();
                let all = tally.done.load(Relaxed) + acknowledged;
                let (events, episodes) = (totals.events() + chaos as u64, episodes.load(Relaxed));
                eprintln!(
                    "torture: {:02}:{:02} round {}: {all} acknowledged, {episodes} episodes, {events} chaos events, {} failures",
                    seconds / 60,
                    seconds % 60,
                    totals.rounds + 1,
                    totals.faults
                );
            }
        })?;
        first_line = outcome.history.next;
        totals.add(&outcome, start.elapsed());
        if !outcome.faults.is_empty() {
            let folder = args.folder.join(format!("{}-{seed}-{}", args.server, totals.rounds));
            let logs = [("proxies.log", proxies.log()), ("server.log", server.log())];
            let folder = report::keep(&folder, &outcome, &logs)?;
            for fault in outcome.faults.iter().take(10) {
                eprintln!("torture: FAILURE: {fault}");
            }
            eprintln!(
                "torture: round {} of seed {seed} failed; all about it is in {}",
                totals.rounds,
                folder.display()
            );
        }
    }
    let summary = Summary { totals: &totals, tally: &tally, episodes: episodes.load(Relaxed) };
    eprintln!("torture: {}, io-threads {}, seed {seed}\n{summary}", args.server, args.io_threads);
    let good = totals.faults == 0 && !interrupt.load(Relaxed);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn start_server(args: &Args) -> Server {
    let mut server = Server::builder(args.server).threshold(Duration::from_millis(args.threshold));
    if args.io_threads > 1 {
        server = server.arg("--io-threads").arg(args.io_threads.to_string());
        // Valkey always reads with them.
        if args.server != Flavor::Valkey91 {
            server = server.arg("--io-threads-do-reads").arg("yes");
        }
    }
    server.start()
}

/// Two proxies with the usual budget, and one with a short one.
fn proxy_args(args: &Args) -> Vec<Vec<String>> {
    let hasty = ["--max-wait".to_owned(), format!("{}ms", clients::HASTE.as_millis())];
    vec![args.proxy_arg.clone(), args.proxy_arg.clone(), [&hasty, &args.proxy_arg[..]].concat()]
}
