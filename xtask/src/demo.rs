//! `cargo xtask demo`.

use std::{
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use anyhow::{Context, Result};
use testkit::Flavor;

use crate::{servers, shell};

/// Newest first: what most users have or will have.
const PREFERENCE: [Flavor; 3] = [Flavor::Valkey91, Flavor::Redis70, Flavor::Redis62];

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let server = server()?;
    eprintln!("demo: building unbusy");
    shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", "unbusy-cli"]))?;
    let mut demo = shell::command(shell::built("release", "unbusy")?, &["demo", "--server"]);
    demo.arg(server).args(args).stdin(Stdio::inherit());
    let status = demo.status().with_context(|| format!("cannot run `{}`", shell::line(&demo)))?;
    // A death by signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn server() -> Result<PathBuf> {
    let installed = ["valkey-server", "redis-server"].into_iter().find_map(shell::on_path);
    match installed.or_else(|| PREFERENCE.into_iter().find_map(Flavor::binary)) {
        Some(path) => {
            eprintln!("demo: using {}", path.display());
            Ok(path)
        }
        None => servers::ensure_present(Flavor::Valkey91),
    }
}
