//! `cargo xtask torture`, `load`, `waiting` and `sidecars`: build what is needed and run the programs of `crates/torture`, a package of its
//! own so that other chores need not build its clients.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use testkit::Flavor;

use crate::{python, servers, shell};

pub(crate) fn torture(args: &[String]) -> Result<ExitCode> {
    let mut torture = program("torture", args)?;
    if !asks_for_help(args) {
        torture.arg("--python").arg(python::environment()?);
    }
    run(torture, args)
}

pub(crate) fn load(args: &[String]) -> Result<ExitCode> {
    run(program("load", args)?, args)
}

pub(crate) fn waiting(args: &[String]) -> Result<ExitCode> {
    run(program("waiting", args)?, args)
}

pub(crate) fn sidecars(args: &[String]) -> Result<ExitCode> {
    run(program("sidecars", args)?, args)
}

fn asks_for_help(args: &[String]) -> bool {
    args.iter().any(|arg| arg == "--help" || arg == "-h")
}

fn program(name: &str, args: &[String]) -> Result<Command> {
    shell::run(&mut shell::cargo(&["build", "--quiet", "--package", "torture", "--bin", name]))?;
    let mut program = shell::command(shell::built("debug", name)?, &[]);
    if !asks_for_help(args) {
        eprintln!("{name}: building unbusy");
        shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", "unbusy-cli"]))?;
        program.arg("--unbusy").arg(shell::built("release", "unbusy")?);
        for flavor in Flavor::ALL {
            program.env(flavor.variable(), servers::ensure_present(flavor)?);
        }
    }
    Ok(program)
}

fn run(mut program: Command, args: &[String]) -> Result<ExitCode> {
    program.args(args).stdin(Stdio::inherit());
    let status = program.status().with_context(|| format!("cannot run `{}`", shell::line(&program)))?;
    // A death by signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
