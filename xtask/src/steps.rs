//! `cargo xtask test`: everything that must pass, in the order in which it is cheapest to fail.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;

use crate::{conformance, dashboard, deny, instructions, package, python, servers, shell};

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<()>,
    /// It runs if no step is asked for.
    usual: bool,
}

const STEPS: [Step; 16] = [
    usual("servers", "the servers to test with are there", servers::fetch_all),
    usual("fmt", "the code is formatted", fmt),
    usual("clippy", "no lint has anything to say", clippy),
    usual("doc", "the documentation builds and its links lead somewhere", doc),
    usual("deny", "licences and sources of the dependencies are welcome", deny::policy),
    usual("advisories", "no dependency has a known weakness", deny::advisories),
    usual("test", "all tests in Rust but the documentation's", test),
    usual("uring", "the proxy does on io_uring what it does otherwise, where there is that", uring),
    usual("doctest", "the examples in the documentation", doctest),
    usual("instructions", "no command costs more instructions than it did", instructions::check),
    usual("python", "scenarios with Python clients, and some of redis-py's own tests", python),
    usual(
        "package",
        "the Python package is built, installed and tried with Redis 7.0",
        package::test_quickly,
    ),
    Step {
        usual: false,
        ..usual(
            "package-all",
            "the same with all servers, and from its source distribution; only if asked for",
            package::test,
        )
    },
    Step {
        usual: false,
        ..usual(
            "package-versions",
            "the same with older versions of redis-py and valkey-py; only if asked for",
            package::versions::test,
        )
    },
    // It installs what many others have made.
    Step {
        usual: false,
        ..usual(
            "recipes",
            "the Python package with Celery, Django and others; only if asked for",
            package::recipes,
        )
    },
    // It needs a browser.
    Step {
        usual: false,
        ..usual("dashboard", "the dashboard, in a headless Chromium; only if asked for", dashboard::test)
    },
];

const fn usual(name: &'static str, about: &'static str, run: fn() -> Result<()>) -> Step {
    Step { name, about, run, usual: true }
}

pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.iter().map(|step| step.name))
}

pub(crate) fn help() -> String {
    let lines = STEPS.iter().map(|step| format!("  {:<16} {}", step.name, step.about));
    format!("Steps:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Runs the steps that were asked for, and stops at the first that fails.
pub(crate) fn run(only: &[String], skip: &[String]) -> Result<()> {
    let names = |list: &[String], step: &Step| list.iter().any(|name| name == step.name);
    let asked = |step: &Step| if only.is_empty() { step.usual } else { names(only, step) };
    let wanted = |step: &&Step| asked(step) && !names(skip, step);
    let start = Instant::now();
    for step in STEPS.iter().filter(wanted) {
        run_step(step)?;
    }
    eprintln!("=== all passed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn run_step(step: &Step) -> Result<()> {
    eprintln!("=== {}: {}", step.name, step.about);
    let start = Instant::now();
    let result = (step.run)();
    let seconds = start.elapsed().as_secs_f64();
    let word = if result.is_ok() { "ok" } else { "FAILED" };
    eprintln!("=== {}: {word} in {seconds:.1} s", step.name);
    result.with_context(|| format!("step `{0}` failed (again with `cargo xtask test --only {0}`)", step.name))
}

fn fmt() -> Result<()> {
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let lint =
        |args: &[&str]| shell::run(shell::cargo(&["clippy"]).args(args).args(["--", "-D", "warnings"]));
    lint(&["--workspace", "--all-features", "--all-targets"])?;
    // The library as its users build it: with few features, so that none needs another in silence.
    ["redis-1", "redis-1,cluster", "redis-2,aio"]
        .iter()
        .try_for_each(|features| lint(&["-p", "unbusy", "--no-default-features", "--features", features]))
}

fn doc() -> Result<()> {
    let mut doc =
        shell::cargo(&["doc", "--no-deps", "--workspace", "--all-features", "--document-private-items"]);
    shell::run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
}

fn test() -> Result<()> {
    let args: &[&str] =
        if has_nextest() { &["nextest", "run"] } else { &["test", "--lib", "--bins", "--tests"] };
    shell::run(shell::cargo(args).args(shell::TESTED))
}

/// It keeps tests with servers apart and stops one that hangs (.config/nextest.toml), but not all have it.
fn has_nextest() -> bool {
    shell::succeeds(&mut shell::cargo(&["nextest", "--version"]))
}

/// Those of the proxy's tests in which much depends on its sockets.
const OF_SOCKETS: [&str; 4] = ["e2e_hostile", "e2e_leaving", "e2e_lifecycle", "proxy"];

fn uring() -> Result<()> {
    if let Err(error) = unbusy_uring::Ring::new() {
        eprintln!("left out, since there is no io_uring here: {error}");
        return Ok(());
    }
    let mut tests = if has_nextest() {
        let names = OF_SOCKETS.map(|name| format!("binary({name})")).join(" | ");
        let mut tests = shell::cargo(&["nextest", "run", "-E"]);
        tests.arg(names);
        tests
    } else {
        let mut tests = shell::cargo(&["test"]);
        tests.args(OF_SOCKETS.iter().flat_map(|name| ["--test", name]));
        tests
    };
    shell::run(tests.args(shell::TESTED).env("UNBUSY_IO", "uring"))
}

fn doctest() -> Result<()> {
    shell::run(shell::cargo(&["test", "--doc"]).args(shell::TESTED))
}

fn python() -> Result<()> {
    python::scenarios()?;
    conformance::run_quick_part()
}
