//! `cargo xtask fuzz`: the engine's properties under libFuzzer, for as long as one likes.

mod corpus;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::shell;

/// What is fuzzed, and for how long.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Which property; all of them, one after the other, if none is named.
    target: Option<Target>,
    /// How long each is tried.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Try nothing, but choose so many of the inputs found for the repository: those that reach most together.
    #[arg(long, value_name = "INPUTS", conflicts_with = "minutes")]
    keep: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// Frames of a server, compared with another implementation and with themselves in pieces.
    Replies,
    /// Commands of a client, likewise.
    Requests,
    /// A session that is sent anything.
    Session,
    /// A session that is sent commands, by a server that is busy at the worst times.
    Order,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Replies => "replies",
            Self::Requests => "requests",
            Self::Session => "session",
            Self::Order => "order",
        }
    }

    /// The inputs in the repository.
    fn seeds(self) -> PathBuf {
        shell::root().join("fuzz/corpus").join(self.name())
    }

    /// All inputs that were found here.
    fn found(self) -> Result<PathBuf> {
        let folder = shell::root().join("target/fuzz").join(self.name());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// libFuzzer, reading these folders. What it finds goes into the first.
    fn fuzzer(self, folders: &[&Path]) -> Command {
        // The cargo that runs us does not know of other toolchains.
        let mut command =
            shell::command("rustup", &["run", "nightly", "cargo", "fuzz", "run", "--sanitizer", "none"]);
        command.arg(self.name()).args(folders).arg("--");
        command
    }
}

pub(crate) fn run(args: &FuzzArgs) -> Result<()> {
    check_tools()?;
    let targets = args.target.as_ref().map_or_else(Target::value_variants, std::slice::from_ref);
    targets.iter().try_for_each(|target| match args.keep {
        Some(count) => corpus::choose(*target, count),
        None => fuzz(*target, args.minutes),
    })
}

fn fuzz(target: Target, minutes: u64) -> Result<()> {
    /// Longer inputs say little more and cost time.
    const INPUT_BYTES_MAX: usize = 1024;
    let found = target.found()?;
    eprintln!("=== {} for {minutes} min; what is found goes to {}", target.name(), found.display());
    let mut fuzzer = target.fuzzer(&[&found, &target.seeds()]);
    fuzzer.arg(format!("-max_total_time={}", minutes * 60)).arg(format!("-max_len={INPUT_BYTES_MAX}"));
    fuzzer.args(["-dict=fuzz/resp.dict", "-timeout=20", "-print_final_stats=1"]);
    shell::run(&mut fuzzer).with_context(|| {
        format!(
            "`{}` does not hold, unless it is said otherwise above; the input is in fuzz/artifacts",
            target.name()
        )
    })
}

fn check_tools() -> Result<()> {
    let nightly = &mut shell::command("rustup", &["run", "nightly", "rustc", "--version"]);
    ensure!(
        shell::succeeds(nightly),
        "libFuzzer needs a nightly toolchain: rustup toolchain install nightly --profile minimal"
    );
    ensure!(
        shell::succeeds(&mut shell::cargo(&["fuzz", "--version"])),
        "cargo-fuzz is not installed: cargo install cargo-fuzz --locked"
    );
    Ok(())
}
