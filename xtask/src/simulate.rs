//! `cargo xtask simulate`: the engine in worlds of virtual time, seed after seed, until one of them breaks a promise.

use std::{
    io::{Write, stdout},
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use simulation::{Counts, play, tell};

use crate::interrupt::Interrupt;

const PROGRESS_EVERY: Duration = Duration::from_secs(5);
const SEEDS: u64 = 5_000;

/// Which worlds are played.
#[derive(Args)]
pub(crate) struct SimulateArgs {
    /// How many seeds, one after the other [default: 5000].
    #[arg(long, conflicts_with = "soak")]
    seeds: Option<u64>,
    /// The first seed [default: 0, with --soak taken from the clock]. Without --seeds and --soak it is the only one, and
    /// what happens in its world is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Go on until Ctrl-C or until a promise is broken.
    #[arg(long)]
    soak: bool,
    /// Threads [default: one per processor].
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

/// Plays the worlds.
pub(crate) fn run(args: &SimulateArgs) -> Result<()> {
    match (args.seed, args.seeds, args.soak) {
        (Some(seed), None, false) => replay(seed),
        (Some(first), seeds, soak) => search(first, last(first, seeds, soak), args.jobs),
        (None, _, true) => search(from_clock()?, u64::MAX, args.jobs),
        (None, seeds, false) => search(0, last(0, seeds, false), args.jobs),
    }
}

fn last(first: u64, seeds: Option<u64>, soak: bool) -> u64 {
    if soak { u64::MAX } else { first.saturating_add(seeds.unwrap_or(SEEDS)) }
}

fn from_clock() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is wrong")?;
    Ok(since.as_secs() * 1_000_000)
}

/// Prints what happens in one world.
fn replay(seed: u64) -> Result<()> {
    let (lines, story) = tell(seed);
    let mut out = stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "\n{}\nhash {:016x}", story.counts, story.hash)?;
    match story.verdict {
        Ok(()) => Ok(()),
        Err(why) => bail!("the world of seed {seed} breaks a promise: {why}"),
    }
}

/// What the threads share.
struct Search {
    next: AtomicU64,
    end: u64,
    stop: AtomicBool,
    done: Mutex<(u64, Counts)>,
    failure: Mutex<Option<(u64, String)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn search(first: u64, end: u64, jobs: Option<NonZeroUsize>) -> Result<()> {
    let jobs = jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let interrupt = Interrupt::watch()?;
    let search = Search {
        next: AtomicU64::new(first),
        end,
        stop: AtomicBool::new(false),
        done: Mutex::default(),
        failure: Mutex::default(),
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| search.work())).collect();
        let mut told = start;
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(20));
            if interrupt.check().is_err() {
                search.stop.store(true, Relaxed);
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                eprintln!("{}", search.progress(start));
            }
        }
    });
    eprintln!("{}", search.progress(start));
    match lock(&search.failure).take() {
        None => Ok(()),
        Some((seed, why)) => bail!(
            "the world of seed {seed} breaks a promise: {why}\n\nAgain, with all that happens in it: cargo xtask simulate \
             --seed {seed}"
        ),
    }
}

impl Search {
    fn work(&self) {
        while !self.stop.load(Relaxed) {
            let seed = self.next.fetch_add(1, Relaxed);
            if seed >= self.end {
                return;
            }
            let story = play(seed);
            let mut done = lock(&self.done);
            done.0 += 1;
            done.1.add(&story.counts);
            drop(done);
            if let Err(why) = story.verdict {
                self.stop.store(true, Relaxed);
                let mut failure = lock(&self.failure);
                if failure.as_ref().is_none_or(|(other, _)| seed < *other) {
                    *failure = Some((seed, why));
                }
            }
        }
    }

    fn progress(&self, start: Instant) -> String {
        let done = lock(&self.done);
        let seconds = start.elapsed().as_secs_f64();
        format!("{} seeds in {seconds:.0} s ({:.0} per second): {}", done.0, done.0 as f64 / seconds, done.1)
    }
}
