//! The scenarios in Python: real client libraries against the real binary.

use std::path::PathBuf;

use anyhow::Result;
use testkit::Flavor;

use crate::{servers, shell};

const FOLDER: &str = "tests/python";
/// What is installed for them, by exact content.
pub(crate) const PINS: &str = "tests/python/requirements.txt";
/// Most of a scenario's time is waiting, so some run at once; too many would delay each other.
const AT_ONCE: &str = "3";

pub(crate) fn scenarios() -> Result<()> {
    if !shell::root().join(FOLDER).exists() {
        eprintln!("there is no {FOLDER}: nothing to run");
        return Ok(());
    }
    let python = environment()?;
    let mut pytest =
        shell::command(python, &["-m", "pytest", "-p", "no:cacheprovider", "-n", AT_ONCE, FOLDER]);
    // It is there for redis-py's own tests; these run their loops themselves.
    pytest.args(["-p", "no:asyncio"]);
    pytest.env("UNBUSY_BIN", shell::unbusy_for_tests()?);
    for flavor in Flavor::ALL {
        pytest.env(flavor.variable(), servers::ensure_present(flavor)?);
    }
    shell::run(&mut pytest)
}

/// A virtual environment in the cache with exactly what the scenarios ask for; returns its Python.
pub(crate) fn environment() -> Result<PathBuf> {
    environment_with("", &[PINS])
}

/// The same for others, with what these files ask for.
pub(crate) fn environment_with(suffix: &str, pins: &[&str]) -> Result<PathBuf> {
    let tag = "import sys; print(sys.implementation.cache_tag, end='')";
    let tag = shell::output(&mut shell::command("python3", &["-c", tag]))?;
    let folder = testkit::cache_dir().join("venv").join(format!("{tag}{suffix}"));
    let python = folder.join("bin/python");
    if !python.exists() {
        shell::output(shell::command("python3", &["-m", "venv"]).arg(&folder))?;
    }
    let mut pip =
        shell::command(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.arg("--require-hashes").args(pins.iter().flat_map(|file| ["--requirement", file]));
    shell::output(&mut pip)?;
    Ok(python)
}
