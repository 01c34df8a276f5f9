//! The page about the last run.

use std::{fmt::Write, fs};

use anyhow::Result;
use testkit::Flavor;

use super::redis_rs::FILES_NOT_RUN;
use super::results::{Comparison, Divergence};
use crate::shell;

const PAGE: &str = "docs/conformance.md";

/// Writes the page. It is the whole of the file, so nothing of it is to be edited by hand.
pub(super) fn write(comparison: &Comparison, version: &str, server: Flavor, seed: u64) -> Result<()> {
    let date = shell::output(&mut shell::command("date", &["-u", "+%Y-%m-%d"]))?;
    let mut page = format!(
        "# The test suite of the `redis` crate, on a busy server

<!-- `cargo xtask conformance redis-rs` writes this page. -->

The suite of the `redis` crate {version} is run on {server} in four ways. *With unbusy* means that the tests, unchanged but
for some lines that connect to clusters, get unbusy's types by the names of those of the crate. *Busy* means that
every server of a test runs scripts of 30 to 250 ms at random, with pauses of at most 300 ms, and answers BUSY after 10 ms.

Run on {} with `cargo xtask conformance redis-rs --server {server} --seed {seed}`.

| suite | passed | failed | left out |
|---|---:|---:|---:|
",
        date.trim()
    );
    for (name, [passed, failed, left_out]) in comparison.counts() {
        writeln!(page, "| {name} | {passed} | {failed} | {left_out} |")?;
    }
    page += "\n## Differences\n\n";
    page += "Tests that do not do with unbusy what they do as they are on a quiet server. Which of those that count\n\
             connections or seconds are among them on a busy server is chance.\n\n";
    page += "| test | way | here it | reason |\n|---|---|---|---|\n";
    for Divergence { test, way, passed, reason } in &comparison.divergences {
        let word = if *passed { "passes" } else { "fails" };
        writeln!(page, "| `{test}` | {} | {word} | {} |", way.name(), reason.unwrap_or("**not known**"))?;
    }
    let mut failing = comparison.failing().peekable();
    if failing.peek().is_some() {
        page += "\n## Failing as it is on a quiet server\n\n";
    }
    for test in failing {
        writeln!(page, "* `{test}`")?;
    }
    page += "\n## Left out\n\n| what | reason |\n|---|---|\n";
    for left_out in comparison.left_out {
        let ways = if left_out.with_unbusy { " (with unbusy)" } else { "" };
        writeln!(page, "| `{}` in `{}`{ways} | {} |", left_out.function, left_out.file, left_out.reason)?;
    }
    for (file, reason) in FILES_NOT_RUN {
        writeln!(page, "| `{file}` | {reason} |")?;
    }
    Ok(fs::write(shell::root().join(PAGE), page)?)
}
