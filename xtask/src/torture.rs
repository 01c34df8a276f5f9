//! `cargo xtask torture`: builds what is needed and runs the program of `crates/torture`, a package of its own so that
//! other chores need not build its clients.

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use testkit::Flavor;

use crate::{python, servers, shell};

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    shell::run(&mut shell::cargo(&["build", "--quiet", "--package", "torture"]))?;
    let mut torture = shell::command(shell::built("debug", "torture")?, &[]);
    if !args.iter().any(|arg| arg == "--help" || arg == "-h") {
        eprintln!("torture: building unbusy");
        shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", "unbusy-cli"]))?;
        torture.arg("--unbusy").arg(shell::built("release", "unbusy")?);
        torture.arg("--python").arg(python::environment()?);
        for flavor in Flavor::ALL {
            torture.env(flavor.variable(), servers::ensure_present(flavor)?);
        }
    }
    torture.args(args).stdin(Stdio::inherit());
    let status = torture.status().with_context(|| format!("cannot run `{}`", shell::line(&torture)))?;
    // A death by signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
