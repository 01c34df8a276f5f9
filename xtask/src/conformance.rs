//! `cargo xtask conformance`: the test suites of client libraries, with unbusy and a server that is made busy at random.
//!
//! A suite is run in several ways: as it is, on a quiet server; with unbusy, on a quiet and on a busy server; and as it is,
//! on a busy server. What passes in the first way must pass with unbusy in the others. Exceptions are listed with a reason;
//! others make the chore fail.

mod package;
mod page;
mod redis_rs;
mod results;

use std::{env, fs, path::PathBuf, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use testkit::Flavor;

use crate::{servers, shell};
use package::Package;
use results::{Comparison, Results};

/// Which suite is run, and on what.
#[derive(Args)]
pub(crate) struct ConformanceArgs {
    /// Whose test suite.
    suite: Suite,
    /// The server to run it on: one of those of `cargo xtask servers`.
    #[arg(long, default_value = "valkey-9.1", value_parser = flavor)]
    server: Flavor,
    /// What the times are made of at which the server is busy.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only what this filter of nextest selects, such as `test(script)`; the page is not written then.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Only these ways, beside the first; may be given several times. The page is not written then.
    #[arg(long, value_name = "WAY")]
    only: Vec<Way>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// That of the `redis` crate, with the crate unbusy.
    RedisRs,
}

/// How a suite is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Way {
    /// As it is, on a quiet server.
    OriginalQuiet,
    /// With unbusy, on a quiet server.
    UnbusyQuiet,
    /// With unbusy, on a busy server.
    UnbusyBusy,
    /// As it is, on a busy server.
    OriginalBusy,
}

impl Way {
    const ALL: [Self; 4] = [Self::OriginalQuiet, Self::UnbusyQuiet, Self::UnbusyBusy, Self::OriginalBusy];

    const fn name(self) -> &'static str {
        match self {
            Self::OriginalQuiet => "as it is, quiet server",
            Self::UnbusyQuiet => "with unbusy, quiet server",
            Self::UnbusyBusy => "with unbusy, busy server",
            Self::OriginalBusy => "as it is, busy server",
        }
    }

    const fn has_unbusy(self) -> bool {
        matches!(self, Self::UnbusyQuiet | Self::UnbusyBusy)
    }

    const fn is_busy(self) -> bool {
        matches!(self, Self::UnbusyBusy | Self::OriginalBusy)
    }
}

fn flavor(name: &str) -> Result<Flavor, String> {
    let names = || Flavor::ALL.map(Flavor::name).join(", ");
    Flavor::ALL.into_iter().find(|flavor| flavor.name() == name).ok_or_else(|| format!("one of {}", names()))
}

/// Runs a suite in all ways, compares them, and writes the page.
pub(crate) fn run(args: &ConformanceArgs) -> Result<()> {
    let Suite::RedisRs = args.suite;
    let server = servers::ensure_present(args.server)?;
    let package = Package::make()?;
    let stage = Stage::set(server, args.seed)?;
    let wanted = |way: &Way| args.only.is_empty() || *way == Way::OriginalQuiet || args.only.contains(way);
    let mut runs = Vec::new();
    for way in Way::ALL.into_iter().filter(wanted) {
        eprintln!("=== {}", way.name());
        let start = Instant::now();
        let results = Results::of(&package.test(way, args.filter.as_deref(), &stage)?)?;
        eprintln!("    {results} in {:.0} s", start.elapsed().as_secs_f64());
        runs.push((way, results));
    }
    let comparison = Comparison::new(runs, package.left_out);
    eprintln!("{comparison}");
    if args.filter.is_none() && args.only.is_empty() {
        page::write(&comparison, &package.version, args.server, args.seed)?;
    }
    ensure!(comparison.unexplained().is_empty(), "there are differences without a reason");
    Ok(())
}

/// What stands on PATH while a suite runs: the program `storm` of the test kit under the names of the server and its client.
struct Stage {
    server: PathBuf,
    folder: PathBuf,
    seed: u64,
}

impl Stage {
    fn set(server: PathBuf, seed: u64) -> Result<Self> {
        shell::run(&mut shell::cargo(&["build", "--quiet", "--package", "testkit", "--bin", "storm"]))?;
        let storm = shell::built("debug", "storm")?;
        let folder = target()?.join("path");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("marks"))?;
        for name in ["redis-server", "redis-cli"] {
            std::os::unix::fs::symlink(&storm, folder.join(name))?;
        }
        Ok(Self { server, folder, seed })
    }

    /// The environment of a suite, for a server that is busy now and then, or quiet.
    fn environment(&self, busy: bool) -> Result<Vec<(&'static str, std::ffi::OsString)>> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.folder.clone()].into_iter().chain(env::split_paths(&path)))?;
        let cli = shell::on_path("redis-cli")
            .context("the suite makes clusters with `redis-cli`, which is not on PATH")?;
        let mut variables = vec![
            ("PATH", path),
            ("UNBUSY_STORM_SERVER", self.server.clone().into()),
            ("UNBUSY_STORM_CLI", cli.into()),
            ("UNBUSY_STORM_FOLDER", self.folder.join("marks").into()),
        ];
        if busy {
            variables.push(("UNBUSY_STORM_SEED", self.seed.to_string().into()));
        }
        Ok(variables)
    }
}

/// Where suites are unpacked and built: a folder beside what is built of this workspace.
fn target() -> Result<PathBuf> {
    shell::built("conformance", "redis-rs")
}
