//! `cargo xtask conformance`: the test suites of client libraries, with unbusy and a server that is made busy at random.
//!
//! A suite is run in several ways: as it is, on a quiet server, twice; with unbusy, on a quiet and on a busy server; and as
//! it is, on a busy server. What passes in the first way must pass with unbusy in the others. Exceptions are listed with a
//! reason; others make the chore fail.

mod page;
mod redis_py;
mod redis_rs;
mod results;

use std::{path::PathBuf, time::Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use testkit::Flavor;

use crate::shell;
use redis_py::{Meeting, RedisPy};
use redis_rs::RedisRs;
use results::{Comparison, Results};

/// Which suite is run, and on what.
#[derive(Args)]
pub(crate) struct ConformanceArgs {
    /// Whose test suite.
    suite: Library,
    /// The server to run it on: one of those of `cargo xtask servers`.
    #[arg(long, default_value = "valkey-9.1")]
    server: Flavor,
    /// What the times are made of at which the server is busy.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only what this selects: for redis-rs an expression of nextest such as `test(script)`, for redis-py a file, or a test
    /// of it, such as `test_pipeline.py`. The page is not written then.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Only these ways, beside the first; may be given several times. The page is not written then.
    #[arg(long, value_name = "WAY")]
    only: Vec<Way>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Library {
    /// That of the `redis` crate, with the crate unbusy.
    RedisRs,
    /// That of redis-py, sync and asyncio, through `unbusy proxy`.
    RedisPy,
    /// The same with the Python package, which is built for it.
    #[value(name = "redis-py-package")]
    Package,
}

/// A test suite, ready to be run.
trait Suite {
    fn facts(&self) -> &Facts;
    /// Runs the tests that the filter selects.
    fn test(&self, way: Way, filter: Option<&str>) -> Result<Results>;
}

/// What there is to know about a suite before it is run.
struct Facts {
    /// By which it is known to this chore.
    name: &'static str,
    title: &'static str,
    /// What is run, and what the ways mean for it.
    introduction: String,
    left_out: Vec<LeftOut>,
    differences: &'static [Difference],
}

/// A part of a suite that is not run, or not with unbusy.
#[derive(Clone, Copy)]
struct LeftOut {
    /// How it is called; so may the tests be that are only missing with unbusy.
    name: &'static str,
    /// In which file; nothing if it is one, or more than one.
    place: &'static str,
    with_unbusy: bool,
    reason: &'static str,
}

/// A test that does not do with unbusy what it does without on a quiet server, and may.
struct Difference {
    /// The test's name, or a part of the names of several.
    test: &'static str,
    /// Whether only a busy server is an excuse.
    when_busy: bool,
    reason: &'static str,
}

impl Difference {
    const fn always(test: &'static str, reason: &'static str) -> Self {
        Self { test, when_busy: false, reason }
    }

    const fn when_busy(test: &'static str, reason: &'static str) -> Self {
        Self { test, when_busy: true, reason }
    }
}

/// How a suite is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Way {
    /// As it is, on a quiet server.
    OriginalQuiet,
    /// The same once more, to see which tests do not always do the same.
    OriginalAgain,
    /// With unbusy, on a quiet server.
    UnbusyQuiet,
    /// With unbusy, on a busy server.
    UnbusyBusy,
    /// As it is, on a busy server.
    OriginalBusy,
}

impl Way {
    const ALL: [Self; 5] =
        [Self::OriginalQuiet, Self::OriginalAgain, Self::UnbusyQuiet, Self::UnbusyBusy, Self::OriginalBusy];

    const fn name(self) -> &'static str {
        match self {
            Self::OriginalQuiet => "as it is, quiet server",
            Self::OriginalAgain => "as it is, quiet server, again",
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

/// Runs a suite in all ways, compares them, and writes the page.
pub(crate) fn run(args: &ConformanceArgs) -> Result<()> {
    let suite: Box<dyn Suite> = match args.suite {
        Library::RedisRs => Box::new(RedisRs::make(args.server, args.seed)?),
        Library::RedisPy => Box::new(RedisPy::make(Meeting::Proxy, args.server, args.seed)?),
        Library::Package => Box::new(RedisPy::make(Meeting::Package, args.server, args.seed)?),
    };
    let wanted = |way: &Way| args.only.is_empty() || *way == Way::OriginalQuiet || args.only.contains(way);
    let ways: Vec<_> = Way::ALL.into_iter().filter(wanted).collect();
    let comparison = compare(&*suite, &ways, args.filter.as_deref())?;
    if args.filter.is_none() && args.only.is_empty() {
        page::write(&comparison, suite.facts(), args.server, args.seed)?;
    }
    verdict(&comparison)
}

/// The quick part of it, for `cargo xtask test`.
pub(crate) fn run_quick_part() -> Result<()> {
    let suite = RedisPy::quick_part(Flavor::Valkey91)?;
    verdict(&compare(&suite, &[Way::OriginalQuiet, Way::UnbusyBusy], None)?)
}

fn compare(suite: &dyn Suite, ways: &[Way], filter: Option<&str>) -> Result<Comparison> {
    let mut runs = Vec::new();
    for way in ways {
        eprintln!("=== {}", way.name());
        let start = Instant::now();
        let results = suite.test(*way, filter)?;
        eprintln!("    {results} in {:.0} s", start.elapsed().as_secs_f64());
        runs.push((*way, results));
    }
    let comparison = Comparison::new(runs, suite.facts());
    eprintln!("{comparison}");
    Ok(comparison)
}

fn verdict(comparison: &Comparison) -> Result<()> {
    ensure!(comparison.unexplained().is_empty(), "there are differences without a reason");
    Ok(())
}

/// Where a suite is unpacked and built: a folder beside what is built of this workspace.
fn target(suite: &str) -> Result<PathBuf> {
    shell::built("conformance", suite)
}
