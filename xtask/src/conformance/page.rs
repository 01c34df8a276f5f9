//! The page about the last run of a suite on a server.

use std::{fmt::Write, fs};

use anyhow::Result;
use testkit::Flavor;

use super::results::{Comparison, Divergence};
use super::{Facts, LeftOut};
use crate::shell;

const FOLDER: &str = "docs/conformance";

/// Writes the page. It is the whole of the file, so nothing of it is to be edited by hand.
pub(super) fn write(comparison: &Comparison, facts: &Facts, server: Flavor, seed: u64) -> Result<()> {
    let mut page = head(facts, server, seed)?;
    counts(&mut page, comparison)?;
    differences(&mut page, comparison)?;
    list(
        &mut page,
        "Failing as it is on a quiet server",
        comparison.failing().map(|test| format!("`{test}`")),
    )?;
    let fickle = comparison.fickle.iter().map(|test| format!("`{test}`"));
    list(&mut page, "Not always the same, as it is on a quiet server", fickle)?;
    let later = comparison.at_a_later_try().map(|(test, way)| format!("`{test}` ({})", way.name()));
    list(&mut page, "Passed at a later try", later)?;
    left_out(&mut page, &facts.left_out)?;
    let file = shell::root().join(FOLDER).join(format!("{}-{server}.md", facts.name));
    Ok(fs::write(file, page)?)
}

fn head(facts: &Facts, server: Flavor, seed: u64) -> Result<String> {
    let date = shell::output(&mut shell::command("date", &["-u", "+%Y-%m-%d"]))?;
    let Facts { name, title, introduction, .. } = facts;
    Ok(format!(
        "# {title}, on {server}

<!-- `cargo xtask conformance {name} --server {server}` writes this page. -->

{introduction}

Run on {} with `cargo xtask conformance {name} --server {server} --seed {seed}`.
",
        date.trim()
    ))
}

fn counts(page: &mut String, comparison: &Comparison) -> Result<()> {
    *page +=
        "\n| suite | passed | of these at a later try | failed | left out |\n|---|---:|---:|---:|---:|\n";
    for (name, [passed, later, failed, left_out]) in comparison.counts() {
        writeln!(page, "| {name} | {passed} | {later} | {failed} | {left_out} |")?;
    }
    Ok(())
}

fn differences(page: &mut String, comparison: &Comparison) -> Result<()> {
    *page += "\n## Differences\n\n";
    if comparison.divergences.is_empty() {
        *page += "None: with unbusy every test does what it does as it is on a quiet server.\n";
        return Ok(());
    }
    *page += "Tests that do not do with unbusy what they do as they are on a quiet server. Which of those that count\n\
              connections or seconds are among them on a busy server is chance.\n\n";
    *page += "| test | way | here it | reason |\n|---|---|---|---|\n";
    for Divergence { test, way, here, reason } in &comparison.divergences {
        writeln!(page, "| `{test}` | {} | {here} | {} |", way.name(), reason.unwrap_or("**not known**"))?;
    }
    Ok(())
}

fn list(page: &mut String, title: &str, tests: impl Iterator<Item = String>) -> Result<()> {
    let mut tests = tests.peekable();
    if tests.peek().is_some() {
        write!(page, "\n## {title}\n\n")?;
    }
    for test in tests {
        writeln!(page, "* {test}")?;
    }
    Ok(())
}

fn left_out(page: &mut String, left_out: &[LeftOut]) -> Result<()> {
    *page += "\n## Left out\n\n| what | reason |\n|---|---|\n";
    for LeftOut { name, place, with_unbusy, reason } in left_out {
        let place = if place.is_empty() { String::new() } else { format!(" in `{place}`") };
        let only = if *with_unbusy { " (with unbusy)" } else { "" };
        writeln!(page, "| `{name}`{place}{only} | {reason} |")?;
    }
    Ok(())
}
