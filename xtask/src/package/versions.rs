//! The Python package with older versions of the libraries that it is for.

use std::{fs, path::Path};

use anyhow::Result;

use super::{environment, pytest, quick_tests};
use crate::shell;

/// What is tried together is a paragraph, by exact content.
const PINS: &str = "crates/unbusy-python/tests/versions-requirements.txt";

pub(crate) fn test() -> Result<()> {
    let python = environment()?;
    let pins = fs::read_to_string(shell::root().join(PINS))?;
    for versions in pins.split("\n\n").filter(|paragraph| !paragraph.starts_with('#')) {
        eprintln!("--- {}", names(versions));
        let folder = tempfile::tempdir()?;
        unpack(&python, versions, folder.path())?;
        // What is there is found before what is installed.
        shell::run(pytest(&python, &quick_tests())?.env("PYTHONPATH", folder.path()))?;
    }
    Ok(())
}

fn names(versions: &str) -> String {
    let names = versions.split_whitespace().filter(|word| word.contains("=="));
    names.collect::<Vec<_>>().join(", ")
}

fn unpack(python: &Path, versions: &str, folder: &Path) -> Result<()> {
    let file = folder.join("requirements.txt");
    fs::write(&file, versions)?;
    let mut pip = shell::command(python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--require-hashes", "--requirement"]).arg(file).arg("--target").arg(folder);
    shell::output(&mut pip)?;
    Ok(())
}
